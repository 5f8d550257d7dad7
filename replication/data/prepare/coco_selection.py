"""Which of COCO's images the paper starts from: trainval minus minival, or a list's part of it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from replication.data.prepare.coco_annotations import Picture, read_image_ids, read_pictures
from replication.data.prepare.coco_source import Part, Release, Source, image_id, read_file
from replication.data.prepare.command import Count, raise_problems, read_ids
from replication.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The images to look at by the part that has them, and how many there were on the way."""

    by_part: Mapping[Part, tuple[Picture, ...]]
    counts: tuple[Count, ...]
    digest: str  # of everything that it was made from

    @property
    def pictures(self) -> list[Picture]:
        """All of them in the order of their ids."""
        every = [picture for of in self.by_part.values() for picture in of]
        return sorted(every, key=lambda picture: picture.id)


def select(
    release: Release,
    source: Source,
    *,
    minival: Path | None = None,
    ids_file: Path | None = None,
    console: Console,
) -> Selection:
    """Read the annotations and leave out minival, whose list is the release's or in `minival`.

    Raises DataError if the files do not belong together: other numbers of images than COCO's, an
    image of minival that is not in trainval, or that is in a release which has left it out.
    """
    digest = hashlib.sha256()
    parts: dict[Part, dict[int, Picture]] = {}
    for part in release.parts:
        content, where = source.instances(release.annotations, part)
        console.print(f"reading {where}")
        digest.update(hashlib.sha256(content).digest())
        parts[part] = read_pictures(content, where)
        _check_number(len(parts[part]), part.images, where)
    trainval = frozenset[int]().union(*parts.values())
    if len(trainval) < sum(map(len, parts.values())):
        raise DataError(f"{where}: an image of it is in {release.parts[0].instances} as well")
    counts = [
        Count(name=part.name, found=len(of), expected=part.images) for part, of in parts.items()
    ]

    left_out, where = _minival(release, source, minival)
    shared = trainval & left_out
    if release.without_minival and shared:
        raise DataError(
            f"{where}: {len(shared):,} images of minival are in {release.year}'s training images, "
            f"e.g. {min(shared)}; one of the two is not the official file"
        )
    if not release.without_minival and shared != left_out:
        strange = left_out - shared
        raise DataError(
            f"{where}: {len(strange):,} images are not in trainval, e.g. {min(strange)}; give the "
            "list of minival"
        )
    expected = 0 if release.without_minival else release.minival.images
    total = sum(part.images for part in release.parts) - expected
    rest = trainval - left_out
    counts += [
        Count(name="of minival, left out", found=len(shared), expected=expected),
        Count(name="trainval minus minival", found=len(rest), expected=total),
    ]
    if ids_file is not None:
        rest = _listed(ids_file, rest, left_out)
        counts.append(Count(name="of the list", found=len(rest)))
    digest.update(repr(sorted(rest)).encode())
    return Selection(
        by_part={
            part: tuple(of[id_] for id_ in sorted(rest & of.keys())) for part, of in parts.items()
        },
        counts=tuple(counts),
        digest=digest.hexdigest(),
    )


def _minival(release: Release, source: Source, given: Path | None) -> tuple[frozenset[int], str]:
    """The ids of minival's images, and the file that lists them."""
    if given is None:
        content, where = source.instances(release.minival_annotations, release.minival)
    else:
        content = read_file(given, "give a COCO file, e.g. instances_minival2014.json")
        where = str(given)
    ids = read_image_ids(content, where)
    _check_number(len(ids), release.minival.images, where)
    return ids, where


def _check_number(found: int, expected: int, where: str) -> None:
    if found != expected:
        raise DataError(
            f"{where}: has {found:,} images, must have {expected:,}; give the official file (for "
            "a smaller set: --ids FILE)"
        )


def _listed(file: Path, known: frozenset[int], minival: frozenset[int]) -> frozenset[int]:
    wanted, problems = set[int](), []
    for name in read_ids(file):
        id_ = image_id(name)
        if id_ is None:
            problems.append(
                f"{file}: {name!r} is not an image of COCO; they look like 000000000009"
            )
        elif id_ not in known:
            why = "is in minival, which is left out" if id_ in minival else "is not in trainval"
            problems.append(f"{file}: {name} {why}")
        else:
            wanted.add(id_)
    raise_problems(problems)
    return frozenset(wanted)
