"""Which images a batch has, and draws that depend on nothing but their seed."""

import numpy as np

from replication.data.batches import draw, order


def test_every_image_once_an_epoch():
    seen = np.concatenate([order(10, 4, iteration, seed=5) for iteration in range(5)])
    assert sorted(seen[:10]) == list(range(10)) and sorted(seen[10:]) == list(range(10))
    assert list(seen[:10]) != list(seen[10:])


def test_draws_depend_on_seed_and_iteration_alone():
    def scales(**where):
        return draw(64, (0.5, 2.0), 0.25, True, **where).scales.tolist()

    assert scales(iteration=4, seed=0) == scales(iteration=4, seed=0)
    assert scales(iteration=4, seed=0) != scales(iteration=5, seed=0)
    assert scales(iteration=4, seed=0) != scales(iteration=4, seed=1)


def test_scale_step_zero_is_continuous_and_flip_can_be_off():
    stepped = draw(500, (0.5, 2.0), 0.25, True, iteration=0, seed=0)
    assert set(stepped.scales) == {0.5 + 0.25 * k for k in range(7)}
    assert 0.4 < stepped.flips.mean() < 0.6
    free = draw(500, (0.5, 2.0), 0.0, False, iteration=0, seed=0)
    assert len(set(free.scales)) == 500 and free.scales.min() >= 0.5 and free.scales.max() <= 2.0
    assert not free.flips.any()
