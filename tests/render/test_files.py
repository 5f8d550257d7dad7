"""What lands in the folder, and the index over it."""

import pytest

from replication import render
from replication.errors import RunError
from replication.files import write_atomically
from tests.render.samples import claim, grid_table, quoted_table, rows_table


def test_write_makes_four_files_and_leaves_nothing_else(tmp_path):
    folder = tmp_path / "new" / "tables"
    paths = render.write(grid_table(), folder)
    names = ["table03.csv", "table03.json", "table03.md", "table03.tex"]
    assert sorted(path.name for path in paths) == names
    assert sorted(path.name for path in folder.iterdir()) == names
    before = [path.read_bytes() for path in paths]
    assert [path.read_bytes() for path in render.write(grid_table(), folder)] == before


def test_a_rendering_that_fails_leaves_the_old_files(tmp_path, monkeypatch):
    old = {path: path.read_bytes() for path in render.write(grid_table(), tmp_path)}
    monkeypatch.setattr(render, "to_json", lambda result: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        render.write(grid_table(title="another"), tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == old


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"table03\.md: cannot be written \(.+\); choose"):
        render.write(grid_table(), tmp_path / "file")


def test_a_broken_write_keeps_the_old_content(tmp_path, monkeypatch):
    path = write_atomically(tmp_path / "a.md", "old")

    def broken(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("replication.files.os.replace", broken)
    with pytest.raises(RunError, match="No space left"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["a.md"]


def test_the_index_counts_and_links(tmp_path):
    results = [
        grid_table(
            claims=(claim("supported"), *map(claim, ("supported", "contradicted", "undecided")))
        ),
        rows_table(),
        quoted_table(),
    ]
    for result in results:
        render.write(result, tmp_path)
    path = render.summary(tmp_path)
    assert path == tmp_path / "index.md"
    text = path.read_text()
    assert "Of 4 claims: 2 supported, 1 contradicted, 1 undecided, 0 not run." in text
    assert text.count("> **Measured at the micro tier") == 1
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("| [")
    ]
    by_table = {line[0]: line for line in lines}
    assert by_table["[3](table03.md)"] == [
        *("[3](table03.md)", "Multi-grid and depth", "3 of 4", "1 to 3"),
        *("1 failed, 1 not run", "2", "1", "1", "0"),
        "[csv](table03.csv) [json](table03.json) [tex](table03.tex)",
    ]
    found = [by_table[f"[{result.table}](table{result.table:02d}.md)"] for result in results[1:]]
    assert [line[2] for line in found] == ["2 of 2", "0 of 1"]
    assert [line[4] for line in found] == ["–", "1 unavailable"]
    assert found[1][3] == "–"
    for result in results:
        for kind in ("md", "csv", "json", "tex"):
            name = f"table{result.table:02d}.{kind}"
            assert f"({name})" in text and (tmp_path / name).is_file()
