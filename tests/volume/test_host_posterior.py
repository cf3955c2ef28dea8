"""The Gaussian of sites by LAPACK is the compiled one, with soft sites and hard ones."""

import jax
import numpy as np
import pytest

from flatvol_jax.volume.host_posterior import gaussian_posterior_on_host
from flatvol_jax.volume.posterior import gaussian_posterior
from flatvol_jax.volume.sampling import signed_factor

RANDOM = np.random.default_rng(5)
N = 40
FACTOR = RANDOM.normal(size=(N, N + 5))
KERNEL = FACTOR @ FACTOR.T / N + 0.3


@pytest.mark.parametrize("soft", [0, 5, 30])
def test_equals_the_compiled_posterior(soft):
    precision = np.exp(RANDOM.uniform(0.0, 8.0, N))
    precision[RANDOM.permutation(N)[:soft]] = 10.0 ** -np.arange(3, 3 + soft)[:soft].clip(max=12)
    shift = RANDOM.normal(size=N) * np.sqrt(precision)
    found = gaussian_posterior_on_host(KERNEL, precision, shift)
    with jax.enable_x64(True):
        compiled = gaussian_posterior(KERNEL, precision, shift)
    np.testing.assert_allclose(found.covariance, compiled.covariance, rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(found.covariance, found.covariance.T, rtol=1e-14)
    np.testing.assert_allclose(found.mean, compiled.mean, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(found.log_normaliser, compiled.log_normaliser, rtol=1e-11)


def test_a_site_without_precision_leaves_the_prior():
    precision = np.where(np.arange(N) == 3, 0.0, 2.0)
    found = gaussian_posterior_on_host(KERNEL, precision, np.zeros(N))
    dense = np.linalg.inv(np.linalg.inv(KERNEL) + np.diag(precision))
    np.testing.assert_allclose(found.covariance, dense, rtol=1e-9, atol=1e-12)


def test_factor_is_that_of_the_signed_and_reordered_covariance():
    labels, order = np.where(RANDOM.random(N) < 0.5, -1.0, 1.0), RANDOM.permutation(N)
    with jax.enable_x64(True):
        factor = np.asarray(signed_factor(KERNEL, labels, order))
    signed = (labels[:, None] * KERNEL * labels)[np.ix_(order, order)]
    np.testing.assert_allclose(factor @ factor.T, signed, rtol=1e-12, atol=1e-13)
    np.testing.assert_array_equal(factor, np.tril(factor))


def test_a_matrix_without_a_factor_is_no_number():
    broken = np.where(np.eye(N) > 0, np.nan, KERNEL)
    found = gaussian_posterior_on_host(broken, np.ones(N), np.zeros(N))
    assert np.isnan(found.log_normaliser)
