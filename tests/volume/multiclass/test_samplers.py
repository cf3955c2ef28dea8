"""The two samplers of C classes: unbiased, of calibrated errors, of one number."""

from math import acos, pi
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from scipy.stats import chi2

import flatvol_jax as fv
from flatvol_jax.runtime.precision import to_host
from flatvol_jax.volume.ep import Sites
from flatvol_jax.volume.multiclass import class_volume, estimate
from flatvol_jax.volume.multiclass.blocked import blocked_estimate
from flatvol_jax.volume.multiclass.dense import DenseClasses
from flatvol_jax.volume.multiclass.differences import class_problem

N, C = 60, 4
FACTOR = np.random.default_rng(0).normal(size=(N, N + 5))
KERNEL = FACTOR @ FACTOR.T / N + 0.3
LABELS = np.random.default_rng(1).integers(0, C, N)


def pairs(count):
    """Correlated pairs of inputs with three classes, and log V exactly."""
    rhos = np.random.default_rng(0).uniform(-0.5, 0.9, count)
    kernel, labels, exact = np.eye(2 * count), np.zeros(2 * count, int), 0.0
    for k, rho in enumerate(rhos):
        kernel[2 * k, 2 * k + 1] = kernel[2 * k + 1, 2 * k] = rho
        labels[2 * k : 2 * k + 2] = k % 3, (k + k % 2) % 3
        equal = 1 / 3 + 3 / (4 * pi**2) * (acos(-rho) ** 2 - acos(rho / 2) ** 2)
        exact += np.log((1 - equal) / 6 if k % 2 else equal / 3)
    return kernel, labels, exact


@pytest.fixture(params=["together", "blocks"])
def sampler(request, monkeypatch):
    if request.param == "blocks":
        monkeypatch.setattr(estimate, "TOGETHER", 0)
    return request.param


def certified(kernel, labels, classes, seed, **more):
    key = jax.random.key(seed)
    return fv.log_volume(kernel, labels, method="certified", key=key, classes=classes, **more)


def test_standard_errors_are_calibrated_over_fifty_seeds(sampler):
    kernel, labels, exact = pairs(12)
    scores, ratios = [], []
    for seed in range(50):
        found = certified(kernel, labels, 3, seed, particles=32)
        ratio = np.exp(found.log_volume - exact)  # unbiased for V, not for log V
        scores.append((ratio - 1) / found.standard_error)
        ratios.append(ratio)
        assert found.estimate.proposal == "ep"
    spread = np.sum(np.square(scores))
    # Student's t of 15 degrees of freedom has variance 15/13.
    assert chi2.ppf(1e-4, 50) < spread / (15 / 13) < chi2.isf(1e-4, 50)
    assert abs(np.mean(ratios) - 1) < 4 * np.std(ratios, ddof=1) / 50**0.5


def run_of_ep():
    options = SimpleNamespace(tolerance=1e-10, max_iterations=200, method="ep_corrected")
    return class_volume.ClassEP(KERNEL, C, options).run(LABELS, None)


@pytest.fixture(scope="module")
def together():
    return certified(KERNEL, LABELS, C, 0, particles=512)


@pytest.mark.parametrize("block", [60, 7])
def test_blocks_of_any_size_agree_with_all_together(together, block):
    with jax.enable_x64(True):
        run = run_of_ep()
        found = blocked_estimate(
            jax.random.key(1), run.problem, run.ep, run.log_normaliser, 512, 16, block=block
        )
    error = np.hypot(found.standard_error, together.standard_error)
    assert abs(found.log_volume - together.log_volume) < 4.5 * error < 0.2
    assert found.status == fv.volume.CERTIFIED
    assert found.effective_sample_size > 0.2 * found.particles


def test_whatever_the_sites_blocks_are_unbiased(together):
    """Sites that are wrong, by a factor of up to two, and a normaliser that belongs to them."""
    with jax.enable_x64(True):
        run = run_of_ep()
        wrong = np.random.default_rng(0).uniform(0.5, 1.5, len(run.problem.points))
        ep = run.ep._replace(
            sites=Sites(run.ep.sites.precision * wrong, run.ep.sites.shift * wrong[::-1])
        )
        normaliser = to_host(DenseClasses(run.problem).posterior(ep)).log_normaliser
        found = blocked_estimate(jax.random.key(1), run.problem, ep, normaliser, 1024, 16, block=15)
    assert abs(normaliser - run.log_normaliser) > 1
    error = np.hypot(found.standard_error, together.standard_error)
    assert abs(found.log_volume - together.log_volume) < 4.5 * error < 1


def test_blocks_through_the_front_door(sampler):
    found = certified(KERNEL, LABELS, C, 5)
    other = certified(KERNEL, LABELS, C, 6, proposal="ep")
    error = np.hypot(found.standard_error, other.standard_error)
    assert abs(found.log_volume - other.log_volume) < 4.5 * error < 0.2
    assert found.status == fv.volume.CERTIFIED_GIVEN_KERNEL
    if sampler == "blocks":
        with pytest.raises(ValueError, match="proposal: got 'prior'"):
            certified(KERNEL, LABELS, C, 5, proposal="prior")


def test_another_device_takes_the_compiled_algebra(monkeypatch):
    found = fv.log_volume(KERNEL, LABELS, classes=C)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    other = fv.log_volume(KERNEL, LABELS, classes=C)
    np.testing.assert_allclose(other.ep, found.ep, atol=1e-9)
    np.testing.assert_allclose(other.increments, found.increments, atol=1e-6)


def test_a_singular_kernel_too_large_for_the_differences(monkeypatch):
    features = np.random.default_rng(0).normal(size=(N, 30))
    singular = features @ features.T
    by_differences = fv.log_volume(singular, LABELS, classes=C)
    monkeypatch.setattr(class_volume, "_DENSE", 0)
    found = fv.log_volume(singular, np.stack([LABELS, LABELS]), classes=C)
    assert found.ep[0] == found.ep[1]
    error = np.maximum(found.rounding_error[0], 1e-6)
    assert np.isfinite(found.ep[0])
    assert abs(found.ep[0] - by_differences.ep) < error
    assert error < 0.25


def test_problem_of_labels():
    problem = class_problem(np.eye(3), np.array([2, 0, 2]), 3)
    assert problem.own.sum() == 3
    np.testing.assert_array_equal(problem.classes, [0, 0, 1, 1, 1, 2])
    np.testing.assert_array_equal(problem.points, [0, 2, 0, 1, 2, 1])
