"""What further seeds cost, against a plan made for all of them."""

import json

import pytest

from replication.arguments import HOME
from replication.cost import Cost, Prices, last_seed, union
from replication.data.sources import Sources
from replication.errors import RunError
from replication.plan import build
from replication.runs import Store
from replication.spec import load_tables
from replication.tiers import load_tier

TIER = load_tier("smoke", HOME / "tiers")
TABLES = [table for table in load_tables(HOME / "tables") if table.number in (4, 5, 9)]


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("REPLICATION_DATA", str(tmp_path / "cache"))
    made = Store(tmp_path / "results")
    made.prepare()
    return made


def plan(seeds, only=None):
    return build(TABLES, TIER, Sources.of(TIER.data, {}), seeds, only=only)


def finish(store, step, log=(), **outcome):
    folder = store.begin(step)
    if log:
        (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))
    store.finish(step, {"status": "done", **outcome})


def prices(store, seeds):
    return Prices(plan=plan(range(seeds)), further=plan([seeds]), store=store)


CELLS = ["table5/mg124-pooling", "table9/batch16", "table9/batch4", "table4/os8", "table4/os16"]


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_the_bill_is_what_a_plan_of_all_seeds_lacks(store, count):
    """One seed done, a second half done: the steps are those of a plan made for `count` seeds."""
    for step in plan([0]).steps.values():
        finish(store, step)
    for step in plan([1], only=["table9/batch4"]).steps.values():
        finish(store, step)
    whole = plan(range(count), only=CELLS)
    lacking = [step for step in whole.steps.values() if store.status(step) == "missing"]
    found = prices(store, 2)
    cost = found.cost(found.bill(CELLS, count))
    assert cost.trainings == sum(step.kind != "evaluate" for step in lacking)
    assert cost.evaluations == sum(step.kind == "evaluate" for step in lacking)


def test_with_nothing_on_record_every_seed_costs_its_pretraining(store):
    found = prices(store, 1)
    # 77.21 is trained once for both tables: two trainings and one evaluation a seed.
    cells = ["table5/mg124-pooling", "table9/batch16"]
    expected = Cost(trainings=5 + 5, evaluations=5, seconds=0.0, untimed=15)
    assert found.cost(found.bill(cells, 5)) == expected


def test_time_is_that_of_the_same_step_under_other_seeds(store):
    """A training took 100 and 140 s; its two strategies one sweep of 12 s; batch4 is unknown."""
    both = plan([0, 1], only=["table4/os8", "table4/os16"])
    for run in both.runs:
        for step in run.steps:
            if store.status(step) == "missing":
                seconds = {"train": [100.0, 140.0][run.seed], "evaluate": 12.0, "pretrain": 7.0}
                finish(store, step, seconds=seconds[step.kind])
    found = prices(store, 2)
    bill = found.bill(["table4/os8", "table4/os16", "table9/batch4"], 5)
    cost = found.cost(bill)
    assert cost.seconds == pytest.approx(3 * (7.0 + 120.0 + 12.0))
    # Table 9's five seeds of a training and an evaluation.
    assert (cost.trainings, cost.evaluations, cost.untimed) == (3 + 3 + 5, 6 + 5, 10)


def test_a_training_that_was_taken_up_again_took_the_time_of_its_log(store):
    """Stopped after 40 of 60 iterations; the process that ended it took 5 of 60 s."""
    only = plan([0], only=["table9/batch4"])
    for step in only.steps.values():
        if step.kind == "train":
            batch = step.config["stage"]["batch_size"]
            log = [
                {"iteration": 40, "images_per_second": 40 * batch / 55},
                {"iteration": 60, "images_per_second": 20 * batch / 5},
            ]
            finish(store, step, log=log, seconds=5.0)
        else:
            finish(store, step, seconds=1.0)
    found = prices(store, 1)
    assert found.cost(found.bill(["table9/batch4"], 2)).seconds == pytest.approx(1.0 + 60.0 + 1.0)


@pytest.mark.parametrize(
    "log", ["{", '{"iteration": 2}', '{"iteration": 2, "images_per_second": 0}']
)
def test_a_damaged_log_is_named(store, log):
    for step in plan([0], only=["table9/batch4"]).steps.values():
        finish(store, step, seconds=1.0)
        if step.kind == "train":
            (store.path(step.id) / "log.jsonl").write_text(log)
    found = prices(store, 1)
    with pytest.raises(RunError, match=r"train-\w+/log.jsonl: damaged"):
        found.cost(found.bill(["table9/batch4"], 2))


def test_shared_steps_are_counted_once(store):
    found = prices(store, 1)
    few, many = (found.bill([name], n) for name, n in (("table4/os8", 3), ("table4/os16", 5)))
    together = found.cost(union([few, many]))
    # Five pretrainings, five trainings; three evaluations of one strategy, five of the other.
    assert (together.trainings, together.evaluations) == (10, 8)
    assert union([]) == {}


def test_the_last_seed_on_record(store):
    assert last_seed(store) is None
    for step in plan([4]).of_kind("train"):
        finish(store, step)
    for step in plan([9]).of_kind("train"):
        store.begin(step)
    assert last_seed(store) == 4
