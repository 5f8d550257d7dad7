"""Scores that came back from test servers, entered by hand: RESULTS/TIER/recorded.json."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from filelock import FileLock
from pydantic import Field, TypeAdapter, ValidationError

from replication.errors import RunError
from replication.files import write_atomically
from replication.spec.names import TableKey, cell_name

NAME = "recorded.json"


@dataclass(frozen=True, kw_only=True)
class Score:
    """One score: of which training and inference, how high, who says so, since when."""

    table: TableKey
    cell: str
    seed: int
    # The training step whose predictions were scored, and the inference strategy they came from.
    training: str
    evaluation: Mapping[str, Any]
    # In percent, as the server gives it.
    miou: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
    evidence: Annotated[str, Field(min_length=1)]
    # YYYY-MM-DD
    date: str
    commit: str | None

    def replaces(self, other: "Score") -> bool:
        """Whether both are scores of the same predictions."""
        return self._of == other._of

    @property
    def _of(self) -> tuple[Any, ...]:
        return (self.table, self.cell, self.seed, self.training, dict(self.evaluation))


_SCORES: TypeAdapter[list[Score]] = TypeAdapter(list[Score])


def read(folder: Path) -> list[Score]:
    """What was entered for the results in `folder`. Raises RunError for a damaged file."""
    file = folder / NAME
    try:
        return _SCORES.validate_json(file.read_bytes())
    except FileNotFoundError:
        return []
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        what = f"{where}: {first['msg']}" if where else first["msg"]
        raise RunError(f"{file}: damaged ({what}); mend it or move it away") from None


def enter(folder: Path, score: Score, *, replace: bool = False) -> Score | None:
    """Add a score; returns the one that it replaced.

    Raises RunError if there is one of the same predictions and `replace` is not asked for.
    """
    (folder / "locks").mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "locks" / f"{NAME}.lock"):
        scores = read(folder)
        before = next((one for one in scores if score.replaces(one)), None)
        if before is not None and not replace:
            name = cell_name(score.table, score.cell)
            raise RunError(
                f"{name} seed {score.seed}: {before.miou:g} was entered on {before.date} "
                f"({before.evidence}); give --replace to put {score.miou:g} in its place"
            )
        _write(folder / NAME, [*(one for one in scores if one is not before), score])
    return before


def _write(file: Path, scores: Sequence[Score]) -> None:
    content = [asdict(score) for score in scores]
    write_atomically(file, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
