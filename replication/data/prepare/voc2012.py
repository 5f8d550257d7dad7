"""PASCAL VOC 2012 for segmentation: the trainval archive, and the test archive where it is given.

What segmentation needs is kept: all photographs of the trainval archive (SBD labels more of them),
the official masks as they are, the lists. A split's list is written when all it names is there.
"""

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from rich.console import Console

from replication.data import layouts, reading
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
from replication.data.prepare.unpack import members, unpack
from replication.errors import DataError

LABELLED = ("train", "val", "trainval")
IN_ARCHIVE = PurePosixPath("VOCdevkit/VOC2012")


@dataclass(frozen=True, kw_only=True)
class Official:
    """The archives as published, and how many ids each split must have."""

    trainval: Archive
    test: Archive
    counts: Mapping[str, int]


OFFICIAL = Official(
    trainval=Archive(
        # Address and md5: torchvision's table (torchvision/datasets/voc.py).
        url="https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
        name="VOCtrainval_11-May-2012.tar",
        md5="6cd6e144f989b92b3379bac3b3de84fd",
    ),
    test=Archive(
        url="",
        name="VOC2012test.tar",
        # The publisher states no sum; thelper's pascalvoc.py, among others, states this one.
        md5="9065beb292b6c291fad82b2725749fda",
        login="needs a login: get it from the PASCAL VOC evaluation server, "
        "http://host.robots.ox.ac.uk:8080/ (register, then Downloads, VOC2012 test data)",
    ),
    counts=voc_tree.COUNTS,
)


def prepare(
    root: Path,
    *,
    archives: Sequence[Path] = (),
    ids_file: Path | None = None,
    official: Official = OFFICIAL,
    console: Console,
) -> bool:
    """Make root/VOCdevkit/VOC2012 or what is missing of it, and verify it; whether it is right.

    `archives` are the user's own files, `ids_file` names the ids of a smaller set. Raises
    DataError for archives or ids that cannot be used; nothing half-made is left then.
    """
    ids = read_ids(ids_file) if ids_file else None
    given = _recognise(archives, official)
    place, stored = voc_tree.home(root), root / "archives"
    if official.test.name not in given and (stored / official.test.name).is_file():
        given[official.test.name] = stored / official.test.name

    new_trainval = not all(voc_tree.list_file(place, split).is_file() for split in LABELLED)
    new_test = not voc_tree.list_file(place, "test").is_file() and official.test.name in given
    if new_trainval or new_test:
        with alone(root, "voc2012"):
            own = given.get(official.trainval.name)
            trainval = (
                get(official.trainval, stored, given=own, console=console) if new_trainval else None
            )
            test = (
                get(official.test, stored, given=given[official.test.name], console=console)
                if new_test
                else None
            )
            if ids is not None and ids_file is not None:
                _refuse_unknown(ids, ids_file, place, [a for a in (trainval, test) if a])
            if trainval:
                _make_trainval(trainval, place, ids, official, console)
            if test:
                _make_test(test, place, ids, official, console)
    else:
        console.print(f"{place}: there already; verifying")
    return verify(root, ids_file=ids_file, official=official, console=console)


def verify(
    root: Path, *, ids_file: Path | None = None, official: Official = OFFICIAL, console: Console
) -> bool:
    """Count, look at the header of every listed file, and print the result; changes nothing."""
    ids = set(read_ids(ids_file)) if ids_file else None
    place = voc_tree.home(root)
    has_test = voc_tree.list_file(place, "test").is_file()
    lists = {s: voc_tree.read_list(place, s) for s in (*LABELLED, *(["test"] if has_test else []))}
    problems = _inconsistent(lists, place)
    if ids is not None:
        others = sorted({id_ for listed in lists.values() for id_ in listed} - ids)
        problems += [
            f"{place}: {id_} is not in {ids_file}: another set lies here; choose another --root"
            for id_ in others
        ]
    problems += voc_tree.glance(place, lists["trainval"], ["SegmentationClass"])
    problems += voc_tree.glance(place, lists.get("test", ()), [])
    counts = [
        Count(name=split, found=len(listed), expected=None if ids_file else official.counts[split])
        for split, listed in lists.items()
    ]
    right = report(counts, problems, folder=place.parent, role="voc", console=console)
    if not has_test:
        console.print(
            f"  no test images: {official.test.name} {official.test.login}; then run "
            "again with --archive FILE. Training and validation do not need it"
        )
    if not right:
        console.print(
            f"  to make it anew: remove {place} and run again (for a smaller set: with its --ids)"
        )
    return right


def _recognise(archives: Sequence[Path], official: Official) -> dict[str, Path]:
    """Which of the user's files is which official archive, by its name or else by its lists."""
    found: dict[str, Path] = {}
    names = (official.trainval.name, official.test.name)
    for file in archives:
        if not file.is_file():
            raise DataError(f"{file}: no such file (--archive)")
        name = file.name if file.name in names else _by_content(file, official)
        if name in found:
            raise DataError(f"{file}: {found[name]} is {name} already; give each archive once")
        found[name] = file
    return found


