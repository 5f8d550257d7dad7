"""The record of every step on disk.

    RESULTS/TIER/steps/KIND-ID/          a finished step: config, environment, log, weights or
                                         counts, outcome
    RESULTS/TIER/steps/KIND-ID.partial/  a step under way or broken off: config, checkpoint, log
    RESULTS/TIER/locks/KIND-ID.lock      held by the process that runs the step

A record is written beside and renamed into place; a step is finished when its outcome exists.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from replication.errors import RunError

# Raised whenever the same configuration would give other numbers: old records are then left alone.
VERSION = 4
# Added to it for steps in bfloat16: raised where only their numbers change.
OF_BF16 = 1

# In the place of a key that one of two configurations lacks.
ABSENT = object()

Kind = Literal["pretrain", "train", "evaluate"]
Status = Literal["done", "failed", "partial", "missing"]


def step_id(identity: Mapping[str, Any]) -> str:
    """KIND-HASH of version, kind, configuration and parent, as recorded under any VERSION."""
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return f"{identity['kind']}-{sha256(text.encode()).hexdigest()[:16]}"


def version(config: Mapping[str, Any]) -> int:
    """The VERSION that the numbers of a step of this configuration are of."""
    protocols = (config.get(name, {}) for name in ("pretraining", "stage", "evaluation"))
    in_bf16 = any(protocol.get("precision") == "bf16" for protocol in protocols)
    return VERSION + OF_BF16 * in_bf16


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """One unit of work. `config` is all that decides its result; it starts from `parent`."""

    kind: Kind
    config: Mapping[str, Any]
    parent: str | None

    @cached_property
    def identity(self) -> dict[str, Any]:
        return {
            "version": version(self.config),
            "kind": self.kind,
            "config": self.config,
            "parent": self.parent,
        }

    @cached_property
    def id(self) -> str:
        return step_id(self.identity)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Step) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)


class Store:
    """The steps of one results folder and tier.

    What is on record stays as it is: this object reads and checks each record once.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.steps = folder / "steps"
        self._status: dict[str, Status] = {}
        self._outcomes: dict[str, dict[str, Any]] = {}

    def prepare(self) -> None:
        """Make the folder and make sure that it can be written."""
        try:
            self.steps.mkdir(parents=True, exist_ok=True)
            (self.folder / "locks").mkdir(exist_ok=True)
            probe = self.steps / f".probe-{os.getpid()}"
            probe.write_text("")
            probe.unlink()
        except OSError as error:
            raise RunError(
                f"{self.folder}: cannot write results here ({error.strerror}); "
                "choose another folder with --results"
            ) from None

    def path(self, step_id: str) -> Path:
        return self.steps / step_id

    def partial(self, step_id: str) -> Path:
        return self.steps / f"{step_id}.partial"

    def status(self, step: Step) -> Status:
        """Where a step stands; a finished one must have been made from the same configuration."""
        if step.id in self._status:
            return self._status[step.id]
        if (self.path(step.id) / "outcome.json").is_file():
            self._check_config(step)
            failed = self.outcome(step.id)["status"] == "failed"
            self._status[step.id] = "failed" if failed else "done"
            return self._status[step.id]
        return "partial" if self.partial(step.id).is_dir() else "missing"

    def outcome(self, step_id: str) -> dict[str, Any]:
        if step_id not in self._outcomes:
            self._outcomes[step_id] = read_json(self.path(step_id) / "outcome.json")
        return self._outcomes[step_id]

    def _check_config(self, step: Step) -> None:
        file = self.path(step.id) / "config.json"
        recorded, planned = read_json(file), json.loads(json.dumps(step.identity))
        if recorded != planned:
            changes = "; ".join(differences(recorded, planned))
            raise RunError(
                f"{file}: the record was made from another configuration ({changes}); "
                "move it away to run this step"
            )

    @contextmanager
    def lock(self, step: Step) -> Iterator[bool]:
        """Hold the step for this process; False if another process holds it.

        The lock is the operating system's: it ends with the process, however that ends.
        """
        lock = FileLock(self.folder / "locks" / f"{step.id}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def begin(self, step: Step) -> Path:
        """The step's working folder, with what an earlier, broken-off run left in it."""
        folder = self.partial(step.id)
        folder.mkdir(exist_ok=True)
        write_json(folder / "config.json", step.identity)
        return folder

    def finish(self, step: Step, outcome: Mapping[str, Any]) -> None:
        """Turn the working folder into the step's record."""
        folder, target = self.partial(step.id), self.path(step.id)
        for leftover in folder.glob("checkpoint*"):
            leftover.unlink()
        write_json(folder / "outcome.json", outcome)
        if target.exists():  # a damaged record, without an outcome
            shutil.rmtree(target)
        os.replace(folder, target)


def read_json(path: Path) -> dict[str, Any]:
    """Raises RunError for a file that is cut short or no JSON."""
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise RunError(
            f"{path}: damaged ({error}); move {path.parent} away to run it again"
        ) from None
    return content


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write beside, then rename into place."""
    beside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with beside.open("w") as file:
            json.dump(content, file, indent=1, allow_nan=False)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def differences(recorded: Any, planned: Any, at: str = "") -> list[str]:
    """Every leaf at which two configurations differ, as `key: recorded, planned`.

    A field at its default is left out of a configuration: "nothing" in that place.
    """
    if isinstance(recorded, dict) and isinstance(planned, dict):
        keys = sorted(recorded.keys() | planned.keys())
        return [
            line
            for key in keys
            for line in differences(
                recorded.get(key, ABSENT), planned.get(key, ABSENT), f"{at}.{key}".strip(".")
            )
        ]
    if recorded == planned:
        return []
    of_record, of_plan = ("nothing" if one is ABSENT else repr(one) for one in (recorded, planned))
    return [f"{at}: {of_record} recorded, {of_plan} planned"]
