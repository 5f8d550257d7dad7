"""Downloads from a real server that breaks off, lies, refuses, and sends the wrong bytes."""

import gzip
import hashlib
import io
import random
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from local_server import running, small_disk
from rich.console import Console

from replication.data.prepare.download import Archive, Patience, get
from replication.errors import DataError

HERE = Path(__file__).resolve().parents[3]
CONTENT = random.Random(0).randbytes(600_000)
QUICK = Patience(tries=3, pause=0.01, timeout=5)


@pytest.fixture(scope="module")
def web():
    with running() as server:
        yield server


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def official(web, content=CONTENT, name="set.tar", **fields):
    """What the publisher states of `content`, and where it is."""
    md5 = hashlib.md5(content).hexdigest()
    return Archive(**{"url": f"{web.address}/{name}", "name": name, "md5": md5, **fields})


def fetch(archive, folder, **options):
    return get(archive, folder, console=Console(quiet=True), patience=QUICK, **options)


def refused(archive, folder, **options):
    """The one line that an archive is refused with."""
    with pytest.raises(DataError) as caught:
        fetch(archive, folder, **options)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_a_whole_file_arrives_once(web, tmp_path):
    served = web.serve("set.tar", CONTENT)
    path = fetch(official(web), tmp_path / "new" / "folder")
    assert path == tmp_path / "new/folder/set.tar" and path.read_bytes() == CONTENT
    assert served.asked == [None] and list(path.parent.iterdir()) == [path]


def test_what_is_there_and_right_is_not_asked_for_again(web, tmp_path):
    served = web.serve("set.tar", CONTENT)
    (tmp_path / "set.tar").write_bytes(CONTENT)
    assert fetch(official(web), tmp_path).read_bytes() == CONTENT
    assert served.asked == []


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_a_broken_download_goes_on_where_it_broke_off(web, tmp_path, reset):
    # More breaks than tries in a row: each brings something new.
    served = web.serve("set.tar", CONTENT, breaks=[100_000] * 5, reset=reset)
    assert fetch(official(web), tmp_path).read_bytes() == CONTENT
    assert len(served.asked) == 6
    assert served.asked[1:] == [f"bytes={n}00000-" for n in (1, 2, 3, 4, 5)]
    assert sum(served.sent) == len(CONTENT), "no byte was sent twice"


