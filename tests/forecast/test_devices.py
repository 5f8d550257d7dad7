"""The table of devices, held to published throughput; the device at hand."""

import pytest

from replication import environment
from replication.errors import ReplicationError, SpecError
from replication.forecast import devices
from replication.forecast.counting import classification
from replication.forecast.effort import Effort
from tests.conftest import full_network

TABLE = devices.load()


@pytest.mark.parametrize(
    ("key", "precision", "training", "images_per_second"),
    [
        ("a100", "tf32", True, 938),
        ("a100", "bf16", True, 2470),
        ("v100", "fp32", True, 367),
        ("v100", "fp32", False, 1261),
        ("t4", "fp32", False, 428),
    ],
)
def test_published_throughput_of_resnet50(key, precision, training, images_per_second):
    """NVIDIA's DeepLearningExamples, ResNet-50 v1.5, PyTorch 21.03: one GPU, 224 pixels, batch 256
    (128 in training on a V100 in FP32); mixed precision there is fp16, as quick as bf16.
    """
    network = full_network("resnet50", stride_unit="first")
    one = classification(network, 1000, 32, 224, (1, 1, 1))
    assert one.parameters == 25_557_032  # torchvision's
    effort = Effort(
        flops=256 * (one.training_flops if training else one.forward_flops),
        moved=256 * one.moved(backward=training, frozen=not training)[1],
        launches=one.launches * (3 if training else 1),
        units=1,
    )
    seconds = TABLE.seconds(effort, TABLE.named(key), precision)
    assert 256 / seconds == pytest.approx(images_per_second, rel=0.2)


def test_a_mode_that_a_device_lacks_costs_what_fp32_does():
    effort = Effort(flops=1e12, moved=1e9)
    for key in ("v100", "t4", "laptop-core"):
        device = TABLE.named(key)
        assert TABLE.seconds(effort, device, "bf16") == TABLE.seconds(effort, device, "fp32")
    # TF32 is as quick as fp32 there; bf16 halves what is moved.
    device = TABLE.named("rtx3090")
    plain = TABLE.seconds(effort, device, "fp32")
    assert TABLE.seconds(effort, device, "tf32") == plain
    assert TABLE.seconds(effort, device, "bf16") < plain


def test_seconds_by_hand():
    """A laptop core: 96 GFLOP/s and 12.8 GB/s, at 80 % of both."""
    effort = Effort(flops=76.8e9, moved=10.24e9, launches=1000)
    core = TABLE.named("laptop-core")
    assert TABLE.seconds(effort, core, "fp32") == pytest.approx(1 + 1 + 0.01)
    assert TABLE.seconds(effort, core, "fp32", 2) == pytest.approx(0.5 + 0.5 + 0.01)
    # A GPU waits only where its operations are shorter than it takes to start them.
    short = Effort(flops=1e3, moved=1e3, launches=1000)
    assert TABLE.seconds(short, TABLE.named("h100"), "fp32") == pytest.approx(8e-3)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("Tesla V100-SXM2-16GB", "v100"),
        ("NVIDIA A100-SXM4-40GB", "a100-40"),
        ("NVIDIA A100-SXM4-80GB", "a100"),
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA GeForce RTX 4090", "rtx4090"),
        ("Tesla T4", "t4"),
    ],
)
def test_drivers_names(name, key):
    assert TABLE.gpu(name) == TABLE.named(key)


def test_unknown_devices():
    assert TABLE.gpu("Radeon VII") is None
    with pytest.raises(ReplicationError, match=r'--device-name a10: .* nearest known is "a100"'):
        TABLE.named("a10")


def test_cores_are_told_apart_by_their_vector_units():
    assert TABLE.core("avx avx2 avx512f fma").key == "server-core"
    assert TABLE.core("avx avx2 fma").key == "laptop-core"
    assert TABLE.core("").key == "laptop-core"


def test_the_device_here_and_one_that_is_named(monkeypatch):
    monkeypatch.setattr(devices, "gpu", lambda: None)
    monkeypatch.setattr(devices.os, "cpu_count", lambda: 8)
    cpu = devices.here("auto", 3)
    assert (cpu.kind, cpu.name, cpu.workers, cpu.threads) == ("cpu", "cpu", 2, 3)
    many = devices.here("cpu", 16)
    assert (many.workers, many.threads) == (1, 8) and "8 threads a step" in many.title
    # Of a device that is only named the cores are not known.
    assert devices.here("cpu", 16, "server-core").threads == 16
    assert cpu.memory is not None and cpu.memory > 1e8
    monkeypatch.setattr(devices, "gpu", lambda: ("NVIDIA H100 80GB HBM3", 85e9))
    gpu = devices.here("auto", 3)
    assert (gpu.kind, gpu.workers, gpu.memory, gpu.known) == ("cuda", 1, 85e9, TABLE.named("h100"))
    assert devices.here("cpu", 3).kind == "cpu"
    named = devices.here("auto", 3, "v100")
    assert named.imagined and named.memory == 16e9 and named.title == "V100 16 GB"


LISTED = (("GPU-1a2b", "Tesla T4", 16e9), ("GPU-3c4d", "NVIDIA H100 80GB HBM3", 85e9))
T4, H100 = (one[1:] for one in LISTED)


