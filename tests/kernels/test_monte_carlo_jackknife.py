"""The jackknife over groups: identities, and log V against its spread over independent kernels."""

import jax
import numpy as np
import pytest
from scipy.special import digamma

import flatvol_jax as fv
from flatvol_jax.kernels import jackknife, monte_carlo_estimate, neural_tangents

SPEC = fv.FCN((5,))


@pytest.fixture(scope="module")
def inputs():
    return np.random.default_rng(0).random((10, 5)).astype(np.float32)


@pytest.mark.parametrize("samples", [40, 43])
def test_of_a_linear_functional_it_is_the_standard_error_of_the_mean(inputs, samples):
    estimate = monte_carlo_estimate(jax.random.key(0), SPEC, inputs, samples, groups=8)
    found = jackknife(estimate, lambda kernel: 2 * kernel - 1)
    np.testing.assert_array_equal(found.value, 2 * estimate.kernel - 1)
    np.testing.assert_allclose(found.standard_error, 2 * estimate.standard_error, rtol=1e-10)
    np.testing.assert_allclose(found.bias, 0, atol=1e-12 * estimate.kernel.max())


def test_the_bias_of_a_square_is_the_variance_of_what_is_squared(inputs):
    # Equal groups: E[m²] - E[m]² = Var m, whose estimate is the square of the standard error.
    estimate = monte_carlo_estimate(jax.random.key(0), SPEC, inputs, 40, groups=8)
    linear = jackknife(estimate, lambda kernel: kernel.mean())
    square = jackknife(estimate, lambda kernel: kernel.mean() ** 2)
    assert square.bias == pytest.approx(linear.standard_error**2, rel=1e-8)


def test_two_groups_are_the_split_halves(inputs):
    estimate = monte_carlo_estimate(jax.random.key(0), SPEC, inputs, 40, groups=2)
    found = jackknife(estimate, lambda kernel: np.linalg.slogdet(kernel)[1])
    first, second = (np.linalg.slogdet(half)[1] for half in estimate.group_kernels)
    assert found.standard_error == pytest.approx(abs(first - second) / 2, rel=1e-8)
    assert found.bias == pytest.approx((first + second) / 2 - found.value, rel=1e-8)


@pytest.mark.parametrize("samples", [100, 104])
def test_the_bias_of_log_det_is_that_of_a_wishart_matrix(samples):
    # Features of a linear network of one layer are Gaussian, so M N_L K̂ is Wishart and
    # E log det K̂ - log det K = Σ_i ψ((M N_L - i)/2) + n log(2/(M N_L)), i = 0 ... n - 1.
    linear = neural_tangents().stax.serial(neural_tangents().stax.Dense(2))
    spec = fv.StaxModel(linear, name="linear", sigma_w=1.0, sigma_b=0.0)
    x = np.random.default_rng(1).normal(size=(8, 8))
    degrees = 2 * samples
    wanted = digamma((degrees - np.arange(8)) / 2).sum() + 8 * np.log(2 / degrees)
    found = [
        jackknife(
            monte_carlo_estimate(jax.random.key(seed), spec, x, samples),
            lambda kernel: np.linalg.slogdet(kernel)[1],
        )
        for seed in range(30)
    ]
    biases = np.array([one.bias for one in found])
    error = biases.std(ddof=1) / np.sqrt(len(biases))
    assert abs(biases.mean() - wanted) < 4 * error + 0.05 * abs(wanted)  # 1/M² is left out
    assert error < 0.1 * abs(wanted)
    values = np.array([one.value for one in found])
    stated = np.mean([one.standard_error**2 for one in found])
    assert 0.5 < values.var(ddof=1) / stated < 1.8


def test_log_volume_against_independent_kernels(inputs):
    labels = np.where(inputs[:, 0] > np.median(inputs[:, 0]), 1, -1)

    def log_volume(kernel):
        return fv.log_volume(kernel, labels).log_volume

    found = [
        jackknife(monte_carlo_estimate(jax.random.key(seed), SPEC, inputs, 100), log_volume)
        for seed in range(40)
    ]
    values = np.array([one.value for one in found])
    spread = values.std(ddof=1)
    stated = np.sqrt(np.mean([one.standard_error**2 for one in found]))
    assert 0.7 < spread / stated < 1.4
    exact = log_volume(fv.nngp_kernel(SPEC, inputs))  # one hidden layer: at any width
    corrected = values - [one.bias for one in found]
    assert abs(corrected.mean() - exact) < 4 * spread / np.sqrt(len(found))


@pytest.mark.slow
def test_labels_that_need_small_eigenvalues_lose_volume_and_the_jackknife_sees_it():
    rng = np.random.default_rng(0)
    x, spec, seeds = rng.random((60, 5)), fv.FCN((40,)), 30
    labels = rng.choice([-1, 1], 60)

    def log_volume(kernel):
        return fv.log_volume(kernel, labels).log_volume

    exact, biases = log_volume(fv.nngp_kernel(spec, x)), []
    for samples in (30, 60):
        found = [
            jackknife(monte_carlo_estimate(jax.random.key(seed), spec, x, samples), log_volume)
            for seed in range(seeds)
        ]
        values = np.array([one.value for one in found])
        error = values.std(ddof=1) / np.sqrt(seeds)
        biases.append(np.mean([one.bias for one in found]))
        assert abs(values.mean() - exact - biases[-1]) < 4 * error
    assert biases[0] < -0.5
    assert 1.6 < biases[0] / biases[1] < 2.6


def test_values_that_are_not_finite_are_named(inputs):
    estimate = monte_carlo_estimate(jax.random.key(0), SPEC, inputs, 40, groups=4)
    with pytest.raises(ValueError, match="got nan from all groups, wanted finite"):
        jackknife(estimate, lambda kernel: np.nan)
    values = iter([1.0, 2.0, np.inf])
    with pytest.raises(ValueError, match="got inf from all groups but 1"):
        jackknife(estimate, lambda kernel: next(values))