def test_a_later_command_goes_on_too(web, tmp_path):
    served = web.serve("set.tar", CONTENT, breaks=[250_000, 0, 0, 0])
    assert "250.0 kB are kept" in refused(official(web), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["set.tar.part"]
    served.sent.clear()
    assert fetch(official(web), tmp_path).read_bytes() == CONTENT
    assert served.sent == [len(CONTENT) - 250_000]


def test_after_a_kill_it_goes_on(web, tmp_path):
    served = web.serve("set.tar", CONTENT, hold=400_000)
    archive, part = official(web), tmp_path / "set.tar.part"
    code = f"""if True:
        from pathlib import Path
        from rich.console import Console
        from replication.data.prepare.download import Archive, get
        get({archive!r}, Path({str(tmp_path)!r}), console=Console())"""
    process = subprocess.Popen([sys.executable, "-c", code], cwd=HERE)
    deadline = time.monotonic() + 60
    while not part.exists() or part.stat().st_size < 300_000:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    kept = part.stat().st_size
    assert [path.name for path in tmp_path.iterdir()] == ["set.tar.part"]
    assert fetch(archive, tmp_path).read_bytes() == CONTENT
    assert served.sent[1:] == [len(CONTENT) - kept]


def test_a_server_that_ignores_ranges_is_read_from_the_beginning(web, tmp_path):
    served = web.serve("set.tar", CONTENT, ranges=False, breaks=[400_000, 100_000])
    assert fetch(official(web), tmp_path).read_bytes() == CONTENT
    assert served.sent == [400_000, 100_000, len(CONTENT)]


def test_a_server_that_always_breaks_is_given_up(web, tmp_path):
    served = web.serve("set.tar", CONTENT, ranges=False, breaks=[300_000] * 99)
    assert "run again to go on" in refused(official(web), tmp_path)
    assert len(served.asked) == 1 + QUICK.tries


def test_errors_of_the_server_are_tried_again(web, tmp_path):
    served = web.serve("set.tar", CONTENT, statuses=[503, 500])
    assert fetch(official(web), tmp_path).read_bytes() == CONTENT
    assert len(served.asked) == 3


def test_a_server_that_says_nothing_is_asked_again(web, tmp_path):
    served = web.serve("set.tar", CONTENT, stalls=[0.6])
    impatient = Patience(tries=3, pause=0.01, timeout=0.2)
    path = get(official(web), tmp_path, console=Console(quiet=True), patience=impatient)
    assert path.read_bytes() == CONTENT and len(served.asked) == 2


def test_not_found_is_said_at_once(web, tmp_path):
    archive = official(web, name="gone.tar")
    text = refused(archive, tmp_path)
    assert text.startswith(f"{archive.url}: 404 Not Found") and "--archive FILE" in text


def test_a_refused_connection_is_one_line(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and nobody listens
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/set.tar"
        text = refused(Archive(url=url, name="set.tar"), tmp_path)
    assert "Connection refused" in text and "--archive FILE" in text


def test_wrong_bytes_are_refused_and_removed(web, tmp_path):
    wrong = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    web.serve("set.tar", wrong)
    text = refused(official(web), tmp_path)
    assert hashlib.md5(wrong).hexdigest() in text and hashlib.md5(CONTENT).hexdigest() in text
    assert list(tmp_path.iterdir()) == []


def test_another_size_is_refused_before_it_is_downloaded(web, tmp_path):
    served = web.serve("set.tar", b"<html>Please log in</html>")
    text = refused(official(web, size=len(CONTENT)), tmp_path)
    assert "offers 26 bytes, 600000 expected" in text and len(served.asked) == 1
    assert not (tmp_path / "set.tar").exists()


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "to the end"])
def test_a_truncated_file_is_refused(web, tmp_path, announced):
    web.serve("set.tar", CONTENT[:-5000], announced=announced)
    assert "md5 is" in refused(official(web), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_without_a_length_a_break_is_seen_by_the_known_size(web, tmp_path):
    served = web.serve("set.tar", CONTENT, announced=False, breaks=[100_000])
    path = fetch(official(web, size=len(CONTENT)), tmp_path)
    assert path.read_bytes() == CONTENT and sum(served.sent) == len(CONTENT)


def test_a_length_that_promises_too_much(web, tmp_path):
    """The next answer (416) says that there is no more, and the checksum that it is whole."""
    served = web.serve("set.tar", CONTENT, length=len(CONTENT) + 1000)
    assert fetch(official(web), tmp_path).read_bytes() == CONTENT
    assert sum(served.sent) == len(CONTENT)


def test_a_length_that_promises_too_little(web, tmp_path):
    web.serve("set.tar", CONTENT, length=1000)
    assert "md5 is" in refused(official(web), tmp_path)
    web.serve("set.tar", CONTENT, length=1000)
    assert "offers 1000 bytes" in refused(official(web, size=len(CONTENT)), tmp_path)


def test_a_part_of_something_else_is_found_out_and_not_kept(web, tmp_path):
    web.serve("set.tar", CONTENT)
    (tmp_path / "set.tar.part").write_bytes(bytes(1000))
    assert "md5 is" in refused(official(web), tmp_path)
    assert fetch(official(web), tmp_path).read_bytes() == CONTENT


def test_a_part_longer_than_the_file_is_begun_again(web, tmp_path):
    web.serve("set.tar", CONTENT)
    (tmp_path / "set.tar.part").write_bytes(CONTENT + bytes(10))
    assert fetch(official(web, size=len(CONTENT)), tmp_path).read_bytes() == CONTENT


def test_a_whole_part_is_only_checked(web, tmp_path):
    served = web.serve("set.tar", CONTENT)
    (tmp_path / "set.tar.part").write_bytes(CONTENT)
    assert fetch(official(web, size=len(CONTENT)), tmp_path).read_bytes() == CONTENT
    assert served.asked == []


def test_a_compressed_archive_arrives_as_it_is(web, tmp_path):
    """Some servers call a .tgz a compressed answer, which clients then unpack unasked."""
    content = gzip.compress(CONTENT)
    served = web.serve("set.tgz", content, headers={"Content-Encoding": "gzip"})
    archive = official(web, content, "set.tgz")
    assert fetch(archive, tmp_path).read_bytes() == content
    assert served.encodings == ["identity"], "nor is it asked to compress anything"


def test_the_beginning_of_a_sha256_is_enough(web, tmp_path):
    web.serve("set.tar", CONTENT)
    start = hashlib.sha256(CONTENT).hexdigest()[:8]
    assert fetch(official(web, sha256=start.upper()), tmp_path).exists()
    assert "sha256 is" in refused(official(web, sha256="00000000"), tmp_path)


def test_the_users_own_file_is_checked_and_left_alone(web, tmp_path):
    served = web.serve("set.tar", CONTENT)
    own = tmp_path / "mine.tar"
    own.write_bytes(CONTENT)
    assert fetch(official(web), tmp_path / "data", given=own) == own
    own.write_bytes(CONTENT + b"x")
    assert "not the official file" in refused(official(web), tmp_path / "data", given=own)
    assert own.read_bytes() == CONTENT + b"x" and not (tmp_path / "data").exists()
    assert served.asked == []
    assert "no such file" in refused(official(web), tmp_path, given=tmp_path / "none.tar")


def test_a_wrong_file_in_its_place_is_named_and_left_alone(web, tmp_path):
    (tmp_path / "set.tar").write_bytes(b"not it")
    assert "remove it, and run again" in refused(official(web), tmp_path)
    assert (tmp_path / "set.tar").read_bytes() == b"not it"


def test_a_file_that_needs_a_login_says_where_it_is(tmp_path):
    archive = Archive(url="", name="set.zip", login="needs a login: get it from example.org")
    assert refused(archive, tmp_path) == (
        "set.zip: needs a login: get it from example.org; then give it with --archive FILE"
    )


def test_a_file_that_does_not_fit_is_refused_at_once(web, tmp_path):
    web.serve("set.tar", CONTENT)
    with small_disk(tmp_path / "small", "300k") as disk:
        assert "needs 600.0 kB, the disk has" in refused(official(web), disk)
        assert (disk / "set.tar.part").stat().st_size == 0


def test_a_full_disk_keeps_what_is_there(web, tmp_path):
    web.serve("set.tar", CONTENT, announced=False)
    with small_disk(tmp_path / "small", "300k") as disk:
        assert "the disk is full" in refused(official(web), disk)
        assert [path.name for path in disk.iterdir()] == ["set.tar.part"]
        kept = (disk / "set.tar.part").read_bytes()
        assert len(kept) > 200_000 and CONTENT.startswith(kept)


def test_a_terminal_sees_a_bar_and_the_name_as_it_is(web, tmp_path):
    web.serve("x.tar", CONTENT)
    out = io.StringIO()
    terminal = Console(file=out, force_terminal=True, width=100)
    archive = official(web, url=f"{web.address}/x.tar", name="[x].tar")
    get(archive, tmp_path, console=terminal, patience=QUICK)
    assert "[x].tar" in out.getvalue() and "600.0/600.0 kB" in out.getvalue()
