"""Training: small real runs; what resumes, freezes, normalises and decays."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from replication import training
from replication.data.batches import draw, gather, order
from replication.data.cache import Decoded
from replication.data.crops import augment
from replication.errors import Diverged, RunError
from replication.network.deeplab import build
from replication.schedule import poly, relative_time
from replication.training import nearest_labels, segmentation_loss, set_batch_norm, sgd, train
from tests.conftest import small_network, small_stage
from tests.data.test_crops import ragged_set

DATA = ragged_set([(40, 30), (33, 33), (25, 50), (48, 33), (33, 40), (30, 30)])


def model_for(stage, **network):
    return build(small_network(**network), 3, stage.output_stride, torch.Generator().manual_seed(0))


def run(folder, stage, *, stop_after=None, fresh=(), data=DATA, **network):
    """Train; returns weights and losses. `stop_after` iterations it is interrupted."""
    folder.mkdir(exist_ok=True)
    model, losses = model_for(stage, **network), []

    def should_stop():
        return stop_after is not None and losses[-1].iteration >= stop_after

    train(
        model, stage, data, seed=3, folder=folder, report=losses.append,
        should_stop=should_stop, fresh=fresh,
    )  # fmt: skip
    return model.state_dict(), [entry.loss for entry in losses]


@pytest.fixture(autouse=True)
def report_every_iteration(monkeypatch):
    monkeypatch.setattr(training, "LOG_EVERY", 1)


def test_the_first_the_last_and_every_tenth_iteration_are_logged(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "LOG_EVERY", 4)
    stage, entries = small_stage(iterations=6), []
    train(model_for(stage), stage, DATA, seed=3, folder=tmp_path, report=entries.append)
    assert [one.iteration for one in entries] == [1, 4, 6]


def same(one, two):
    return all(torch.equal(one[name], two[name]) for name in one)


def test_same_seed_same_losses_and_weights(tmp_path):
    stage = small_stage()
    first, losses = run(tmp_path / "a", stage)
    second, again = run(tmp_path / "b", stage)
    assert losses == again and same(first, second)
    assert len(losses) == 6 and all(np.isfinite(losses))


@pytest.mark.parametrize("changes", [{}, {"replicas": 3}, {"duplicate": ("a",)}])
@pytest.mark.parametrize("head", ["cascade", "aspp"])
def test_interrupted_training_ends_with_the_same_bits(tmp_path, changes, head):
    stage = small_stage(**changes)
    network = {"head": head, "dropout": 0.3 if head == "aspp" else 0.0}
    if head == "aspp":
        network |= {"atrous_rates": (2,), "image_pooling": True}
    whole, losses = run(tmp_path / "whole", stage, **network)
    for stop_after in (1, 3, 5):
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "broken", stage, stop_after=stop_after, **network)
    resumed, rest = run(tmp_path / "broken", stage, **network)
    assert same(whole, resumed) and rest == losses[5:]


def test_a_truncated_checkpoint_is_one_clear_line(tmp_path):
    stage = small_stage()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "a", stage, stop_after=2)
    path = tmp_path / "a" / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(RunError, match=r"checkpoint\.safetensors: damaged .*delete it") as caught:
        run(tmp_path / "a", stage)
    assert len(str(caught.value).splitlines()) == 1


def test_a_loss_that_is_not_finite_stops_and_names_the_iteration(tmp_path):
    with pytest.raises(Diverged, match=r"(nan|inf) at iteration \d+"):
        run(tmp_path / "a", small_stage(learning_rate=1e30))


def test_the_rate_counts_the_wait_for_the_device(tmp_path, monkeypatch):
    """A GPU still works when the host asks for the losses: here 4 s, by a clock that then moves."""
    clock, stack = [0.0], torch.stack

    class Late(torch.Tensor):
        def tolist(self):
            clock[0] += 4
            return super().tolist()

    def stacked(tensors, *more):
        found = stack(tensors, *more)
        return found.as_subclass(Late) if tensors[0].ndim == 0 else found

    monkeypatch.setattr(training, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(torch, "stack", stacked)
    stage, reports = small_stage(iterations=3), []
    train(model_for(stage), stage, DATA, seed=3, folder=tmp_path, report=reports.append)
    assert [one.images_per_second for one in reports] == [stage.batch_size / 4] * 3


def test_training_learns(tmp_path):
    """Brightness tells the class: twenty iterations must find it."""
    data = ragged_set([(33, 33)] * 4)
    bright = data.pixels.reshape(4, 33, 33, 3)
    labels = data.labels.reshape(4, 33, 33)
    labels[:] = 0
    labels[:, :, 16:] = 1
    bright[labels == 0], bright[labels == 1] = 30, 220
    _, losses = run(tmp_path / "a", small_stage(iterations=25, learning_rate=0.1), data=data)
    assert losses[0] == pytest.approx(np.log(3), abs=0.2) and losses[-1] < 0.4


def test_poly_is_the_papers():
    assert poly(0.007, 0, 30000, 0.9) == 0.007
    assert poly(0.007, 15000, 30000, 0.9) == pytest.approx(0.007 * 0.5**0.9)
    assert poly(0.007, 29999, 30000, 0.9) == pytest.approx(0.007 * (1 / 30000) ** 0.9)


def test_relative_time_of_replicas():
    # 0.125 is 0.13 in the paper; Python rounds it to the even 0.12.
    assert [round(relative_time(30000, n) + 1e-9, 2) for n in (1, 2, 4, 8, 16, 32)] == [
        1.0, 0.5, 0.25, 0.13, 0.06, 0.03,
    ]  # fmt: skip


def test_asynchronous_gradients_are_taken_on_old_weights(tmp_path):
    """Three replicas, replayed by hand with plain SGD: each update uses weights two updates old."""
    stage = small_stage(
        replicas=3, momentum=0.0, weight_decay=0.0, power=0.0, iterations=5, batch_norm="frozen"
    )
    measured, _ = run(tmp_path / "a", stage)
    model = model_for(stage)
    set_batch_norm(model, decay=0.9, frozen=True, gains_too=False)
    versions = [[p.detach().clone() for p in model.parameters()]]
    for iteration in range(5):
        with torch.no_grad():
            for parameter, old in zip(
                model.parameters(), versions[max(0, iteration - 2)], strict=True
            ):
                parameter.copy_(old)
        batch = order(len(DATA), stage.batch_size, iteration, 3)
        images, masks, sizes = gather(DATA, batch)
        draws = draw(4, (0.5, 2.0), 0.25, True, iteration=iteration, seed=3)
        x, labels = augment(images, masks, sizes, draws, 33)
        loss = segmentation_loss(
            model.coarse_logits(x),
            labels,
            upsample_logits=True,
            align_corners=True,
            label_grid="corners",
            normalisation="valid",
        )
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        versions.append(
            [
                newest - stage.learning_rate * gradient
                for newest, gradient in zip(versions[-1], gradients, strict=True)
            ]
        )
    for (name, _), expected in zip(model.named_parameters(), versions[-1], strict=True):
        assert torch.allclose(measured[name], expected, atol=1e-6)


def test_replicas_change_the_result(tmp_path):
    one, _ = run(tmp_path / "a", small_stage())
    three, _ = run(tmp_path / "b", small_stage(replicas=3))
    assert not same(one, three)


def test_frozen_bn_keeps_its_statistics_and_trains_the_rest(tmp_path):
    stage = small_stage(batch_norm="frozen")
    before = {name: t.clone() for name, t in model_for(stage).state_dict().items()}
    after, _ = run(tmp_path / "a", stage)
    for name in before:
        if "running" in name:
            assert torch.equal(before[name], after[name]), name
    assert not torch.equal(before["backbone.stem.bn.weight"], after["backbone.stem.bn.weight"])


def test_frozen_all_keeps_gains_too_but_fresh_layers_are_trained(tmp_path):
    stage = small_stage(batch_norm="frozen", frozen_bn="all")
    before = {name: t.clone() for name, t in model_for(stage).state_dict().items()}
    after, _ = run(tmp_path / "a", stage, fresh=["backbone.block4.0.bn1"])
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert "backbone.stem.bn.weight" not in moved
    assert {"backbone.block4.0.bn1.weight", "backbone.block4.0.bn1.running_mean"} <= moved
    assert "backbone.block4.1.conv2.weight" in moved


def test_trained_bn_moves_by_its_decay():
    model = model_for(small_stage())
    set_batch_norm(model, decay=0.75, frozen=False, gains_too=False)
    x = torch.randn(4, 3, 33, 33, generator=torch.Generator().manual_seed(1))
    batch_mean = model.backbone.stem.conv(x).mean((0, 2, 3))
    model(x)
    assert torch.allclose(model.backbone.stem.bn.running_mean, 0.25 * batch_mean, atol=1e-5)


def test_weight_decay_spares_bn_and_biases():
    model = model_for(small_stage())
    optimizer = sgd(model, momentum=0.9, weight_decay=1e-4, head_factor=10.0)
    names = {id(p): name for name, p in model.named_parameters()}
    seen = {}
    for group in optimizer.param_groups:
        for p in group["params"]:
            seen[names[id(p)]] = (group["weight_decay"], group["factor"])
    assert len(seen) == len(names)
    assert seen["backbone.block1.0.conv1.weight"] == (1e-4, 1.0)
    assert seen["backbone.block1.0.bn1.weight"] == (0.0, 1.0)
    assert seen["classifier.weight"] == (1e-4, 10.0)
    assert seen["classifier.bias"] == (0.0, 10.0)


def test_loss_is_over_valid_pixels_or_over_all():
    logits = torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.randint(0, 3, (2, 17, 17), generator=torch.Generator().manual_seed(1))
    labels[:, :8] = 255
    options = {"upsample_logits": True, "align_corners": True, "label_grid": "corners"}
    valid = segmentation_loss(logits, labels, normalisation="valid", **options)
    whole = segmentation_loss(logits, labels, normalisation="all", **options)
    fine = torch.nn.functional.interpolate(logits, (17, 17), mode="bilinear", align_corners=True)
    by_hand = fine.log_softmax(1).permute(0, 2, 3, 1)[labels != 255]
    picked = -by_hand[torch.arange(len(by_hand)), labels[labels != 255]]
    assert valid.item() == pytest.approx(picked.mean().item(), rel=1e-5)
    assert whole.item() == pytest.approx(picked.sum().item() / labels.numel(), rel=1e-5)


def test_a_batch_of_void_has_no_loss():
    labels = torch.full((1, 9, 9), 255)
    loss = segmentation_loss(
        torch.zeros(1, 3, 3, 3), labels, upsample_logits=True, align_corners=True,
        label_grid="corners", normalisation="valid",
    )  # fmt: skip
    assert loss.item() == 0.0


def test_without_upsampling_the_labels_are_subsampled():
    labels = torch.arange(17 * 17).reshape(1, 17, 17)
    assert torch.equal(nearest_labels(labels, 5, 5, "corners"), labels[:, ::4, ::4])


@pytest.mark.parametrize(("crop", "coarse"), [(17, 5), (65, 5), (513, 33), (321, 41), (20, 7)])
def test_floor_is_torchs_nearest(crop, coarse):
    labels = torch.arange(crop * (crop + 3)).reshape(1, crop, crop + 3)
    expected = F.interpolate(labels[:, None].double(), size=(coarse, coarse + 1), mode="nearest")
    found = nearest_labels(labels, coarse, coarse + 1, "floor")
    assert torch.equal(found, expected[:, 0].long())
    assert not torch.equal(found, nearest_labels(labels, coarse, coarse + 1, "corners"))


def test_the_label_grid_acts_where_logits_are_not_upsampled(tmp_path):
    """Without upsampling, the loss on the floor grid is cross entropy on torch's nearest labels."""
    logits = torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.randint(0, 3, (2, 33, 33), generator=torch.Generator().manual_seed(1))
    options = {"align_corners": True, "label_grid": "floor", "normalisation": "valid"}
    found = segmentation_loss(logits, labels, upsample_logits=False, **options)
    coarse = F.interpolate(labels[:, None].float(), size=(5, 5), mode="nearest")[:, 0].long()
    assert found.item() == pytest.approx(F.cross_entropy(logits, coarse).item(), rel=1e-6)
    stages = [
        small_stage(upsample_logits=ul, label_grid=grid, iterations=2)
        for ul, grid in [(False, "corners"), (False, "floor"), (True, "corners"), (True, "floor")]
    ]
    losses = [run(tmp_path / str(i), stage)[1] for i, stage in enumerate(stages)]
    assert losses[0] != losses[1] and losses[2] == losses[3]


