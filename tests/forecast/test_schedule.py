"""Schedules worked by hand, and the real queue taken one by one as the real workers take it."""

import pytest

from replication import workers
from replication.arguments import HOME
from replication.data.sources import Sources
from replication.forecast.schedule import longest_chain, makespans, simulate, unfinished
from replication.plan import build
from replication.runs import Step
from replication.spec import load_tables
from replication.tiers import load_tier


def step(name, parent=None, kind="train"):
    return Step(kind=kind, config={"name": name}, parent=parent.id if parent else None)


ROOT = step("root")
LEFT, RIGHT, THIRD = (step(name, ROOT) for name in ("left", "right", "third"))
LAST = step("last", LEFT)
SECONDS = {ROOT: 2.0, LEFT: 3.0, RIGHT: 4.0, THIRD: 1.0, LAST: 5.0}
QUEUE = [(one,) for one in (LAST, ROOT, LEFT, RIGHT, THIRD)]


def seconds(job):
    return SECONDS[job[0]]


@pytest.mark.parametrize(
    ("count", "makespan"),
    [
        (1, 15),
        # 0-2 root; 2-5 left, 2-6 right; 5-10 last, before third; 6-7 third.
        (2, 10),
        # 0-2 root; left, right and third at once; 5-10 last.
        (3, 10),
        (64, 10),
    ],
)
def test_a_tree_by_hand(count, makespan):
    found = simulate(QUEUE, seconds, count)
    assert found.seconds == makespan and found.busy == 15
    assert found.use == 15 / (count * makespan)


def test_order_decides_who_is_left_last():
    """Two workers and jobs of 1, 1 and 4: 4 if the long one is first, else 5."""
    jobs = {step(str(n)): float(n) for n in (4,)} | {step("a"): 1.0, step("b"): 1.0}
    first = [(one,) for one in jobs]
    last = first[::-1]
    assert simulate(first, lambda job: jobs[job[0]], 2).seconds == 4
    assert simulate(last, lambda job: jobs[job[0]], 2).seconds == 5


def test_a_parent_that_is_done_is_not_waited_for():
    assert simulate([(LEFT,), (RIGHT,)], seconds, 2).seconds == 4


def test_workers_start_once_and_an_empty_plan_takes_no_time():
    assert simulate(QUEUE, seconds, 2, start=4.0).seconds == 14
    assert simulate([], seconds, 2, start=4.0).seconds == 0
    assert simulate([], seconds, 2).use == 1


def test_the_longest_chain():
    assert longest_chain(QUEUE, seconds) == 10
    assert longest_chain([], seconds) == 0


def test_the_chosen_number_is_among_them():
    found = makespans(QUEUE, seconds, chosen=3)
    assert [one.workers for one in found] == [1, 2, 3, 4, 8, 16, 32, 64]
    assert [one.workers for one in makespans(QUEUE, seconds)] == [1, 2, 4, 8, 16, 32, 64]


@pytest.fixture(scope="module")
def plan():
    tier = load_tier("smoke", HOME / "tiers")
    tables = [table for table in load_tables(HOME / "tables") if table.number is not None]
    return build(tables, tier, Sources.of(tier.data, {}), [0, 1])


def taken_by_the_workers(plan, todo, cost, count):
    """The makespan if the real queue is asked, with the real function, by whoever is idle."""
    queue, done, running, now = workers.jobs(plan, todo), [], [], 0.0
    while queue or running:
        while len(running) < count:
            job = workers._next(queue, done, {})
            if job is None:
                break
            running.append((now + cost(job), job))
        now = min(end for end, _ in running)
        for end, job in [one for one in running if one[0] == now]:
            running.remove((end, job))
            done += [one.id for one in job]
    return now


@pytest.mark.parametrize("count", [1, 2, 5, 16])
def test_all_tables_as_the_workers_take_them(plan, count):
    # Of arbitrary, distinct lengths.
    def cost(job):
        return 1.0 + int(job[0].id[-4:], 16) / 1000

    states = dict.fromkeys(plan.steps, "missing")
    queue = unfinished(plan, states)
    expected = taken_by_the_workers(plan, list(plan.steps.values()), cost, count)
    assert simulate(queue, cost, count).seconds == pytest.approx(expected)


def test_what_depends_on_a_failure_is_not_run(plan):
    states = dict.fromkeys(plan.steps, "missing")
    [training, *_] = [run for run in plan.runs if run.name == "table7/deeplabv3"]
    chain = [one.id for one in training.chain]
    states[chain[0]], states[chain[1]] = "done", "failed"
    left = {one.id for job in unfinished(plan, states) for one in job}
    assert not {*chain[:2]} & left
    assert training.chain[2].id not in left and training.evaluation.id not in left
    lost = sum(1 for run in plan.runs if chain[1] in [one.id for one in run.chain] for _ in [run])
    assert lost >= 1 and len(left) < len(plan.steps) - 3
