"""What a price rests on, in order; the totals of an outlook."""

import io
import multiprocessing

import pytest
from rich.console import Console

from replication.arguments import HOME
from replication.data.sources import Sources
from replication.forecast import devices, shown
from replication.forecast.memory import gigabytes
from replication.forecast.outlook import outlook
from replication.forecast.pictures import Split, Splits
from replication.forecast.probes import Probe, Probes
from replication.forecast.probing import measure_all
from replication.plan import build
from replication.run import main
from replication.runs import Store, write_json
from replication.spec import load_tables
from replication.tiers import load_tier

TIER = load_tier("smoke", HOME / "tiers")
TABLES = [table for table in load_tables(HOME / "tables") if table.number in (4, 5, 9)]
SOURCES = Sources.of(TIER.data, {})

pytestmark = pytest.mark.usefixtures("some_cpu")


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path / "results" / "smoke")
    made.prepare()
    return made


def plan(seeds, only=None):
    return build(TABLES, TIER, SOURCES, seeds, only=only)


def finish(store, step, seconds, processor="Some CPU"):
    folder = store.begin(step)
    environment = {"device": "cpu", "processor": processor, "threads": 1}
    write_json(folder / "environment.json", environment)
    store.finish(step, {"status": "done", "seconds": seconds})


def look(store, seeds=(0,), only=None, workers=2):
    return outlook(plan(seeds, only), store, SOURCES, devices.here("cpu", 1), workers=workers)


def of(found, name, seed, kind="train"):
    run = next(run for run in found.plan.runs if run.name == name and run.seed == seed)
    return found.by_step[(run.chain[-1] if kind == "train" else run.evaluation).id]


def test_bases_in_their_order(store):
    only = ["table9/batch4", "table9/batch8", "table9/batch12"]
    assert look(store, only=only).bases() == {"table": 7}
    # One training is done, on this device: the others go by its rate, in proportion.
    first = plan([0], only)
    trained = {run.name: run.chain[-1] for run in first.runs}
    before = of(look(store, only=only), "table9/batch4", 0)
    finish(store, trained["table9/batch4"], 100.0)
    found = look(store, seeds=(0, 1), only=only)
    like, other = of(found, "table9/batch4", 1), of(found, "table9/batch8", 1)
    assert (like.price.basis, like.seconds) == ("record", 100.0)
    assert other.price.basis == "nearest"
    assert other.price.nearest == "train table9/batch4 on voc trainaug seed 0"
    table = found.prices.table
    modelled = [table.seconds(one.effort, found.here.known, "fp32") for one in (like, other)]
    assert other.seconds == pytest.approx(100.0 * modelled[1] / modelled[0])
    assert before.price.basis == "table"
    # Evaluations are another kind of work.
    assert of(found, "table9/batch4", 1, "evaluation").price.basis == "table"
    # A probe goes before what is nearest, and after the same step.
    probes = Probes()
    for one in (like, other):
        unit = one.effort.times(1 / one.effort.units, 1)
        probes.keep(found.prices.shape(one.job), Probe(seconds=3.0, flops=unit.flops), 2)
    found = look(store, seeds=(0, 1), only=only)
    assert of(found, "table9/batch4", 1).price.basis == "record"
    probed = of(found, "table9/batch8", 1)
    assert probed.price.basis == "probe"
    assert probed.seconds == pytest.approx(3.0 * 2 + table.job)  # of two iterations


def test_a_probe_beside_another_number_of_workers_is_a_weaker_basis(store):
    """It stands in until --probe has measured with the number that is to run."""
    [training, *_] = (one for one in look(store, only=["table9/batch4"]).expected)
    found = look(store, only=["table9/batch4"])
    shape = found.prices.shape(training.job)
    Probes().keep(shape, Probe(seconds=1.0, flops=shape.effort.flops), 1)
    first = look(store, only=["table9/batch4"], workers=8)
    assert first.bases() == {"probe, 1 worker": 1, "table": 2}
    assert shape.key in [one.key for one in first.shapes()]
    said = shown.lines(first, chosen=8)
    assert any("1 job: by a probe of its shape with 1 worker; this is for 8" in x for x in said)
    [one] = [one for one in shown.as_json(first, 8)["jobs"] if "probe" in one["rests_on"]]
    assert one["rests_on"] == "probe, 1 worker"
    Probes().keep(shape, Probe(seconds=2.0, flops=shape.effort.flops), 8)
    then = look(store, only=["table9/batch4"], workers=8)
    assert then.bases() == {"probe": 1, "table": 2}
    assert shape.key not in [one.key for one in then.shapes()]
    assert then.by_step[training.job[0].id].seconds > first.by_step[training.job[0].id].seconds


