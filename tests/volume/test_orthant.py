"""orthant_probability against closed forms, scipy and published values."""

import re
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

import flatvol_jax as fv
from flatvol_jax.volume.ep import Sites, expectation_propagation, prior_cavities
from flatvol_jax.volume.host_ep import lapack_marginals
from flatvol_jax.volume.prior_mean import (
    SHIFTED,
    Shifted,
    ep_with_mean,
    marginals_with_mean,
    posterior_with_mean,
)

KEY = jax.random.key(2)
RANDOM = np.random.default_rng(5)


def covariance_of(n, rank=None):
    factor = np.random.default_rng(n).normal(size=(n, rank or n + 2))
    return factor @ factor.T


def agrees(found, exact, widest=0.05):
    assert abs(found.log_probability - exact) < 4.5 * found.standard_error + 1e-9, found
    assert found.standard_error < widest
    assert found.status == "certified"


def by_quadrature(n, rho, lower):
    """log P(z > lower) of equicorrelated z, one integral over the part that is shared."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(120)
    inside = norm.cdf((rho**0.5 * nodes - lower) / (1 - rho) ** 0.5) ** n
    return np.log(weights @ inside / (2 * np.pi) ** 0.5)


@pytest.mark.parametrize("n", [2, 3, 5])
def test_scipy(n):
    covariance, lower = covariance_of(n), np.random.default_rng(n).normal(size=n)
    exact = multivariate_normal.logcdf(
        -lower, cov=covariance, maxpts=10**6 * n, abseps=1e-7, releps=1e-7
    )
    found = fv.orthant_probability(covariance, lower, KEY)
    agrees(found, exact)
    assert abs(found.ep - exact) < 0.05
    assert abs(found.ep + found.correction.third - exact) < 0.005
    assert fv.orthant_probability(covariance, lower).log_probability == pytest.approx(
        found.ep + found.correction.third
    )


@pytest.mark.parametrize("rho", [-0.4, 0.3, 0.9])
def test_two_and_three_at_zero(rho):
    two = np.array([[4.0, 2 * rho], [2 * rho, 1.0]])
    agrees(fv.orthant_probability(two, key=KEY), np.log(0.25 + np.arcsin(rho) / (2 * np.pi)))
    three = rho + (1 - rho) * np.eye(3)
    exact = np.log(0.125 + 3 * np.arcsin(rho) / (4 * np.pi))
    agrees(fv.orthant_probability(three, 0, KEY), exact)


@pytest.mark.parametrize("lower", [-1.5, 0.0, 1.5])
@pytest.mark.parametrize("n", [10, 100])
def test_equicorrelated(n, lower):
    found = fv.orthant_probability(0.5 + 0.5 * np.eye(n), lower, KEY)
    agrees(found, by_quadrature(n, 0.5, lower))
    if lower == 0:
        assert by_quadrature(n, 0.5, 0) == pytest.approx(-np.log(n + 1))


def test_published_value():
    """Genz 1992, section 5: P(x < (1, 4, 2)), correlations 3/5, 1/3, 11/15, is 0.82798."""
    correlation = np.array([[1, 3 / 5, 1 / 3], [3 / 5, 1, 11 / 15], [1 / 3, 11 / 15, 1]])
    found = fv.orthant_probability(correlation, [-1, -4, -2], KEY, particles=4096)
    agrees(found, np.log(0.82798494), 0.002)


def test_independent_and_one_dimensional():
    lower = np.array([1.0, -2.0, -30.0, 9.0])
    exact = norm.logsf(lower / [1, 2, 3, 4]).sum()
    found = fv.orthant_probability(np.diag([1.0, 4, 9, 16]), lower, KEY)
    assert found.log_probability == pytest.approx(exact, abs=1e-10)
    assert found.ep == pytest.approx(exact, abs=1e-8)
    far = fv.orthant_probability([[4]], 80.0, KEY)
    assert far.ep == pytest.approx(norm.logsf(40), rel=1e-8)
    agrees(far, norm.logsf(40), 1e-4)


def test_is_the_volume_of_a_function():
    covariance, labels = covariance_of(30), np.where(RANDOM.random(30) < 0.5, 1, -1)
    signed = covariance * labels * labels[:, None]
    found = fv.orthant_probability(signed, method="ep_corrected")
    volume = fv.log_volume(covariance, labels, method="ep_corrected")
    assert found.ep == pytest.approx(volume.ep, abs=1e-9)
    assert found.log_probability == pytest.approx(volume.log_volume, abs=1e-7)


def test_bounds_that_are_none_and_that_cannot_be():
    covariance = covariance_of(4)
    found = fv.orthant_probability(covariance, [0, -np.inf, 0.5, -np.inf], method="ep")
    less = fv.orthant_probability(covariance[::2, ::2], [0, 0.5], method="ep")
    assert found.ep == pytest.approx(less.ep, abs=1e-12)
    assert fv.orthant_probability(covariance, -np.inf).log_probability == 0
    never = fv.orthant_probability(covariance, [0, np.inf, 0, 0], KEY)
    assert never.log_probability == -np.inf
    assert never.status == "exact"
    fixed = np.zeros((2, 2))
    fixed[0, 0] = 1
    assert fv.orthant_probability(fixed, [0.5, 0]).probability == 0
    found = fv.orthant_probability(fixed, [0.5, -1])
    assert found.log_probability == pytest.approx(norm.logsf(0.5), abs=1e-9)


def test_singular_covariances():
    assert fv.orthant_probability(np.ones((3, 3)), [1, 2, -1], KEY).log_probability == (
        pytest.approx(norm.logsf(2), abs=1e-9)
    )
    opposite = np.array([[1.0, -2.0], [-2.0, 4.0]])
    assert fv.orthant_probability(opposite, [1, -2], KEY).log_probability == -np.inf
    between = fv.orthant_probability(opposite, [-1, -3], KEY, particles=1024)
    agrees(between, np.log(norm.cdf(1.5) - norm.cdf(-1)))
    factor = np.random.default_rng(0).normal(size=(6, 3))
    draws = (np.random.default_rng(1).normal(size=(10**6, 3)) @ factor.T > -1).all(axis=1).mean()
    agrees(fv.orthant_probability(factor @ factor.T, -1, KEY, particles=1024), np.log(draws))


def test_ep_with_a_mean_is_compiled_and_on_the_host_the_same():
    n = 12
    kernel, mean = covariance_of(n) / n + np.eye(n), np.random.default_rng(0).normal(size=n)
    with jax.enable_x64(True):
        host = ep_with_mean(kernel, mean, 1e-10, 200)
        prior = Shifted(jax.numpy.asarray(kernel), jax.numpy.asarray(mean))
        start = prior_cavities(prior, SHIFTED)
        compiled = expectation_propagation(prior, np.ones(n), start, 1e-10, 200, SHIFTED)
        np.testing.assert_allclose(host.log_volume, compiled.log_volume, atol=1e-8)
        found = posterior_with_mean(prior.kernel, mean, *host.sites)
    precision, shift = host.sites
    inverse = np.linalg.inv(kernel)
    expected = np.linalg.solve(inverse + np.diag(precision), inverse @ mean + shift)
    np.testing.assert_allclose(found.mean, expected, rtol=1e-9)
    exact = multivariate_normal.logpdf(np.zeros(n), mean, kernel) - multivariate_normal.logpdf(
        np.zeros(n), expected, np.linalg.inv(inverse + np.diag(precision))
    )
    np.testing.assert_allclose(found.log_normaliser, exact, rtol=1e-9)
    ones = np.ones(n)
    marginals = marginals_with_mean(
        mean, lambda sites: lapack_marginals(kernel, ones, sites), Sites(precision, shift)
    )
    np.testing.assert_allclose(marginals.mean, expected, rtol=1e-9)
    normaliser = 0.5 * shift @ marginals.mean - marginals.half_log_determinant
    np.testing.assert_allclose(normaliser, exact, rtol=1e-9)


def test_prints_in_a_line():
    found = fv.orthant_probability(np.eye(3) + 1, 0.0, KEY)  # z_i = u_0 + u_i: P = 1/4
    assert re.match(
        r"OrthantProbability\(-1\.\d+ ± 0\.\d+ nats, certified; EP -1\.3\d+\)$", repr(found)
    )


BAD = [
    (dict(covariance=np.zeros((2, 3))), r"covariance: got shape \(2, 3\)"),
    (dict(covariance=np.array([[1, 2], [2, 1]])), "covariance: got an indefinite"),
    (dict(covariance=np.array([[1, 0.5], [0.2, 1]])), "symmetric"),
    (dict(covariance=np.diag([1, -1.0])), "variance of -1"),
    (dict(covariance=np.array([[0, 1.0], [1, 1]])), "variance of 0"),
    (dict(covariance=np.array([[1, np.nan], [np.nan, 1]])), "NaN"),
    (dict(lower=[1, 2, 3]), "lower.*wanted one real number or 2"),
    (dict(lower=[1, np.nan]), "lower"),
    (dict(lower="a"), "lower"),
    (dict(method="mvn"), "method"),
    (dict(method="certified"), "key"),
    (dict(key=7), "key"),
    (dict(proposal="x"), "proposal"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_input(change, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        fv.orthant_probability(**({"covariance": np.eye(2)} | change))


def test_sizes_beyond_memory(monkeypatch):
    free = SimpleNamespace(available=310_000_000)
    monkeypatch.setattr("flatvol_jax.runtime.memory.psutil.virtual_memory", lambda: free)
    with pytest.raises(ValueError, match="covariance: got n = 600"):
        fv.orthant_probability(np.eye(600), key=KEY)
