"""What the tests share: small networks, and the real data where it is present."""

import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from replication.protocol import Network, Stage

SHARED = Path(__file__).resolve().parents[2] / "shared"
REAL_VOC = SHARED / "data" / "voc2012-part" / "VOCdevkit"

# A shell has Ctrl-C ignored by what it starts in the background, and by all that is started there.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Small tensors are quicker on one thread, and sums then round alike everywhere."""
    torch.set_num_threads(1)


@pytest.fixture
def real_voc() -> Path:
    if not REAL_VOC.is_dir():
        pytest.skip("no real VOC photographs beside this checkout")
    return REAL_VOC


def small_network(**changes: Any) -> Network:
    """A ResNet small enough for a test, all decisions at the protocol's choices."""
    fields: dict[str, Any] = {
        "backbone": "resnet50",
        "last_block": 4,
        "multi_grid": (1, 1, 1),
        "head": "cascade",
        "atrous_rates": (),
        "image_pooling": False,
        "stride_unit": "last",
        "first_unit_rate": "block",
        "align_corners": True,
        "dropout": 0.0,
        "bn_epsilon": 1e-5,
        "extra_block_gamma": 1.0,
        "units": (1, 1, 2, 3),
        "widths": (4, 4, 4, 8),
        "stem_width": 8,
        "stem_stride": 1,
        "head_width": 8,
    }
    return Network(**{**fields, **changes})


def full_network(backbone: str, **changes: Any) -> Network:
    """ResNet-50 or ResNet-101 at full size."""
    full: dict[str, Any] = {
        "backbone": backbone,
        "units": (3, 4, 6 if backbone == "resnet50" else 23, 3),
        "widths": (64, 128, 256, 512),
        "stem_width": 64,
        "stem_stride": 4,
        "head_width": 256,
    }
    return small_network(**{**full, **changes})


def small_stage(**changes: Any) -> Stage:
    fields: dict[str, Any] = {
        "data": "voc",
        "split": "train",
        "output_stride": 16,
        "crop_size": 33,
        "batch_size": 4,
        "iterations": 6,
        "learning_rate": 0.05,
        "power": 0.9,
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "head_learning_rate_factor": 1.0,
        "batch_norm": "trained",
        "frozen_bn": "statistics",
        "bn_decay": 0.9,
        "upsample_logits": True,
        "loss_normalisation": "valid",
        "scale_range": (0.5, 2.0),
        "scale_step": 0.25,
        "flip": True,
        "duplicate": (),
        "replicas": 1,
    }
    return Stage(**{**fields, **changes})
