"""What a run prints when nobody watches a terminal."""

import io
from pathlib import Path

from rich.console import Console

from replication.data.sources import Sources
from replication.plan import build, work
from replication.progress import RunDisplay
from replication.spec import load_tables
from replication.tiers import load_tier
from replication.time_left import TimeLeft
from replication.workers import jobs

HERE = Path(__file__).resolve().parents[1]


def shown(act):
    tier = load_tier("smoke", HERE / "tiers")
    plan = build(load_tables(HERE / "tables", [4]), tier, Sources.of(tier.data, {}), [0])
    out = io.StringIO()
    left = TimeLeft({job: work(*job) for job in jobs(plan, plan.steps.values())}, workers=1)
    with RunDisplay(plan, 0, Console(file=out, width=100), left) as display:
        act(display, plan)
    return out.getvalue()


def test_lines_name_the_step_and_what_is_left():
    def act(display, plan):
        job = (plan.of_kind("train")[0],)
        display.started(job)
        display.advanced(job, 1, 2, {"loss": 0.5, "images/s": 100.0})
        display.ended(job, None)

    text = shown(act)
    assert "start  train table4/os16 on voc trainaug seed 0" in text
    assert "[1/6 steps" in text and "left]" in text


def test_a_failure_is_shown_with_its_reason():
    def act(display, plan):
        job = (plan.of_kind("train")[0],)
        display.started(job)
        display.ended(job, "the loss became nan at iteration 7")

    assert "the loss became nan at iteration 7" in shown(act)


def test_a_sweep_is_one_line():
    def act(display, plan):
        display.started(tuple(plan.of_kind("evaluate")))

    assert "evaluate table4/os16 seed 0 (+3 strategies)" in shown(act)


def test_a_job_that_waits_for_another_process_is_no_step_done():
    def act(display, plan):
        job = (plan.of_kind("train")[0],)
        display.started(job)
        display.waiting(job)
        display.started(job)
        display.waiting(job)
        assert display.done == 0 and not display.left.under_way

    text = shown(act)
    assert text.count("another process runs it") == text.count("start  train") == 1
