"""What COCO publishes, and taking images and annotations out of it: its zip files, or a folder
that they were unpacked into.
"""

import os
import re
import shutil
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from replication.data.prepare.command import raise_problems
from replication.data.prepare.download import Archive, get
from replication.data.prepare.unpack import BROKEN, members, unpack
from replication.errors import DataError

BLOCK = 1 << 20
SERVER = "http://images.cocodataset.org"


@dataclass(frozen=True, kw_only=True)
class Part:
    """One of COCO's sets of images. `name` is its folder, and in its instances file's name."""

    name: str
    archive: Archive
    images: int

    @property
    def instances(self) -> str:
        return f"annotations/instances_{self.name}.json"


@dataclass(frozen=True, kw_only=True)
class Release:
    """The images that hold trainval minus minival, and the images of minival."""

    year: str
    annotations: Archive
    parts: tuple[Part, ...]
    minival_annotations: Archive
    minival: Part
    # Whether the parts are without minival as they come.
    without_minival: bool


def _archive(path: str, size: int, sha256: str) -> Archive:
    # COCO publishes no checksums; these, and the sizes, are those that TensorFlow Datasets records
    # (tensorflow_datasets/url_checksums/coco.txt). A zip file has a CRC of each member besides.
    url = f"{SERVER}/{path}"
    return Archive(url=url, name=path.rpartition("/")[2], size=size, sha256=sha256)


_ANNOTATIONS_2014 = _archive(
    "annotations/annotations_trainval2014.zip",
    252872794,
    "031296bbc80c45a1d1f76bf9a90ead27e94e99ec629208449507a4917a3bf009",
)
_ANNOTATIONS_2017 = _archive(
    "annotations/annotations_trainval2017.zip",
    252907541,
    "113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
)
_TRAIN_2014 = Part(
    name="train2014",
    archive=_archive(
        "zips/train2014.zip",
        13510573713,
        "ede4087e640bddba550e090eae701092534b554b42b05ac33f0300b984b31775",
    ),
    images=82_783,
)
_VAL_2014 = Part(
    name="val2014",
    archive=_archive(
        "zips/val2014.zip",
        6645013297,
        "fe9be816052049c34717e077d9e34aa60814a55679f804cd043e3cbee3b9fde0",
    ),
    images=40_504,
)
_TRAIN_2017 = Part(
    name="train2017",
    archive=_archive(
        "zips/train2017.zip",
        19336861798,
        "69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929",
    ),
    images=118_287,
)
# The same images as minival, 5,000 of val2014's. Only its list is wanted here.
_VAL_2017 = Part(
    name="val2017",
    archive=_archive(
        "zips/val2017.zip",
        815585330,
        "4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05",
    ),
    images=5_000,
)
# COCO 2017 is COCO 2014 split anew: train2017 is train2014 and val2014 without minival. The images
# are the same, so either year makes the same set.
RELEASES = {
    "2017": Release(
        year="2017",
        annotations=_ANNOTATIONS_2017,
        parts=(_TRAIN_2017,),
        minival_annotations=_ANNOTATIONS_2017,
        minival=_VAL_2017,
        without_minival=True,
    ),
    "2014": Release(
        year="2014",
        annotations=_ANNOTATIONS_2014,
        parts=(_TRAIN_2014, _VAL_2014),
        minival_annotations=_ANNOTATIONS_2017,
        minival=_VAL_2017,
        without_minival=False,
    ),
}