def test_the_peak_that_a_probe_measured_goes_before_the_counted_one(store, monkeypatch):
    """On a GPU, which tells it; whatever the number of workers."""
    monkeypatch.setattr(devices, "gpu", lambda: ("NVIDIA H100 80GB HBM3", 85e9))

    def on_gpu():
        here = devices.here("auto", 1)
        return outlook(plan([0], ["table9/batch4"]), store, SOURCES, here, workers=1)

    before = on_gpu()
    assert {one.memory.rests_on for one in before.expected} == {"counted"}
    assert any(", counted (" in line for line in shown.lines(before, chosen=1))
    [training] = [one for one in before.expected if one.job[0].kind == "train"]
    shape = before.prices.shape(training.job)
    kept = Probe(seconds=1.0, flops=shape.effort.flops, memory=100e9)
    Probes().keep(shape, kept, 2)
    found = on_gpu()
    [training] = [one for one in found.expected if one.job[0].kind == "train"]
    pictures, base = training.memory.pictures, training.memory.base
    assert training.memory.total == 100e9 + pictures + base and pictures > 0
    said = "\n".join(shown.lines(found, chosen=1))
    assert "memory  101 GB at most, measured by a probe (train table9/batch4" in said
    assert "1 of 3 jobs: measured by a probe" in said
    # What does not fit, and what would, go by it too.
    assert "the device has 85 GB): a batch of 3, a crop of 57 or" in said
    content = shown.as_json(found, 1)
    assert content["peak_memory_rests_on"] == "probe"
    assert sorted(one["memory"]["rests_on"] for one in content["jobs"]) == [
        "counted", "counted", "probe",
    ]  # fmt: skip


def test_an_evaluation_of_other_sizes_than_its_probes_is_counted(store, monkeypatch):
    monkeypatch.setattr(devices, "gpu", lambda: ("NVIDIA H100 80GB HBM3", 85e9))
    monkeypatch.setattr(
        Splits, "_look", lambda *_: Split(sizes={(40, 40): 9, (90, 90): 1}, classes=12)
    )

    def evaluated(only=("table9/batch4",)):
        here = devices.here("auto", 1)
        found = outlook(plan([0], only), store, SOURCES, here, workers=1)
        [one] = [one for one in found.expected if one.job[0].kind == "evaluate"]
        return found, one

    found, one = evaluated()
    shape = found.prices.shape(one.job)
    Probes().keep(shape, Probe(seconds=1.0, flops=shape.effort.flops, memory=1e9), 1)
    assert evaluated()[1].memory.rests_on == "counted"
    monkeypatch.setattr(Splits, "_look", lambda *_: Split(sizes={(40, 40): 9}, classes=12))
    assert evaluated()[1].memory.rests_on == "probe"


def test_other_machines_records_do_not_count(store):
    [step] = [run.chain[-1] for run in plan([0], ["table9/batch4"]).runs]
    finish(store, step, 100.0, processor="Another CPU")
    assert set(look(store, seeds=(0, 1)).bases()) == {"table"}


def test_a_sweep_is_one_job_with_the_time_of_its_record(store):
    strategies = ["table4/os16", "table4/os8", "table4/os8-ms"]
    for step in plan([0], strategies).steps.values():
        finish(store, step, {"evaluate": 12.0, "train": 60.0, "pretrain": 30.0}[step.kind])
    found = look(store, seeds=(0, 1), only=strategies)
    assert [one.seconds for one in found.expected] == [12.0, 30.0, 60.0]
    assert found.device_seconds == 102.0 == found.longest_chain
    assert found.expected[0].label == "evaluate table4/os16 seed 1 (+2 strategies)"
    # One strategy more, and the sweep is another.
    more = look(store, seeds=(0, 1), only=[*strategies, "table4/os8-ms-flip"])
    assert of(more, "table4/os8", 1, "evaluation").price.basis == "nearest"


def test_what_was_broken_off_is_priced_for_what_is_left(store):
    [training] = [run.chain[-1] for run in plan([0], ["table9/batch4"]).runs]
    whole = of(look(store, only=["table9/batch4"]), "table9/batch4", 0).seconds
    folder = store.begin(training)
    (folder / "checkpoint.safetensors").write_bytes(b"")
    (folder / "log.jsonl").write_text('{"iteration": 1}\n')
    left = of(look(store, only=["table9/batch4"]), "table9/batch4", 0)
    assert left.left == 0.5 and left.seconds == pytest.approx(whole / 2)


def test_a_device_of_which_nothing_is_known(store, monkeypatch):
    monkeypatch.setattr(devices, "gpu", lambda: ("Radeon VII", 16e9))
    found = outlook(plan([0]), store, SOURCES, devices.here("auto", 1), workers=1)
    assert found.untimed == len(found.expected) and found.bases() == {"unknown": found.untimed}
    text = "\n".join(shown.lines(found, chosen=1))
    assert "time    unknown" in text and "makespan" not in text
    assert "device-hours on one" in text and "A100 80 GB" in text


