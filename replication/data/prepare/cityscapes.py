"""Cityscapes: from the official zip files, or a folder unpacked from them, to train ids.

Beside every `*_labelIds.png` that training or validation reads comes a `*_labelTrainIds.png`, 255
where the benchmark ignores the pixel. Cityscapes needs a login, so nothing is downloaded. Of the
zip files only what this project reads is unpacked: the fine test masks are dummies, and the coarse
masks of train and val have fine ones beside them.
"""

import os
import re
import shutil
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError
from rich.console import Console

from replication.data.cityscapes_labels import Ids, to_train_ids
from replication.data.prepare.command import (
    Count,
    alone,
    partial,
    raise_problems,
    read_ids,
    refuse_unknown,
    report,
)
from replication.data.prepare.pool import work_through
from replication.data.prepare.unpack import members, unpack
from replication.errors import DataError

Size = tuple[int, int] | None

LOGIN = "https://www.cityscapes-dataset.com/downloads/ (needs a login, free for research)"


@dataclass(frozen=True, kw_only=True)
class Part:
    """One split of images or masks, the official zip file it comes in, and its frames."""

    kind: str
    split: str
    frames: int
    archive: str
    optional: bool = False

    @property
    def path(self) -> Path:
        return Path(self.kind) / self.split

    @property
    def is_image(self) -> bool:
        return self.kind == "leftImg8bit"

    @property
    def suffix(self) -> str:
        """What comes after the frame's id in the name of the file that is read."""
        return "_leftImg8bit.png" if self.is_image else f"_{self.kind}_labelTrainIds.png"


# Numbers: the README of cityscapesscripts 2.3.0. The paper's 20,000 coarse annotations are
# train_extra, whose release holds 19,998; one of its images, troisdorf_000000_000073, is black (the
# download page says so). It stays, as in the release.
PARTS = (
    Part(kind="leftImg8bit", split="train", frames=2975, archive="leftImg8bit_trainvaltest.zip"),
    Part(kind="leftImg8bit", split="val", frames=500, archive="leftImg8bit_trainvaltest.zip"),
    Part(kind="leftImg8bit", split="test", frames=1525, archive="leftImg8bit_trainvaltest.zip"),
    Part(kind="gtFine", split="train", frames=2975, archive="gtFine_trainvaltest.zip"),
    Part(kind="gtFine", split="val", frames=500, archive="gtFine_trainvaltest.zip"),
    Part(
        kind="leftImg8bit",
        split="train_extra",
        frames=19998,
        archive="leftImg8bit_trainextra.zip",
        optional=True,
    ),
    Part(kind="gtCoarse", split="train_extra", frames=19998, archive="gtCoarse.zip", optional=True),
)
_MEMBER = re.compile(
    r"(?P<kind>\w+)/(?P<split>\w+)/[^/]+/(?P<frame>[^/_]+_\d{6}_\d{6})_(?P=kind)[\w.]*"
)
# Masks of each part that a verification compares in content, not by header alone: train ids are
# a convention, and a set converted elsewhere may follow another.
_COMPARED = 20
_SHOWN = 5


def prepare(root: Path, archives: Sequence[Path], ids: Path | None, console: Console) -> bool:
    """Unpack what is missing, convert what is not converted, verify, and report.

    `archives` are official zip files, or folders of unpacked sets to take the frames `ids` (a file)
    from. Returns whether all is as it must be. Raises DataError for an input that cannot be used;
    what was whole before stays as it was.
    """
    home = home_of(root)
    archives = [home_of(archive) if archive.is_dir() else archive for archive in archives]
    frames = None if ids is None else _frames(ids, archives, home)
    masks = [home / part.path for part in PARTS if not part.is_image]
    made = 0
    # A finished set may lie where nothing can be written.
    if archives or any(_unconverted(folder) for folder in masks):
        with alone(root, "cityscapes"):
            made += sum(_take(archive, home, frames, console) for archive in archives)
            made += sum(convert(folder, console) for folder in masks)
    if not any(_there(home / part.path) for part in PARTS):
        raise DataError(
            f"{home}: no Cityscapes data here; get {_archives(optional=False)} (for the coarse "
            f"annotations also {_archives(optional=True)}) from {LOGIN} and give each as "
            "--archive FILE, or give as --root the folder where you unpacked them"
        )
    counts, problems = verify(home, frames)
    console.print("made:" if made else "verified, nothing was left to do:")
    if not any(_there(home / part.path) for part in PARTS if part.optional):
        console.print(f"  no coarse annotations: they come in {_archives(optional=True)}")
    return report(counts, problems, folder=home, role="cityscapes", console=console)


