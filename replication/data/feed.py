"""How a training's batches reach its device: read as they are asked for, read one ahead of time,
or gathered from a set that lies in the device's own memory. All three are the same batches.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from replication.arithmetic import moved
from replication.data.batches import draw, gather, order
from replication.data.cache import Decoded, Pictures
from replication.data.crops import Places, cut, place, sample
from replication.data.layouts import IGNORE_INDEX
from replication.data.reading import Bytes
from replication.protocol import Stage

# The share of a GPU's free memory that a decoded set may take. Most of it is for activations: the
# paper's training of ResNet-101 keeps 13 GB of them, the decoded trainaug set has 8.
RESIDENT_SHARE = 0.25
# Bytes that go to the device at once.
CHUNK = 1 << 26


@dataclass(frozen=True, kw_only=True)
class Read:
    """One batch before its crops are sampled, on the training's device."""

    images: Tensor
    masks: Tensor
    places: Places


class Feed:
    """A stage's batches on a device: `feed(iteration)` is what `augment` makes of that batch.

    On a GPU the decoded set is copied there first, if it fits into RESIDENT_SHARE of what is free;
    else each batch is read, and sent, while the device is at the one before.
    """

    def __init__(self, data: Pictures, stage: Stage, *, seed: int, device: torch.device) -> None:
        self._data, self._stage, self._seed, self._device = data, stage, seed, device
        duplicated = data.with_any(stage.duplicate)
        self._images = np.concatenate([np.arange(len(data), dtype=np.int64), duplicated])
        self._resident = resident(data, device)
        ahead = device.type == "cuda" and self._resident is None
        self._ahead = Ahead(self._read, stage.iterations, device) if ahead else None

    def __call__(self, iteration: int) -> tuple[Tensor, Tensor]:
        """Images (N, 3, crop, crop) and masks (N, crop, crop) of an iteration."""
        if self._device.type == "cpu":
            batch, places = self._chosen(iteration)
            return cut([(self._data.image(i), self._data.mask(i)) for i in batch.tolist()], places)
        read = self._ahead(iteration) if self._ahead else self._read(iteration)
        return sample(read.images, read.masks, read.places)

    def _read(self, iteration: int) -> Read:
        batch, places = self._chosen(iteration)
        if self._resident is not None:
            images, masks = self._resident.gather(batch)
        else:
            images, masks, _ = gather(self._data, batch.tolist())
            images, masks = moved(images, self._device), moved(masks, self._device)
        return Read(images=images, masks=masks, places=places.to(self._device))

    def _chosen(self, iteration: int) -> tuple[NDArray[np.int64], Places]:
        """The pictures of an iteration's batch, and where in them its crops are."""
        stage = self._stage
        positions = order(len(self._images), stage.batch_size, iteration, self._seed)
        batch = self._images[positions]
        draws = draw(
            stage.batch_size,
            stage.scale_range,
            stage.scale_step,
            stage.flip,
            iteration=iteration,
            seed=self._seed,
        )
        sizes = torch.from_numpy(self._data.sizes[batch])
        return batch, place(sizes, draws, stage.crop_size, stage.padding)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._ahead:
            self._ahead.close()


class Ahead:
    """Reads the batch of `iteration + 1` on a thread while that of `iteration` is in use.

    On a GPU its copies are on a stream of their own, so that they run beside the computation.
    """

    def __init__(self, read: Callable[[int], Read], stop: int, device: torch.device) -> None:
        self._read, self._stop, self._device = read, stop, device
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._stream = _stream(device) if device.type == "cuda" else None
        self._next: tuple[int, Future[tuple[Read, torch.cuda.Event | None]]] | None = None

    def __call__(self, iteration: int) -> Read:
        if self._next is None or self._next[0] != iteration:
            self._next = (iteration, self._thread.submit(self._send, iteration))
        read, sent = self._next[1].result()
        self._next = None
        if iteration + 1 < self._stop:
            self._next = (iteration + 1, self._thread.submit(self._send, iteration + 1))
        if sent is not None:
            using = torch.cuda.current_stream(self._device)
            using.wait_event(sent)
            for tensor in (read.images, read.masks, *vars(read.places).values()):
                # Its memory is the other stream's: not to be given away while this one reads it.
                tensor.record_stream(using)
        return read

    def _send(self, iteration: int) -> tuple[Read, torch.cuda.Event | None]:
        if self._stream is None:
            return self._read(iteration), None
        with torch.cuda.device(self._device), torch.cuda.stream(self._stream):
            read = self._read(iteration)
            sent = torch.cuda.Event()  # type: ignore[no-untyped-call]
            sent.record(self._stream)
        return read, sent

    def close(self) -> None:
        self._thread.shutdown(cancel_futures=True)


class Resident:
    """A decoded split in a device's memory."""

    def __init__(self, data: Decoded, device: torch.device) -> None:
        self._sizes, self._offsets = data.sizes, data.offsets
        self._pixels, self._labels = _copied(data.pixels, device), _copied(data.labels, device)

    def gather(self, batch: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Images (N, H, W, 3) and masks (N, H, W) uint8 of a batch, as `batches.gather` has them.

        What lies beyond an image is 0 and void there too: a bilinear weight may be 1e-6, not 0.
        """
        height, width = self._sizes[batch].max(0).tolist()
        device = self._pixels.device
        facts = np.column_stack([self._offsets[batch], self._sizes[batch]])
        offsets, h, w = moved(torch.from_numpy(facts), device).T[:, :, None, None]
        rows = torch.arange(height, device=device)[None, :, None]
        columns = torch.arange(width, device=device)[None, None, :]
        beyond = (rows >= h) | (columns >= w)
        at = (offsets + rows * w + columns).masked_fill(beyond, 0)
        images = self._pixels[at].masked_fill_(beyond[..., None], 0)
        return images, self._labels[at].masked_fill_(beyond, IGNORE_INDEX)


def resident(data: Pictures, device: torch.device) -> Resident | None:
    """The set in the device's memory, where it is a GPU's and the set fits."""
    if device.type != "cuda" or not isinstance(data, Decoded):
        return None
    free, _ = torch.cuda.mem_get_info(device)
    # Torch keeps what it has freed.
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    wanted = data.pixels.nbytes + data.labels.nbytes
    return Resident(data, device) if wanted <= RESIDENT_SHARE * free else None


def _stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def _copied(flat: Bytes, device: torch.device) -> Tensor:
    """A memory map on the device, in pieces: it need not fit into the host's memory."""
    into = torch.empty(flat.shape, dtype=torch.uint8, device=device)
    rows = max(1, CHUNK // max(1, flat[:1].nbytes))
    for start in range(0, len(flat), rows):
        piece = np.array(flat[start : start + rows])
        into[start : start + rows] = torch.from_numpy(piece).to(device)
    return into
