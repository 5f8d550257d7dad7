"""A small COCO in its own format: photographs, instances files, the official zip layout."""

import io
import json
import shutil
import sys
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_api
from rich.console import Console

from data_scripts import coco as script
from replication.data.prepare import coco
from replication.data.prepare.coco_annotations import COCO_CATEGORIES
from replication.data.prepare.coco_source import RELEASES, Zips
from replication.errors import ReplicationError

CATEGORIES = [{"id": id_, "name": name} for id_, name in COCO_CATEGORIES.items()]
IDS = {name: id_ for id_, name in COCO_CATEGORIES.items()}
H, W = 60, 80


def box(x, y, w, h):
    """A polygon of w times h pixels from column x, row y on."""
    return [x, y, x + w, y, x + w, y + h, x, y + h]


def runs(mask):
    """Run lengths by columns, background first, counted one by one."""
    counts, value = [0], 0
    for pixel in np.asarray(mask).T.ravel():
        if pixel != value:
            counts.append(0)
            value = pixel
        counts[-1] += 1
    return {"size": list(np.shape(mask)), "counts": [int(count) for count in counts]}


def compressed(mask):
    coded = coco_api.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": coded["size"], "counts": coded["counts"].decode()}


def filled(x, y, w, h, height=H, width=W):
    mask = np.zeros((height, width), dtype=np.uint8)
    mask[y : y + h, x : x + w] = 1
    return mask


def annotation(name, segmentation, crowd=0):
    return {"category_id": IDS[name], "segmentation": segmentation, "iscrowd": crowd}


# By image id. Kept are those with more than 1,000 pixels of VOC's classes.
PICTURES = {
    9: [annotation("person", [box(0, 0, 40, 25)])],  # 1,000 pixels: not more than 1,000
    25: [annotation("dog", [box(2, 3, 77, 13)])],  # 1,001
    30: [annotation("airplane", [box(0, 0, 40, 20), box(40, 30, 30, 20)])],
    34: [
        annotation("person", runs(filled(0, 0, 80, 30)), crowd=1),
        annotation("person", [box(0, 10, 30, 45)]),
    ],
    36: [annotation("cow", compressed(filled(5, 6, 50, 40)))],
    42: [annotation("pizza", [box(0, 0, 80, 60)])],
    49: [],
    61: [annotation("cat", []), annotation("tv", [box(10, 10, 60, 40)])],
    64: [annotation("person", runs(filled(0, 0, 80, 60)), crowd=1)],
}
KEPT = [25, 30, 34, 36, 61]
NAMES = [f"{id_:012}" for id_ in KEPT]
MINIVAL = {139: [annotation("person", [box(0, 0, 80, 60)])], 285: []}


def jpeg(id_, height=H, width=W):
    pixels = np.random.default_rng(id_).integers(0, 256, (height // 4, width // 4, 3), np.uint8)
    encoded = io.BytesIO()
    Image.fromarray(pixels).resize((width, height)).save(encoded, "JPEG")
    return encoded.getvalue()


def document(pictures, prefix="", height=H, width=W):
    """An instances file's content as Python objects."""
    images = [
        {"id": id_, "file_name": f"{prefix}{id_:012}.jpg", "height": height, "width": width}
        for id_ in pictures
    ]
    annotations = [
        {**fields, "image_id": image_id}
        for image_id, regions in pictures.items()
        for fields in regions
    ]
    for id_, fields in enumerate(annotations, 1):
        fields.setdefault("id", 100 * id_)
    return {"images": images, "annotations": annotations, "categories": CATEGORIES}


def encoded(document):
    return json.dumps(document).encode()


def archive(path, members):
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def images_of(part, pictures, prefix=""):
    return {f"{part}/{prefix}{id_:012}.jpg": jpeg(id_) for id_ in pictures}


def members_2017(pictures=PICTURES, minival=MINIVAL):
    """The members of train2017.zip and annotations_trainval2017.zip, by archive."""
    return {
        "train2017.zip": images_of("train2017", pictures),
        "annotations_trainval2017.zip": {
            "annotations/instances_train2017.json": encoded(document(pictures)),
            "annotations/instances_val2017.json": encoded(document(minival)),
            "annotations/captions_train2017.json": b"{}",
        },
    }


def members_2014(pictures=PICTURES, minival=MINIVAL):
    """The same images as COCO 2014 has them: half in train2014, half and minival in val2014."""
    ids = list(pictures)
    train = {id_: pictures[id_] for id_ in ids[::2]}
    val = {**{id_: pictures[id_] for id_ in ids[1::2]}, **minival}
    parts = {"train2014": train, "val2014": val}
    annotations = {
        f"annotations/instances_{part}.json": encoded(document(of, f"COCO_{part}_"))
        for part, of in parts.items()
    }
    images = {f"{part}.zip": images_of(part, of, f"COCO_{part}_") for part, of in parts.items()}
    return {**images, "annotations_trainval2014.zip": annotations}


def release(year="2017", pictures=PICTURES, minival=MINIVAL, server=None, contents=None):
    """COCO's release with the sample's numbers of images; on `server`, or nowhere."""

    def found(archive):
        url = f"{server}/{archive.name}" if server else ""
        size = len(contents[archive.name]) if contents else None
        return replace(archive, url=url, size=size, sha256=None, login="not to be had")

    original = RELEASES[year]
    half = {"train2014": (len(pictures) + 1) // 2, "val2014": len(pictures) // 2 + len(minival)}
    return replace(
        original,
        annotations=found(original.annotations),
        parts=tuple(
            replace(part, archive=found(part.archive), images=half.get(part.name, len(pictures)))
            for part in original.parts
        ),
        minival_annotations=found(original.minival_annotations),
        minival=replace(original.minival, images=len(minival)),
    )


def zips(folder, members):
    folder.mkdir(parents=True, exist_ok=True)
    return [archive(folder / name, content) for name, content in members.items()]


def unpacked(folder, members):
    for file in zips(folder / "zips", members):
        with zipfile.ZipFile(file) as opened:
            opened.extractall(folder)
    shutil.rmtree(folder / "zips")
    return folder


def make(root, archives, official, **options):
    console = Console(file=io.StringIO(), width=200)
    source = Zips.of(official, archives, root / "archives", console)
    right = coco.prepare(root, official, source, console=console, **options)
    return right, console.file.getvalue()


def refused(root, archives, official, **options):
    """The lines that the input is refused with; nothing that looks whole is left."""
    with pytest.raises(ReplicationError) as caught:
        make(root, archives, official, **options)
    assert not (root / "coco").exists()
    return str(caught.value).splitlines()


def contents(home):
    return {
        path.relative_to(home).as_posix(): path.read_bytes()
        for path in home.rglob("*")
        if path.is_file() and path.name != "coco.json"
    }


def stamps(home):
    return {path: path.stat().st_mtime_ns for path in home.rglob("*")}


def run_script(root, archives, *arguments, releases=None):
    """Exit status and stderr of the script's main."""
    options = [f"--archive={path}" for path in archives]
    with pytest.MonkeyPatch.context() as patched:
        error = io.StringIO()
        patched.setattr(sys, "stderr", error)
        releases = releases or {"2017": release(), "2014": release("2014")}
        status = script.main([f"--root={root}", *options, *arguments], releases)
    return status, error.getvalue()
