"""log V of C classes: what is known exactly, symmetries, the binary engine, bad input."""

import itertools
from functools import partial
from math import acos, pi
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import norm

import flatvol_jax as fv
from flatvol_jax.volume.multiclass.class_volume import volume_of_classes
from flatvol_jax.volume.multiclass.differences import class_problem, difference_covariance

KEY = jax.random.key(3)
RANDOM = np.random.default_rng(8)


def kernel_of(n, shared=0.3):
    factor = np.random.default_rng(n).normal(size=(n, n + 5))
    return factor @ factor.T / n + shared


def certified(kernel, labels, classes, **more):
    return fv.log_volume(kernel, labels, method="certified", key=KEY, classes=classes, **more)


def agrees(found, exact, widest=0.05):
    """The exact value lies within 4.5 standard errors, and those say something."""
    assert (np.abs(found.log_volume - exact) < 4.5 * found.standard_error + 1e-12).all(), found
    assert (found.standard_error < widest).all()


@pytest.mark.parametrize("classes", [3, 5, 10])
def test_independent_outputs(classes):
    n, exact = 60, 60 * np.log(1 / classes)
    found = certified(np.eye(n), np.arange(n) % classes, classes)
    agrees(found, exact)
    per_point = {3: -0.0018, 5: -0.0053, 10: -0.0113}[classes]
    assert abs((found.ep - exact) / n - per_point) < 6e-5
    assert abs(found.corrected - exact) < 0.0006 * n
    np.testing.assert_allclose(found.increments.sum(), found.ep, atol=1e-6)


def test_one_output_at_all_inputs():
    labels = np.array([[2, 2, 2, 2], [2, 2, 0, 2]])
    found = certified(np.ones((4, 4)), labels, 3)
    assert abs(found.log_volume[0] - np.log(1 / 3)) < 4.5 * found.standard_error[0]
    assert found.log_volume[1] == -np.inf
    assert found.standard_error[1] == 0
    assert "inputs 0 and 2" in str(found.status[1])


@pytest.mark.parametrize("rho", [-0.5, 0.4, 0.9])
def test_two_inputs_three_classes(rho):
    equal = 1 / 3 + 3 / (4 * pi**2) * (acos(-rho) ** 2 - acos(rho / 2) ** 2)
    kernel = np.array([[4.0, 2 * rho], [2 * rho, 1.0]])
    found = certified(kernel, np.array([[0, 0], [2, 1]]), 3)
    agrees(found, np.log([equal / 3, (1 - equal) / 6]))


@pytest.mark.parametrize("pairs", [20, 60])  # 80 differences: dense; 240: class by class
def test_pairs_of_inputs(pairs):
    rhos = np.random.default_rng(0).uniform(-0.5, 0.9, pairs)
    kernel, labels, exact = np.eye(2 * pairs), np.zeros(2 * pairs, int), 0.0
    for k, rho in enumerate(rhos):
        kernel[2 * k, 2 * k + 1] = kernel[2 * k + 1, 2 * k] = rho
        labels[2 * k : 2 * k + 2] = k % 3, (k + k % 2) % 3
        equal = 1 / 3 + 3 / (4 * pi**2) * (acos(-rho) ** 2 - acos(rho / 2) ** 2)
        exact += np.log((1 - equal) / 6 if k % 2 else equal / 3)
    agrees(certified(kernel, labels, 3), exact)


