"""The rising function that a calibration is made from."""

import numpy as np
import pytest

from support.calibration import rising


def by_definition(logits, right, weights):
    """g(x) = max over s <= x of min over t >= x of the mean between s and t (Barlow et al. 1972)."""

    def mean(low, high):
        between = (logits >= low) & (logits <= high)
        return np.average(right[between], weights=weights[between])

    return [max(min(mean(s, t) for t in logits[logits >= x]) for s in logits[logits <= x]) for x in logits]


@pytest.mark.parametrize("seed", range(5))
def test_the_rising_function_is_the_nearest_one(seed):
    chance = np.random.default_rng(seed)
    logits = np.round(chance.normal(size=30), 1)  # some of them equal
    right, weights = (chance.random(30) < 0.5).astype(float), chance.random(30) + 0.1

    np.testing.assert_allclose(rising(logits, right, weights), by_definition(logits, right, weights))


def test_what_rises_already_stays():
    rises = np.array([0.0, 0.0, 0.5, 1.0])

    np.testing.assert_array_equal(rising(np.arange(4.0), rises, np.ones(4)), rises)