def _by_content(file: Path, official: Official) -> str:
    for member in members(file):
        if member == str(IN_ARCHIVE / "ImageSets/Segmentation/trainval.txt"):
            return official.trainval.name
        if member == str(IN_ARCHIVE / "ImageSets/Segmentation/test.txt"):
            return official.test.name
    raise DataError(
        f"{file}: is neither {official.trainval.name} nor {official.test.name} (no list of VOC "
        "2012's segmentation in it)"
    )


def _refuse_unknown(ids: Sequence[str], file: Path, place: Path, archives: Sequence[Path]) -> None:
    known = {path.stem for path in (place / "JPEGImages").glob("*.jpg")}
    for archive in archives:
        inside = map(PurePosixPath, members(archive))
        known |= {path.stem for path in inside if path.parent == IN_ARCHIVE / "JPEGImages"}
    refuse_unknown(ids, known, file, " or ".join(archive.name for archive in archives))


def _make_trainval(
    archive: Path, place: Path, ids: Collection[str] | None, official: Official, console: Console
) -> None:
    chosen = None if ids is None else set(ids)

    def wanted(member: str) -> str | None:
        path = PurePosixPath(member)
        folder = str(path.parent)
        if folder == str(IN_ARCHIVE / "ImageSets/Segmentation"):
            return f"ImageSets/Segmentation/{path.name}" if path.stem in LABELLED else None
        for kind in ("JPEGImages", "SegmentationClass"):
            if folder == str(IN_ARCHIVE / kind) and (chosen is None or path.stem in chosen):
                return f"{kind}/{path.name}"
        return None

    with partial(place / "trainval") as made:
        unpack(archive, made, wanted=wanted, console=console)
        with told_of(archive, made):
            lists = {split: voc_tree.read_list(made, split) for split in LABELLED}
            raise_problems(
                [
                    *_wrong_lengths(lists, official, archive),
                    *_inconsistent(lists, made),
                ]
            )
            for split, listed in lists.items():
                voc_tree.write_list(
                    made, split, [id_ for id_ in listed if chosen is None or id_ in chosen]
                )
            _check_fully(made, console)
        for folder in ("JPEGImages", "SegmentationClass"):
            merge(made / folder, place / folder)
        for split in LABELLED:
            target = voc_tree.list_file(place, split)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(voc_tree.list_file(made, split), target)


def _check_fully(made: Path, console: Console) -> None:
    """Decode every pair: indices 0 to 20 or 255, and the mask as large as its image."""
    if not voc_tree.read_list(made, "trainval"):
        return
    listing = layouts.listing("voc", made, "trainval")
    pairs = [
        replace(listing, ids=(id_,), images=(image,), masks=(mask,))
        for id_, image, mask in zip(listing.ids, listing.images, listing.masks, strict=True)
    ]
    found = work_through(_problems, pairs, "verifying masks", console)
    raise_problems([problem for problems in found for problem in problems])


def _problems(pair: layouts.Listing) -> list[str]:
    return reading.read_pair(pair, 0)[2]


def _make_test(
    archive: Path, place: Path, ids: Collection[str] | None, official: Official, console: Console
) -> None:
    with partial(place / "test") as made:
        # Two passes over a tar that is not compressed: the list first, then its photographs,
        # a tenth of those in the archive.
        listed_at = str(IN_ARCHIVE / "ImageSets/Segmentation/test.txt")
        unpack(
            archive, made, console=console,
            wanted=lambda m: "ImageSets/Segmentation/test.txt" if m == listed_at else None,
        )  # fmt: skip
        with told_of(archive, made):
            listed = voc_tree.read_list(made, "test")
        raise_problems(_wrong_lengths({"test": listed}, official, archive))
        chosen = set(listed) if ids is None else set(ids)
        kept = [id_ for id_ in listed if id_ in chosen]
        photographs = {str(IN_ARCHIVE / f"JPEGImages/{id_}.jpg"): id_ for id_ in kept}

        def wanted(member: str) -> str | None:
            return f"JPEGImages/{photographs[member]}.jpg" if member in photographs else None

        unpack(archive, made, wanted=wanted, console=console)
        with told_of(archive, made):
            raise_problems(voc_tree.glance(made, kept, []))
        merge(made / "JPEGImages", place / "JPEGImages")
        voc_tree.write_list(place, "test", kept)


def _wrong_lengths(
    lists: Mapping[str, Sequence[str]], official: Official, archive: Path
) -> list[str]:
    return [
        f"{archive}: {split}.txt has {len(ids)} ids, {official.counts[split]} must be there"
        for split, ids in lists.items()
        if len(ids) != official.counts[split]
    ]


def _inconsistent(lists: dict[str, tuple[str, ...]], place: Path) -> list[str]:
    train, val, both = (set(lists[split]) for split in LABELLED)
    file = voc_tree.list_file(place, "trainval")
    problems = [f"{file}: {id_} is in train and in val" for id_ in sorted(train & val)]
    problems += [
        f"{file}: {id_} is not in it exactly if it is in train or val"
        for id_ in sorted((train | val) ^ both)
    ]
    return problems
