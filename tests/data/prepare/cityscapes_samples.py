"""A small Cityscapes in its official layout: frames, masks, zip files, unpacked folders."""

import zipfile
from dataclasses import replace
from io import BytesIO

import numpy as np
from PIL import Image

from replication.data.prepare import cityscapes

FRAMES = {
    "train": ("aachen_000000_000019", "bochum_000000_000313", "aachen_000001_000019"),
    "val": ("frankfurt_000000_000294", "munster_000000_000019"),
    "test": ("berlin_000000_000019",),
    "train_extra": ("bad-honnef_000000_000000", "troisdorf_000000_000073"),
}
IMAGES, FINE = "leftImg8bit_trainvaltest.zip", "gtFine_trainvaltest.zip"
EXTRA, COARSE = "leftImg8bit_trainextra.zip", "gtCoarse.zip"
ARCHIVES = (IMAGES, FINE, EXTRA, COARSE)
SIZE = (32, 16)


def small_parts():
    """The official parts with FRAMES' numbers in the place of thousands."""
    assert [part.frames for part in cityscapes.PARTS] == [2975, 500, 1525, 2975, 500, 19998, 19998]
    return tuple(replace(part, frames=len(FRAMES[part.split])) for part in cityscapes.PARTS)


def png(values):
    file = BytesIO()
    Image.fromarray(values).save(file, "PNG")
    return file.getvalue()


def label_ids(frame):
    """A mask of all 34 label ids, another for every frame."""
    random = np.random.default_rng(sum(frame.encode()))
    return random.integers(0, 34, SIZE[::-1]).astype(np.uint8)


def members(archive):
    """Names and contents of an official zip file, FRAMES' part of it."""
    made = {"README": b"Cityscapes", "license.txt": b"terms"}
    splits = ("train_extra",) if archive == EXTRA else ("train", "val", "test")
    for split in (*splits, "train_extra") if archive == COARSE else splits:
        for frame in FRAMES[split]:
            city = frame.split("_")[0]
            if archive in (IMAGES, EXTRA):
                image = np.random.default_rng(0).integers(0, 256, (*SIZE[::-1], 3), dtype=np.uint8)
                # The black image of train_extra has one channel.
                values = np.zeros(SIZE[::-1], np.uint8) if "troisdorf" in frame else image
                made[f"leftImg8bit/{split}/{city}/{frame}_leftImg8bit.png"] = png(values)
                continue
            kind = "gtFine" if archive == FINE else "gtCoarse"
            stem = f"{kind}/{split}/{city}/{frame}_{kind}"
            made[f"{stem}_labelIds.png"] = png(label_ids(frame))
            made[f"{stem}_color.png"] = png(np.zeros((*SIZE[::-1], 4), np.uint8))
            made[f"{stem}_polygons.json"] = b"{}"
    return made


def write_zip(folder, archive, changes=None, **options):
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / archive, "w", **options) as file:
        for name, content in {**members(archive), **(changes or {})}.items():
            if content is not None:
                file.writestr(name, content)
    return folder / archive


def unpacked(folder, *archives):
    for archive in archives:
        for name, content in members(archive).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
    return folder
