"""CSV and JSON, read back by the standard library."""

import csv
import io
import json
import math

import pytest

from replication.render.csv_json import to_csv, to_json
from tests.render.samples import cell, grid_table, one_axis_table, rows_table


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_csv_has_a_row_for_each_cell_with_its_axes():
    content = rows(to_csv(grid_table()))
    assert list(content[0]) == [
        *("table", "cell", "multi_grid", "last block", "published"),
        *("measured_mean", "measured_sd", "n", "verdict", "reason"),
    ]
    assert content[0] == {
        "table": "3",
        "cell": "a4",
        "multi_grid": "(1, 1, 1)",
        "last block": "block4",
        "published": "68.39",
        "measured_mean": "31.0",
        "measured_sd": "1.0",
        "n": "3",
        "verdict": "not comparable",
        "reason": "measured at the micro tier",
    }
    assert (content[2]["measured_sd"], content[2]["n"]) == ("", "1")
    assert (content[3]["measured_mean"], content[3]["n"]) == ("", "0")


def test_csv_ticks_and_further_quantities():
    assert [(row["MS"], row["Flip"]) for row in rows(to_csv(rows_table()))] == [
        ("no", "no"),
        ("yes", "yes"),
    ]
    content = rows(to_csv(one_axis_table()))
    assert content[1]["replicas"] == "2"
    assert content[1]["relative_time_published"] == "0.5"
    assert content[1]["relative_time_measured"] == ""


def test_json_has_the_agreed_keys_and_values():
    content = json.loads(to_json(grid_table()))
    assert list(content) == [
        *("table", "title", "source", "tier", "comparable", "notice", "cells", "claims"),
        "open_points",
    ]
    assert content["table"] == 3 and content["comparable"] is False
    first, failed, single, waiting = content["cells"]
    assert first == {
        "cell": "a4",
        "published": 68.39,
        "measured": {
            "mean": 31.0,
            "sd": 1.0,
            "n": 3,
            "values": [30.0, 31.0, 32.0],
            "seeds": [0, 1, 2],
        },
        "verdict": "not comparable",
        "reason": "measured at the micro tier",
        "training": [["train-0"], ["train-1"], ["train-2"]],
        "evaluation": ["evaluate-0", "evaluate-1", "evaluate-2"],
        "per_class": {"background": 80.25, "bicycle": None},
        "extra": {},
        "entered": [],
        "against": None,
        "difference": None,
    }
    assert failed["verdict"] == "failed" and "nan" in failed["reason"]
    assert single["measured"]["sd"] is None
    assert waiting["measured"] is None
    assert content["claims"][0] == {
        "says": "Going deeper (r1, r2, r3) improves.",
        "where": "section 4.2",
        "kind": "greater",
        "verdict": "supported",
        "pairs": [
            *({"a": "b7", "b": "b4", "published": 7.37, "measured": 2.0, "low": 0.31, "high": 3.69,
               "n": 3},)
        ],
        "basis": "b7 − b4 = +2.00 [+0.31, +3.69], 3 seeds; the paper's +7.37.",
        "n": 3,
        "p": 0.012,
        "level": 0.025,
        "smallest": 1.5,
    }  # fmt: skip


def test_json_refuses_nan():
    layout = rows_table().layout
    result = rows_table(cells=(cell("plain", 1.0, math.nan), cell("both", 1.0)), layout=layout)
    with pytest.raises(ValueError, match="JSON compliant"):
        to_json(result)
