"""A kernel that was sampled: its error and bias are in log V."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest
import scipy.stats

import flatvol_jax as fv
from flatvol_jax.kernels import jackknife

KEY = jax.random.key(0)
N, GROUPS = 20, 10
SMALL = {"particles": 64, "replicates": 8}


@pytest.fixture(scope="module")
def exact():
    x = np.random.default_rng(0).normal(size=(N, 6))
    kernel = x @ x.T / 6 + 0.5 * np.eye(N)
    return kernel, np.where(x[:, 0] + 0.3 * x[:, 1] > 0, 1, -1)


def sampled(kernel, samples, seed, number=GROUPS):
    """K̂ of Gaussian features whose covariance is K, in groups."""
    rng = np.random.default_rng(seed)
    root = np.linalg.cholesky(kernel)
    each = samples // number
    groups = []
    for _ in range(number):
        features = root @ rng.normal(size=(N, each))
        groups.append(features @ features.T / each)
    groups = np.stack(groups)
    counts = np.full(number, each)
    return SimpleNamespace(kernel=groups.mean(0), group_kernels=groups, group_samples=counts)


def test_intervals_cover_the_exact_value_and_the_bias_is_taken_off(exact):
    """Random labels need small eigenvalues, which K̂ of few samples makes too small."""
    kernel, _ = exact
    labels = np.random.default_rng(3).choice([-1, 1], N)
    true = fv.log_volume(kernel, labels).log_volume
    found = [fv.log_volume(sampled(kernel, 100, seed), labels) for seed in range(20)]
    values, errors = (
        np.array([getattr(f, name) for f in found]) for name in ("log_volume", "standard_error")
    )
    biased = np.array([f.ep for f in found])
    assert (np.abs(values - true) < 3 * errors).all()
    spread = np.std(values, ddof=1)
    assert 0.6 < np.sqrt(np.mean([f.kernel_error**2 for f in found])) / spread < 1.7
    assert np.mean(biased) - true < -3 * spread / np.sqrt(20)
    assert abs(np.mean(values) - true) < 0.5 * abs(np.mean(biased) - true)
    np.testing.assert_allclose(biased - values, [f.kernel_bias for f in found], atol=1e-12)


@pytest.mark.parametrize("groups", [2, 3, 10])
def test_few_groups_cover_as_often_as_many(exact, groups):
    """At least 90 of 100 intervals of two errors: 95 are wanted, and 90 or less of them 2%."""
    kernel, labels = exact
    true = fv.log_volume(kernel, labels).log_volume
    found = [fv.log_volume(sampled(kernel, 6_000, seed, groups), labels) for seed in range(100)]
    covered = [abs(f.log_volume - true) < 2 * f.standard_error for f in found]
    assert sum(covered) >= 90


def test_the_kernels_part_is_that_of_the_jackknife_of_ep(exact):
    _, labels = exact
    x = np.random.default_rng(1).random((N, 5))
    estimate = fv.monte_carlo_estimate(KEY, fv.FCN((40,)), x, 60, groups=5)
    wanted = jackknife(estimate, lambda k: fv.log_volume(k, labels).log_volume)
    found = fv.log_volume(estimate, labels, method="certified", key=KEY, **SMALL)
    plain = fv.log_volume(estimate.kernel, labels, method="certified", key=KEY, **SMALL)
    widened = scipy.stats.t.ppf(0.9772498680518208, 4) / 2  # twice the error as of a normal
    np.testing.assert_allclose(found.kernel_error, widened * wanted.standard_error, atol=1e-6)
    np.testing.assert_allclose(found.kernel_bias, wanted.bias, atol=1e-6)
    np.testing.assert_allclose(found.log_volume, plain.log_volume - found.kernel_bias, atol=1e-9)
    parts = [found.sampling_error, found.kernel_error, found.kernel_bias, found.rounding_error]
    np.testing.assert_allclose(found.standard_error, np.linalg.norm(parts))
    np.testing.assert_allclose(found.sampling_error, plain.standard_error)
    alone = fv.estimate_log_volume(KEY, estimate, labels, **SMALL)
    for name in ("log_volume", "standard_error", "kernel_error", "kernel_bias", "status"):
        np.testing.assert_array_equal(getattr(alone, name), getattr(found, name))


def test_the_status_says_what_the_error_covers(exact):
    kernel, labels = exact
    certified = {"method": "certified", "key": KEY, **SMALL}
    assert fv.log_volume(kernel, labels, **certified).status == "certified given this kernel"
    assert fv.estimate_log_volume(KEY, kernel, labels, **SMALL).status.item().endswith("kernel")
    fine = fv.log_volume(sampled(kernel, 400_000, 0), labels, **certified)
    assert fine.status == fine.estimate.status == "certified"
    coarse = fv.log_volume(sampled(kernel, 100, 0), labels, **certified)
    assert coarse.status == coarse.estimate.status == "imprecise"
    assert np.isnan(fv.log_volume(kernel, labels).standard_error)
    assert np.isnan(fv.log_volume(kernel, labels).kernel_error)


def test_labellings_have_their_own_errors_and_an_impossible_one_has_none(exact):
    kernel, labels = exact
    order = np.r_[np.arange(N), 3]
    estimate = sampled(kernel, 400, 0)
    estimate.kernel = estimate.kernel[np.ix_(order, order)]
    estimate.group_kernels = estimate.group_kernels[:, order][:, :, order]
    many = np.stack([labels[order], -labels[order], labels[order]])
    many[2, -1] *= -1
    many[1, 0] *= -1
    found = fv.log_volume(estimate, many)
    one = fv.log_volume(estimate, many[0])
    assert found.log_volume[2] == -np.inf
    assert found.standard_error[2] == 0
    np.testing.assert_allclose(found.kernel_error[0], one.kernel_error, atol=1e-6)
    assert found.kernel_error[0] != found.kernel_error[1]
