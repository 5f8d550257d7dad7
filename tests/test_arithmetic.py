"""Precision and determinism: what is switched, what is put back, what is refused.

The switches are torch's own, and can be set where there is no GPU; what they do is measured by
benchmarks/gpu.py where there is one.
"""

import os

import pytest
import torch

from replication.arithmetic import (
    CUBLAS,
    CUDNN,
    DEBUGGING,
    WORKSPACE,
    arithmetic,
    moved,
    products,
)
from replication.errors import RunError

GPU, CPU = torch.device("cuda"), torch.device("cpu")


def switches():
    return (
        CUDNN.conv.fp32_precision, CUBLAS.fp32_precision, CUDNN.benchmark,
        torch.are_deterministic_algorithms_enabled(), DEBUGGING.fill_uninitialized_memory,
    )  # fmt: skip


@pytest.fixture
def ampere(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")
    monkeypatch.setenv(WORKSPACE, ":16:8")


@pytest.mark.parametrize(
    ("precision", "deterministic", "expected"),
    [
        ("fp32", False, ("ieee", "ieee", True, False, False)),
        ("tf32", False, ("tf32", "ieee", True, False, False)),
        ("bf16", True, ("ieee", "ieee", False, True, False)),
    ],
)
def test_a_step_on_a_gpu(ampere, precision, deterministic, expected):
    before = switches()
    with arithmetic(GPU, precision, deterministic=deterministic, one_size=True):
        assert switches() == expected
    assert switches() == before
    with (
        pytest.raises(ZeroDivisionError),
        arithmetic(GPU, precision, deterministic=deterministic, one_size=False),
    ):
        assert switches()[2] is False
        _ = 1 / 0
    assert switches() == before


def test_nothing_is_switched_on_a_cpu(monkeypatch):
    monkeypatch.delenv(WORKSPACE, raising=False)
    before = switches()
    with arithmetic(CPU, "bf16", deterministic=True, one_size=True):
        assert switches() == before
    assert WORKSPACE not in os.environ


def test_the_workspace_is_given_before_any_product(ampere, monkeypatch):
    """And stays: a process asks for it once."""
    monkeypatch.delenv(WORKSPACE)
    with arithmetic(GPU, "fp32", deterministic=False, one_size=True):
        pass
    assert os.environ[WORKSPACE] == ":4096:8"


def test_what_a_device_cannot_do_is_one_line(ampere, monkeypatch):
    def refused(precision, deterministic=False):
        with (
            pytest.raises(RunError) as told,
            arithmetic(GPU, precision, deterministic=deterministic, one_size=True),
        ):
            pass
        assert len(str(told.value).splitlines()) == 1
        return str(told.value)

    monkeypatch.setenv(WORKSPACE, ":0:0")
    assert refused("fp32", deterministic=True).startswith(
        f"deterministic = true: {WORKSPACE}=:0:0 in the environment; it must be :4096:8 or :16:8"
    )
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    for precision in ("tf32", "bf16"):
        assert refused(precision).startswith(f'precision = "{precision}": a GPU has no such')


def test_only_bf16_makes_products_of_bfloat16():
    x = torch.ones(2, 2)
    for precision, kind in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        with products(CPU, precision):
            assert (x @ x).dtype == kind


def test_moving_on_a_cpu_copies_nothing():
    x = torch.ones(3)
    assert moved(x, CPU) is x