@pytest.fixture
def two_gpus(monkeypatch):
    """A driver that lists two, a torch that is built for them."""
    monkeypatch.setattr(devices, "_listed", lambda: LISTED)
    monkeypatch.setattr(devices, "installed", lambda package: "2.12.1")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.parametrize(
    ("visible", "first"),
    [(None, T4), ("0,1", T4), ("1", H100), (" 1 ,0", H100), ("GPU-3c", H100), ("MIG-5e", T4)],
)
def test_the_gpu_that_a_run_would_use(two_gpus, monkeypatch, visible, first):
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert devices.gpu() == first and devices.here("auto", 1).name == first[0]


@pytest.mark.parametrize(
    ("visible", "said"),
    [
        ("", 'CUDA_VISIBLE_DEVICES="" hides every GPU'),
        ("-1", 'CUDA_VISIBLE_DEVICES="-1" hides every GPU'),
        ("2", 'CUDA_VISIBLE_DEVICES="2" names none of the 2 that nvidia-smi lists'),
        ("GPU-9", 'CUDA_VISIBLE_DEVICES="GPU-9" names none'),
    ],
)
def test_a_hidden_gpu_is_none(two_gpus, monkeypatch, visible, said):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert devices.here("auto", 1).kind == "cpu"
    with pytest.raises(ReplicationError, match=f"--device cuda: {said}.*; use --device cpu"):
        devices.here("cuda", 1)


def test_a_torch_for_cpus_uses_no_gpu(two_gpus, monkeypatch):
    monkeypatch.setattr(devices, "installed", lambda package: "2.12.1+cpu")
    assert devices.here("auto", 1).kind == "cpu"
    with pytest.raises(ReplicationError, match=r"torch 2.12.1\+cpu is built for CPUs alone"):
        devices.here("cuda", 1)


def test_a_gpu_that_is_not_here_is_not_a_cpu(monkeypatch):
    monkeypatch.setattr(devices, "gpu", lambda: None)
    with pytest.raises(ReplicationError, match=r"--device cuda: .*--device-name to forecast"):
        devices.here("cuda", 1)
    assert devices.here("cuda", 1, "a100").kind == "cuda"


def test_what_the_drivers_command_prints(monkeypatch, tmp_path):
    """A GPU whose name has a comma; then output that is none."""
    command = tmp_path / "nvidia-smi"
    monkeypatch.setattr(devices.shutil, "which", lambda _: str(command))
    for printed, expected in (
        ("GPU-1a, Some, GPU, 15360", (("GPU-1a", "Some, GPU", 15360 * 2.0**20),)),
        ("No devices were found", ()),
    ):
        command.write_text(f"#!/bin/sh\necho '{printed}'\n")
        command.chmod(0o755)
        assert devices._listed.__wrapped__() == expected


def test_precisions_that_a_cpu_lacks(monkeypatch):
    def flags(text):
        for module in (devices, environment):
            monkeypatch.setattr(module, "vectors", lambda: text)

    monkeypatch.setattr(devices, "gpu", lambda: None)
    monkeypatch.setattr(devices, "processor", lambda: "Some CPU")
    cpu = devices.here("cpu", 1)
    flags("avx avx2 fma sse")
    assert cpu.lacks("bf16") == (
        'precision = "bf16": Some CPU does not multiply bfloat16 itself (it has avx avx2, and none '
        "of amx_bf16, avx512_bf16, bf16) and would emulate it: use a tier with "
        'precision = "fp32", a GPU, or a processor that does'
    )
    assert cpu.lacks("fp32") == "" and "is for GPUs" in cpu.lacks("tf32")
    # A device that is only named, and a machine that does not tell.
    assert devices.here("cpu", 1, "a100").lacks("bf16") == ""
    for text in ("avx2 avx512_bf16", ""):
        flags(text)
        assert cpu.lacks("bf16") == ""


def test_whose_records_count(monkeypatch):
    monkeypatch.setattr(devices, "gpu", lambda: None)
    monkeypatch.setattr(devices, "processor", lambda: "Some CPU")
    monkeypatch.setattr(devices.os, "cpu_count", lambda: 2)
    cpu = devices.here("cpu", 2)
    mine = {"device": "cpu", "processor": "Some CPU", "threads": 2}
    assert cpu.measured(mine)
    assert not cpu.measured({**mine, "threads": 1})
    # What asks for eight runs with the two that there are, and is recorded so.
    assert devices.here("cpu", 8).measured(mine)
    assert not cpu.measured({**mine, "processor": "Another"})
    assert not cpu.measured({**mine, "device": "Tesla T4"})
    # A device that is only named has the records of its like.
    assert devices.here("cpu", 2, "t4").measured({"device": "Tesla T4"})
    assert not devices.here("cpu", 2, "t4").measured({"device": "NVIDIA H100 80GB HBM3"})
    assert not devices.here("cpu", 2, "laptop-core").measured(mine)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("fp32 = 0.8", "fp32 = 1.8", r"shares.fp32: 1.8 must be"),
        ("bandwidth = 240e9", "bandwith = 240e9", r'devices.k80.bandwith: .*"bandwidth"'),
        ('kind = "cuda"\nmemory = 12e9', 'kind = "gpu"\nmemory = 12e9', r"devices.k80.kind: "),
        ("worker = 4.0", "", r"overheads.worker: missing"),
        ("[shares]", "[shares", r"not valid TOML"),
    ],
)
def test_a_mistake_in_the_table_is_a_line(tmp_path, old, new, said):
    text = devices.DEVICES.read_text()
    assert old in text
    file = tmp_path / "devices.toml"
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(SpecError, match=said):
        devices.load(file)
