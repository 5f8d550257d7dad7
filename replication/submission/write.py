"""A trained network's predictions into the archive that a test server takes."""

import gzip
import io
import os
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import torch

from replication.checkpoints import read_tensors
from replication.data.cache import Pictures
from replication.data.reading import Bytes
from replication.errors import RunError
from replication.evaluation import Segmenter, predict
from replication.network.deeplab import DeepLabV3
from replication.network.weights import load
from replication.protocol import Evaluation, Network
from replication.submission.servers import Server


def trained_model(weights: Path, network: Network, data: Pictures, stride: int) -> DeepLabV3:
    """The network with the weights of a training's record.

    Raises RunError if they are damaged, or were trained for other classes than the set's.
    """
    state, facts = read_tensors(weights)
    if facts.get("classes") != list(data.classes):
        raise RunError(f"{weights}: trained for other classes than this set's; give another --data")
    model = DeepLabV3(network, len(data.classes), stride)
    account = load(model, state)
    if account.missing or account.mismatched:
        raise RunError(f"{weights}: these weights do not fit the network ({account})")
    return model


def predictions(
    model: Segmenter,
    data: Pictures,
    strategy: Evaluation,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[tuple[str, Bytes]]:
    """Every image's id and its classes (h, w) uint8 at its own size, as the evaluation counts."""
    for batch in predict(model, data, [strategy], progress=progress):
        masks_nhw = batch.by_strategy[0].to(torch.uint8).cpu().numpy()
        for image, (h, w), mask_hw in zip(
            batch.images, batch.sizes.tolist(), masks_nhw, strict=True
        ):
            yield data.ids[image], mask_hw[:h, :w]


def write(path: Path, server: Server, predicted: Iterable[tuple[str, Bytes]]) -> None:
    """Write predictions, class indices (h, w) by id, into an archive of the server's kind.

    The same predictions give the same bytes. The caller renames: until the last byte is there, the
    file at `path` is not whole.
    """
    with ExitStack() as stack:
        file = stack.enter_context(path.open("wb"))
        # The archive ends before the file is brought to the disk.
        with ExitStack() as inner:
            add = (_zip if server.archives[0] == ".zip" else _tgz)(file, inner)
            for id_, classes_hw in predicted:
                add(server.member(id_), server.encode(classes_hw))
        file.flush()
        os.fsync(file.fileno())


def _tgz(file: BinaryIO, stack: ExitStack) -> Callable[[str, bytes], None]:
    # PNGs are compressed already.
    zipped = stack.enter_context(gzip.GzipFile("", "wb", 1, file, mtime=0))
    tar = stack.enter_context(tarfile.TarFile(fileobj=zipped, mode="w"))

    def add(name: str, content: bytes) -> None:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))

    return add


def _zip(file: BinaryIO, stack: ExitStack) -> Callable[[str, bytes], None]:
    archive = stack.enter_context(zipfile.ZipFile(file, "w", zipfile.ZIP_STORED))

    def add(name: str, content: bytes) -> None:
        archive.writestr(zipfile.ZipInfo(name), content)

    return add