def test_too_little_memory_is_said_before(store, monkeypatch):
    monkeypatch.setattr(devices, "main_memory", lambda: 0.43e9)
    found = look(store, only=["table4/os16", "table9/batch4"])
    said = shown.warnings(found)
    assert any("train table4/os16" in line and "would fit" in line for line in said)
    assert len(shown.shortened([*said] * 9)) == shown.MOST_WARNINGS + 1
    # Each of them fits, two of them do not.
    monkeypatch.setattr(devices, "main_memory", lambda: 0.7e9)
    found = look(store, only=["table9/batch4"])
    [line] = shown.warnings(found)
    assert "2 largest jobs side by side need" in line and "--workers 1 would fit" in line
    assert shown.warnings(look(store, only=["table9/batch4"], workers=1)) == []


def test_a_run_begins_with_what_it_takes(store, monkeypatch):
    monkeypatch.setattr(devices, "main_memory", lambda: 25e9)

    def begins(workers, device="cpu", threads=1):
        here = devices.here(device, threads)
        one = outlook(plan([0], ["table9/batch4"]), store, SOURCES, here, workers=workers)
        first, *warnings = shown.beginning(one)
        assert warnings == shown.warnings(one)
        return one, first

    found, said = begins(2)
    sizes = sorted(one.memory.total for one in found.expected)
    assert said == (
        f"2 workers, 1 thread each; memory at most {gigabytes(sizes[-1])} a worker, "
        f"{gigabytes(sizes[-1] + sizes[-2])} in all, counted; the machine has 25 GB"
    )
    # No more of them than there are jobs.
    assert begins(64)[1].startswith("3 workers, 1 thread each; ")
    one = f"1 worker, 4 threads; memory at most {gigabytes(sizes[-1])}, counted; the machine has"
    assert begins(1, threads=4)[1] == f"{one} 25 GB"
    # Several on one GPU share it, and may be too many for it.
    monkeypatch.setattr(devices, "gpu", lambda: ("NVIDIA H100 80GB HBM3", 1.0e9))
    found, said = begins(2, "auto")
    assert said.endswith("in all, counted; the GPU has 1 GB")
    [line] = shown.warnings(found)
    assert "2 largest jobs side by side need" in line and "--workers 1 would fit" in line


def test_a_plan_that_is_done(store):
    for step in plan([0], ["table9/batch4"]).steps.values():
        finish(store, step, 1.0)
    found = look(store, only=["table9/batch4"])
    assert shown.lines(found, chosen=2) == ["nothing is left to run"]
    assert shown.as_json(found, 2)["device_hours"] == 0


def test_disk_is_what_is_written(store):
    """Against the records of a run: weights and counts to a few per cent."""
    arguments = ["--cell", "table9/batch4", "--tier", "smoke", "--device", "cpu", "--workers", "1"]
    where = ["--results", str(store.folder.parent)]
    ahead = look(store, only=["table9/batch4"])
    assert main([*arguments, *where]) == 0
    sizes = {
        name: sum(path.stat().st_size for path in store.steps.glob(f"*/{name}"))
        for name in ("weights.safetensors", "counts.safetensors")
    }
    found, steps = ahead.disk, ahead.plan.steps
    assert found.weights == pytest.approx(sizes["weights.safetensors"], rel=0.05)
    assert found.counts == pytest.approx(sizes["counts.safetensors"], rel=0.05)
    # A step at a time: what decides is its weights, or its counts.
    for id_, step in steps.items():
        [file] = [*store.path(id_).glob("weights.*"), *store.path(id_).glob("counts.*")]
        one = ahead.written(step)
        assert one.weights + one.counts == pytest.approx(file.stat().st_size, rel=0.05)
    assert found.results == pytest.approx(sum(ahead.written(s).results for s in steps.values()))


def test_a_process_of_its_own_makes_the_probes(store, tmp_path):
    found = look(store, only=["table9/batch4"])
    evaluated = [one for one in found.shapes() if one.pictures]
    probes = Probes(tmp_path / "probes.json")
    assert measure_all(evaluated, probes, 1, Console(file=io.StringIO())) == {}
    probe, workers = probes.of(evaluated[0], 1)
    assert probe.flops == evaluated[0].effort.flops and workers == 1


def test_an_endless_neighbour_is_ended(store, tmp_path):
    """Two at a time where there is one shape: it is measured, and nothing is left behind."""
    found = look(store, only=["table9/batch4"])
    [evaluated] = [one for one in found.shapes() if one.pictures]
    before = set(multiprocessing.active_children())
    probes = Probes(tmp_path / "probes.json")
    assert measure_all([evaluated], probes, 2, Console(file=io.StringIO())) == {}
    assert probes.of(evaluated, 2)[1] == 2
    assert set(multiprocessing.active_children()) == before
