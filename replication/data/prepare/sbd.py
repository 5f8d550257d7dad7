"""SBD, the extra annotations of Hariharan et al. (ICCV 2011), beside a prepared VOC 2012.

trainaug = (SBD train ∪ SBD val ∪ VOC train) \\ VOC val; SBD's masks, Matlab files of class indices
without void, become PNG in SegmentationClassAug where VOC has no mask of its own.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from scipy.io import loadmat

from replication.data.layouts import IGNORE_INDEX, VOC_CLASSES
from replication.data.palette import save_indexed
from replication.data.prepare import voc_tree
from replication.data.prepare.command import (
    Count,
    alone,
    merge,
    partial,
    raise_problems,
    read_ids,
    refuse_unknown,
    report,
    told_of,
)
from replication.data.prepare.download import Archive, get
from replication.data.prepare.pool import work_through
from replication.data.prepare.unpack import unpack
from replication.errors import DataError

IN_ARCHIVE = PurePosixPath("benchmark_RELEASE/dataset")
MASKS = "SegmentationClassAug"
MASK_FOLDERS = ("SegmentationClass", MASKS)  # VOC's own wins, as the reader has it.


@dataclass(frozen=True, kw_only=True)
class Official:
    """The archive as published, and how many ids each list must have.

    `counts` has SBD's own lists as `sbd train` and `sbd val`, VOC's `train` and `val`, `trainaug`.
    """

    archive: Archive
    counts: Mapping[str, int]


OFFICIAL = Official(
    archive=Archive(
        # Address and md5: torchvision's table (torchvision/datasets/sbd.py).
        url="https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/"
        "semantic_contours/benchmark.tgz",
        name="benchmark.tgz",
        md5="82b4d87ceb2ed10f6038a1cba92111cb",
    ),
    # 8,498 + 2,857 = SBD's 11,355 images; 10,582: the paper, section 4.
    counts={
        "sbd train": 8498,
        "sbd val": 2857,
        "train": voc_tree.COUNTS["train"],
        "val": voc_tree.COUNTS["val"],
        "trainaug": 10582,
    },
)


def trainaug(
    sbd_train: Collection[str],
    sbd_val: Collection[str],
    voc_train: Collection[str],
    voc_val: Collection[str],
) -> tuple[str, ...]:
    """The ids of trainaug, sorted: (SBD train ∪ SBD val ∪ VOC train) \\ VOC val."""
    return tuple(sorted((set(sbd_train) | set(sbd_val) | set(voc_train)) - set(voc_val)))


def prepare(
    root: Path,
    *,
    archives: Sequence[Path] = (),
    ids_file: Path | None = None,
    compare: Path | None = None,
    official: Official = OFFICIAL,
    console: Console,
) -> bool:
    """Add SBD to root/VOCdevkit/VOC2012, or verify it there; whether it is right.

    `ids_file` names the ids of a smaller set, `compare` a list that trainaug must equal. Raises
    DataError for input that cannot be used; trainaug.txt is not written then.
    """
    place = voc_tree.home(root)
    if not voc_tree.list_file(place, "trainval").is_file():
        raise DataError(
            f"{place}: no VOC 2012 here; prepare it first: "
            f"python data_scripts/voc2012.py --root {root}"
        )
    if len(archives) > 1:
        raise DataError(f"{archives[1]}: SBD is one archive, {official.archive.name}; give one")
    reference = read_ids(compare) if compare else None
    if voc_tree.list_file(place, "trainaug").is_file():
        console.print(f"{place}: SBD is there already; verifying")
    else:
        with alone(root, "sbd"):
            given = archives[0] if archives else None
            archive = get(official.archive, root / "archives", given=given, console=console)
            _make(archive, place, ids_file, official, console)
    right = verify(root, ids_file=ids_file, official=official, console=console)
    if reference is not None and compare is not None:
        right = _same(voc_tree.read_list(place, "trainaug"), reference, compare, console) and right
    return right


def verify(
    root: Path, *, ids_file: Path | None = None, official: Official = OFFICIAL, console: Console
) -> bool:
    """Count, check for leaks, look at every listed file's header; changes nothing."""
    place = voc_tree.home(root)
    listed, val = voc_tree.read_list(place, "trainaug"), voc_tree.read_list(place, "val")
    train = voc_tree.read_list(place, "train")
    file = voc_tree.list_file(place, "trainaug")
    problems = [f"{file}: {id_} is in VOC val: a leak" for id_ in leaked(listed, val)]
    problems += [
        f"{file}: {id_} of VOC train is missing" for id_ in sorted(set(train) - set(listed))
    ]
    if ids_file:
        problems += [
            f"{file}: {id_} is not in {ids_file}: another set lies here; choose another --root"
            for id_ in sorted(set(listed) - set(read_ids(ids_file)))
        ]
    problems += voc_tree.glance(place, listed, MASK_FOLDERS)
    own = sum((place / "SegmentationClass" / f"{id_}.png").is_file() for id_ in listed)
    counts = [
        Count(name="trainaug", found=len(listed), expected=_must(official, "trainaug", ids_file)),
        Count(name="VOC's own masks", found=own, expected=_must(official, "train", ids_file)),
        Count(name="SBD's masks", found=len(listed) - own),
        Count(name="in VOC val too (a leak)", found=len(leaked(listed, val)), expected=0),
    ]
    right = report(counts, problems, folder=place.parent, role="voc", console=console)
    if not right:
        console.print(f"  to make it anew: remove {file} and run again")
    return right