def test_a_training_pads_as_its_stage_says(tmp_path):
    small = ragged_set([(20, 20)] * 4)  # at a scale of 0.5 to 1.5 never larger than the crop
    stages = [
        small_stage(padding=padding, scale_range=(0.5, 1.5), iterations=2)
        for padding in ("bottom-right", "centre")
    ]
    (_, one), (_, two) = (run(tmp_path / s.padding, s, data=small) for s in stages)
    assert one != two


def test_duplicated_classes_stand_twice(tmp_path, monkeypatch):
    seen = []
    data = ragged_set([(33, 33)] * 4)
    data.labels[:] = 0
    data.mask(2)[0, 0] = 2
    read = Decoded.image
    monkeypatch.setattr(Decoded, "image", lambda self, i: seen.append(i) or read(self, i))
    run(tmp_path / "a", small_stage(duplicate=("b",), batch_size=5, iterations=2), data=data)
    assert sorted(seen[:5]) == [0, 1, 2, 2, 3] and sorted(seen[5:]) == [0, 1, 2, 2, 3]


def gradients(stage, monkeypatch, folder, **network):
    """The gradients of a stage's first update."""
    found = {}

    def keep(self):
        found.update({id(p): p.grad.clone() for g in self.param_groups for p in g["params"]})

    folder.mkdir()
    model = model_for(stage, **network)
    monkeypatch.setattr(torch.optim.SGD, "step", keep)
    train(model, stage, DATA, seed=3, folder=folder, report=lambda _: None)
    monkeypatch.undo()
    return {name: found[id(p)] for name, p in model.named_parameters()}