@dataclass(frozen=True, kw_only=True)
class Zips:
    """COCO as its zip files: the user's own, or downloaded into `downloads` when they are needed.

    The image archives come last, so that a mistake shows before 19 GB are on their way.
    """

    given: Mapping[str, Path]
    downloads: Path
    console: Console

    @classmethod
    def of(
        cls, release: Release, archives: Sequence[Path], downloads: Path, console: Console
    ) -> "Zips":
        """Tell the user's archives apart by their file names. Raises DataError for others."""
        known = [release.annotations.name, release.minival_annotations.name]
        known = list(dict.fromkeys(known + [part.archive.name for part in release.parts]))
        raise_problems(
            [
                f"{file}: not an archive of COCO {release.year}; they are {', '.join(known)}"
                for file in archives
                if file.name not in known
            ]
        )
        return cls(
            given={file.name: file for file in archives}, downloads=downloads, console=console
        )

    def instances(self, archive: Archive, part: Part) -> tuple[bytes, str]:
        """The part's instances file, and what to call it in a message."""
        path = self._get(archive)
        try:
            with zipfile.ZipFile(path) as file:
                return file.read(part.instances), f"{path}: {part.instances}"
        except KeyError:
            raise DataError(f"{path}: holds no {part.instances}; get {archive.url}") from None
        except (*BROKEN, RuntimeError) as error:  # RuntimeError: zipfile, of an encrypted member
            raise DataError(f"{path}: damaged or not a zip file ({error}); get it anew") from None

    def images(self, part: Part, wanted: Mapping[str, str], folder: Path) -> None:
        """Put the part's images into `folder`: `wanted` has their names there by their own.

        What an earlier run put there is compared with the archive's CRC and not written again.
        Raises DataError naming the images that the archive does not have.
        """
        path = self._get(part.archive)
        targets = {f"{part.name}/{own}": target for own, target in wanted.items()}
        _check_there(targets.keys() - set(members(path)), str(path))
        whole = _whole(path, targets, folder)
        unpack(
            path,
            folder,
            wanted=lambda name: None if name in whole else targets.get(name),
            console=self.console,
        )

    def _get(self, archive: Archive) -> Path:
        given = self.given.get(archive.name)
        return get(archive, self.downloads, given=given, console=self.console)


@dataclass(frozen=True, kw_only=True)
class Unpacked:
    """COCO as a folder with `annotations/` and the images' folders, e.g. `train2017/`."""

    home: Path

    def instances(self, archive: Archive, part: Part) -> tuple[bytes, str]:
        """The part's instances file, and what to call it in a message."""
        path = self.home / part.instances
        return read_file(path, f"it comes in {archive.name}"), str(path)

    def images(self, part: Part, wanted: Mapping[str, str], folder: Path) -> None:
        """Link the part's images into `folder`, or copy them to another disk; see Zips.images."""
        source = self.home / part.name
        try:
            there = {entry.name for entry in os.scandir(source)}
        except OSError as error:
            raise DataError(
                f"{source}: cannot be read ({error.strerror}); it comes in {part.archive.name}"
            ) from None
        _check_there(wanted.keys() - there, str(source))
        folder.mkdir(parents=True, exist_ok=True)
        for own, target in wanted.items():
            _link(source / own, folder / target)


Source = Zips | Unpacked


def read_file(path: Path, advice: str) -> bytes:
    """The content of a file. Raises DataError if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); {advice}") from None


def image_id(name: str) -> int | None:
    """139 of `139`, `000000000139`, `COCO_val2014_000000000139` or such a name's .jpg."""
    match = re.fullmatch(r"(?:COCO_\w+_)?(\d{1,12})(?:\.jpg)?", name)
    return int(match[1]) if match else None


def _check_there(missing: set[str], where: str) -> None:
    raise_problems([f"{where}: image {name} is missing" for name in sorted(missing)])


def _whole(archive: Path, targets: Mapping[str, str], folder: Path) -> set[str]:
    """The members that lie in `folder` already, as they are in the archive."""
    there = {entry.name for entry in os.scandir(folder)} if folder.is_dir() else set()
    if not there:
        return set()
    with zipfile.ZipFile(archive) as file:
        return {
            info.filename
            for info in file.infolist()
            if targets.get(info.filename) in there
            and _same(folder / targets[info.filename], info.file_size, info.CRC)
        }


def _same(path: Path, size: int, crc: int) -> bool:
    return path.stat().st_size == size and zlib.crc32(path.read_bytes()) == crc


def _link(source: Path, target: Path) -> None:
    """A hard link costs no space; another disk, or one without links, needs a copy."""
    if target.exists() and target.stat().st_size == source.stat().st_size:
        return  # An earlier run's: it came here by a rename, so it is whole.
    beside = target.with_name(f".{target.name}.tmp")
    beside.unlink(missing_ok=True)
    make: Callable[[Path, Path], object]
    for make in (os.link, shutil.copyfile):
        try:
            make(source.resolve(), beside)
            break
        except OSError:
            if make is shutil.copyfile:
                raise
    os.replace(beside, target)
