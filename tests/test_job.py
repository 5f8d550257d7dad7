"""The main job: what it refuses to begin, and what it says at the end."""

from pathlib import Path

import pytest
import torch

from replication import environment, job
from replication.forecast import devices
from replication.network import deeplab
from replication.run import main
from replication.workers import Summary

HERE = Path(__file__).resolve().parents[1]


@pytest.fixture
def comparable(tmp_path, monkeypatch):
    """The smoke tier, as if its numbers were compared with the paper's."""
    monkeypatch.setenv("REPLICATION_DATA", str(tmp_path / "data"))
    text = (HERE / "tiers" / "smoke.toml").read_text()
    tier = tmp_path / "strict.toml"
    tier.write_text(text.replace("comparable = false", "comparable = true"))
    return ["--tier", str(tier), "--results", str(tmp_path / "results"), "--device", "cpu"]


def test_a_network_that_is_not_the_papers_is_not_trained(comparable, tmp_path, monkeypatch, capsys):
    """ASPP whose rates do not follow the output stride: seen before the first iteration."""
    monkeypatch.setattr(deeplab, "aspp_rates", lambda rates, *_, **__: tuple(rates))
    assert main(["--cell", "table10/train8-eval8", *comparable]) == 2
    told = capsys.readouterr().err
    assert "train table10/train8-eval8 on voc trainaug seed 0: geometry" in told
    assert not list((tmp_path / "results").glob("*/steps/train-*"))


