"""What --model names: torchvision's networks, somebody's callable, our records."""

import re
import sys

import pytest
import torch
from torchvision import models as theirs

from replication import models
from replication.checkpoints import write_tensors
from replication.data.layouts import CITYSCAPES_CLASSES, VOC_CLASSES
from replication.errors import ReplicationError
from replication.models import load_model
from replication.network.deeplab import build
from replication.runs import Step, Store
from tests.conftest import small_network, small_stage

SMALL = "lraspp_mobilenet_v3_large"


@pytest.fixture(scope="module")
def lraspp(tmp_path_factory):
    """torchvision's smallest segmentation network, untrained, in a file."""
    network = theirs.get_model(SMALL, weights=None, weights_backbone=None, num_classes=21)
    path = tmp_path_factory.mktemp("weights") / "lraspp.pth"
    torch.save(network.state_dict(), path)
    return network, path


def refused(*given, **options):
    with pytest.raises(ReplicationError) as problem:
        load_model(*given, **options)
    text = str(problem.value)
    assert text and "\n" not in text
    return text


def test_a_file_gives_torchvisions_own_logits(lraspp):
    network, path = lraspp
    loaded = load_model(f"torchvision:{SMALL}", VOC_CLASSES, weights=path)
    x = torch.randn(1, 3, 65, 49)
    with torch.no_grad():
        found = loaded.model.eval().coarse_logits(x)
        expected = network.eval()(x)["out"]
    assert expected.std() > 0 and (found - expected).abs().max() < 1e-4 * expected.abs().max()
    assert loaded.account and not loaded.account.missing and not loaded.account.unused
    assert loaded.classes == VOC_CLASSES and not loaded.any_stride


@pytest.mark.parametrize(
    ("name", "miou", "pixel_accuracy"),
    [
        ("deeplabv3_resnet50", 66.4, 92.4),
        ("deeplabv3_resnet101", 67.4, 92.4),
        ("deeplabv3_mobilenet_v3_large", 60.3, 91.2),
    ],
)
def test_the_published_figures_are_torchvisions(name, miou, pixel_accuracy):
    """As its documentation lists them, on COCO val2017 with VOC labels."""
    published = models._published(theirs.get_model_weights(name).DEFAULT, None)
    assert (published.miou, published.pixel_accuracy) == (miou, pixel_accuracy)
    assert published.conditions == "COCO-val2017-VOC-labels, images resized to 520"
    assert not published.same_weights


def test_torchvisions_own_file_is_known_by_its_checksum(lraspp, monkeypatch):
    """The published address is …/lraspp_mobilenet_v3_large-d234d4ea.pth."""
    for digest, same in (("d234d4ea" + "0" * 56, True), ("e" * 64, False)):
        monkeypatch.setattr(models, "file_hash", lambda path, digest=digest: digest)
        loaded = load_model(f"torchvision:{SMALL}", VOC_CLASSES, weights=lraspp[1])
        assert loaded.published and loaded.published.same_weights is same


