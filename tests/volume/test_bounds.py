import numpy as np
import pytest
from scipy import stats

import flatvol_jax as fv


def test_the_printed_form():
    bound = fv.prior_bound(np.array([-100.0, 0.0]), train_size=500, delta=0.05)
    np.testing.assert_allclose(bound, (np.array([100.0, 0.0]) + np.log(20)) / 500)


@pytest.mark.parametrize(("train", "test", "log_volume"), [(50, 20, -8.0), (30, 100, -5.0)])
def test_the_random_split_form_covers_the_hypergeometric_tail(train, test, log_volume):
    delta, n = 0.05, train + test
    allowed = np.exp(log_volume) * delta
    errors = np.arange(0, n + 1)
    # P(no error falls into S) for a function with k errors among n, S a random subset.
    missed = stats.hypergeom(n, errors, train).pmf(0)
    worst = errors[missed > allowed].max()
    bound = fv.prior_bound(log_volume, train, delta, test_size=test) * test
    assert worst <= bound
    assert np.exp(bound * np.log(test / n)) == pytest.approx(allowed)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((1.0, 10, 0.1), "at most 0"), ((-1.0, 0, 0.1), "train_size"), ((-1.0, 10, 1.0), "delta")],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        fv.prior_bound(*arguments)