def home_of(root: Path) -> Path:
    """The set's folder: `root` itself where it holds images or masks, else root/cityscapes."""
    return root if any((root / part.kind).is_dir() for part in PARTS) else root / "cityscapes"


def _archives(*, optional: bool) -> str:
    return " and ".join(dict.fromkeys(p.archive for p in PARTS if p.optional is optional))


def _there(folder: Path) -> bool:
    return any(folder.glob("*/*"))


def _frames(ids: Path, archives: Sequence[Path], home: Path) -> set[str]:
    """The listed frames; a frame's file name stands for it. Raises DataError for an unknown one."""
    listed = [id_.removesuffix(".png").removesuffix("_leftImg8bit") for id_ in read_ids(ids)]
    sources = [*archives, *([home] if home.is_dir() else [])]
    matches = [_MEMBER.fullmatch(name) for source in sources for name in _names(source)]
    known = {match["frame"] for match in matches if match and match["kind"] == "leftImg8bit"}
    refuse_unknown(listed, known, ids, "the archives" if archives else str(home))
    return set(listed)


def _take(source: Path, home: Path, frames: set[str] | None, console: Console) -> int:
    """Unpack the parts of a zip file (or copy those of a folder) that `home` lacks.

    Returns the number of files. A part comes into its place when all of it is there and converted.
    """
    names = _names(source)
    matches = {name: match for name in names if (match := _MEMBER.fullmatch(name))}
    held = {Path(match["kind"], match["split"]) for match in matches.values()}
    parts = [part for part in PARTS if part.path in held]
    if not parts:
        raise DataError(
            f"{source}: not a Cityscapes archive with images or masks; wanted are "
            f"{_archives(optional=False)}, for the coarse annotations also "
            f"{_archives(optional=True)}, from {LOGIN}"
        )
    missing = [part.path for part in parts if not _there(home / part.path)]
    if not missing:
        console.print(f"{source.name}: already unpacked")
        return 0

    def wanted(name: str) -> str | None:
        match = matches.get(name)
        if match is None or Path(match["kind"], match["split"]) not in missing:
            return None
        return name if frames is None or match["frame"] in frames else None

    with partial(home / missing[0].parent) as beside:
        if source.is_dir():
            done = _copy(source, beside, [name for name in names if wanted(name)])
        else:
            done = unpack(source, beside, wanted=wanted, console=console)
        for path in missing:
            convert(beside / path, console)
        for path in missing:
            if (beside / path).is_dir():
                (home / path.parent).mkdir(parents=True, exist_ok=True)
                os.replace(beside / path, home / path)
    return done


def _names(source: Path) -> list[str]:
    """The members of a zip file, or the files of an unpacked set by the same names."""
    if source.is_dir():
        return [
            path.relative_to(source).as_posix()
            for part in PARTS
            for path in sorted((source / part.path).glob("*/*"))
        ]
    if not source.is_file():
        raise DataError(f"{source}: no such file (--archive)")
    return list(members(source))


def _copy(source: Path, target: Path, names: Sequence[str]) -> int:
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target / name)
    return len(names)


def convert(folder: Path, console: Console) -> int:
    """Make `*_labelTrainIds.png` beside each `*_labelIds.png` under `folder/<city>/` lacking it.

    Returns how many were made. Raises DataError naming every mask that cannot be converted; the
    others are then made, and a second call makes only what is missing.
    """
    todo = _unconverted(folder)
    if not todo:
        return 0
    title = f"train ids {folder.parent.name}/{folder.name}"
    problems = [line for line in work_through(_convert_one, todo, title, console) if line]
    raise_problems(problems)
    return len(todo)


def _unconverted(folder: Path) -> list[Path]:
    paths = sorted(folder.glob("*/*_labelIds.png"))
    return [path for path in paths if not _target(path).exists()]


def _target(label_ids: Path) -> Path:
    return label_ids.with_name(label_ids.name.replace("_labelIds.png", "_labelTrainIds.png"))


def _convert_one(path: Path) -> str:
    """Convert one mask; returns its problem, or "". Raises DataError if it cannot be written."""
    train_ids, problem = _train_ids(path)
    if train_ids is None:
        return problem
    target = _target(path)
    beside = target.with_name(target.name + ".partial")
    try:
        try:
            Image.fromarray(train_ids).save(beside, format="PNG")
            os.replace(beside, target)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(f"{target}: cannot be written ({error.strerror or error})") from None
    return ""