@pytest.mark.parametrize(
    "changes",
    [{}, {"upsample_logits": False, "label_grid": "floor"}, {"loss_normalisation": "all"}],
    ids=["upsampled", "labels", "all"],
)
def test_parts_of_a_batch_have_its_gradients_where_bn_is_frozen(tmp_path, monkeypatch, changes):
    """Dropout and void pixels included; a part's own mean would weigh its pixels otherwise."""
    network = {"head": "aspp", "atrous_rates": (2,), "dropout": 0.3}
    stages = [
        small_stage(batch_norm="frozen", iterations=1, accumulate=parts, **changes)
        for parts in (1, 2, 4)
    ]
    whole, *parted = (
        gradients(stage, monkeypatch, tmp_path / str(i), **network)
        for i, stage in enumerate(stages)
    )
    for parts in parted:
        for name, expected in whole.items():
            assert torch.allclose(parts[name], expected, rtol=1e-4, atol=1e-6), name
    assert not same(whole, parted[0]), "the parts were indeed added up"


def test_parts_of_a_batch_are_what_batch_norm_sees(tmp_path):
    """Each part updates the statistics: by hand, two updates from the halves' means."""
    stage = small_stage(accumulate=2, iterations=1)
    weights, (loss,) = run(tmp_path / "a", stage)
    model = model_for(stage)
    images, masks, sizes = gather(DATA, order(len(DATA), 4, 0, 3))
    x, _ = augment(images, masks, sizes, draw(4, (0.5, 2.0), 0.25, True, iteration=0, seed=3), 33)
    expected = torch.zeros(8)
    for half in (x[:2], x[2:]):
        expected = 0.9 * expected + 0.1 * model.backbone.stem.conv(half).mean((0, 2, 3))
    assert torch.allclose(weights["backbone.stem.bn.running_mean"], expected, atol=1e-6)
    _, (whole,) = run(tmp_path / "b", small_stage(iterations=1))
    assert loss == pytest.approx(whole, rel=0.05) and loss != whole


