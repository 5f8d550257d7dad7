"""What the data scripts share: statuses, counts, ids, and folders that are whole or not there."""

import errno
import io
import os
import shutil

import pytest
from rich.console import Console

from replication.data.prepare import command, meter
from replication.data.prepare.command import Count
from replication.errors import DataError, RunError


def ends_with(error):
    def body(console):
        raise error

    return body


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (lambda console: True, 0, ""),
        (lambda console: False, 1, ""),
        (ends_with(DataError("x.tar: damaged")), 2, "x.tar: damaged\n"),
        (ends_with(RunError("y.txt: cannot be written")), 2, "y.txt: cannot be written\n"),
        (
            ends_with(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))), 2,
            "No space left on device; mend that and run again\n",
        ),
        (
            ends_with(PermissionError(errno.EACCES, "Permission denied", "/data/x")), 2,
            "/data/x: Permission denied; mend that and run again\n",
        ),
        (ends_with(KeyboardInterrupt()), 130, "interrupted; run again to go on\n"),
    ],
)  # fmt: skip
def test_exit_statuses(body, status, text, capsys):
    assert command.run(body) == status
    assert capsys.readouterr().err == text


def test_a_fault_of_ours_is_not_hidden():
    with pytest.raises(ZeroDivisionError):
        command.run(lambda console: 1 / 0 == 1)


def test_paths_are_printed_as_they_are(capsys):
    path = "/data/[bold]/" + "long/" * 40
    command.run(lambda console: console.print(path) is None)
    assert capsys.readouterr().out == path + "\n"


def shown(counts):
    out = io.StringIO()
    right = command.show_counts(counts, Console(file=out, width=80))
    return right, out.getvalue().splitlines()


def test_counts_against_what_must_be():
    right = Count(name="train", found=1464, expected=1464)
    free = Count(name="remaining", found=60_000)
    wrong = Count(name="val", found=0, expected=1449)
    assert shown([right, free]) == (True, ["  train      1,464 of 1,464", "  remaining  60,000"])
    assert shown([right, wrong]) == (
        False, ["  train  1,464 of 1,464", "  val    0 of 1,449  WRONG"],
    )  # fmt: skip


def test_the_options_that_all_scripts_have(tmp_path):
    parser = command.parser("some", "Some set.")
    options = parser.parse_args(["--root", "data", "--archive", "a", "--archive", "b"])
    assert (str(options.root), [str(path) for path in options.archive]) == ("data", ["a", "b"])
    assert options.ids is None and parser.parse_args(["--root", "x"]).archive == []


@pytest.mark.parametrize("error", [None, DataError("no"), KeyboardInterrupt()])
def test_a_partial_folder_is_empty_at_first_and_gone_at_last(tmp_path, error):
    left_over = tmp_path / "set.partial" / "deep" / "file"
    left_over.parent.mkdir(parents=True)
    left_over.write_text("of a run that was killed")
    try:
        with command.partial(tmp_path / "set") as made:
            assert made == tmp_path / "set.partial" and not list(made.iterdir())
            (made / "file").write_text("")
            if error:
                raise error
    except (DataError, KeyboardInterrupt) as caught:
        assert caught is error
    assert list(tmp_path.iterdir()) == []


def test_merging_moves_files_between_others_that_stay(tmp_path):
    for name in ("new/a/1", "new/a/b/2", "old/a/3", "old/a/b/2"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    command.merge(tmp_path / "new", tmp_path / "old")
    assert {str(p.relative_to(tmp_path)): p.read_text() for p in tmp_path.rglob("*/*")
            if p.is_file()} == {
        "old/a/1": "new/a/1", "old/a/b/2": "new/a/b/2", "old/a/3": "old/a/3",
    }  # fmt: skip


def test_a_partial_folder_that_is_still_written_into_is_waited_for(tmp_path, monkeypatch):
    """A worker of a killed command puts a file back twice before it ends."""
    (tmp_path / "set.partial").mkdir()
    removed, rmtree = [], shutil.rmtree

    def remove(folder, **options):
        rmtree(folder, **options)
        removed.append(folder)
        if len(removed) <= 2:
            folder.mkdir()
            (folder / "late").write_text("")

    monkeypatch.setattr(command.shutil, "rmtree", remove)
    with command.partial(tmp_path / "set") as made:
        assert not list(made.iterdir()) and len(removed) == 3


def test_what_is_wrong_in_a_partial_folder_is_told_of_the_archive(tmp_path):
    archive, made = tmp_path / "x.tar", tmp_path / "set.partial"
    with pytest.raises(DataError) as caught, command.told_of(archive, made):
        raise DataError(f"{made / 'a' / 'b.png'}: missing\n{made / 'c.png'}: missing")
    assert str(caught.value) == f"{archive}: a/b.png: missing\n{archive}: c.png: missing"


def test_one_command_at_a_time_for_a_set(tmp_path):
    with command.alone(tmp_path / "new", "one"):
        with command.alone(tmp_path / "new", "two"):
            pass
        with (
            pytest.raises(DataError, match="another command is preparing one here"),
            command.alone(tmp_path / "new", "one"),
        ):
            pass
    with command.alone(tmp_path / "new", "one"):
        pass


def test_ids_are_read_in_order(tmp_path):
    file = tmp_path / "ids.txt"
    file.write_text("b\n a \n\n2007_000032\r\n")
    assert command.read_ids(file) == ("b", "a", "2007_000032")


@pytest.mark.parametrize("text", ["../up", "a b", "/root", ".hidden", "a/b", "ü"])
def test_an_id_is_a_name_of_a_file(tmp_path, text):
    file = tmp_path / "ids.txt"
    file.write_text(f"fine\n{text}\n", encoding="utf-8")
    with pytest.raises(DataError, match="is not an id"):
        command.read_ids(file)


def test_a_list_that_is_no_text_is_one_line(tmp_path):
    (tmp_path / "ids.txt").write_bytes(b"\xff\xfe\x00")
    for name in ("ids.txt", "none.txt"):
        with pytest.raises(DataError, match=rf"{name}: cannot be read \(.*\)$"):
            command.read_ids(tmp_path / name)


def test_many_problems_are_shortened(tmp_path):
    with pytest.raises(DataError) as caught:
        command.refuse_unknown([str(i) for i in range(100)], {"7"}, tmp_path / "ids.txt", "the set")
    lines = str(caught.value).splitlines()
    assert len(lines) == 21 and lines[-1] == "and 79 more problems"
    assert lines[7] == f"{tmp_path / 'ids.txt'}: 8 is not in the set"


@pytest.mark.parametrize(("seconds", "lines"), [(0.0, 2), (3600.0, 0)])
def test_the_meter_says_a_line_now_and_then(monkeypatch, seconds, lines):
    monkeypatch.setattr(meter, "LINE_SECONDS", seconds)
    out = io.StringIO()
    with meter.Meter(Console(file=out), "[set].tar", unit="bytes") as shown:
        shown.of(4_000_000)
        shown.to(1_000_000)
        shown.to(3_000_000)
    expected = ["[set].tar: 1.0 MB of 4.0 MB", "[set].tar: 3.0 MB of 4.0 MB"]
    assert out.getvalue().splitlines() == expected[:lines]
