"""Findings: which exit status they amount to, and reports that survive odd signs."""

import xml.etree.ElementTree as ET

import pytest

from replication.reference.findings import Finding, closing, exit_status, junit, markdown, plain


def finding(status, **changes):
    fields = {"reference": "smoke-table04.json", "cell": "table4/os8", "seeds": (0,), "text": "x"}
    return Finding(status=status, **{**fields, **changes})


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([], 2),
        (["same"], 0),
        (["same", "no worse"], 0),
        (["same", "not checked"], 2),
        (["same", "regression"], 1),
        (["not checked", "regression", "no worse"], 1),
    ],
)
def test_exit_status(statuses, expected):
    assert exit_status([finding(status) for status in statuses]) == expected


def test_seeds_are_counted_one_by_one():
    found = [finding("no worse", seeds=(0, 1, 2)), finding("not checked", seeds=(), cell="")]
    assert closing(found) == "4 to check: 3 no worse, 1 not checked"
    assert plain(found)[0] == "no worse    table4/os8 seeds 0, 1, 2: x"
    names = [case.get("name") for case in ET.fromstring(junit(found)).iter("testcase")]
    assert names == [*(f"table4/os8 seed {seed}" for seed in (0, 1, 2)), "reference"]


def test_junit_counts_by_reference_and_survives_what_xml_cannot_hold():
    odd = 'a < b & "c" \x00\x1b[0m\ud800 é\nnext'
    found = [
        finding("same"),
        finding("regression", text=odd, command="python -m x"),
        finding("not checked", reference="smoke-table05.json", cell="", seeds=()),
    ]
    root = ET.fromstring(junit(found))
    suites = {suite.get("name"): suite for suite in root}
    assert list(suites) == ["smoke-table04.json", "smoke-table05.json"]
    counts = [tuple(one.get(k) for k in ("tests", "failures", "errors")) for one in (root, *root)]
    assert counts == [("3", "1", "1"), ("2", "1", "0"), ("1", "0", "1")]
    failure = root.find(".//failure")
    assert 'a < b & "c" [0m é' in failure.text and failure.text.endswith("\npython -m x")
    assert root.find(".//error").get("type") == "not checked"


def test_markdown_keeps_its_table_and_names_each_command_once():
    found = [
        finding("regression", text="1 | 2 <b>", command="python -m x"),
        finding("not checked", text="gone", command="python -m x"),
        finding("same", text="3"),
    ]
    text = markdown(found)
    assert text.startswith("### Replication check: regression\n")
    assert "| table4/os8 seed 0 | regression | 1 \\| 2 &lt;b> |" in text
    assert text.count("python -m x") == 1
    assert text.index("not checked | gone") < text.index("<summary>1 passed</summary>")
    assert markdown(found[2:]).startswith("### Replication check: passed\n")
    assert markdown(found[1:]).startswith("### Replication check: could not check\n")
