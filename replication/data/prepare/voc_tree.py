"""The VOC 2012 folder that several scripts fill: its lists, and a quick look at what they name."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from replication.data.prepare.command import read_ids
from replication.errors import DataError
from replication.files import write_atomically

# The counts of the segmentation task, published at
# http://host.robots.ox.ac.uk/pascal/VOC/voc2012/ (section 3.2, and the test list).
COUNTS = {"train": 1464, "val": 1449, "trainval": 2913, "test": 1456}


def home(root: Path) -> Path:
    """The VOC2012 folder under a script's --root."""
    return root / "VOCdevkit" / "VOC2012"


def list_file(place: Path, split: str) -> Path:
    return place / "ImageSets" / "Segmentation" / f"{split}.txt"


def read_list(place: Path, split: str) -> tuple[str, ...]:
    """The ids of a split. Raises DataError if its list is missing or damaged; it may be empty."""
    file = list_file(place, split)
    if file.is_file() and not file.read_bytes().strip():
        return ()  # A smaller set may have nothing of a split.
    return read_ids(file)


def write_list(place: Path, split: str, ids: Iterable[str]) -> None:
    """Write a split's list, whole or not at all: it says that all it names is there."""
    write_atomically(list_file(place, split), "".join(f"{id_}\n" for id_ in ids))


def glance(place: Path, ids: Sequence[str], mask_folders: Sequence[str]) -> list[str]:
    """A line for each id whose image or mask is missing, no picture, or of another size.

    Reads headers only. The mask is the first that is there in one of `mask_folders`; with none
    named, images alone are looked at.
    """
    problems = []
    for id_ in ids:
        image = place / "JPEGImages" / f"{id_}.jpg"
        masks = [place / folder / f"{id_}.png" for folder in mask_folders]
        try:
            size = _header(image)[0]
            if masks:
                mask = next((path for path in masks if path.is_file()), masks[-1])
                mask_size, mode = _header(mask)
                if mode not in ("P", "L"):
                    problems.append(f"{mask}: mode {mode}; a mask must be a palette or grey PNG")
                elif mask_size != size:
                    problems.append(f"{mask}: is {_by(mask_size)}, its image {_by(size)}")
        except DataError as error:
            problems.append(str(error))
    return problems


def image_size(path: Path) -> tuple[int, int]:
    """Width and height of a picture. Raises DataError if it is missing or is none."""
    return _header(path)[0]


def _header(path: Path) -> tuple[tuple[int, int], str]:
    try:
        with Image.open(path) as file:
            return file.size, file.mode
    except FileNotFoundError:
        raise DataError(f"{path}: missing") from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
        raise DataError(f"{path}: is not a picture that can be read") from None


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