def leaked(listed: Collection[str], val: Collection[str]) -> list[str]:
    """The ids of a training list that are in val, sorted; there must be none."""
    return sorted(set(listed) & set(val))


def segmentation(file: Path) -> NDArray[np.uint8]:
    """The class indices (h, w) of one of SBD's .mat files: field Segmentation of struct GTcls.

    Raises DataError if the file is damaged, or a value is neither a class nor 255.
    """
    try:
        with file.open("rb") as opened:
            struct = loadmat(opened, variable_names=["GTcls"])["GTcls"]
        values = np.asarray(struct[0, 0]["Segmentation"])
    except FileNotFoundError:
        raise DataError(f"{file}: missing") from None
    except Exception as error:  # A damaged file makes scipy's reader stumble anywhere.
        raise DataError(
            f"{file}: GTcls.Segmentation cannot be read ({type(error).__name__})"
        ) from None
    if values.ndim != 2 or values.dtype.kind not in "iu" or not values.size:
        raise DataError(f"{file}: GTcls.Segmentation is {values.dtype} of shape {values.shape}")
    stray = values[((values < 0) | (values >= len(VOC_CLASSES))) & (values != IGNORE_INDEX)]
    if stray.size:
        raise DataError(
            f"{file}: value {stray[0]}; allowed are 0 to {len(VOC_CLASSES) - 1} and {IGNORE_INDEX}"
        )
    return values.astype(np.uint8)