def test_elsewhere_it_is_told_and_trained(tmp_path, monkeypatch, capsys):
    """The workers' network is whole, and so are the records: only the foresight is disturbed."""
    monkeypatch.setenv("REPLICATION_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(deeplab, "aspp_rates", lambda rates, *_, **__: tuple(rates))
    where = ["--tier", "smoke", "--results", str(tmp_path / "results"), "--device", "cpu"]
    assert main(["--cell", "table10/train8-eval8", *where]) == 0
    told = capsys.readouterr().out
    assert "warning: train table10/train8-eval8 on voc trainaug seed 0: geometry" in told
    assert "its cells will be suspect" in told
    examined = list((tmp_path / "results").glob("*/steps/*/examination.json"))
    assert len(examined) == 3


def test_bf16_is_not_emulated_without_a_word(tmp_path, monkeypatch, capsys):
    """Refused before the data are made; a dry run warns."""
    monkeypatch.setenv("REPLICATION_DATA", str(tmp_path / "data"))
    for module in (devices, environment):
        monkeypatch.setattr(module, "vectors", lambda: "avx avx2 fma")
    arguments = ["--table", "4", "--tier", "micro-bf16", "--results", str(tmp_path), "--seeds", "1"]
    assert main([*arguments, "--device", "cpu"]) == 2
    [told] = capsys.readouterr().err.splitlines()
    assert told.startswith("error: tier micro-bf16: train table4/os16 on voc trainaug seed 0: ")
    assert 'precision = "bf16": ' in told and 'use a tier with precision = "fp32"' in told
    assert not (tmp_path / "data").exists()
    assert main([*arguments, "--device", "cpu", "--dry-run"]) == 0
    assert 'warning: precision = "bf16": ' in capsys.readouterr().out


def test_an_absent_gpu_is_said_before_data_are_made(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("REPLICATION_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    where = ["--tier", "smoke", "--results", str(tmp_path), "--device", "cuda"]
    assert main(["--cell", "table9/batch4", *where]) == 2
    said = "error: --device cuda: torch finds no GPU here; use --device cpu\n"
    assert capsys.readouterr().err == said
    assert not (tmp_path / "data").exists()


def test_it_begins_with_workers_and_memory(tmp_path, monkeypatch, capsys):
    """Unless nothing can begin: what is left waits for what failed."""
    monkeypatch.setenv("REPLICATION_DATA", str(tmp_path / "data"))

    def fails(plan, store, *_):
        [step] = plan.of_kind("pretrain")
        if store.status(step) != "failed":
            store.begin(step)
            store.finish(step, {"status": "failed", "error": "it diverged"})
        return Summary(failed={step.id: "it diverged"})

    monkeypatch.setattr(job, "run_steps", fails)
    where = ["--tier", "smoke", "--results", str(tmp_path), "--device", "cpu", "--workers", "1"]
    told = []
    for _ in range(2):
        assert main(["--cell", "table9/batch4", *where]) == 1
        told.append([x for x in capsys.readouterr().out.splitlines() if "memory at most" in x])
    [[line], none] = told
    assert line.startswith("1 worker, 1 thread; memory at most 0.4") and none == []
    assert "counted; the machine has " in line


@pytest.mark.parametrize(("cores", "threads"), [(2, 2), (64, 8)])
def test_a_step_has_no_more_threads_than_cores(tmp_path, monkeypatch, cores, threads):
    """And is recorded with those it had: `numerics` compares them."""
    monkeypatch.setenv("REPLICATION_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(devices.os, "cpu_count", lambda: cores)
    text = (HERE / "tiers" / "smoke.toml").read_text()
    assert "threads = 1\n" in text
    tier = tmp_path / "eight.toml"
    tier.write_text(text.replace("threads = 1\n", "threads = 8\n"))
    given = []

    def nothing(plan, store, sources, options, display):
        given.append((options.threads, options.workers))
        return Summary(not_run=dict.fromkeys(plan.steps, "not started"))

    monkeypatch.setattr(job, "run_steps", nothing)
    where = ["--tier", str(tier), "--results", str(tmp_path / "r"), "--device", "cpu"]
    assert main(["--table", "9", *where]) == 1
    assert given == [(threads, cores // threads)]


def test_of_many_steps_that_were_not_run_some_are_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("REPLICATION_DATA", str(tmp_path / "data"))

    def nothing(plan, *_):
        return Summary(not_run=dict.fromkeys(plan.steps, "not started"))

    monkeypatch.setattr(job, "run_steps", nothing)
    arguments = ["--table", "9", "--tier", "smoke", "--results", str(tmp_path), "--device", "cpu"]
    assert main(arguments) == 1
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("not run  ")]
    # A pretraining, four trainings, four evaluations.
    assert told[0] == "not run  pretrain resnet101 seed 0: not started" and len(told) == 6
    assert told[-1] == "not run  and 4 more: not started"


@pytest.mark.parametrize("interrupted", [True, False])
def test_interrupted_before_the_first_number_it_shows_no_table(
    tmp_path, monkeypatch, capsys, interrupted
):
    monkeypatch.setenv("REPLICATION_DATA", str(tmp_path / "data"))

    def nothing(plan, *_):
        why = dict.fromkeys(plan.steps, "not started")
        return Summary(not_run=why, interrupted=interrupted)

    monkeypatch.setattr(job, "run_steps", nothing)
    arguments = ["--table", "9", "--tier", "smoke", "--results", str(tmp_path), "--device", "cpu"]
    assert main(arguments) == (130 if interrupted else 1)
    out = capsys.readouterr().out
    assert ("Table 9. " in out) is not interrupted
    assert out.rstrip().endswith("to go on from the checkpoints") is interrupted
    assert (tmp_path / "smoke" / "tables" / "table09.md").exists()


def test_interrupted_it_shows_the_tables_that_have_a_number(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("REPLICATION_DATA", str(tmp_path / "data"))
    where = ["--tier", "smoke", "--results", str(tmp_path), "--device", "cpu"]
    assert main(["--cell", "table9/batch4", *where]) == 0
    capsys.readouterr()

    def nothing(plan, store, *_):
        left = [step.id for step in plan.steps.values() if store.status(step) != "done"]
        return Summary(not_run=dict.fromkeys(left, "not started"), interrupted=True)

    monkeypatch.setattr(job, "run_steps", nothing)
    assert main(["--table", "9", "--table", "12", *where]) == 130
    out = capsys.readouterr().out
    assert "Table 9. " in out and "Table 12. " not in out
