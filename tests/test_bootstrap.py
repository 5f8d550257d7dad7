"""The bootstrap over images, against plain loops, closed forms, scipy and simulated truth."""

import numpy as np
import pytest
from scipy import stats

from replication import bootstrap
from replication.bootstrap import (
    RESAMPLES,
    mean_known,
    measured,
    resampled,
    sampling,
)
from replication.metrics import iou, mean_iou


def miou_sampling(runs, *, resamples=RESAMPLES, seed=0):
    """The mean mIoU in percent of several networks on one set, with its error from the images."""
    draws = mean_known(resampled(runs, resamples=resamples, seed=seed))
    return sampling(float(mean_known(measured(runs)).mean()), draws.mean(1))


def miou_difference(a, b, *, resamples=RESAMPLES, seed=0):
    """mIoU of `a` less mIoU of `b`, in points, paired by image; each a mean over its networks."""
    draws = mean_known(resampled([*a, *b], resamples=resamples, seed=seed))
    values, split = mean_known(measured([*a, *b])), len(a)
    return sampling(
        float(values[:split].mean() - values[split:].mean()),
        draws[:, :split].mean(1) - draws[:, split:].mean(1),
    )


def some_counts(seed: int, images: int = 30, classes: int = 5) -> np.ndarray:
    """Counts in which some classes are on few images."""
    random = np.random.default_rng(seed)
    counts = random.integers(0, 50, (images, classes, classes))
    present = random.random((images, classes)) < np.linspace(1.0, 0.05, classes)
    present[:, -1] = np.arange(images) == 3
    counts = counts * present[:, :, None] * present[:, None, :]
    return counts.astype(np.int32)


def right_or_wrong(right: np.ndarray) -> np.ndarray:
    """Images of one pixel of class 0, predicted 0 where `right`, else 1: mIoU is their part / 2."""
    counts = np.zeros((len(right), 2, 2), dtype=np.int32)
    counts[:, 0, 0] = right
    counts[:, 0, 1] = ~right
    return counts


def test_it_is_the_plain_loop() -> None:
    a, b = some_counts(1), some_counts(2)
    n, draws = len(a), 60
    drawn = np.random.default_rng(5).multinomial(n, np.full(n, 1 / n), size=draws)
    expected = np.zeros((draws, 2, 5))
    for r in range(draws):
        for k, counts in enumerate((a, b)):
            total = np.zeros((5, 5), dtype=np.int64)
            for i in range(n):
                for _ in range(drawn[r, i]):
                    total += counts[i]
            expected[r, k] = 100 * iou(total)
    found = resampled([a, b], resamples=draws, seed=5)
    # Some draws lack the rare class, and some do not.
    assert 0 < np.isnan(expected).any((1, 2)).sum() < draws
    np.testing.assert_allclose(found, expected, rtol=1e-12, equal_nan=True)
    expected_miou = [100 * np.nanmean(one[0] / 100) for one in expected]
    np.testing.assert_allclose(mean_known(found)[:, 0], expected_miou, rtol=1e-12)


def test_what_is_measured_is_the_metric() -> None:
    counts = some_counts(3)
    total = counts.sum(0, dtype=np.int64)
    np.testing.assert_allclose(measured([counts])[0], 100 * iou(total), equal_nan=True)
    assert mean_known(measured([counts]))[0] == pytest.approx(mean_iou(total), rel=1e-12)


def test_draws_are_seeded_and_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = some_counts(4)
    whole = resampled([counts], resamples=50, seed=1)
    np.testing.assert_array_equal(whole, resampled([counts], resamples=50, seed=1))
    assert not np.array_equal(whole, resampled([counts], resamples=50, seed=2), equal_nan=True)
    monkeypatch.setattr(bootstrap, "BLOCK", 7 * len(counts))
    np.testing.assert_array_equal(whole, resampled([counts], resamples=50, seed=1))


