"""What a verdict at a comparable tier says, in every rendering."""

import io
import json

import pytest
from rich.console import Console

from replication import render
from replication.results import CellVerdict, TableResult
from tests.render.samples import cell, grid_table, rows_table

WARNING = "above is a warning: suspect a leak first; no leak check was made"
SEEDS = "at this deviation 86 seeds in all would decide it"


def drawn(result: TableResult, folder) -> dict[str, str]:
    """Each rendering's text on one line: a terminal breaks lines where it likes."""
    console = Console(file=io.StringIO(), width=100, color_system=None)
    render.terminal(result, console)
    assert isinstance(console.file, io.StringIO)
    texts = {path.suffix[1:]: path.read_text() for path in render.write(result, folder)}
    texts["index"] = render.summary(folder).read_text()
    texts["terminal"] = console.file.getvalue()
    return {kind: " ".join(text.split()) for kind, text in texts.items()}


def judged(verdict: CellVerdict, reason: str, *values: float) -> TableResult:
    one = cell("plain", 76.66, *values, verdict=verdict, reason=reason)
    other = cell("both", 79.35, *values, verdict="reproduced", reason="another reason")
    return rows_table(cells=(one, other), comparable=True, notice="")


@pytest.mark.parametrize("verdict", ["reproduced", "below", "above"])
@pytest.mark.parametrize("kind", ["terminal", "md", "tex", "csv", "json", "index"])
def test_a_single_seed_is_said_wherever_its_verdict_appears(verdict, kind, tmp_path):
    reason = "single seed: -0.60 against a tolerance of 1.0"
    text = drawn(judged(verdict, reason, 76.06), tmp_path)[kind]
    assert "single seed" in text
    if kind not in ("csv", "json"):  # there the verdict is a key, and the reason says it
        assert f"{verdict} (single seed)" in text


@pytest.mark.parametrize("kind", ["terminal", "md", "tex", "csv", "json", "index"])
def test_several_seeds_are_never_called_one(kind, tmp_path):
    text = drawn(judged("below", "one more run is expected", 70.0, 71.0, 70.5), tmp_path)[kind]
    assert "below" in text and "single" not in text


@pytest.mark.parametrize(
    ("verdict", "reason"),
    [("above", WARNING), ("inconclusive", SEEDS), ("suspect", "seed 0: pixels: 4 void")],
)
def test_what_asks_something_of_the_reader_is_explained_everywhere(verdict, reason, tmp_path):
    texts = drawn(judged(verdict, reason, 79.0, 79.1, 79.2), tmp_path)
    for kind in ("terminal", "md", "tex", "csv", "json"):
        assert reason in texts[kind], kind
    assert f"{verdict} (a)" in texts["terminal"] and f"(a) {reason}" in texts["terminal"]
    assert f"{verdict} <sup>a</sup>" in texts["md"]
    assert rf"{verdict}\textsuperscript{{a}}" in texts["tex"]
    # What asks for nothing has no footnote; its reason is under the table in Markdown.
    assert "another reason" not in texts["terminal"] and "another reason" in texts["md"]


def test_in_a_grid_too(tmp_path):
    ids = ("a4", "a7", "b4", "b7")
    cells = [cell(one, 70.0, 70.1, verdict="reproduced") for one in ids[1:]]
    above = cell("a4", 70.0, 78.0, verdict="above", reason=f"single seed: +8.00; {WARNING}")
    result = grid_table(cells=(above, *cells), comparable=True, notice="", claims=())
    texts = drawn(result, tmp_path)
    assert "above (single seed) (a)" in texts["terminal"] and WARNING in texts["terminal"]
    assert r"above (single seed)\textsuperscript{a} & reproduced (single seed)" in texts["tex"]
    assert "1 above (single seed), 3 reproduced (single seed)" in texts["index"]
    # For other programs the verdict is one of the known words.
    content = json.loads((tmp_path / "table03.json").read_text())
    assert [one["verdict"] for one in content["cells"]] == ["above", *["reproduced"] * 3]


def test_a_tier_that_is_not_compared_has_no_verdict_to_explain(tmp_path):
    texts = drawn(rows_table(), tmp_path)
    assert "<sup>" not in texts["md"] and "not comparable" not in texts["terminal"]