def test_bf16_keeps_weights_and_statistics_single_and_learns_alike(tmp_path):
    """bfloat16 has 8 bits: a loss near ln 3 moves in its third digit, over six updates."""
    network = {"head": "aspp", "atrous_rates": (2,), "image_pooling": True}
    single, losses = run(tmp_path / "fp32", small_stage(), **network)
    half, rounded = run(tmp_path / "bf16", small_stage(precision="bf16"), **network)
    floats = {name for name, tensor in half.items() if tensor.is_floating_point()}
    assert {half[name].dtype for name in floats} == {torch.float32}
    assert losses != rounded and rounded == pytest.approx(losses, rel=0.02)
    for name in floats:
        if "running_mean" in name:
            assert torch.allclose(half[name], single[name], rtol=0.1, atol=0.02), name


def test_logits_are_single_under_bf16():
    model = model_for(small_stage())
    with torch.autocast("cpu", torch.bfloat16):
        features = model.backbone(torch.randn(2, 3, 33, 33))
        logits = model.coarse_logits(torch.randn(2, 3, 33, 33))
    assert features.dtype == torch.bfloat16 and logits.dtype == torch.float32


def test_deterministic_changes_nothing_on_a_cpu(tmp_path):
    plain, losses = run(tmp_path / "a", small_stage(iterations=2))
    same_bits, again = run(tmp_path / "b", small_stage(iterations=2, deterministic=True))
    assert losses == again and same(plain, same_bits)
    assert not torch.are_deterministic_algorithms_enabled()


def test_tf32_is_refused_on_a_cpu(tmp_path):
    with pytest.raises(RunError, match=r'^precision = "tf32" is for GPUs, and this is a cpu'):
        run(tmp_path / "a", small_stage(precision="tf32"))


def test_checkpoint_facts_are_readable(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "a", small_stage(), stop_after=2)
    from safetensors import safe_open

    with safe_open(tmp_path / "a" / "checkpoint.safetensors", "pt") as file:
        assert json.loads(file.metadata()["facts"]) == {"iteration": 2}
