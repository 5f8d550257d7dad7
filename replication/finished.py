"""What a finished step left on disk, read without torch."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from replication.errors import RunError
from replication.runs import read_json, step_id

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Finished:
    """One step's folder. Each file is read when it is first asked for.

    Raises RunError, naming the file, where one is missing, cut short or of another form.
    """

    folder: Path

    @property
    def id(self) -> str:
        return self.folder.name

    @cached_property
    def identity(self) -> dict[str, Any]:
        return read_json(self.folder / "config.json")

    @property
    def kind(self) -> str:
        return str(self.identity["kind"])

    @property
    def config(self) -> Mapping[str, Any]:
        config: Mapping[str, Any] = self.identity["config"]
        return config

    @property
    def parent(self) -> "Finished | None":
        """The step that this one starts from, whether or not its record is there."""
        name = self.identity["parent"]
        return Finished(folder=self.folder.with_name(name)) if name else None

    @property
    def exists(self) -> bool:
        return (self.folder / "config.json").is_file()

    @cached_property
    def digest(self) -> str:
        """The id that the recorded configuration has, as `runs.Step` makes it."""
        return step_id(self.identity)

    @cached_property
    def outcome(self) -> dict[str, Any]:
        return read_json(self.folder / "outcome.json")

    @property
    def done(self) -> bool:
        """Whether the step ended well; a failed one has an outcome, and nothing to examine."""
        exists = (self.folder / "outcome.json").is_file()
        return exists and self.outcome.get("status") == "done"

    @cached_property
    def log(self) -> list[dict[str, Any]]:
        """A training's log, oldest first."""
        lines = self._text("log.jsonl").splitlines()
        try:
            entries = [json.loads(line) for line in lines]
        except ValueError as error:
            raise RunError(f"{self.folder / 'log.jsonl'}: damaged ({error})") from None
        if not entries:
            raise RunError(f"{self.folder / 'log.jsonl'}: empty")
        return entries

    @cached_property
    def images(self) -> tuple[str, ...]:
        """The ids of the images that were evaluated, or trained on, in order."""
        return tuple(self._text("images.txt").splitlines())

    @property
    def lists_images(self) -> bool:
        return (self.folder / "images.txt").is_file()

    @cached_property
    def geometry(self) -> dict[str, Any] | None:
        """Stride and rate of each convolution as it ran; None in records that do not say."""
        file = self.folder / "geometry.json"
        return read_json(file) if file.is_file() else None

    @cached_property
    def weights(self) -> dict[str, Array]:
        return _tensors(self.folder / "weights.safetensors")

    @cached_property
    def confusion(self) -> NDArray[np.int32]:
        """Counts (images, classes, classes), rows the truth."""
        file = self.folder / "counts.safetensors"
        counts = _tensors(file).get("confusion")
        if counts is None or counts.ndim != 3 or counts.shape[1] != counts.shape[2]:
            raise RunError(f"{file}: damaged (no counts per image)")
        return counts

    @property
    def classes(self) -> tuple[str, ...]:
        """An evaluation's classes, in the order of its counts."""
        return tuple(self.outcome["per_class"])

    def _text(self, name: str) -> str:
        try:
            return (self.folder / name).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise RunError(f"{self.folder / name}: damaged ({error})") from None


def _tensors(file: Path) -> dict[str, Array]:
    try:
        with safe_open(file, framework="np") as content:
            return {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError) as error:
        raise RunError(f"{file}: damaged ({error})") from None