def test_where_miou_is_a_proportion_the_error_is_the_binomial_one() -> None:
    right = np.arange(400) < 300
    found = miou_sampling([right_or_wrong(right)], resamples=4000)
    assert found.value == pytest.approx(100 * 0.75 / 2)
    error = 50 * np.sqrt(0.75 * 0.25 / 400)
    assert found.error == pytest.approx(error, rel=0.05)
    assert found.interval.low == pytest.approx(37.5 - 1.96 * error, abs=0.15)
    assert found.interval.high == pytest.approx(37.5 + 1.96 * error, abs=0.15)


def test_the_mean_of_several_networks_errs_as_one_that_is_as_good_on_each_image() -> None:
    """Images are shared: averaging networks does not average the images' part away."""
    right = np.arange(400) < 300
    one = miou_sampling([right_or_wrong(right)])
    three = miou_sampling([right_or_wrong(right)] * 3)
    assert three.error == pytest.approx(one.error, rel=1e-9)


def test_a_difference_is_paired_by_image() -> None:
    """Where 30 images turn right and 10 turn wrong, the error is McNemar's, not two binomials'."""
    a, b = np.arange(400) < 300, np.arange(400) < 300
    b[:30] = False
    b[300:310] = True
    found = miou_difference([right_or_wrong(a)], [right_or_wrong(b)], resamples=4000)
    change = a.astype(float) - b.astype(float)
    assert found.value == pytest.approx(50 * 20 / 400)
    assert found.error == pytest.approx(50 * change.std() / np.sqrt(400), rel=0.05)
    alone = [miou_sampling([right_or_wrong(one)]).error for one in (a, b)]
    assert found.error < 0.6 * np.hypot(*alone)
    assert miou_difference([right_or_wrong(a)], [right_or_wrong(a)]).error == 0.0


def test_scipys_bootstrap_agrees() -> None:
    """Of one class's IoU, a ratio of sums over images of unlike sizes."""
    counts = some_counts(6, images=80)
    hits = counts[:, 0, 0].astype(float)
    union = counts[:, 0, :].sum(1) + counts[:, :, 0].sum(1) - hits
    theirs = stats.bootstrap(
        (hits, union),
        lambda h, u, axis: 100 * h.sum(axis) / u.sum(axis),
        paired=True, vectorized=True, n_resamples=5000, method="percentile",
        rng=np.random.default_rng(1),
    )  # fmt: skip
    value = float(measured([counts])[0, 0])
    ours = sampling(value, resampled([counts], resamples=5000)[:, 0, 0])
    assert ours.error == pytest.approx(theirs.standard_error, rel=0.05)
    low, high = theirs.confidence_interval
    assert ours.interval.low == pytest.approx(low, abs=0.1 * (high - low))
    assert ours.interval.high == pytest.approx(high, abs=0.1 * (high - low))


def test_it_is_the_sets_miou_and_not_a_mean_over_images() -> None:
    large, small = np.diag([90, 90]), np.array([[0, 10], [10, 0]])
    large[0, 1] = 20
    counts = np.stack([large, small]).astype(np.int32)
    drawn = mean_known(resampled([counts], resamples=200))[:, 0]
    total = {times: times * large + (2 - times) * small for times in (0, 1, 2)}
    assert set(np.round(drawn, 9)) == {round(mean_iou(one), 9) for one in total.values()}


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(7)
    trials = 400
    held = 0
    for trial in range(trials):
        right = random.random(150) < 0.6
        one = miou_sampling([right_or_wrong(right)], resamples=400, seed=trial)
        held += 30.0 in one.interval
    # 95 % within three standard errors of so many trials.
    assert held / trials == pytest.approx(0.95, abs=0.033)


def test_a_class_that_is_nowhere_has_no_error() -> None:
    counts = np.zeros((4, 3, 3), dtype=np.int32)
    counts[:, 0, 0] = 5
    values, draws = measured([counts]), resampled([counts], resamples=10)
    assert np.isnan(values[0, 1]) and np.isnan(draws[:, 0, 1]).all()
    assert np.isnan(sampling(float(values[0, 1]), draws[:, 0, 1]).error)
    assert (mean_known(draws) == 100.0).all()


def test_unlike_counts_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(30, 5, 5\), \(29, 5, 5\)"):
        resampled([some_counts(1), some_counts(1)[1:]])
