"""LaTeX, without a compiler: environments and braces balance, rows fit, specials are escaped."""

import re

import pytest

from replication.render.latex import escape, latex
from replication.results import TableResult
from tests.render.samples import claim, grid_table, one_axis_table, quoted_table, rows_table

NASTY = '100 % of A&B_c #1 {x} ~ ^ \\ $ <a> [b] "q" é ± − 中 ✓ “hm”'


def body(text: str) -> str:
    """The text without comments and escaped characters."""
    lines = [line for line in text.splitlines() if not line.startswith("%")]
    return re.sub(r"\\[%&#$_{}]", "", "\n".join(lines))


def check(text: str) -> None:
    plain = body(text)
    assert text.isascii() or re.fullmatch(r"[\x00-\x7fÀ-ÿ]*", text)
    open_environments = []
    for what, name in re.findall(r"\\(begin|end)\{(\w+)\}", plain):
        if what == "begin":
            open_environments.append(name)
        else:
            assert open_environments.pop() == name
    assert not open_environments
    depth = 0
    for character in plain:
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0
    assert plain.count("$") % 2 == 0
    for special in "%#~^_":
        # A tie, "~", stands after a footnote's letter; nothing else is meant.
        rest = plain.replace("}~", "}") if special == "~" else plain
        rest = rest.replace(r"$^\circ$", "")
        assert special not in rest, special
    match = re.search(r"\\begin\{tabular\}\{([lcr]+)\}(.*)\\end\{tabular\}", plain, re.DOTALL)
    assert match
    rows = [row for row in match[2].split("\\\\") if "&" in row]
    assert rows
    assert {row.count("&") for row in rows} == {len(match[1]) - 1}
    outside = plain.replace(match[2], "")
    assert "&" not in outside


@pytest.mark.parametrize(
    "result",
    [
        grid_table(),
        grid_table(comparable=True, notice=""),
        rows_table(
            title=NASTY, notes=(NASTY,), claims=(claim("contradicted", says=NASTY, basis=NASTY),)
        ),
        one_axis_table(),
        quoted_table(),
    ],
    ids=["grid", "comparable", "nasty", "one axis", "quoted"],
)
def test_it_is_well_formed(result: TableResult):
    check(latex(result))


def test_rows_ticks_bold_and_footnotes():
    text = latex(grid_table())
    assert r"(1, 2, 1) & published & 70.20 & \textbf{76.66} \\" in text
    assert r"& measured & 31.00 $\pm$ 1.00 (3) & failed\textsuperscript{a} \\" in text
    assert r"\textsuperscript{a}~seed 1: loss is nan at iteration 17" in text
    assert (
        r"\item \textbf{supported}: ``Going deeper (r1, r2, r3) improves.'' (section 4.2)." in text
    )
    assert r"(6, 12, 18) & \checkmark & \checkmark & \textbf{79.35}" in latex(rows_table())
    for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
        assert text.count(rule) == 1


def test_escapes():
    assert escape("50 % & a_b #1") == r"50 \% \& a\_b \#1"
    assert escape("\\{}") == r"\textbackslash{}\{\}"
    assert escape("[1] * −2 ± 3") == r"{[}1{]} {*} $-$2 $\pm$ 3"
    assert escape("naïve 中 ½ ﬁ\nx") == "naïve ? 12 fi x"
