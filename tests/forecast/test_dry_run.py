"""What `--dry-run` shows of a forecast, to people and to programs, and what it refuses."""

import json
import re
import subprocess
import sys

import pytest

from replication.arguments import HOME
from replication.forecast import devices, shown
from replication.forecast.probes import Probe
from replication.run import main

pytestmark = pytest.mark.usefixtures("some_cpu")


def arguments(tmp_path, *more):
    return [
        "--table", "4", "--tier", "smoke", "--dry-run", "--device", "cpu",
        "--results", str(tmp_path / "r"), *more,
    ]  # fmt: skip


def test_a_dry_run_shows_what_it_costs(tmp_path, capsys):
    assert main(arguments(tmp_path, "--workers", "3")) == 0
    out = capsys.readouterr().out
    assert "What is still to run costs, on Some CPU, 8 cores, 1 thread a step:" in out
    for said in ("device-hours", "memory  0.4", "of results: weights", "cache  ", "makespan"):
        assert said in out
    [workers] = [line.split() for line in out.splitlines() if line.startswith("workers ")]
    assert workers[1:] == ["1", "2", "3*", "4", "8", "16", "32", "64"]
    assert out.count("with it") == 3  # a sweep of four
    # Time, memory and disk of each training; each evaluation writes counts of its own.
    rows = [line for line in out.splitlines() if line.startswith(("pretrain ", "train "))]
    assert len(rows) == 2
    assert all(re.search(r"\d s +0\.\d+ GB +[\d.]+ (kB|MB)$", row) for row in rows)
    rows = [line for line in out.splitlines() if line.startswith("evaluate ")]
    assert len(rows) == 4 and all(re.search(r"  [\d.]+ kB$", row) for row in rows)
    assert not (tmp_path / "r").exists()


def test_a_dry_run_for_programs(tmp_path, capsys):
    assert main(arguments(tmp_path, "--json", "--device-name", "a100", "--gpus", "4")) == 0
    found = json.loads(capsys.readouterr().out)["forecast"]
    assert found["device"]["name"] == "A100 80 GB" and not found["device"]["at hand"]
    assert found["rests_on"] == {"table": 3}
    assert [one["workers"] for one in found["makespans"] if one["chosen"]] == [4]
    seconds = sum(one["seconds"] for one in found["jobs"])
    assert found["device_hours"] == pytest.approx(seconds / 3600)
    assert found["known_devices"]["a100"]["device_hours"] <= found["device_hours"]
    assert sorted(len(one["steps"]) for one in found["jobs"]) == [1, 1, 4]
    assert all(one["steps"] == [*one["disk"]] for one in found["jobs"])
    each = [disk["results"] for one in found["jobs"] for disk in one["disk"].values()]
    assert sum(each) == pytest.approx(found["disk"]["results"]) and min(each) > 0


def test_a_gpus_makespan(tmp_path, capsys, monkeypatch):
    """Two workers on one GPU are not two GPUs."""
    monkeypatch.setattr(devices, "gpu", lambda: ("NVIDIA H100 80GB HBM3", 85e9))
    where = ["--table", "4", "--tier", "smoke", "--dry-run", "--results", str(tmp_path / "r")]
    for given, star in (([], "1*"), (["--workers", "2"], "1*"), (["--gpus", "4"], "4*")):
        assert main([*where, *given]) == 0
        [gpus] = [x for x in capsys.readouterr().out.splitlines() if x.startswith("GPUs ")]
        assert [word for word in gpus.split() if word.endswith("*")] == [star]


def test_probes_are_announced_then_made(tmp_path, capsys, monkeypatch):
    from replication.forecast import probing

    def instead(shapes, probes, workers, console):
        for one in shapes:
            probes.keep(one, Probe(seconds=60.0, flops=one.effort.flops), workers)
        return {"one of them": "out of memory"}

    monkeypatch.setattr(probing, "measure_all", instead)
    assert main(arguments(tmp_path, "--probe", "--json")) == 0
    out, err = capsys.readouterr()
    assert "probes: 3 distinct shapes, 8 at a time: about" in err
    assert "one of them: out of memory" in err
    assert json.loads(out)["forecast"]["rests_on"] == {"probe": 3}
    assert main(arguments(tmp_path, "--probe", "--json")) == 0
    assert "nothing to measure" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--dry-run", "--device-name", "a10"], 'the nearest known is "a100"'),
        (["--probe"], "--probe: goes with --dry-run"),
        (["--gpus", "2"], "--gpus: goes with --dry-run"),
        (["--dry-run", "--device", "gpu"], "--device gpu: no such device; it is auto, cpu or cuda"),
        (["--dry-run", "--device", "cuda"], "--device cuda: nvidia-smi lists no GPU here; use"),
        (["--dry-run", "--gpus", "8"], "--gpus 8: the forecast is for a CPU (Some CPU, 8 cores"),
        (["--dry-run", "--gpus", "8", "--device-name", "laptop-core"], "for a CPU (laptop core"),
        (["--dry-run", "--gpus", "0"], "--gpus 0: must be at least 1"),
        (["--dry-run", "--gpus", "2", "--workers", "2"], "--gpus: not with --workers"),
        (["--dry-run", "--probe", "--device-name", "t4"], "--probe: not with --device-name"),
        (["--dry-run", "--power", "--probe"], "--probe: goes with --dry-run, without --power"),
    ],
)
def test_a_users_mistake_is_a_line(given, said, capsys, tmp_path):
    where = ["--table", "4", "--tier", "smoke", "--results", str(tmp_path / "r")]
    assert main([*where, *given]) == 2
    error = capsys.readouterr().err
    assert said in error and len(error.splitlines()) == 1


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(4.44, "4.4 s"), (99, "99 s"), (101, "1.7 min"), (5400, "90 min"), (7000, "1.9 h"),
     (86400 * 23.4, "23 days"), (None, "?")],
)  # fmt: skip
def test_times_have_two_digits(seconds, said):
    assert shown.amount(seconds) == said


def test_a_forecast_needs_no_torch(tmp_path):
    """So that looking stays quick, and costs no GPU its memory."""
    code = (
        "import sys; from replication.run import main; "
        f"main({arguments(tmp_path)!r}); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=HOME, check=True, stdout=subprocess.DEVNULL)
