"""MS-COCO as the paper pretrains on it (section 4.3): VOC's layout, VOC's classes.

"From the MS-COCO trainval minus minival set, we only select the images that have annotation regions
larger than 1000 pixels and contain the classes defined in PASCAL VOC 2012, resulting in about 60K
images for training." The paper does not say whether that is measured on masks or on the areas of
annotations, nor on one region or on all. Here it is the finished mask: an image stays if more than
1,000 of its pixels belong to VOC's classes, void not counted. How many images two other readings
leave is counted beside it; the paper's 60K can be held against all three.

DATA/coco has JPEGImages, SegmentationClass and, written last, ImageSets/Segmentation/train.txt. It
is made in coco.partial and renamed when it is whole. A run after a kill goes on with what is there.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError
from rich.console import Console

from replication.data.layouts import IGNORE_INDEX, VOC_CLASSES
from replication.data.palette import save_indexed
from replication.data.prepare import coco_masks, voc_tree
from replication.data.prepare.coco_annotations import Picture
from replication.data.prepare.coco_selection import Selection, select
from replication.data.prepare.coco_source import Release, Source
from replication.data.prepare.command import Count, alone, raise_problems, read_ids, report
from replication.data.prepare.meter import Meter
from replication.data.prepare.pool import work_through
from replication.errors import DataError
from replication.files import write_atomically

LEAST_PIXELS = 1_000  # more than these
RECORD = "coco.json"
# Masks that an unfinished run left are used only if the same rules painted them: raise it when
# `coco_masks` paints otherwise.
RULES = 1
IMAGES, MASKS = "JPEGImages", "SegmentationClass"


@dataclass(frozen=True, kw_only=True)
class Painted:
    """What there is of VOC in a picture: pixels of its mask, and of each object by itself."""

    id: int
    voc_pixels: int
    objects: tuple[int, ...]

    @property
    def kept(self) -> bool:
        return self.voc_pixels > LEAST_PIXELS


def prepare(
    root: Path,
    release: Release,
    source: Source,
    *,
    minival: Path | None = None,
    ids_file: Path | None = None,
    console: Console,
) -> bool:
    """Make root/coco from `source`, or verify it if it is there; whether it is as it must be.

    `minival` is a COCO file whose images are left out, in the place of the release's own;
    `ids_file` lists images to stay within.

    Raises DataError for input that cannot be used, or where another set lies at root/coco already.
    """
    home = root / "coco"
    asked = {
        "coco": release.year,
        "rules": RULES,
        "ids": _digest(sorted(read_ids(ids_file))) if ids_file else None,
    }
    with alone(root, "coco"):
        if home.exists():
            console.print(f"{home}: there already; verifying")
            return verify(home, asked, console)
        coco_masks.check_installed()
        selection = select(release, source, minival=minival, ids_file=ids_file, console=console)
        draft = _draft(home, {**asked, "from": selection.digest}, console)
        painted = _paint(selection.pictures, draft / MASKS, console)
        kept = {one.id for one in painted if one.kept}
        if not kept:
            raise DataError(
                f"none of {len(painted):,} images has more than {LEAST_PIXELS:,} pixels of VOC's "
                "classes; there is nothing to make"
            )
        names = _take_images(selection, kept, source, draft, console)
        _finish(draft, names, {**asked, "from": selection.digest})
        os.replace(draft, home)
    counts = [*selection.counts, *_counts(painted), *_found(home, names)]
    return report(counts, [], folder=home, role="coco", console=console)


def verify(home: Path, asked: Mapping[str, Any], console: Console) -> bool:
    """Compare a finished set with its record, look at each file's header, and print the result.

    Raises DataError if it was made of other images than `asked`, or is no finished set.
    """
    try:
        record = json.loads((home / RECORD).read_text())
        made_of = {key: record[key] for key in asked}
        listed, digest = int(record["images"]), str(record["list"])
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(
            f"{home}: not a set that this command has finished; move it away, or give another "
            "--root"
        ) from None
    if made_of != asked:
        raise DataError(
            f"{home}: holds {_in_words(made_of)}, not {_in_words(asked)}; move it away, or give "
            "another --root"
        )
    names = voc_tree.read_list(home, "train")
    problems = _glance(home, names, console)
    if _digest(names) != digest:
        problems.append(f"{voc_tree.list_file(home, 'train')}: changed since the set was made")
    counts = [Count(name="train.txt", found=len(names), expected=listed), *_found(home, names)]
    right = report(counts, problems, folder=home, role="coco", console=console)
    if not right:
        console.print(f"  to make it anew: remove {home} and run again")
    return right


def _in_words(made_of: Mapping[str, Any]) -> str:
    images = "the images of a list" if made_of["ids"] else "all images"
    which = f" ({made_of['ids'][:8]})" if made_of["ids"] else ""
    return f"{images}{which} of COCO {made_of['coco']} by rules {made_of['rules']}"


def _digest(names: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def _draft(home: Path, made_of: Mapping[str, Any], console: Console) -> Path:
    """The folder to fill. What an earlier run left stays there if it was making the same set."""
    draft = home.with_name(f"{home.name}.partial")
    try:
        earlier = json.loads((draft / RECORD).read_text())
        same = {key: earlier[key] for key in made_of} == made_of
    except (OSError, ValueError, KeyError, TypeError):
        same = False
    if same:
        console.print(f"{draft}: going on with what an earlier run left")
    else:
        shutil.rmtree(draft, ignore_errors=True)
    write_atomically(draft / RECORD, json.dumps(made_of))
    for folder in (IMAGES, MASKS):
        (draft / folder).mkdir(exist_ok=True)
    return draft


def _paint(pictures: Sequence[Picture], folder: Path, console: Console) -> list[Painted]:
    """A mask in `folder` for every picture that is kept."""
    try:
        one = partial(paint_one, folder=folder)
        return list(work_through(one, pictures, "painting masks", console))
    except BrokenProcessPool:
        raise DataError(
            f"{folder}: a worker process was killed, perhaps for want of memory; run again to go on"
        ) from None


def paint_one(picture: Picture, folder: Path) -> Painted:
    """Paint a picture's mask and write it if the picture is kept, unless it is there."""
    shapes = coco_masks.shapes(picture)
    objects = tuple(shape.area for shape in shapes if shape.label and not shape.crowd)
    # Overlaps and smaller objects only ever take pixels away.
    if sum(objects) <= LEAST_PIXELS:
        return Painted(id=picture.id, voc_pixels=0, objects=objects)
    path = folder / f"{picture.name}.png"
    mask_hw = _earlier(path, picture)
    if mask_hw is None:
        mask_hw = coco_masks.paint(shapes, picture.height, picture.width)
        if coco_masks.voc_pixels(mask_hw) > LEAST_PIXELS:
            save_indexed(mask_hw, path)
    return Painted(id=picture.id, voc_pixels=coco_masks.voc_pixels(mask_hw), objects=objects)