def equicorrelated(labels, classes, rho, points=24):
    """log V by Gauss-Hermite: f_ic = √ρ s_c + √(1-ρ) e_ic, given the shared parts s."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(points)
    weights = weights / weights.sum()
    inner, inner_weights = np.polynomial.hermite_e.hermegauss(60)
    inner_weights = inner_weights / inner_weights.sum()
    ratio, terms = (rho / (1 - rho)) ** 0.5, []
    for at in itertools.product(range(points), repeat=classes):
        s = ratio * nodes[list(at)]
        win = np.empty(classes)
        for y in range(classes):
            others = np.delete(s, y)
            win[y] = inner_weights @ norm.cdf(inner[:, None] + s[y] - others).prod(axis=1)
        terms.append(np.log(weights[list(at)]).sum() + np.log(win)[labels].sum())
    return logsumexp(terms)


def test_equicorrelated_outputs():
    labels, rho = np.array([0, 0, 1, 0, 2, 1]), 0.5
    kernel = rho + (1 - rho) * np.eye(6)
    agrees(certified(kernel, labels, 3), equicorrelated(labels, 3, rho))


def test_all_labellings_sum_to_one():
    labellings = np.array(list(itertools.product(range(3), repeat=3)))
    found = certified(kernel_of(3), labellings, 3)
    total, error = np.exp(found.log_volume), np.exp(found.log_volume) * found.standard_error
    assert abs(total.sum() - 1) < 4.5 * np.sqrt(np.sum(error**2)) < 0.01
    corrected = np.exp(found.corrected).sum()
    assert abs(corrected - 1) < 0.002
    assert 0.003 < 1 - np.exp(found.ep).sum() < 0.02


def test_one_more_input_adds_up():
    n, labels = 9, np.array([0, 1, 2, 2, 0, 1, 3, 3, 0, 0])
    kernel = kernel_of(n + 1)
    less = certified(kernel[:n, :n], labels[:n], 4, particles=512)
    each = np.stack([np.append(labels[:n], c) for c in range(4)])
    more = certified(kernel, each, 4, particles=512)
    share = np.exp(more.log_volume - less.log_volume)
    error = np.hypot(less.standard_error, np.sqrt(np.sum((share * more.standard_error) ** 2)))
    assert abs(share.sum() - 1) < 4.5 * error < 0.05
    # log P(y_n | rest) by EP, against the ratio of volumes.
    assert np.abs(more.increments[:, -1] - np.log(share)).max() < 0.05


@pytest.mark.parametrize("link", ["heaviside", "probit"])
def test_symmetries(link):
    n, classes = 50, 4
    kernel, labels = kernel_of(n), np.random.default_rng(1).integers(0, classes, n)
    volume = partial(fv.log_volume, link=link, classes=classes)
    found = volume(kernel, labels)
    renamed = volume(kernel, np.array([2, 0, 3, 1])[labels])
    order = np.random.default_rng(2).permutation(n)
    moved = volume(kernel[np.ix_(order, order)], labels[order])
    for other in (renamed, moved):
        np.testing.assert_allclose(other.ep, found.ep, atol=1e-8)
    np.testing.assert_allclose(moved.increments, found.increments[order], atol=1e-6)
    scale = 10 ** np.random.default_rng(3).uniform(-3, 3, n)
    scaled = volume(kernel * scale * scale[:, None], labels)
    if link == "heaviside":
        np.testing.assert_allclose(scaled.ep, found.ep, atol=1e-8)
        expected = found.cavities.mean * scale[:, None]
        np.testing.assert_allclose(scaled.cavities.mean, expected, rtol=1e-5, atol=1e-7)
    else:
        noisy = fv.log_volume(kernel + np.eye(n), labels, classes=classes)
        np.testing.assert_allclose(noisy.ep, found.ep, atol=1e-8)
        assert abs(scaled.ep - found.ep) > 0.1


@pytest.mark.parametrize("n", [30, 130])  # by differences, and class by class
@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_two_classes_are_the_binary_engine(n, noise):
    kernel, labels = kernel_of(n), np.random.default_rng(5).integers(0, 2, n)
    link = "probit" if noise else "heaviside"
    binary = fv.log_volume(kernel, 2 * labels - 1, link, "ep_corrected")
    two = fv.log_volume(kernel, labels, link, "ep_corrected", classes=2)
    np.testing.assert_array_equal(two.log_volume, binary.log_volume)
    options = SimpleNamespace(tolerance=1e-10, max_iterations=200, method="ep_corrected")
    with jax.enable_x64(True):
        forced = volume_of_classes(kernel, labels, 2, noise, options)
    np.testing.assert_allclose(forced.ep, binary.ep, atol=1e-9)
    np.testing.assert_allclose(forced.log_volume, binary.log_volume, atol=1e-8)
    np.testing.assert_allclose(forced.increments, binary.increments, atol=1e-6)


def test_is_the_orthant_of_the_differences():
    n, labels = 50, np.random.default_rng(6).integers(0, 4, 50)
    kernel = kernel_of(n)
    covariance = difference_covariance(class_problem(kernel, labels, 4))
    found = certified(kernel, labels, 4)
    dense = fv.log_volume(covariance, np.ones(150), method="certified", key=jax.random.key(9))
    np.testing.assert_allclose(found.ep, dense.ep, atol=5e-9)
    np.testing.assert_allclose(found.corrected, dense.corrected, atol=1e-6)
    error = np.hypot(found.standard_error, dense.standard_error)
    assert abs(found.log_volume - dense.log_volume) < 4.5 * error < 0.2


def test_splitting_agrees():
    kernel, labels = kernel_of(5), np.array([0, 1, 1, 2, 0])
    covariance = difference_covariance(class_problem(kernel, labels, 3))
    other = fv.volume.splitting_log_volume(
        jax.random.key(1), covariance, np.ones(10), particles=300, replicates=16
    )
    found = certified(kernel, labels, 3)
    error = np.hypot(found.standard_error, other.standard_error)
    assert abs(found.log_volume - other.log_volume) < 4.5 * error < 0.5


def test_a_repeated_input_counts_once_and_a_singular_kernel_has_ep():
    kernel, labels = kernel_of(20), np.random.default_rng(2).integers(0, 8, 20)
    twice = np.append(np.arange(20), 4)
    found = fv.log_volume(kernel, labels, classes=8)
    again = fv.log_volume(kernel[np.ix_(twice, twice)], labels[twice], classes=8)
    np.testing.assert_allclose(again.ep, found.ep, atol=1e-9)
    assert again.increments[4] == again.increments[20] == 0
    np.testing.assert_allclose(again.increments[:4], found.increments[:4], atol=1e-7)
    wrong = fv.log_volume(
        kernel[np.ix_(twice, twice)], np.append(labels, (labels[4] + 1) % 8), classes=8
    )
    assert wrong.log_volume == wrong.ep == -np.inf
    factor = np.random.default_rng(0).normal(size=(30, 12))  # of rank 12
    singular = fv.log_volume(factor @ factor.T, np.arange(30) % 8, classes=8)
    near = fv.log_volume(factor @ factor.T + 1e-9 * np.eye(30), np.arange(30) % 8, classes=8)
    assert bool(singular.converged)
    np.testing.assert_allclose(singular.ep, near.ep, atol=1e-3)


def test_opposite_inputs():
    kernel = np.kron(np.array([[1.0, -1.0], [-1.0, 1.0]]), np.eye(2))
    same = fv.log_volume(kernel, np.array([0, 1, 0, 2]), classes=3)
    assert same.log_volume == -np.inf
    # At one input class 0 is largest and class 1 least: one of six orders; 1/3 at the other.
    found = fv.log_volume(kernel[:3, :3], np.array([0, 2, 1]), classes=3, method="ep_corrected")
    assert abs(found.log_volume - np.log(1 / 18)) < 0.05


def test_warm_start_and_batches():
    kernel, labels = kernel_of(60), np.random.default_rng(1).integers(0, 5, 60)
    changed = labels.copy()
    changed[0] = (changed[0] + 1) % 5
    both = fv.log_volume(kernel, np.stack([labels, changed]), classes=5)
    assert both.ep.shape == (2,)
    assert both.increments.shape == (2, 60)
    assert both.cavities.mean.shape == both.sites.precision.shape == (2, 60, 5)
    first = jax.tree.map(lambda leaf: leaf[0], both.cavities)
    warm = fv.log_volume(kernel, changed, classes=5, start=first)
    np.testing.assert_allclose(warm.ep, both.ep[1], atol=1e-8)
    assert warm.iterations < both.iterations[1]
    assert (both.cavities.variance[0][np.arange(60), labels] == 0).all()


def test_a_kernel_estimate_has_its_error():
    n, groups = 12, 8
    random = np.random.default_rng(0)
    features = random.normal(size=(groups, n, 200)) + random.normal(size=(n, 1))
    parts = features @ features.transpose(0, 2, 1) / 200
    estimate = SimpleNamespace(
        kernel=parts.mean(axis=0), group_kernels=parts, group_samples=np.full(groups, 200)
    )
    found = certified(estimate, np.arange(n) % 3, 3)
    assert found.kernel_error > 0
    assert found.standard_error >= found.kernel_error


BAD = [
    (dict(labels=np.arange(4.0)), "dtype float64.*astype"),
    (dict(labels=np.eye(3)[[0, 1, 2, 0]].astype(int)), "one-hot.*argmax"),
    (dict(labels=[1, 2, 3, 1]), r"got 1 to 3, wanted integers 0\.\.2.*labels - 1"),
    (dict(labels=[0, 1, 4, 1]), "classes=5"),
    (dict(labels=[-1, 1, 1, 1]), "leave classes out"),
    (dict(labels=[0, 1, 2]), r"shape \(3,\)"),
    (dict(classes=1), "got 1, wanted at least 2"),
    (dict(classes=3.0), "whole number"),
    (dict(classes=True), "whole number"),
    (dict(batch_size=2), "one at a time"),
    (dict(method="certified"), "key"),
    (dict(start=fv.volume.Cavities(np.zeros(4), np.ones(4))), "start"),
    (dict(kernel=-np.eye(4)), "positive"),
    (dict(kernel=np.eye(4, dtype=np.float32)), "float64"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_input(change, message):
    arguments = {"kernel": np.eye(4), "labels": [0, 1, 2, 1], "classes": 3} | change
    with pytest.raises(ValueError, match=f"(?s){message}"):
        fv.log_volume(**arguments)


def test_sizes_beyond_memory(monkeypatch):
    free = SimpleNamespace(available=400_000_000)
    monkeypatch.setattr("flatvol_jax.runtime.memory.psutil.virtual_memory", lambda: free)
    n = 1000
    with pytest.raises(ValueError, match="enough for n = "):
        fv.log_volume(np.eye(n), np.zeros(n, int), classes=10)
