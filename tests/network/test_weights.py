"""Foreign weights: every tensor accounted for, and the same features as torchvision's network."""

import pytest
import torch
import torchvision

from replication.errors import RunError
from replication.network.resnet import ResNet
from replication.network.weights import (
    account_of_file,
    from_torchvision,
    load_backbone,
    read_file,
    replicate_block4,
)
from tests.conftest import SHARED, full_network, small_network

PARTIAL = SHARED / "data" / "weights" / "resnet50-imagenet-partial.pth"


@pytest.fixture
def partial():
    if not PARTIAL.is_file():
        pytest.skip("no real ImageNet weights beside this checkout")
    return PARTIAL


def features(model, x, stages):
    found = {}
    hooks = [
        model.get_submodule(name).register_forward_hook(
            lambda module, given, out, name=name: found.setdefault(name, out)
        )
        for name in stages
    ]
    with torch.no_grad():
        model(x)
    for hook in hooks:
        hook.remove()
    return [found[name] for name in stages]


def test_real_weights_give_torchvisions_features(partial):
    """Stem to layer3 in an independent torchvision ResNet-50 that loaded the same file."""
    theirs = torchvision.models.resnet50(weights=None).eval()
    missing, unexpected = theirs.load_state_dict(read_file(partial), strict=False)
    assert not unexpected and all(name.startswith(("layer4", "fc")) for name in missing)
    # Their stride stands in each stage's first unit; at output stride 32 nothing is dilated.
    ours = ResNet(full_network("resnet50", stride_unit="first"), 32).eval()
    load_backbone(ours, partial)
    x = torch.randn(2, 3, 225, 225, generator=torch.Generator().manual_seed(3))
    expected = features(theirs, x, ["maxpool", "layer1", "layer2", "layer3"])
    found = features(ours, x, ["stem", "block1", "block2", "block3"])
    for mine, other in zip(found, expected, strict=True):
        assert mine.shape == other.shape and other.std() > 0.01
        assert (mine - other).abs().max() <= 1e-5


def test_an_account_names_every_tensor(partial):
    account = account_of_file(partial, full_network("resnet50"))
    own = ResNet(full_network("resnet50"), 16).state_dict()
    assert len(account.loaded) + len(account.missing) + len(account.mismatched) == len(own)
    assert len(account.loaded) + len(account.unused) == len(read_file(partial))
    assert "block4.0.conv1.weight" in account.loaded and "block4.0.conv2.weight" in account.missing
    said = "\n".join(account.lines())
    assert said.startswith("264 loaded, 45 missing\n") and "block4.2.bn3" in said
    assert "not needed: 9 num_batches_tracked" in said


def test_another_shape_is_no_silent_skip(tmp_path):
    state = torchvision.models.resnet50(weights=None).state_dict()
    state["layer1.0.conv1.weight"] = torch.zeros(3, 3)
    torch.save(state, tmp_path / "odd.pth")
    account = account_of_file(tmp_path / "odd.pth", full_network("resnet50"))
    assert account.mismatched == ["block1.0.conv1.weight (3, 3) -> (64, 64, 1, 1)"]
    assert account.unused == ["fc.weight", "fc.bias"] and not account.missing
    assert any(line.startswith("another shape") for line in account.lines())


def test_added_blocks_start_from_the_files_block4(tmp_path):
    state = torchvision.models.resnet50(weights=None).state_dict()
    torch.save(state, tmp_path / "whole.pth")
    backbone = ResNet(full_network("resnet50", last_block=7), 16)
    load_backbone(backbone, tmp_path / "whole.pth")
    account = replicate_block4(backbone, gamma=1.0)
    for block in (5, 6, 7):
        mine = backbone.state_dict()[f"block{block}.1.conv2.weight"]
        assert torch.equal(mine, state["layer4.1.conv2.weight"])
    # block4's first unit reads another depth: its first convolution does not fit, and says so.
    assert account.mismatched == [f"block{block}.0.conv1.weight" for block in (5, 6, 7)]


class Evil:
    def __reduce__(self):
        return (print, ("run",))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"fc.weight": torch.zeros(2)}, "none of its tensors"),
        ({}, "no state dict"),
        ([1, 2], "no state dict"),
        ({"model": {"conv1.weight": torch.zeros(1)}}, "no state dict"),
        ({"conv1.weight": Evil()}, "cannot be loaded as weights"),
    ],
)
def test_what_is_no_state_dict_is_refused(tmp_path, content, said, capsys):
    path = tmp_path / "file.pth"
    torch.save(content, path)
    with pytest.raises(RunError, match=said) as problem:
        account_of_file(path, small_network())
    assert str(path) in str(problem.value) and "\n" not in str(problem.value)
    assert capsys.readouterr().out == ""


def test_a_cut_or_missing_file_is_one_line(tmp_path):
    path = tmp_path / "file.pth"
    with pytest.raises(RunError, match="No such file"):
        read_file(path)
    torch.save({"conv1.weight": torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(RunError, match="cannot be loaded") as problem:
        read_file(path)
    assert "\n" not in str(problem.value)


def test_a_segmentation_networks_backbone_loads_too():
    state = torchvision.models.resnet50(weights=None).state_dict()
    prefixed = {f"backbone.{name}": tensor for name, tensor in state.items()}
    assert from_torchvision(prefixed).keys() == from_torchvision(state).keys()
