"""The network against torchvision's and against the identities of atrous convolution."""

import pytest
import torch
import torchvision
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.models.segmentation.deeplabv3 import ASPP as TorchvisionASPP

from replication.network.aspp import ASPP
from replication.network.deeplab import DeepLabV3, build, build_classifier
from replication.network.resnet import ResNet, initialise, subsampled
from replication.network.weights import from_torchvision, load, replicate_block4
from tests.conftest import full_network, small_network

SUMS = {torch.ops.aten.add, torch.ops.aten.add_, torch.ops.aten.mul}


def randomised(module, seed=0):
    """Random weights and random BN statistics, so that nothing is hidden by zeros and ones."""
    generator = torch.Generator().manual_seed(seed)
    initialise(module, generator)
    for layer in module.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1, generator=generator)
            layer.running_var.uniform_(0.5, 1.5, generator=generator)
            torch.nn.init.uniform_(layer.weight, 0.5, 1.0, generator=generator)
            torch.nn.init.normal_(layer.bias, 0, 0.1, generator=generator)
    return module.eval()


def image(size, seed=1, dtype=torch.float32):
    return torch.randn(1, 3, size, size, dtype=dtype, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("stride_unit", ["last", "first"])
@pytest.mark.parametrize("last_block", [4, 7])
def test_finer_features_subsampled_are_the_coarser_ones(stride_unit, last_block):
    network = small_network(
        stem_stride=4, last_block=last_block, stride_unit=stride_unit, first_unit_rate="previous"
    )
    model = randomised(ResNet(network, 32)).double()
    x = image(129, dtype=torch.float64)
    with torch.no_grad():
        coarse = model(x)
        for output_stride in (16, 8, 4):
            model.set_output_stride(output_stride)
            step = 32 // output_stride
            assert (model(x)[:, :, ::step, ::step] - coarse).abs().max() < 1e-9


def test_first_unit_at_its_blocks_rate_is_no_equivalence():
    """The other reading really differs: this is why the field exists."""
    network = small_network(stem_stride=4, stride_unit="first", first_unit_rate="block")
    model = randomised(ResNet(network, 32)).double()
    x = image(129, dtype=torch.float64)
    with torch.no_grad():
        coarse = model(x)
        model.set_output_stride(16)
        assert (model(x)[:, :, ::2, ::2] - coarse).abs().max() > 1e-3


def test_multi_grid_multiplies_the_rates_and_keeps_the_identity():
    network = small_network(stem_stride=4, multi_grid=(1, 2, 4))
    model = randomised(ResNet(network, 32)).double()
    x = image(129, dtype=torch.float64)
    with torch.no_grad():
        coarse = model(x)
        model.set_output_stride(8)
        assert (model(x)[:, :, ::4, ::4] - coarse).abs().max() < 1e-9


def test_aspp_with_scaled_rates_keeps_the_identity_and_without_does_not():
    network = small_network(stem_stride=4, head="aspp", atrous_rates=(2, 4, 6))
    model = randomised(DeepLabV3(network, 5, 16)).double()
    x = image(257, dtype=torch.float64)
    with torch.no_grad():
        coarse = model.coarse_logits(x)
        model.set_output_stride(8)
        fine = model.coarse_logits(x)
        assert (fine[:, :, ::2, ::2] - coarse).abs().max() < 1e-9
        model.aspp.set_rates((2, 4, 6))
        unscaled = model.coarse_logits(x)
        assert (unscaled[:, :, ::2, ::2] - coarse).abs().max() > 1e-4


@pytest.mark.parametrize("backbone", ["resnet50", "resnet101"])
@pytest.mark.parametrize(
    ("output_stride", "dilated"), [(32, [False, False, False]), (8, [False, True, True])]
)
def test_features_equal_torchvisions(backbone, output_stride, dilated):
    theirs = randomised(
        getattr(torchvision.models, backbone)(weights=None, replace_stride_with_dilation=dilated)
    )
    network = full_network(backbone, stride_unit="first", first_unit_rate="previous")
    ours = ResNet(network, output_stride)
    account = load(ours, from_torchvision(theirs.state_dict()))
    assert not account.missing and not account.mismatched
    assert account.unused == ["fc.weight", "fc.bias"]
    features = torch.nn.Sequential(*list(theirs.children())[:-2])
    x = image(65)
    with torch.no_grad():
        expected, measured = features(x), ours.eval()(x)
    assert (expected - measured).abs().max() / expected.abs().max() < 1e-5


def test_aspp_equals_torchvisions():
    theirs = randomised(TorchvisionASPP(32, [3, 6, 9], out_channels=16))
    ours = ASPP(32, (3, 6, 9), width=16, image_pooling=True, bn_epsilon=1e-5)
    state = {}
    for name, tensor in theirs.state_dict().items():
        name = name.replace("convs.4.1.", "image_pooling.0.").replace(
            "convs.4.2.", "image_pooling.1."
        )
        state[name.replace("convs.", "branches.")] = tensor
    account = load(ours, state)
    assert not account.missing and not account.mismatched and not account.unused
    x = torch.randn(2, 32, 17, 17, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        assert (theirs(x) - ours.eval()(x)).abs().max() < 1e-5
    # Trained too, with batch statistics: outputs, and gradients of input and weights.
    theirs.train().project[3].p = 0.0
    ours.train()
    weights = torch.randn(2, 16, 17, 17, generator=torch.Generator().manual_seed(4))
    gradients = []
    for model, branches in ((theirs, "convs"), (ours, "branches")):
        own = x.clone().requires_grad_()
        (model(own) * weights).sum().backward()
        gradients.append([own.grad, model.project[0].weight.grad])
        gradients[-1].append(model.get_submodule(branches)[1][0].weight.grad)
    for expected, measured in zip(*gradients, strict=True):
        assert (expected - measured).abs().max() < 1e-5 * expected.abs().max()


def test_whole_network_equals_torchvisions_deeplabv3():
    theirs = randomised(
        torchvision.models.segmentation.deeplabv3_resnet50(
            weights=None, weights_backbone=None, num_classes=21, aux_loss=False
        )
    ).eval()
    # torchvision's head has a 3x3 convolution after the projection, which the paper does not:
    # compare up to the projection.
    network = full_network(
        "resnet50",
        stride_unit="first",
        first_unit_rate="previous",
        head="aspp",
        atrous_rates=(6, 12, 18),
        image_pooling=True,
    )
    ours = DeepLabV3(network, 21, 8).eval()
    state = {}
    for name, tensor in theirs.state_dict().items():
        if name.startswith("backbone."):
            [renamed] = from_torchvision({name: tensor})
            state[f"backbone.{renamed}"] = tensor
        elif name.startswith("classifier.0."):
            name = name.removeprefix("classifier.0.")
            name = name.replace("convs.4.1.", "image_pooling.0.")
            name = name.replace("convs.4.2.", "image_pooling.1.")
            state["aspp." + name.replace("convs.", "branches.")] = tensor
    account = load(ours, state)
    assert account.missing == ["classifier.weight", "classifier.bias"]
    x = image(97)
    with torch.no_grad():
        expected = theirs.classifier[0](theirs.backbone(x)["out"])
        measured = ours.aspp(ours.backbone(x))
    assert (expected - measured).abs().max() / expected.abs().max() < 1e-5


def count(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("backbone", ["resnet50", "resnet101"])
def test_parameter_counts(backbone):
    theirs = getattr(torchvision.models, backbone)(weights=None)
    plain = count(theirs) - count(theirs.fc)
    assert count(ResNet(full_network(backbone), 16)) == plain
    # A later block's first unit reads 2048 channels without a projection; by hand:
    unit = 2048 * 512 + 9 * 512 * 512 + 512 * 2048 + 2 * (512 + 512 + 2048)
    assert count(ResNet(full_network(backbone, last_block=7), 16)) == plain + 9 * unit


def test_logits_have_the_inputs_size_and_align_corners_matters():
    x = image(65)
    results = []
    for align_corners in (True, False):
        network = small_network(align_corners=align_corners)
        model = build(network, 5, 16, torch.Generator().manual_seed(0)).eval()
        with torch.no_grad():
            results.append(model(x))
    assert results[0].shape == (1, 5, 65, 65)
    assert (results[0] - results[1]).abs().max() > 0


def test_with_aligned_corners_the_logits_pass_through_the_coarse_ones():
    model = build(small_network(), 5, 16, torch.Generator().manual_seed(0)).eval()
    x = image(65)
    with torch.no_grad():
        coarse, fine = model.coarse_logits(x), model(x)
    assert coarse.shape[2:] == (17, 17)
    assert (fine[:, :, ::4, ::4] - coarse).abs().max() < 1e-6


def test_extra_blocks_start_as_copies_of_block4():
    model = ResNet(small_network(last_block=6), 16)
    initialise(model, torch.Generator().manual_seed(0))
    account = replicate_block4(model, gamma=0.25)
    assert account.mismatched == ["block5.0.conv1.weight", "block6.0.conv1.weight"]
    assert torch.equal(model.block5[1].conv2.weight, model.block4[1].conv2.weight)
    assert torch.equal(model.block6[0].conv2.weight, model.block4[0].conv2.weight)
    assert torch.equal(model.block5[2].bn3.weight, 0.25 * model.block4[2].bn3.weight)
    assert model.block5[0].downsample is None


def test_gamma_zero_makes_added_blocks_the_identity():
    four, six = (ResNet(small_network(last_block=b), 16) for b in (4, 6))
    randomised(four)
    randomised(six)
    load(six, four.state_dict())
    replicate_block4(six, gamma=0.0)
    for block in (six.block5, six.block6):
        for unit in block:
            unit.bn3.bias.data.zero_()
            unit.bn3.running_mean.zero_()
    x = image(33)
    with torch.no_grad():
        assert torch.allclose(four(x), six.eval()(x))


def test_aspps_gain_changes_no_output_and_slows_its_filters():
    """By the gain's square, against their length: by the gain twice over."""
    x = image(65)

    def learned(gain):
        network = small_network(head="aspp", atrous_rates=(6,), aspp_gain=gain, bn_epsilon=1e-12)
        model = build(network, 5, 16, torch.Generator().manual_seed(0)).train()
        logits = model(torch.cat((x, x.flip(3))))
        (logits * torch.linspace(-1, 1, logits.numel()).view(logits.shape)).sum().backward()
        return logits, [p for name, p in model.named_parameters() if "aspp" in name and p.ndim > 1]

    (plain, filters), (scaled, longer) = learned(1.0), learned(3.0)
    assert torch.allclose(plain, scaled, rtol=1e-3, atol=1e-5)
    assert len(filters) == len(longer) == 3
    for one, other in zip(filters, longer, strict=True):
        assert torch.allclose(other, 3 * one)
        assert torch.allclose(other.grad, one.grad / 3, rtol=1e-2, atol=1e-3 * one.grad.abs().max())


def test_units_of_a_classifier_start_as_far_from_the_identity_as_asked():
    network, random = small_network(), torch.Generator().manual_seed(0)
    model = build_classifier(network, 5, 32, random, residual_gamma=0.25)
    gains = {
        name: tensor
        for name, tensor in model.state_dict().items()
        if "bn" in name and name.endswith("weight")
    }
    assert {float(p.mean()) for n, p in gains.items() if n.endswith("bn3.weight")} == {0.25}
    assert {float(p.mean()) for n, p in gains.items() if not n.endswith("bn3.weight")} == {1.0}


@pytest.mark.parametrize(
    "network",
    [
        {"head": "aspp", "atrous_rates": (2, 4, 9), "image_pooling": True, "dropout": 0.1},
        {"last_block": 7},
    ],
)
def test_gradients_of_maps_are_laid_out_as_the_maps(network):
    """Channels last throughout: a sum of two layouts takes many times as long."""
    model = build(small_network(**network), 5, 32, torch.Generator().manual_seed(0))
    model.to(memory_format=torch.channels_last)
    mixed = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            of_maps = [x for x in args if isinstance(x, torch.Tensor) and x.dim() == 4]
            large = [x for x in of_maps if x.shape[1] > 5 and min(x.shape[2:]) > 3]
            if function._overloadpacket in SUMS and len(large) == len(of_maps) == 2:
                mixed.extend(
                    (str(function), x.shape, x.stride())
                    for x in large
                    if x.stride(1) != 1 and 0 not in x.stride()
                )
            return function(*args, **(kwargs or {}))

    x = torch.randn(2, 3, 65, 65).contiguous(memory_format=torch.channels_last)
    with Watch():
        model(x, torch.Generator().manual_seed(0)).sum().backward()
    assert not mixed


def test_what_is_subsampled_is_every_other_position():
    x = torch.randn(2, 3, 5, 7, dtype=torch.float64, requires_grad=True)
    assert torch.equal(subsampled(x, 2), x[:, :, ::2, ::2])
    assert torch.autograd.gradcheck(lambda x: subsampled(x, 2), (x,))