def _train_ids(label_ids: Path) -> tuple[Ids | None, str]:
    values, problem = _values(label_ids)
    if values is None:
        return None, problem
    try:
        return to_train_ids(values), ""
    except DataError as error:
        return None, f"{label_ids}: {error}"


def _values(path: Path) -> tuple[Ids | None, str]:
    try:
        with Image.open(path) as file:
            if file.mode not in ("L", "P"):
                return None, f"{path}: mode {file.mode}; a mask must be a grey PNG of 8 bits"
            return np.array(file), ""
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        return None, f"{path}: cannot be read ({error})"


def verify(home: Path, frames: set[str] | None) -> tuple[list[Count], list[str]]:
    """Found against expected for every part there is, and one line for every problem.

    Every image must have its mask, both whole PNG files by beginning and end, and of one size; some
    masks are compared with their label ids in content. With `frames` the set must hold those
    frames instead of the full set's number.
    """
    files = {part.path: _files(home, part) for part in PARTS}
    sizes = {at: {frame: _size(path) for frame, path in of.items()} for at, of in files.items()}
    extra = any(files[part.path] for part in PARTS if part.optional)
    counts = [
        Count(
            name=str(part.path),
            found=len(files[part.path]),
            expected=part.frames if frames is None else None,
        )
        for part in PARTS
        if extra or not part.optional
    ]
    problems = [
        f"{files[at][frame]}: not a whole PNG file"
        for at, of in sizes.items()
        for frame, size in of.items()
        if size is None
    ]
    if frames is not None:
        there = {frame for part in PARTS if part.is_image for frame in files[part.path]}
        counts.append(Count(name="of the list", found=len(there & frames), expected=len(frames)))
        if more := sorted(there - frames):
            problems.append(f"{home}: holds {_some(more)} beyond the list; give another --root")
    for masks in PARTS:
        if not masks.is_image:
            (images,) = (p for p in PARTS if p.is_image and p.split == masks.split)
            problems += _unpaired(home, images, masks, files)
            problems += _of_other_sizes(files[masks.path], sizes[images.path], sizes[masks.path])
            problems += _of_other_ids(list(files[masks.path].values()))
    return counts, problems


def _files(home: Path, part: Part) -> dict[str, Path]:
    """The part's files by frame."""
    paths = sorted((home / part.path).glob(f"*/*{part.suffix}"))
    return {path.name.removesuffix(part.suffix): path for path in paths}


def _size(path: Path) -> tuple[int, int] | None:
    """Width and height from a PNG's header; None if its beginning or its end is not a PNG's."""
    with path.open("rb") as file:
        head = file.read(24)
        file.seek(max(0, path.stat().st_size - 32))
        tail = file.read()
    if len(head) < 24 or not head.startswith(b"\x89PNG\r\n\x1a\n") or b"IEND" not in tail:
        return None
    w, h = struct.unpack(">II", head[16:24])
    return w, h


def _unpaired(
    home: Path, images: Part, masks: Part, files: dict[Path, dict[str, Path]]
) -> list[str]:
    lines = []
    for lacking, other in ((masks, images), (images, masks)):
        if lost := sorted(files[other.path].keys() - files[lacking.path].keys()):
            lines.append(
                f"{home / lacking.path}: nothing for {_some(lost)} of {other.path}; "
                f"they come in {lacking.archive} from {LOGIN}"
            )
    return lines


def _of_other_sizes(
    masks: dict[str, Path], image_sizes: dict[str, Size], mask_sizes: dict[str, Size]
) -> list[str]:
    lines = []
    for frame, size in mask_sizes.items():
        image_size = image_sizes.get(frame)
        if size is not None and image_size is not None and size != image_size:
            (w, h), (image_w, image_h) = size, image_size
            lines.append(f"{masks[frame]}: the mask is {w}x{h}, its image is {image_w}x{image_h}")
    return lines


def _of_other_ids(masks: list[Path]) -> list[str]:
    """Lines for masks whose content is not that of the label ids beside them, of a sample."""
    lines = []
    for path in masks[:: max(1, len(masks) // _COMPARED)]:
        source = path.with_name(path.name.replace("_labelTrainIds.png", "_labelIds.png"))
        if source.exists() and _size(path) is not None:
            (expected, problem), (found, other) = _train_ids(source), _values(path)
            if problem or other:
                lines.append(problem or other)
            elif not np.array_equal(expected, found):  # type: ignore[arg-type]
                lines.append(
                    f"{path}: not the train ids of {source.name}; "
                    f"delete the *_labelTrainIds.png in {path.parents[1]} and run again"
                )
    return lines


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
    return f"{len(names)} frame{'s' if len(names) > 1 else ''} ({shown})"
