"""Two small specs, and what the tests of specs do with them."""

from pathlib import Path

import pytest

from replication.errors import SpecError
from replication.spec import Table, load_tables

HERE = Path(__file__).resolve().parents[1]

LIST = """\
number = 5
title = "A list"
source = "a paper, Table 5"
bold = "both"
columns = [
  { title = "MG", key = "multi_grid", tick = [1, 2, 1] },
  { title = "MS", key = "evaluation.scales", tick_unless = [1.0] },
  { title = "COCO", key = "chain", tick = "coco" },
]

[training]
head = "aspp"

[stages.coco]
data = "coco"
split = "train"

[[cells]]
id = "plain"
published = 75.0

[[cells]]
id = "grid"
multi_grid = [1, 2, 1]
published = 76.0

[[cells]]
id = "both"
multi_grid = [1, 2, 1]
chain = ["coco", "train"]
stages.train.learning_rate = 0.0001
evaluation = { output_stride = 8, scales = [0.5, 1.0] }
published = 77.5

[[cells]]
id = "pspnet"
method = "PSPNet"
published = 85.4

[[claims]]
says = "Multi-grid helps by 1%."
where = "section 4"
greater = [["grid", "plain"]]
by = 1.0
"""

GRID = """\
number = 3
title = "A grid"
source = "a paper, Table 3"

[training]
backbone = "resnet50"

[grid]
rows.multi_grid = [[1, 1, 1], [1, 2, 1]]
columns.last_block = [4, 7]
published = [
  [68.0, 75.0],
  [70.0, 76.5],
]

[[claims]]
says = "Deeper is better."
where = "section 4"
best = "mg121-block7"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder `tables` in the working directory with the project's own protocol."""
    monkeypatch.chdir(tmp_path)
    tables = Path("tables")
    tables.mkdir()
    (tables / "protocol.toml").write_text((HERE / "tables/protocol.toml").read_text())
    return tables


def problems(folder: Path, text: str, name: str = "table.toml") -> list[str]:
    (folder / name).write_text(text)
    with pytest.raises(SpecError) as caught:
        load_tables(folder)
    return str(caught.value).splitlines()


def changed(text: str, old: str, new: str) -> str:
    assert text.count(old) >= 1, old
    return text.replace(old, new, 1)


def one(folder: Path, text: str) -> Table:
    (folder / "table.toml").write_text(text)
    (table,) = load_tables(folder)
    return table
