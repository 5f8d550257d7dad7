"""The plans that are compared: what is trained and evaluated in each. Nothing is run."""

import json

import pytest

from benchmarks.speed.plan import EQUAL, Bench, everything, sharing, tenth, write_apart
from benchmarks.speed.workers import DIFFERENT
from replication.arguments import HOME
from replication.data.sources import Sources
from replication.plan import build
from replication.spec import load_tables
from replication.tiers import load_tier


@pytest.fixture
def planned(tmp_path):
    (tmp_path / "tenth.toml").write_text(tenth(1))
    (tmp_path / "two.toml").write_text(tenth(2))
    write_apart(tmp_path / "tables")

    def plan(tables, only=None, tier="tenth"):
        found = load_tier(tier, tmp_path)
        folder = HOME / "tables" if tables is None else tmp_path / tables
        return build(load_tables(folder), found, Sources.of(found.data, {}), (0,), only=only)

    return plan


def protocol(plan):
    """What each cell trains and evaluates, its weight decay left out."""
    return sorted(
        (
            str(run.chain[-1].config["network"]),
            str({k: v for k, v in run.chain[-1].config["stage"].items() if k != "weight_decay"}),
            str(run.evaluation.config["evaluation"]),
        )
        for run in plan.runs
    )


def test_four_equal_cells_and_the_same_four_apart(planned):
    equal, alone = planned(None, EQUAL), planned("tables")
    assert (len(equal.of_kind("train")), len(equal.of_kind("evaluate"))) == (1, 2)
    assert (len(alone.of_kind("train")), len(alone.of_kind("evaluate"))) == (4, 4)
    assert protocol(equal) == protocol(alone)
    assert [step.id for step in alone.of_kind("pretrain")] == [
        step.id for step in equal.of_kind("pretrain")
    ], "both have the copied backbone"


def test_threads_are_no_part_of_a_step(planned):
    one, two = planned(None, DIFFERENT), planned(None, DIFFERENT, tier="two")
    assert (one.tier.threads, two.tier.threads) == (1, 2)
    assert list(one.steps) == list(two.steps) and len(one.of_kind("train")) == 4


def test_the_plans_own_ratio_is_counted():
    """As the command's own --dry-run has it."""
    plan = everything()
    unique, asked = len(plan.of_kind("pretrain", "train")), sum(len(r.chain) for r in plan.runs)
    assert len(plan.runs) < asked and 2 < asked / unique < 4
    assert f"{asked} trainings, of which {unique} are different: {asked / unique:.2f}" in sharing(
        plan
    )


def test_each_run_is_one_command(tmp_path, monkeypatch):
    commands = []
    monkeypatch.setattr("benchmarks.speed.plan.python", lambda *words: commands.append(words))
    bench = Bench(tmp_path)
    record = tmp_path / "pretrained" / "tenth" / "steps" / "pretrain-0"
    record.mkdir(parents=True)
    for threads, run in ((1, lambda: bench.run(EQUAL, workers=2)), (1, bench.run_apart),
                         (2, lambda: bench.run(DIFFERENT, threads=2))):  # fmt: skip
        before = len(commands)
        run()
        [words] = commands[before:]
        name = {1: "tenth", 2: "tenth-2"}[threads]
        assert words[words.index("--tier") + 1] == name
        assert (tmp_path / "results" / name / "steps" / "pretrain-0").is_dir()
    assert commands[1][commands[1].index("--workers") + 1] == "2"


def test_the_jobs_of_a_run_are_those_of_its_records(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.speed.plan.python", lambda *words: None)
    bench = Bench(tmp_path)
    for name, seconds in {"pretrain-0": 50.0, "train-1": 7.5, "evaluate-2": 0.25}.items():
        record = tmp_path / "results" / "tenth" / "steps" / name
        record.mkdir(parents=True)
        (record / "outcome.json").write_text(json.dumps({"status": "done", "seconds": seconds}))
    assert bench.at_work() == 7.75, "the pretraining is copied, not run"
