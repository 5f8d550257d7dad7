"""VOC 2012's and SBD's archives in the official layout, with tiny pictures or real ones."""

import hashlib
import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

SIZE = (24, 16)
VOC = "VOCdevkit/VOC2012"
SBD = "benchmark_RELEASE/dataset"

TRAIN = ("2007_000032", "2007_000039", "2007_000063", "2008_000033")
VAL = ("2007_000033", "2007_000042", "2008_000051")
# Photographs of other tasks, without a mask: SBD labels the first ones.
EXTRAS = ("2008_000002", "2008_000003", "2008_000007", "2009_000001", "2011_000900")
TEST = ("2008_000001", "2008_000004")
# SBD's own split cuts across VOC's: both of its lists have ids of VOC val.
SBD_TRAIN = (*EXTRAS[:3], TRAIN[0], VAL[0])
SBD_VAL = (EXTRAS[3], TRAIN[1], VAL[1])
TRAINAUG = tuple(sorted((*TRAIN, *EXTRAS[:4])))
COUNTS = {"train": 4, "val": 3, "trainval": 7, "test": 2}
SBD_COUNTS = {"sbd train": 5, "sbd val": 3, "train": 4, "val": 3, "trainaug": 8}


def seed(id_):
    return int(hashlib.md5(id_.encode()).hexdigest()[:8], 16)


def jpeg(id_, size=SIZE):
    pixels = np.random.default_rng(seed(id_)).integers(0, 256, (*size[::-1], 3))
    return encoded(Image.fromarray(pixels.astype(np.uint8)), "JPEG")


def labels(id_, void=True):
    """A mask's class indices (h, w), drawn from the id."""
    values = np.random.default_rng(seed(id_)).integers(0, 21, SIZE[::-1]).astype(np.uint8)
    if void:
        values[0] = 255
    return values


def png(values):
    image = Image.fromarray(np.asarray(values, dtype=np.uint8)).convert("P")
    image.putpalette(bytes(range(256)) * 3)
    return encoded(image, "PNG")


def matlab(values):
    """SBD's struct, as Matlab wrote it: boundaries of 20 classes, the mask, what is present."""
    out = io.BytesIO()
    boundaries = np.empty((20, 1), dtype=object)
    boundaries[:, 0] = [np.zeros(SIZE[::-1], dtype=bool)] * 20
    struct = {
        "Boundaries": boundaries,
        "Segmentation": values,
        "CategoriesPresent": np.unique(values[values > 0]),
    }
    savemat(out, {"GTcls": struct}, do_compression=True)
    return out.getvalue()


def encoded(image, kind):
    out = io.BytesIO()
    image.save(out, kind)
    return out.getvalue()


def lines(ids):
    return "".join(f"{id_}\n" for id_ in ids).encode()


def trainval_files(train=TRAIN, val=VAL, extras=EXTRAS):
    """The members of VOCtrainval_11-May-2012.tar by name: all that the official one has."""
    both = sorted((*train, *val))
    files = {f"{VOC}/Annotations/{id_}.xml": b"<annotation/>" for id_ in (*both, *extras)}
    for task in ("Action", "Layout", "Main"):
        files[f"{VOC}/ImageSets/{task}/train.txt"] = lines(extras)
    for split, ids in (("train", train), ("trainval", both), ("val", val)):
        files[f"{VOC}/ImageSets/Segmentation/{split}.txt"] = lines(ids)
    for id_ in sorted((*both, *extras)):
        files[f"{VOC}/JPEGImages/{id_}.jpg"] = jpeg(id_)
    for id_ in both:
        files[f"{VOC}/SegmentationClass/{id_}.png"] = png(labels(id_))
        files[f"{VOC}/SegmentationObject/{id_}.png"] = png(labels(id_))
    return files


def files_of_test(test=TEST):
    """The members of VOC2012test.tar: photographs of all tasks, and the lists."""
    files = {f"{VOC}/JPEGImages/{id_}.jpg": jpeg(id_) for id_ in (*test, "2008_000013")}
    files[f"{VOC}/ImageSets/Main/test.txt"] = lines([*test, "2008_000013"])
    files[f"{VOC}/ImageSets/Segmentation/test.txt"] = lines(test)
    return files


def sbd_files(train=SBD_TRAIN, val=SBD_VAL, masks=None):
    """The members of benchmark.tgz; `masks` by id in place of the drawn ones."""
    files = {f"{SBD}/train.txt": lines(train), f"{SBD}/val.txt": lines(val)}
    for id_ in sorted((*train, *val)):
        values = (masks or {}).get(id_, labels(f"sbd {id_}", void=False))
        files[f"{SBD}/cls/{id_}.mat"] = matlab(values)
        files[f"{SBD}/inst/{id_}.mat"] = matlab(values)
        files[f"{SBD}/img/{id_}.jpg"] = jpeg(id_)
    return files


def pack(files: dict[str, bytes], path: Path, mode: str = "w") -> Path:
    """A tar of the members, with entries for the folders as the official ones have."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as tar:
        folders = set()
        for name, content in files.items():
            folder = name.rpartition("/")[0]
            if folder not in folders:
                folders.add(folder)
                info = tarfile.TarInfo(folder)
                info.type = tarfile.DIRTYPE
                tar.addfile(info)
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def snapshot(root: Path) -> dict[str, int]:
    """When each file and folder under `root` was changed last."""
    return {str(path): path.lstat().st_mtime_ns for path in sorted(root.rglob("*"))}
