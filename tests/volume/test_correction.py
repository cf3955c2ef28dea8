import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

import flatvol_jax as fv
from flatvol_jax.volume import Cavities
from flatvol_jax.volume.correction import second_order_correction, tilted_cumulants


def equicorrelated(n, correlation):
    return correlation * np.ones((n, n)) + (1 - correlation) * np.eye(n)


def quadrature_cumulants(mean, variance):
    """Third and fourth cumulant of N(z; m, v) on z > 0 by Simpson's rule about its mean."""
    width = np.sqrt(variance)
    z = np.linspace(0, 60 * variance / -mean if mean < -5 else mean + 14 * width, 200001)
    log_density = stats.norm.logpdf(z, mean, width)
    density = np.exp(log_density - log_density.max())
    density /= integrate.simpson(density, x=z)
    centred = z - integrate.simpson(z * density, x=z)
    second, third, fourth = (integrate.simpson(centred**p * density, x=z) for p in (2, 3, 4))
    return third, fourth - 3 * second**2


@pytest.mark.parametrize(("mean", "variance"), [(0.3, 1.0), (2.0, 0.5), (-1.5, 2.0), (-30.0, 4.0)])
def test_cumulants_against_quadrature(mean, variance):
    with jax.enable_x64(True):
        ours = tilted_cumulants(jnp.array(mean), jnp.array(variance))
    np.testing.assert_allclose(
        np.array(ours), quadrature_cumulants(mean, variance), rtol=1e-7, atol=1e-13
    )


def test_terms_are_the_double_sums():
    rng = np.random.default_rng(0)
    n = 9
    factor = rng.normal(size=(n, n))
    covariance = factor @ factor.T / n + 0.2 * np.eye(n)
    labels = rng.choice([-1.0, 1.0], n)
    cavity = Cavities(rng.normal(size=n), rng.uniform(0.3, 2, n))
    with jax.enable_x64(True):
        ours = second_order_correction(covariance, labels, cavity)
        third, fourth = tilted_cumulants(labels * cavity.mean, cavity.variance)
    signed = labels[:, None] * covariance * labels
    sums = [0.0, 0.0]
    for i in range(n):
        for j in range(i):
            w = signed[i, j] / (signed[i, i] * signed[j, j])
            sums[0] += float(third[i] * third[j]) * w**3 / 6
            sums[1] += float(fourth[i] * fourth[j]) * w**4 / 24
    np.testing.assert_allclose([ours.third, ours.fourth], sums, rtol=1e-12)


def test_probit_terms_are_those_of_the_smooth_link():
    """The noisy output's cumulants and W give the sums that Φ itself gives on z."""
    rng = np.random.default_rng(2)
    factor = rng.normal(size=(12, 12))
    kernel, labels = factor @ factor.T / 4, rng.choice([-1, 1], 12)
    ours = fv.log_volume(kernel, labels, "probit", "ep_corrected")
    covariance = np.linalg.inv(np.linalg.inv(kernel) + np.diag(ours.sites.precision))
    v = ours.cavities.variance
    scale = np.sqrt(v + 1)
    a, b = labels * ours.cavities.mean / scale, v / scale
    h = np.exp(stats.norm.logpdf(a) - stats.norm.logcdf(a))
    third = b**3 * h * ((a + h) * (a + 2 * h) - 1)
    w = labels[:, None] * covariance * labels / np.outer(np.diag(covariance), np.diag(covariance))
    np.fill_diagonal(w, 0)
    np.testing.assert_allclose(ours.correction.third, third @ w**3 @ third / 12, rtol=1e-6)


def test_independent_outputs_need_no_correction():
    ours = fv.log_volume(np.diag([1.0, 2.0, 0.5]), [1, -1, 1], method="ep_corrected")
    np.testing.assert_allclose(ours.log_volume, 3 * np.log(0.5), rtol=1e-12)
    assert ours.correction.reliable


@pytest.mark.parametrize("n", [3, 10, 100])
def test_it_removes_nine_tenths_of_the_error_on_equicorrelated_points(n):
    ours = fv.log_volume(equicorrelated(n, 0.5), np.ones(n, int), method="ep_corrected")
    exact = -np.log(n + 1)
    assert abs(ours.log_volume - exact) < 0.1 * abs(ours.ep - exact)
    assert ours.status == "converged"
    assert ours.correction.reliable


@pytest.mark.parametrize("link", ["heaviside", "probit"])
def test_it_removes_most_of_the_error_on_a_one_factor_kernel(link):
    rng = np.random.default_rng(3)
    n, noise_variance = 300, {"heaviside": 0.0, "probit": 1.0}[link]
    loading, noise = rng.normal(size=n), rng.uniform(0.5, 2.0, n)
    labels = np.sign(loading + rng.normal(size=n)).astype(int)

    def density(u):
        slope = labels * loading / np.sqrt(noise + noise_variance)
        return stats.norm.logcdf(np.multiply.outer(u, slope)).sum(-1) + stats.norm.logpdf(u)

    grid = np.linspace(-12, 12, 20001)
    values = density(grid)
    exact = values.max() + np.log(integrate.simpson(np.exp(values - values.max()), x=grid))
    kernel = np.outer(loading, loading) + np.diag(noise)
    ours = fv.log_volume(kernel, labels, link, "ep_corrected")
    assert abs(ours.log_volume - exact) < 0.5 * abs(ours.ep - exact)


def test_a_constant_function_of_a_strongly_correlated_kernel_is_flagged():
    ours = fv.log_volume(equicorrelated(200, 0.9), np.ones(200, int), method="ep_corrected")
    assert ours.converged
    assert not ours.correction.reliable
    assert ours.status == "correction unreliable"
    assert abs(ours.correction.fourth / ours.correction.third) > 0.3


def test_the_sign_of_the_labels_changes_nothing():
    rng = np.random.default_rng(1)
    factor = rng.normal(size=(20, 20))
    kernel, labels = factor @ factor.T / 20 + 0.1 * np.eye(20), rng.choice([-1, 1], 20)
    plus = fv.log_volume(kernel, labels, method="ep_corrected").correction
    minus = fv.log_volume(kernel, -labels, method="ep_corrected").correction
    np.testing.assert_allclose(plus.third, minus.third, rtol=1e-6)
    np.testing.assert_allclose(plus.fourth, minus.fourth, rtol=1e-6)
