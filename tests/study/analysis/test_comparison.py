"""Two independent sets of draws, against scipy."""

import numpy as np
from scipy import stats

from flatvol_jax.study.analysis import comparison


def test_means_over_independent_draws_are_compared_as_welch_does():
    rng = np.random.default_rng(0)
    first, second = rng.normal(1, 2, 9), rng.normal(0, 0.5, 27)
    found = comparison.difference_of_means(np.append(first, np.nan), second, 0.9)
    welch = stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.9)
    np.testing.assert_allclose((found.low, found.high), welch, rtol=1e-12)
    np.testing.assert_allclose(found.estimate, first.mean() - second.mean())
    assert (found.draws, found.undefined) == (9, 1)


def test_one_draw_on_a_side_leaves_no_interval():
    found = comparison.difference_of_means(np.array([2.0]), np.array([0.5, 1.5]))
    assert (found.estimate, found.draws) == (1.0, 1)
    assert np.isnan([found.low, found.high]).all()
    assert np.isnan(comparison.difference_of_means(np.array([np.nan]), np.ones(3)).estimate)
