"""A git checkout with smoke trainings and a committed reference of them, to be spoilt by tests."""

import json
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from replication import arguments

HERE = Path(__file__).resolve().parents[2]
REFERENCE = Path("references/smoke-table09.json")
STEPS = Path("results/smoke/steps")
# Two strategies of one training: with two seeds a pretraining, two trainings, four evaluations.
TABLE = """
number = 9
title = "Two strategies of one network"
source = "a test"
[training]
backbone = "resnet50"
head = "aspp"
atrous_rates = [6, 12, 18]
image_pooling = true
output_stride = 16
[[cells]]
id = "os16"
evaluation = { output_stride = 16 }
published = 70.0
[[cells]]
id = "os8"
evaluation = { output_stride = 8 }
published = 71.0
"""


def git(*words):
    options = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *options, *words], check=True, capture_output=True)


def commit():
    git("add", "--all")
    git("commit", "--quiet", "--message", "a change")


def command(module, *words):
    """Exit status and output of `python -m replication.MODULE` of the checkout that we are in."""
    done = subprocess.run(
        [sys.executable, "-m", f"replication.{module}", *words], capture_output=True, text=True
    )
    return done.returncode, done.stdout + done.stderr


@cache
def recorded(folder):
    """The checkout, made in `folder` once, and what the command said on the way there."""
    home = folder / "checkout"
    for name in ("replication", "tiers", "figures"):
        shutil.copytree(HERE / name, home / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (".gitignore", "devices.toml", "ledger.toml", "tables/protocol.toml"):
        (home / name).parent.mkdir(exist_ok=True)
        shutil.copy(HERE / name, home / name)
    (home / "tables/table09.toml").write_text(TABLE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.setenv("REPLICATION_DATA", str(folder / "data"))
        patch.delenv("GITHUB_STEP_SUMMARY", raising=False)
        git("init", "--quiet")
        commit()
        which = ["--tier", "smoke", "--table", "9", "--seeds", "2"]
        said = {"before": command("check", "--tier", "smoke")}
        status, out = command("run", *which, "--workers", "1")
        assert status == 0, out
        said["update"] = command("check", "--update", *which)
        said["uncommitted"] = command("check")
        commit()
        said["committed"] = command("check")
    return home, said


def spoilable(made, copy, monkeypatch):
    """A copy of the checkout as this process's own."""
    shutil.copytree(made, copy)
    monkeypatch.chdir(copy)
    monkeypatch.setattr(arguments, "HOME", copy)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    return copy


def step(kind, cell="os16", seed=0):
    """The folder of the step of one cell and seed."""
    [run] = [run for run in json.loads(REFERENCE.read_text())["cells"][cell] if run["seed"] == seed]
    return STEPS / (run["evaluation"] if kind == "evaluate" else run["training"][-1])


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def set_miou(value, cell="os16", seed=0):
    edit(step("evaluate", cell, seed) / "outcome.json", lambda o: o.update(miou=value))


def miou(cell="os16", seed=0):
    return json.loads((step("evaluate", cell, seed) / "outcome.json").read_text())["miou"]


def other_environment(torch="2.99.0"):
    for path in STEPS.glob("*/environment.json"):
        edit(path, lambda environment: environment.update(torch=torch))
