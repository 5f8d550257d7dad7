"""Archives that mean harm, or are cut short: nothing leaves the target."""

import gzip
import io
import stat
import tarfile
import zipfile

import pytest
from local_server import small_disk
from rich.console import Console

from replication.data.prepare.unpack import members, unpack
from replication.errors import DataError


def everything(name):
    return name


def tar(path, *entries, mode="w"):
    """A tar of (name, content) pairs, or of TarInfo objects as they are."""
    with tarfile.open(path, mode) as file:
        for entry in entries:
            if isinstance(entry, tarfile.TarInfo):
                file.addfile(entry)
                continue
            name, content = entry
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


def special(name, kind, linkname=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, linkname
    return info


def zipped(path, *entries, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in entries:
            file.writestr(name, content)
    return path


def files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def run(archive, target, wanted=everything):
    return unpack(archive, target, wanted=wanted, console=Console(quiet=True))


def refused(archive, tmp_path, wanted=everything):
    """The line that it is refused with; nothing may appear outside the target."""
    target = tmp_path / "deep" / "target"
    target.mkdir(parents=True, exist_ok=True)
    outside = {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*")}
    with pytest.raises(DataError) as caught:
        run(archive, target, wanted)
    for path in tmp_path.rglob("*"):
        if target not in path.parents and path != target:
            assert outside.get(path) == path.lstat().st_mtime_ns, path
    for path in target.rglob("*"):
        assert stat.S_ISREG(path.lstat().st_mode) or stat.S_ISDIR(path.lstat().st_mode), path
    text = str(caught.value)
    assert len(text.splitlines()) == 1 and str(archive) in text
    return text


TWO = (("set/a.txt", b"a" * 5000), ("set/b/c.txt", b"c"))


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_tar_of_any_kind(tmp_path, mode):
    # Not by the name of the file: SBD's .tgz and VOC's .tar have been served as either.
    archive = tar(tmp_path / "x.dat", *TWO, mode=mode)
    assert run(archive, tmp_path / "out") == 2
    assert files(tmp_path / "out") == dict(TWO)
    assert list(members(archive)) == ["set/a.txt", "set/b/c.txt"]


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip(tmp_path, compression):
    archive = zipped(tmp_path / "x.dat", ("set/", b""), *TWO, compression=compression)
    assert run(archive, tmp_path / "out") == 2
    assert files(tmp_path / "out") == dict(TWO)
    assert list(members(archive)) == ["set/", "set/a.txt", "set/b/c.txt"]


def test_a_zip_that_is_called_tar_and_a_tar_that_holds_a_zip(tmp_path):
    inner = zipped(tmp_path / "called.tar", *TWO)
    run(inner, tmp_path / "one")
    assert files(tmp_path / "one") == dict(TWO)
    run(tar(tmp_path / "outer.tar", ("inner.zip", inner.read_bytes())), tmp_path / "two")
    assert files(tmp_path / "two") == {"inner.zip": inner.read_bytes()}


def test_only_what_is_wanted_and_where_it_is_wanted(tmp_path):
    archive = tar(tmp_path / "x.tar", ("./set/a.txt", b"a"), ("./other/b.txt", b"b"))
    wanted = {"set/a.txt": "new/name.txt"}
    assert run(archive, tmp_path / "out", wanted.get) == 1
    assert files(tmp_path / "out") == {"new/name.txt": b"a"}


OUTSIDE = ["../out.txt", "a/../../out.txt", "/{tmp}/out.txt", "a\\..\\..\\out.txt", ".."]


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("make", [tar, zipped])
def test_no_path_leaves_the_target(tmp_path, make, name):
    name = name.format(tmp=str(tmp_path)[1:])
    archive = make(tmp_path / "x", ("fine.txt", b"fine"), (name, b"out"))
    assert "outside the target" in refused(archive, tmp_path)
    assert not list(tmp_path.rglob("out.txt")) and not list(tmp_path.rglob("*out*"))


LINKS = {
    "symbolic link out": special("set/link", tarfile.SYMTYPE, "../../../secret"),
    "symbolic link to an absolute path": special("set/link", tarfile.SYMTYPE, "/etc/passwd"),
    "symbolic link inside": special("set/link", tarfile.SYMTYPE, "a.txt"),
    "hard link out": special("set/link", tarfile.LNKTYPE, "../../secret"),
    "hard link inside": special("set/link", tarfile.LNKTYPE, "set/a.txt"),
    "character device": special("set/null", tarfile.CHRTYPE),
    "block device": special("set/disk", tarfile.BLKTYPE),
    "pipe": special("set/pipe", tarfile.FIFOTYPE),
}


@pytest.mark.parametrize("what", LINKS)
def test_neither_links_nor_devices_are_made(tmp_path, what):
    (tmp_path / "secret").write_text("secret")
    archive = tar(tmp_path / "x.tar", ("set/a.txt", b"a"), LINKS[what])
    expected = "link" if "link" in what else "device"
    assert f"is a {expected}; refused" in refused(archive, tmp_path)


def test_what_is_skipped_may_be_anything(tmp_path):
    archive = tar(tmp_path / "x.tar", *LINKS.values(), ("../out.txt", b"out"), *TWO)
    assert run(archive, tmp_path / "out", dict(zip(dict(TWO), dict(TWO), strict=True)).get) == 2
    assert files(tmp_path / "out") == dict(TWO)


def test_a_file_through_a_link_of_the_same_archive(tmp_path):
    """The classic: a link that leads out, then a file below it."""
    (tmp_path / "elsewhere").mkdir()
    link = special("set", tarfile.SYMTYPE, str(tmp_path / "elsewhere"))
    archive = tar(tmp_path / "x.tar", link, ("set/out.txt", b"out"))
    refused(archive, tmp_path)
    assert not list(tmp_path.rglob("out.txt"))


def test_a_link_that_lies_in_the_target_already(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    target = tmp_path / "deep" / "target"
    target.mkdir(parents=True)
    (target / "set").symlink_to(tmp_path / "elsewhere")
    archive = tar(tmp_path / "x.tar", ("set/out.txt", b"out"))
    with pytest.raises(DataError, match="cannot be written"):
        run(archive, target)
    assert not list((tmp_path / "elsewhere").iterdir())
    # And a file that is a link is replaced, not followed.
    (target / "set").unlink()
    (target / "set").mkdir()
    (tmp_path / "elsewhere/kept.txt").write_text("kept")
    (target / "set/out.txt").symlink_to(tmp_path / "elsewhere/kept.txt")
    run(archive, target)
    assert (tmp_path / "elsewhere/kept.txt").read_text() == "kept"
    assert not (target / "set/out.txt").is_symlink()


@pytest.mark.parametrize(
    ("attribute", "kind"), [(stat.S_IFLNK | 0o777, "link"), (stat.S_IFCHR | 0o666, "device")]
)
def test_links_and_devices_in_a_zip(tmp_path, attribute, kind):
    info = zipfile.ZipInfo("set/link")
    info.create_system, info.external_attr = 3, attribute << 16
    archive = zipped(tmp_path / "x.zip", (info, "/etc/passwd"))
    assert f"is a {kind}; refused" in refused(archive, tmp_path)


def test_a_folder_that_pretends_to_be_a_file(tmp_path):
    archive = tar(tmp_path / "x.tar", ("set", b"a file"), ("set/a.txt", b"a"))
    assert "both a file and a folder" in refused(archive, tmp_path)
    archive = tar(tmp_path / "y.tar", ("new/a.txt", b"a"), ("new", b"a file"))
    assert "refused" in refused(archive, tmp_path)


def test_an_encrypted_zip_is_refused(tmp_path):
    archive = zipped(tmp_path / "x.zip", *TWO)
    data = bytearray(archive.read_bytes())
    entry = data.index(b"PK\1\2")
    data[entry + 8] |= 1
    archive.write_bytes(data)
    assert "encrypted" in refused(archive, tmp_path)


def truncations(archive):
    """The archive cut at every kind of place: in a header, in content, between members."""
    whole = archive.read_bytes()
    return [whole[:cut] for cut in (0, 1, 100, 511, 512, 600, 2048, 5632, 6144, 6700)]


def test_a_tar_cut_anywhere_is_refused(tmp_path):
    """Python's own reader takes a cut between members, or in a header, for the end."""
    archive = tar(tmp_path / "x.tar", *TWO)
    target = tmp_path / "target"
    for data in truncations(archive):
        archive.write_bytes(data)
        with pytest.raises(DataError) as caught:
            run(archive, target)
        assert len(str(caught.value).splitlines()) == 1, len(data)


def test_a_tar_with_a_broken_header_is_refused(tmp_path):
    archive = tar(tmp_path / "x.tar", *TWO)
    data = bytearray(archive.read_bytes())
    data[5632 + 150] ^= 0xFF  # The checksum of the second header.
    archive.write_bytes(data)
    assert "damaged or cut short after 5632 bytes" in refused(archive, tmp_path)


@pytest.mark.parametrize("kind", ["tgz", "zip"])
def test_a_compressed_archive_cut_or_damaged_anywhere_is_refused(tmp_path, kind):
    content = bytes(range(256)) * 300
    entries = (("set/a.bin", content), ("set/b.bin", content[::-1]))
    archive = tmp_path / f"x.{kind}"
    if kind == "tgz":
        tar(archive, *entries, mode="w:gz")
    else:
        zipped(archive, *entries)
    whole = archive.read_bytes()
    for cut in range(0, len(whole), max(1, len(whole) // 23)):
        archive.write_bytes(whole[:cut])
        with pytest.raises(DataError):
            run(archive, tmp_path / "target")
    for at in range(0, len(whole), max(1, len(whole) // 101)):
        damaged = bytearray(whole)
        damaged[at] ^= 0x55
        archive.write_bytes(damaged)
        try:
            run(archive, tmp_path / "target")
        except DataError as error:
            assert len(str(error).splitlines()) == 1
        else:  # A byte that says nothing of the content (a time, a file's attribute).
            assert files(tmp_path / "target").get("set/a.bin", content) == content


def test_the_checksum_of_a_gzip_is_checked_to_its_end(tmp_path):
    archive = tar(tmp_path / "x.tgz", *TWO, mode="w:gz")
    data = bytearray(archive.read_bytes())
    data[-8] ^= 1
    archive.write_bytes(data)
    with pytest.raises(gzip.BadGzipFile):
        gzip.decompress(data)
    assert "damaged" in refused(archive, tmp_path)


@pytest.mark.parametrize("content", [b"", b"<html>Please log in</html>", bytes(3000)])
def test_what_is_no_archive_is_refused(tmp_path, content):
    archive = tmp_path / "x.tar"
    archive.write_bytes(content)
    if content == bytes(3000):
        # Zeros are a tar without members, as far as tar goes; the scripts' counts see that.
        assert run(archive, tmp_path / "out") == 0
    else:
        assert "not a tar or zip file" in refused(archive, tmp_path)


def test_a_full_disk_is_one_line(tmp_path):
    archive = tar(tmp_path / "x.tar", ("set/a.bin", bytes(100_000)), ("set/b.bin", bytes(400_000)))
    with small_disk(tmp_path / "small", "300k") as disk:
        with pytest.raises(DataError, match=r"b\.bin: the disk is full"):
            run(archive, disk / "out")
        assert not (disk / "out/set/b.bin").exists(), "no file is left half-written"
