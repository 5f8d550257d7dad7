"""Anybody's network as a Segmenter, and state dicts that fit in full or are refused."""

from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn

from replication.errors import ReplicationError
from replication.evaluation import evaluate
from replication.network.foreign import ForeignModel, fill
from replication.protocol import Evaluation
from tests.data.test_crops import ragged_set

FILE = Path("weights.pth")
X = torch.randn(2, 3, 9, 7, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """Three classes; in training it also has an auxiliary head."""

    def __init__(self, classes=3, kernel=1, aux=False):
        super().__init__()
        self.bn = nn.BatchNorm2d(3)
        self.classifier = nn.Conv2d(3, classes, kernel)
        if aux:
            self.aux_classifier = nn.Conv2d(3, classes, 1)

    def forward(self, x):
        return self.classifier(self.bn(x))


def wrap(network, classes=3, **options):
    return ForeignModel(
        network, name="mine:make", num_classes=classes, align_corners=False, **options
    )


def one_line(problem):
    text = str(problem.value)
    assert "\n" not in text and text
    return text


def test_a_tensor_and_a_mapping_give_the_same_logits():
    net = Net().eval()
    expected = net(X)
    for network in (net, lambda x: {"out": net(x), "aux": None}, lambda x: OrderedDict(out=net(x))):
        assert torch.equal(wrap(network).coarse_logits(X), expected)


def test_half_precision_logits_are_summed_in_single():
    assert wrap(lambda x: x.half()).coarse_logits(X).dtype == torch.float32


def test_a_function_is_evaluated_without_parameters_of_its_own():
    """A rule of thumb: the class is the brightest channel. Its counts can be worked out by hand."""
    data = ragged_set([(12, 10), (9, 11)], seed=2)
    model = wrap(lambda x: x)
    one = Evaluation(
        data="voc", split="val", output_stride=8, crop_size=12, scales=(1.0,), flip=False
    )
    [counts] = evaluate(model, data, [one])
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    for i in range(2):
        pixels = torch.from_numpy(data.image(i).copy()).float() / 255
        predicted = ((pixels - mean) / std).argmax(2)
        for truth in range(3):
            for guess in range(3):
                both = (data.mask(i) == truth) & (predicted.numpy() == guess)
                assert counts[i, truth, guess] == both.sum()


def test_somebodys_view_finds_contiguous_memory():
    """Batches are channels_last here, on which `view` fails."""
    x = X.contiguous(memory_format=torch.channels_last)
    with pytest.raises(RuntimeError):
        x.view(2, -1)
    seen = []
    wrap(lambda x: seen.append(x.view(2, -1)) or x).coarse_logits(x)
    assert seen[0].shape == (2, 189)


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (lambda x: x[:, 0], r"float32 \(2, 9, 7\) for \(2, 3, 9, 7\); .* \(2, 3, h, w\)"),
        (lambda x: x[:1], r"float32 \(1, 3, 9, 7\)"),
        (lambda x: x.argmax(1, keepdim=True), r"int64 \(2, 1, 9, 7\)"),
        (lambda x: torch.cat([x, x], 1), "logits of 6 classes, and the set has 3"),
        (lambda x: {"logits": x}, r'without "out" \(logits\)'),
        (lambda x: (x,), "gave a tuple"),
        (lambda x: x * float("nan"), "NaN"),
        (lambda x: x.view(5, 5), r"failed on an input \(2, 3, 9, 7\): RuntimeError: shape .*"
         r"test_foreign.py, line \d+"),
    ],
)  # fmt: skip
def test_what_is_no_logits_is_one_line(network, words):
    with pytest.raises(ReplicationError, match=words) as problem:
        wrap(network).coarse_logits(X)
    assert one_line(problem).startswith("mine:make ")


def test_weights_are_loaded_and_accounted_for():
    source, target = Net(aux=True), Net()
    account = fill(target, source.state_dict(), FILE, "net")
    assert torch.equal(target.classifier.weight, source.classifier.weight)
    assert account.unused == ["aux_classifier.weight", "aux_classifier.bias"]
    assert not account.missing and not account.mismatched
    assert set(account.loaded) == set(target.state_dict())


def test_a_counter_of_batches_may_be_missing():
    """State dicts of old versions of torch lack it; inference does not use it."""
    state = {k: t for k, t in Net().state_dict().items() if not k.endswith("tracked")}
    account = fill(Net(), state, FILE, "net")
    assert account.missing in ([], ["bn.num_batches_tracked"])
    assert len(account.loaded) == len(state)


def test_the_networks_own_loading_is_used():
    """It may rename; comparing names alone would refuse this file."""

    class Renaming(Net):
        def load_state_dict(self, state, strict=True):
            renamed = {name.replace("head", "classifier"): t for name, t in state.items()}
            return super().load_state_dict(renamed, strict)

    source = Net()
    state = {name.replace("classifier", "head"): t for name, t in source.state_dict().items()}
    target = Renaming()
    fill(target, state, FILE, "net")
    assert torch.equal(target.classifier.bias, source.classifier.bias)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (Net(kernel=3).state_dict(), r"1 mismatched \(classifier.weight \(3, 3, 3, 3\) -> "),
        (nn.BatchNorm2d(3).state_dict(), r"6 missing \(.*, …\); 4 unused \("),
        ({**Net().state_dict(), "block9.weight": X}, r"1 unused \(block9.weight\)$"),
        ({k: t for k, t in Net().state_dict().items() if k != "bn.weight"},
         r"does not fit net: 1 missing \(bn.weight\)$"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_fit_is_refused(state, words):
    with pytest.raises(ReplicationError, match=words) as problem:
        fill(Net(), state, FILE, "net")
    assert one_line(problem).startswith("weights.pth: ")
