"""What each test server takes: where a prediction lies in the archive, and what it may hold."""

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from replication.data.cityscapes_labels import to_label_ids
from replication.data.palette import voc_palette
from replication.data.reading import Bytes


@dataclass(frozen=True, kw_only=True)
class Server:
    """One benchmark's server. Predictions are PNGs of one channel, named by their images' ids."""

    name: str
    address: str
    # Folder in the archive; None where the server looks in all of them.
    folder: str | None
    # What follows the id in the file names that we write.
    ending: str
    # How a file's name tells its id: the first group.
    pattern: re.Pattern[str]
    # Endings of archives, the usual one first.
    archives: tuple[str, ...]
    # Images of the test set.
    images: int
    # Class indices to the values in the file.
    to_values: Callable[[Bytes], Bytes]
    palette: bytes | None

    def member(self, id_: str) -> str:
        """The path of an image's prediction in the archive."""
        return f"{self.folder}/{id_}{self.ending}" if self.folder else f"{id_}{self.ending}"

    def id_of(self, name: str) -> str | None:
        """The id that a file's name stands for, wherever the file lies; None for no prediction."""
        found = self.pattern.fullmatch(name)
        return found and found[1]

    def allowed(self, classes: Sequence[str]) -> frozenset[int]:
        """The values of a set with these classes."""
        return frozenset(self.to_values(np.arange(len(classes), dtype=np.uint8)).tolist())

    def encode(self, classes_hw: Bytes) -> bytes:
        """Class indices (h, w) as the PNG that the server reads."""
        image = Image.fromarray(np.ascontiguousarray(self.to_values(classes_hw)))
        if self.palette is not None:
            image.putpalette(self.palette)
        encoded = io.BytesIO()
        image.save(encoded, format="PNG", optimize=True)
        return encoded.getvalue()


# The development kit's layout; "comp6" is the competition for methods trained on any data but the
# test set, as COCO is. Its VOCevalseg.m stops at a value above 20 and at a size that is not the
# image's.
VOC = Server(
    name="the PASCAL VOC evaluation server",
    address="http://host.robots.ox.ac.uk:8080",
    folder="results/VOC2012/Segmentation/comp6_test_cls",
    ending=".png",
    pattern=re.compile(r"(.+)\.png"),
    archives=(".tgz", ".tar.gz"),
    images=1456,
    to_values=lambda classes: classes,
    palette=voc_palette(),
)

# cityscapesscripts 2.3.0, evaluation/evalPixelLevelSemanticLabeling.py: getPrediction looks in all
# folders for the one file <city>_<sequence>_<frame>*.png; evaluatePair wants one channel, the
# image's size, and label ids, not train ids.
CITYSCAPES = Server(
    name="the Cityscapes evaluation server",
    address="https://www.cityscapes-dataset.com/submit",
    folder=None,
    ending="_labelIds.png",
    pattern=re.compile(r"([^_]+_\d+_\d+).*\.png"),
    archives=(".zip",),
    images=1525,
    to_values=to_label_ids,
    palette=None,
)

# By the role of the data that the cell is evaluated on.
SERVERS = {"voc": VOC, "cityscapes": CITYSCAPES}