def _earlier(path: Path, picture: Picture) -> coco_masks.Bytes | None:
    """The mask that an earlier run wrote, if it can be one of this picture."""
    try:
        with Image.open(path) as file:
            mask_hw = np.array(file) if file.mode == "P" else None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
        return None
    if mask_hw is None or mask_hw.shape != (picture.height, picture.width):
        return None
    allowed = (mask_hw < len(VOC_CLASSES)) | (mask_hw == IGNORE_INDEX)
    written = coco_masks.voc_pixels(mask_hw) > LEAST_PIXELS  # else it would not be there
    return mask_hw if written and allowed.all() else None


def _take_images(
    selection: Selection, kept: Collection[int], source: Source, draft: Path, console: Console
) -> list[str]:
    """Put the kept pictures' images beside their masks; their names in order."""
    for part, pictures in selection.by_part.items():
        wanted = {p.file_name: f"{p.name}.jpg" for p in pictures if p.id in kept}
        if wanted:
            source.images(part, wanted, draft / IMAGES)
    names = [picture.name for picture in selection.pictures if picture.id in kept]
    raise_problems(_glance(draft, names, console))
    return names


def _glance(place: Path, names: Sequence[str], console: Console) -> list[str]:
    """`voc_tree.glance` with a meter: it takes some seconds for every 10,000 images."""
    problems: list[str] = []
    with Meter(console, "verifying", len(names)) as meter:
        for start in range(0, len(names), 1_000):
            problems += voc_tree.glance(place, names[start : start + 1_000], [MASKS])
            meter.to(min(start + 1_000, len(names)))
    return problems


def _finish(draft: Path, names: Sequence[str], made_of: Mapping[str, Any]) -> None:
    """Remove what a kill left half-written, and write what says that the set is whole."""
    for folder, suffix in ((IMAGES, ".jpg"), (MASKS, ".png")):
        wanted = {name + suffix for name in names}
        for path in (draft / folder).iterdir():
            if path.name not in wanted:
                path.unlink()
    record = {**made_of, "images": len(names), "list": _digest(names)}
    write_atomically(draft / RECORD, json.dumps(record, indent=1) + "\n")
    voc_tree.write_list(draft, "train", names)


def _counts(painted: Sequence[Painted]) -> list[Count]:
    """How many images the rule keeps, and how many it would keep if read otherwise."""
    over = [[area > LEAST_PIXELS for area in one.objects] for one in painted]
    limit = f"{LEAST_PIXELS:,} pixels"
    return [
        Count(
            name=f"VOC's classes on more than {limit} (paper: about 60K)",
            found=sum(one.kept for one in painted),
        ),
        Count(
            name=f"  (for comparison: one object of more than {limit})",
            found=sum(any(areas) for areas in over),
        ),
        Count(
            name=f"  (for comparison: each object of more than {limit})",
            found=sum(bool(areas) and all(areas) for areas in over),
        ),
    ]


def _found(home: Path, names: Sequence[str]) -> list[Count]:
    return [
        Count(name=folder, found=sum(1 for _ in (home / folder).iterdir()), expected=len(names))
        for folder in (IMAGES, MASKS)
    ]