def test_random_weights_are_asked_for_and_always_the_same():
    before = torch.get_rng_state()
    first, second = (
        load_model(f"torchvision:{SMALL}", CITYSCAPES_CLASSES, random=True).model.state_dict()
        for _ in range(2)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert torch.equal(torch.get_rng_state(), before)


def test_torchvision_mistakes_are_one_line(lraspp, tmp_path):
    text = refused("torchvision:deeplabv3_resnet5", VOC_CLASSES)
    assert text.endswith('; the nearest known is "deeplabv3_resnet50"')
    assert "known: deeplabv3_mobilenet_v3_large, " in refused("torchvision:unet", VOC_CLASSES)
    # A classification network of the same library does not segment.
    assert "no such segmentation network" in refused("torchvision:resnet50", VOC_CLASSES)
    full = f"torchvision:{SMALL}"
    assert "give --weights FILE" in refused(full, VOC_CLASSES)
    assert "--random: not together" in refused(full, VOC_CLASSES, weights=lraspp[1], random=True)
    assert "No such file" in refused(full, VOC_CLASSES, weights=tmp_path / "none.pth")
    assert "for 21 classes, and the set has 19" in refused(
        full, CITYSCAPES_CLASSES, weights=lraspp[1]
    )
    swapped = (*VOC_CLASSES[:-2], "tvmonitor", "train")
    assert "class 19 of torchvision:lraspp_mobilenet_v3_large is 'train', and the set's is" in (
        refused(full, swapped, weights=lraspp[1])
    )


def test_a_file_that_is_no_state_dict_is_one_line(tmp_path):
    (tmp_path / "text.pth").write_text("no weights")
    torch.save([1, 2], tmp_path / "list.pth")
    for name in ("text.pth", "list.pth"):
        assert name in refused(f"torchvision:{SMALL}", VOC_CLASSES, weights=tmp_path / name)


def test_another_networks_weights_are_named(tmp_path):
    """A ResNet-101's tensors hold all of a ResNet-50's: loading them would be silent nonsense."""
    with torch.device("meta"):
        big = theirs.get_model(
            "fcn_resnet101", weights=None, weights_backbone=None, num_classes=21, aux_loss=True
        ).state_dict()
    state = {name: torch.zeros(()).expand(t.shape) for name, t in big.items()}
    torch.save(state, tmp_path / "fcn.pth")
    text = refused("torchvision:fcn_resnet50", VOC_CLASSES, weights=tmp_path / "fcn.pth")
    assert text.endswith("these are the weights of torchvision:fcn_resnet101")
    assert re.search(r": \d+ unused \(backbone.layer3.6.conv1.weight, ", text)


MINE = """
import torch

class Net(torch.nn.Conv2d):
    def __init__(self):
        super().__init__(3, 21, 1)

def function():
    return lambda x: x.repeat(1, 7, 1, 1)

def nothing():
    return None

def needy(path):
    return None

def broken():
    return {}["weights"]
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A module in the current folder, as its author would have it."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_networks.py").write_text(MINE)
    (tmp_path / "my_broken.py").write_text("\n\nimport torch\ntorch.no_such_thing()\n")
    yield "my_networks"
    for name in ("my_networks", "my_broken"):
        sys.modules.pop(name, None)


def test_a_callable_of_the_current_folder(mine, tmp_path):
    net = torch.nn.Conv2d(3, 21, 1)
    torch.save(net.state_dict(), tmp_path / "mine.pth")
    loaded = load_model(f"{mine}:Net", VOC_CLASSES, weights=tmp_path / "mine.pth")
    x = torch.randn(1, 3, 8, 8)
    assert torch.equal(loaded.model.coarse_logits(x), net(x))
    assert loaded.account and loaded.account.loaded == ["weight", "bias"]
    function = load_model(f"{mine}:function", VOC_CLASSES).model
    assert function.coarse_logits(x).shape == (1, 21, 8, 8)


def test_callable_mistakes_are_one_line(mine, tmp_path):
    assert "must be torchvision:NAME, record:FOLDER or module:callable" in (
        refused("deeplabv3_resnet50", VOC_CLASSES)
    )
    assert "No module named 'no_networks'" in refused("no_networks:make", VOC_CLASSES)
    assert "(my_broken.py, line 4)" in refused("my_broken:make", VOC_CLASSES)
    assert 'no funktion; the nearest known is "function"' in refused(
        f"{mine}:funktion", VOC_CLASSES
    )
    assert "returned a NoneType" in refused(f"{mine}:nothing", VOC_CLASSES)
    assert "missing 1 required positional argument" in refused(f"{mine}:needy", VOC_CLASSES)
    assert "KeyError: 'weights' (my_networks.py, line " in refused(f"{mine}:broken", VOC_CLASSES)
    assert "--random: only for" in refused(f"{mine}:Net", VOC_CLASSES, random=True)
    torch.save({"weight": torch.zeros(3)}, tmp_path / "w.pth")
    assert "no nn.Module" in refused(f"{mine}:function", VOC_CLASSES, weights=tmp_path / "w.pth")
    assert "1 missing (bias); 1 mismatched" in (
        refused(f"{mine}:Net", VOC_CLASSES, weights=tmp_path / "w.pth")
    )


def record(tmp_path, parent=None, split="train", classes=("background", "a", "b")):
    """A finished training's record; returns the step and the network."""
    network = small_network()
    model = build(network, len(classes), 16, torch.Generator().manual_seed(0))
    store = Store(tmp_path / "results")
    store.prepare()
    config = {
        "network": network.model_dump(mode="json"),
        "stage": small_stage(split=split).model_dump(mode="json"),
    }
    step = Step(kind="train", config=config, parent=parent and parent.id)
    write_tensors(
        store.begin(step) / "weights.safetensors", model.state_dict(), {"classes": list(classes)}
    )
    store.finish(step, {"status": "done"})
    return store.path(step.id), step, model


def test_a_record_is_the_network_that_was_trained(tmp_path):
    path, step, model = record(tmp_path)
    loaded = load_model(f"record:{path}", ("background", "a", "b"))
    x = torch.randn(1, 3, 33, 33)
    with torch.no_grad():
        assert torch.allclose(
            loaded.model.eval().coarse_logits(x), model.eval().coarse_logits(x), atol=1e-6
        )
    assert loaded.any_stride and loaded.model.align_corners and loaded.model.output_stride == 16
    assert [one.id for one in loaded.chain] == [step.id] and loaded.lost is None
    other = load_model(f"record:{path}", ("background", "a", "b"), align_corners=False)
    assert other.model.align_corners is False


def test_a_record_knows_the_trainings_before_it(tmp_path):
    _, first, _ = record(tmp_path, split="trainaug")
    path, second, _ = record(tmp_path, parent=first)
    loaded = load_model(f"record:{path}", ("background", "a", "b"))
    assert loaded.chain == (first, second) and loaded.lost is None
    (path.parent / first.id / "config.json").unlink()
    assert load_model(f"record:{path}", ("background", "a", "b")).lost == first.id


def test_record_mistakes_are_one_line(tmp_path):
    path, _, _ = record(tmp_path)
    classes = ("background", "a", "b")
    assert "no training record" in refused(f"record:{tmp_path / 'none'}", classes)
    assert "weights of its own" in refused(f"record:{path}", classes, random=True)
    assert "knows 3 classes, and the set has 21" in refused(f"record:{path}", VOC_CLASSES)
    assert "is 'a', and the set's is 'b'" in refused(f"record:{path}", ("background", "b", "a"))
    config = (path / "config.json").read_text()
    (path / "config.json").write_text(config.replace('"train"', '"evaluate"', 1))
    assert "kind 'evaluate'" in refused(f"record:{path}", classes)
    (path / "config.json").write_text(config.replace('"stem_width"', '"stem_girth"'))
    assert "no configuration of this version" in refused(f"record:{path}", classes)
    (path / "config.json").write_text(config[:50])
    assert "damaged" in refused(f"record:{path}", classes)
    (path / "config.json").write_text(config)
    (path / "weights.safetensors").write_bytes(b"cut")
    assert "weights.safetensors: damaged" in refused(f"record:{path}", classes)
    (path / "weights.safetensors").unlink()
    assert "did not end" in refused(f"record:{path}", classes)
