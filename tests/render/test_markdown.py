"""Markdown, read back cell by cell."""

import re

from replication.render.markdown import markdown
from tests.render.samples import grid_table, one_axis_table, quoted_table, rows_table


def tables(text: str) -> list[list[list[str]]]:
    """Every pipe table as rows of stripped cells, without the ruler."""
    found = re.findall(r"(?:^\|.*\|$\n?)+", text, flags=re.MULTILINE)
    rows = [
        [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()]
        for block in found
    ]
    for block in rows:
        assert {len(row) for row in block} == {len(block[0])}
        assert all(re.fullmatch(r":?-+:?", cell) for cell in block[1])
        del block[1]
    return rows


def test_a_grid_stands_as_in_the_paper_with_published_above_measured():
    text = markdown(grid_table())
    assert tables(text)[0] == [
        ["multi\\_grid", "last block", "block4", "block7"],
        ["(1, 1, 1)", "published", "68.39", "75.76"],
        ["", "measured", "31.00 ± 1.00 (3)", "failed <sup>a</sup>"],
        ["(1, 2, 1)", "published", "70.20", "**76.66**"],
        ["", "measured", "30.50 (1 seed)", "not run"],
    ]


def test_title_notice_reasons_and_claims_are_said():
    text = markdown(grid_table())
    assert text.startswith("# Table 3. Multi-grid and depth\n")
    assert "Source: arXiv:1706.05587, Table 3." in text
    assert "> **Measured at the micro tier" in text
    assert (
        "<sup>a</sup> seed 1: loss is nan at iteration 17; the other runs gave 33.50 (1 seed)"
        in text
    )
    assert "- **supported**: “Going deeper (r1, r2, r3) improves.” (section 4.2)" in text
    assert "- **not run**:" in text
    assert "+2.00 \\[+0.31, +3.69\\], 3 seeds" in text


def test_iou_by_class_with_an_absent_class():
    by_class = tables(markdown(grid_table()))[1]
    assert by_class == [["class", "a4"], ["background", "80.2"], ["bicycle", "–"]]


def test_ticks():
    assert tables(markdown(rows_table()))[0] == [
        ["ASPP rates", "MS", "Flip", "published", "measured"],
        ["(6, 12, 18)", "", "", "76.66", "36.25 ± 0.35 (2)"],
        ["(6, 12, 18)", "✓", "✓", "**79.35**", "37.50 ± 0.71 (2)"],
    ]


def test_one_axis_and_a_second_quantity():
    assert tables(markdown(one_axis_table()))[0] == [
        ["replicas", "1", "2"],
        ["published", "77.21", "77.15"],
        ["measured", "40.00 (1 seed)", "39.00 (1 seed)"],
        ["relative time, published", "1.00", "0.50"],
        ["relative time, measured", "1.00", "–"],
    ]


def test_quoted_and_unavailable_rows_with_the_papers_single_decimal():
    text = markdown(quoted_table())
    assert tables(text)[0] == [
        ["method", "published", "measured"],
        ["PSPNet", "85.4", "–"],
        ["DeepLabv3-JFT", "**86.9**", "unavailable <sup>a</sup>"],
    ]
    assert "<sup>a</sup> JFT-300M is not public" in text
    assert "Nothing measured yet" in text


def test_a_comparable_table_shows_verdicts_and_what_they_rest_on():
    text = markdown(rows_table(comparable=True, notice=""))
    assert tables(text)[0][0][-1] == "verdict"
    assert "- `plain`: not comparable; measured at the micro tier" in text
    assert "> **" not in text


def test_what_would_be_markup_is_text():
    text = markdown(rows_table(title="a|b *c* <script> [x](y) `z`", notes=("one\ntwo_three_",)))
    assert "# Table 4. a\\|b \\*c\\* \\<script\\> \\[x\\](y) \\`z\\`\n" in text
    assert "\none two\\_three\\_\n" in text
