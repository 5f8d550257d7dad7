"""The command for Figure 4."""

import csv
import xml.etree.ElementTree
from pathlib import Path

import pytest

from figures import fig4
from replication.network import valid_weights


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fig4") / "new" / "folder"
    assert fig4.main(["--out", str(folder)]) == 0
    return folder


def test_the_csv_has_every_rate_and_sums_to_one(folder):
    content = rows(folder / "fig4.csv")
    assert list(content[0]) == ["rate", *(f"valid_{n}" for n in (1, 2, 3, 4, 6, 9))]
    assert [int(row["rate"]) for row in content] == list(range(1, 101))
    for row in content:
        assert sum(float(v) for k, v in row.items() if k != "rate") == pytest.approx(1, abs=5e-6)
    assert content[11] == {
        "rate": "12",
        "valid_1": "0.000000",
        "valid_2": "0.000000",
        "valid_3": "0.000000",
        "valid_4": "0.136331",  # (24/65)^2
        "valid_6": "0.465799",  # 2 (24/65) (41/65)
        "valid_9": "0.397870",  # (41/65)^2
    }


def test_the_pictures_are_small_whole_and_without_a_date(folder):
    png = (folder / "fig4.png").read_bytes()
    assert png.startswith(b"\x89PNG") and png.rstrip().endswith(b"IEND\xaeB`\x82")
    assert len(png) < 60_000
    svg = (folder / "fig4.svg").read_text()
    xml.etree.ElementTree.fromstring(svg)
    for words in ("atrous rate", "Normalized count", "1 valid weight", "9 valid weights"):
        assert words in svg
    assert "<dc:date>" not in svg
    assert sorted(path.name for path in folder.iterdir()) == ["fig4.csv", "fig4.png", "fig4.svg"]


def test_the_same_bytes_twice(folder, tmp_path):
    assert fig4.main(["--out", str(tmp_path)]) == 0
    for path in folder.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_another_size_and_range(tmp_path):
    assert fig4.main(["--out", str(tmp_path), "--size", "9", "--max-rate", "3"]) == 0
    content = rows(tmp_path / "fig4.csv")
    assert [row["rate"] for row in content] == ["1", "2", "3"]
    assert float(content[0]["valid_9"]) == pytest.approx(49 / 81, abs=1e-6)


def test_nothing_is_written_when_the_two_counts_disagree(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(valid_weights, "by_convolution", lambda size, rate: {1: size * size})
    assert fig4.main(["--out", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert message.startswith("fig4: rate 1 on a 65x65 map") and message.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_figure_is_kept_while_its_numbers_are_todays(tmp_path, monkeypatch):
    assert not fig4.drawn(tmp_path, max_rate=5)
    fig4.write(tmp_path, max_rate=5)
    assert fig4.drawn(tmp_path, max_rate=5)
    assert not fig4.drawn(tmp_path, max_rate=6)
    other = {**dict.fromkeys(valid_weights.VALID_WEIGHTS, 0), 9: 65 * 65}
    monkeypatch.setattr(valid_weights, "closed_form", lambda size, rate: other)
    assert not fig4.drawn(tmp_path, max_rate=5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--out"),
        (["--size", "0"], "from 1 to 513, not '0'"),
        (["--size", "1e2"], "not '1e2'"),
        (["--max-rate", "-3"], "not '-3'"),
        (["--colour"], "--colour"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(tmp_path, capsys, arguments, words):
    if arguments:
        arguments = ["--out", str(tmp_path), *arguments]
    with pytest.raises(SystemExit) as exit:
        fig4.main(arguments)
    assert exit.value.code == 2
    message = capsys.readouterr().err
    assert words in message and message.count("\n") == 1


def test_a_folder_that_cannot_be_written(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert fig4.main(["--out", str(tmp_path / "file"), "--max-rate", "2"]) == 2
    message = capsys.readouterr().err
    assert "cannot be written" in message and message.count("\n") == 1
    assert (tmp_path / "file").read_text() == ""
