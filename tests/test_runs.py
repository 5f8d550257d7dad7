"""Records: identity, atomicity, locks, and what a damaged or foreign one says."""

import json
import multiprocessing

import pytest

from replication import runs
from replication.errors import RunError
from replication.runs import Step, Store, differences, write_json


def step(**config):
    return Step(kind="train", config={"seed": 0, "stage": {"batch_size": 16}, **config}, parent="p")


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "micro")
    store.prepare()
    return store


def test_identity_is_the_whole_configuration_and_the_parent():
    assert step().id == step().id
    assert step().id != step(seed=1).id
    assert step().id != step(stage={"batch_size": 8}).id
    assert step().id != Step(kind="train", config=step().config, parent="q").id
    assert step().id.startswith("train-")


@pytest.mark.parametrize("part", ["pretraining", "stage", "evaluation"])
def test_what_changed_in_bfloat16_alone_left_other_steps_their_ids(part, monkeypatch):
    def ids():
        return [step(**{part: {"precision": name}}).id for name in ("bf16", "fp32", "tf32")]

    before = ids()
    monkeypatch.setattr(runs, "OF_BF16", runs.OF_BF16 + 1)
    assert [old == new for old, new in zip(before, ids(), strict=True)] == [False, True, True]
    monkeypatch.setattr(runs, "VERSION", runs.VERSION + 1)
    assert not set(before) & set(ids())


def test_a_step_is_done_when_its_outcome_exists(store):
    assert store.status(step()) == "missing"
    folder = store.begin(step())
    (folder / "checkpoint.safetensors").write_text("x")
    assert store.status(step()) == "partial"
    store.finish(step(), {"status": "done", "miou": 50.0})
    assert store.status(step()) == "done"
    assert store.outcome(step().id)["miou"] == 50.0
    names = {path.name for path in store.path(step().id).iterdir()}
    assert names == {"config.json", "outcome.json"}


def test_a_failure_is_a_record_too(store):
    store.begin(step())
    store.finish(step(), {"status": "failed", "error": "the loss became nan at iteration 7"})
    assert store.status(step()) == "failed"


def test_a_record_of_another_configuration_is_an_error_that_shows_the_difference(store):
    store.begin(step())
    store.finish(step(), {"status": "done"})
    file = store.path(step().id) / "config.json"
    content = json.loads(file.read_text())
    content["config"]["stage"]["batch_size"] = 4
    file.write_text(json.dumps(content))
    with pytest.raises(RunError, match=r"config.stage.batch_size: 4 recorded, 16 planned"):
        store.status(step())


def test_a_damaged_outcome_is_one_line(store):
    store.begin(step())
    store.finish(step(), {"status": "done"})
    (store.path(step().id) / "outcome.json").write_text('{"status": "do')
    with pytest.raises(RunError, match=r"outcome.json: damaged .*move .* away") as caught:
        store.status(step())
    assert len(str(caught.value).splitlines()) == 1


def test_results_that_cannot_be_written_say_so(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(RunError, match=r"cannot write results here .* --results"):
        Store(blocked / "micro").prepare()


def test_json_is_never_half_written(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def _try_lock(folder, results):
    store = Store(folder)
    with store.lock(step()) as held:
        results.put(held)


def test_one_process_at_a_time(store):
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    for expected in (False, True):
        if not expected:
            with store.lock(step()) as held:
                assert held
                other = context.Process(target=_try_lock, args=(store.folder, results))
                other.start()
                other.join()
        else:
            other = context.Process(target=_try_lock, args=(store.folder, results))
            other.start()
            other.join()
        assert results.get(timeout=10) is expected


def test_differences_name_every_leaf():
    assert differences({"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 3}, "d": 4}) == [
        "b.c: 2 recorded, 3 planned",
        "d: nothing recorded, 4 planned",
    ]