def _make(
    archive: Path, place: Path, ids_file: Path | None, official: Official, console: Console
) -> None:
    voc = {split: voc_tree.read_list(place, split) for split in ("train", "val")}
    # Of a full VOC set every val id is known. Of a smaller one only those that have a photograph
    # there: whatever else is taken from SBD might be in VOC val.
    full = all(len(voc[split]) == official.counts[split] for split in voc)
    if not full and ids_file is None:
        raise DataError(
            f"{place}: VOC 2012 has {len(voc['train'])} train and {len(voc['val'])} val ids, "
            f"{official.counts['train']} and {official.counts['val']} must be there; for a "
            "smaller set give the --ids FILE that it was made with"
        )
    ids = set(read_ids(ids_file)) if ids_file else None

    def wanted(member: str) -> str | None:
        path = PurePosixPath(member)
        if path.parent == IN_ARCHIVE and path.name in ("train.txt", "val.txt"):
            return path.name
        if ids is not None and path.stem not in ids:
            return None
        own_mask = place / "SegmentationClass" / f"{path.stem}.png"
        if path.parent == IN_ARCHIVE / "cls" and path.suffix == ".mat" and not own_mask.is_file():
            return f"cls/{path.name}"
        photograph = place / "JPEGImages" / path.name
        if path.parent == IN_ARCHIVE / "img" and path.suffix == ".jpg" and not photograph.is_file():
            return f"JPEGImages/{path.name}"
        return None

    with partial(place / "sbd") as made:
        unpack(archive, made, wanted=wanted, console=console)
        with told_of(archive, made):
            sbd = {split: read_ids(made / f"{split}.txt") for split in ("train", "val")}
        raise_problems(
            [
                f"{archive}: {split}.txt has {len(sbd[split])} ids, "
                f"{official.counts[f'sbd {split}']} must be there"
                for split in sbd
                if len(sbd[split]) != official.counts[f"sbd {split}"]
            ]
        )
        listed = trainaug(sbd["train"], sbd["val"], voc["train"], voc["val"])
        if ids is not None and ids_file is not None:
            pictures = {path.stem for path in (place / "JPEGImages").glob("*.jpg")}
            known = {*sbd["train"], *sbd["val"], *pictures}
            refuse_unknown(sorted(ids), known, ids_file, "SBD or VOC 2012")
            listed = tuple(id_ for id_ in listed if id_ in ids)
            if not full:
                refuse_unknown(
                    listed, pictures, ids_file,
                    f"{place / 'JPEGImages'}; make VOC 2012 there with the same --ids first",
                )  # fmt: skip
        elif len(listed) != official.counts["trainaug"]:
            raise DataError(
                f"{place}: trainaug would have {len(listed)} ids, "
                f"{official.counts['trainaug']} must be there; the lists are not the official ones"
            )
        leaks = leaked(listed, voc["val"])
        raise_problems([f"{place}: {id_} is in trainaug and in VOC val" for id_ in leaks])
        console.print(
            f"leak check: none of the {len(listed):,} trainaug ids is among the "
            f"{len(voc['val']):,} of VOC val"
        )
        with told_of(archive, made):
            _convert(made, place, listed, console)
        for folder in (MASKS, "JPEGImages"):
            merge(made / folder, place / folder)
        voc_tree.write_list(place, "trainaug", listed)


@dataclass(frozen=True, kw_only=True)
class _Mask:
    """One of SBD's masks to convert, and the photograph that it must fit."""

    matlab: Path
    png: Path
    photograph: Path


def _convert(made: Path, place: Path, listed: Sequence[str], console: Console) -> None:
    """Matlab files in made/cls to PNG in made/SegmentationClassAug. Names all problems at once."""
    for folder in (MASKS, "JPEGImages"):
        (made / folder).mkdir(exist_ok=True)
    todo = []
    for id_ in listed:
        if (place / "SegmentationClass" / f"{id_}.png").is_file():
            continue
        photograph = place / "JPEGImages" / f"{id_}.jpg"
        if not photograph.is_file():
            photograph = made / "JPEGImages" / photograph.name
        matlab = made / "cls" / f"{id_}.mat"
        todo.append(_Mask(matlab=matlab, png=made / MASKS / f"{id_}.png", photograph=photograph))
    found = work_through(_converted, todo, "converting masks", console)
    raise_problems([problem for problem in found if problem])


def _converted(mask: _Mask) -> str:
    """Convert one mask; the problem in a line, if there is one."""
    try:
        mask_hw = segmentation(mask.matlab)
        width, height = voc_tree.image_size(mask.photograph)
    except DataError as error:
        return str(error)
    if mask_hw.shape != (height, width):
        return (
            f"{mask.matlab}: the mask is {mask_hw.shape[1]}x{mask_hw.shape[0]}, its image "
            f"{mask.photograph} is {width}x{height}"
        )
    save_indexed(mask_hw, mask.png)
    return ""


def _must(official: Official, name: str, ids_file: Path | None) -> int | None:
    return None if ids_file else official.counts[name]


def _same(listed: Sequence[str], reference: Sequence[str], file: Path, console: Console) -> bool:
    """Print whether trainaug has exactly the ids of a list at hand, else the first differences."""
    lacking, beyond = set(reference) - set(listed), set(listed) - set(reference)
    if not lacking and not beyond:
        console.print(f"  trainaug equals {file}")
        return True
    for what, ids in (("lacks", lacking), ("has beyond it", beyond)):
        if ids:
            console.print(
                f"  trainaug {what}: {', '.join(sorted(ids)[:5])} ({len(ids)} ids; {file})"
            )
    return False
