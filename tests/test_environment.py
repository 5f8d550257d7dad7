"""What is recorded of an environment, and when two of them may be asked for the same bits."""

import json
import platform

import numpy
import PIL
import pytest
import torch

from replication import environment
from replication.environment import describe, numerics


def test_a_description_is_json_and_says_what_it_is_made_of():
    found = describe.__wrapped__("cpu")
    assert json.loads(json.dumps(found)) == found
    assert found["torch"] == torch.__version__ and found["pillow"] == PIL.__version__
    assert found["numpy"] == numpy.__version__ and found["python"] == platform.python_version()
    assert found["device"] == "cpu" and found["threads"] == torch.get_num_threads()
    assert found["cpu_capability"] == torch.backends.cpu.get_cpu_capability()
    # torch found these instructions by itself, without /proc/cpuinfo.
    if found["machine"] == "x86_64" and found["cpu_capability"] in ("AVX2", "AVX512"):
        assert "avx2" in found["vectors"].split() and "fma" in found["vectors"].split()


@pytest.mark.parametrize(
    ("flags", "has"),
    [
        ("avx avx2 f16c fma", False),
        ("avx512_vnni avx512f avx512bw", False),
        ("avx512_bf16 avx512f", True),
        ("amx_bf16 amx_tile", True),
        ("asimd asimddp bf16 i8mm", True),
        ("", False),
    ],
)
def test_processors_that_multiply_bfloat16(monkeypatch, flags, has):
    monkeypatch.setattr(environment, "vectors", lambda: flags)
    assert environment.has_bf16() is has


def test_a_setting_that_chooses_kernels_is_recorded(monkeypatch):
    for name in ("MKL_CBWR", "ONEDNN_MAX_CPU_ISA"):
        monkeypatch.delenv(name, raising=False)
    before = describe.__wrapped__("cpu")
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    now = describe.__wrapped__("cpu")
    assert now["kernel_settings"] == {**before["kernel_settings"], "MKL_CBWR": "COMPATIBLE"}
    assert numerics(before) != numerics(now)


@pytest.mark.parametrize(
    "name",
    ["torch", "torchvision", "numpy", "pillow", "device", "processor", "vectors", "cpu_capability",
     "threads", "machine", "kernel_settings"],
)  # fmt: skip
def test_each_of_these_makes_another_class(name):
    before = describe("cpu")
    assert name in before
    assert numerics(before) != numerics({**before, name: "another"})
    lacking = {key: value for key, value in before.items() if key != name}
    assert numerics(before) != numerics(lacking)


def test_these_do_not():
    before = {**describe("cpu"), "python": "3.12.1"}
    later = {**before, "python": "3.12.9", "commit": "f" * 40, "clean": None, "cores": 96}
    assert numerics(before) == numerics(later)
    assert numerics(before) != numerics({**before, "python": "3.13.1"})


def test_records_from_before_dilated_gradients_were_recorded_have_onednns():
    now = describe("cpu")
    before = {name: value for name, value in now.items() if name != "dilated_gradients"}
    assert numerics(before) == numerics({**now, "dilated_gradients": "oneDNN"})
    assert numerics(before) != numerics({**now, "dilated_gradients": "weight by weight"})
    assert (now["dilated_gradients"] == "oneDNN") == (now["cpu_capability"] != "AVX2")
