import jax
import numpy as np
import pytest
from scipy import stats
from scipy.special import log_ndtr

from flatvol_jax.volume.importance import truncated_normal, twisted_importance_sampling


def draws(a, count=20000, seed=0):
    with jax.enable_x64(True):
        uniform = jax.random.uniform(jax.random.key(seed), (count,), np.float64, 1e-16, 1.0)
        t, log_weight = truncated_normal(uniform, np.full(count, a))
        return np.asarray(t), np.asarray(log_weight)


@pytest.mark.parametrize("a", [-25.0, -3.0, 0.0, 2.0, 40.0])
def test_inversion_draws_the_truncated_normal(a):
    t, log_weight = draws(a)
    assert (t >= -a).all()
    assert stats.kstest(t, stats.truncnorm(-a, np.inf).cdf).pvalue > 1e-3
    np.testing.assert_allclose(log_weight, log_ndtr(a), rtol=1e-7)


@pytest.mark.parametrize("a", [-29.9, -30.1, -60.0, -1e4])
def test_draw_and_weight_together_are_exact_in_the_tail(a):
    """E[w g(t)] = ∫_{t>-a} g φ: the normaliser and the first moment φ(a)."""
    t, log_weight = draws(a)
    assert np.isfinite(t).all()
    assert (t >= -a).all()
    weight = np.exp(log_weight - log_ndtr(a))
    error = weight.std() / np.sqrt(len(weight))
    assert abs(weight.mean() - 1) < 4 * error + 1e-6
    excess = weight * (t + a)
    x = -a
    rest = np.exp(-0.5 * x**2 - 0.5 * np.log(2 * np.pi) - log_ndtr(a)) - x  # h - x
    exact = rest if x < 1e3 else 1 / x
    assert abs(excess.mean() - exact) < 4 * excess.std() / np.sqrt(len(t)) + 1e-6 * exact


def test_the_smallest_uniform_stays_finite():
    with jax.enable_x64(True):
        for a in (-1e5, -31.0, -29.0, 0.0, 8.0):
            t, log_weight = truncated_normal(np.array([2.0**-53]), np.array([a]))
            assert np.isfinite(t).all()
            assert np.isfinite(log_weight).all()


@pytest.mark.parametrize("n", [290, 33, 1])
def test_slabs_that_are_filled_up_have_the_probability_of_equal_signs(n):
    """Correlation 1/2: P(z > 0) = 1/(n+1), for sizes that are no multiple of a slab.

    The spread of a replicate is below that of counting 128 draws, √(n/128) of the probability.
    """
    with jax.enable_x64(True):
        factor = np.linalg.cholesky(0.5 + 0.5 * np.eye(n))
        zero = np.zeros(n)
        found = twisted_importance_sampling(jax.random.key(2), zero, factor, zero, zero, 128, 16)
        relative = np.exp(np.asarray(found.log_estimate)) * (n + 1)
    assert abs(relative.mean() - 1) < 4 * relative.std(ddof=1) / 4 + 1e-12
    assert relative.std(ddof=1) < np.sqrt(n / 128)
