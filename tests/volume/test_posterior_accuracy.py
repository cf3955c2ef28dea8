"""posterior_accuracy against closed forms, all functions, a Markov chain, and guessing."""

import jax
import numpy as np
import pytest
from scipy.special import ndtr

import flatvol_jax as fv
from flatvol_jax.kernels import nngp_kernel
from flatvol_jax.models import FCN
from flatvol_jax.volume import posterior_accuracy
from flatvol_jax.volume.multiclass import estimate
from flatvol_jax.volume.multiclass.class_outputs import mean_answers

KEY = jax.random.key(0)


def correlations(seed, n, rank=3):
    """Return correlations of n outputs, far from singular."""
    factor = np.random.default_rng(seed).normal(size=(n, rank))
    matrix = factor @ factor.T + 0.5 * np.eye(n)
    scale = np.sqrt(np.diagonal(matrix))
    return matrix / scale / scale[:, None]


def test_one_digit_and_another():
    """P(z_2 > 0 | z_1 > 0) = 1/2 + asin(ρ)/π."""
    kernel = np.array([[2.0, 0.9], [0.9, 1.5]])
    found = posterior_accuracy(KEY, kernel, [1], [1])
    exact = 0.5 + np.arcsin(0.9 / 3**0.5) / np.pi
    assert abs(found.accuracy - exact) < 4 * found.standard_error < 0.05
    assert found.majority == 1.0


def test_two_and_one():
    """P(z_3 > 0 | z_1, z_2 > 0) from the orthants of three Gaussians and of two."""
    r = correlations(1, 3)
    angles = np.arcsin([r[0, 1], r[0, 2], r[1, 2]])
    exact = (1 / 8 + angles.sum() / (4 * np.pi)) / (1 / 4 + angles[0] / (2 * np.pi))
    found = posterior_accuracy(KEY, r, [1, 1], [1])
    assert abs(found.accuracy - exact) < 4 * found.standard_error < 0.05
    opposite = posterior_accuracy(KEY, r, [1, 1], [-1])
    np.testing.assert_allclose(opposite.accuracy, 1 - found.accuracy, rtol=1e-10)


def test_link_probit_is_noise_on_every_output():
    r = correlations(2, 6)
    options = dict(labels=[1, -1, 1], test_labels=[1, 1, -1])
    probit = posterior_accuracy(KEY, r, link="probit", **options)
    noisy = posterior_accuracy(KEY, r + np.eye(6), **options)
    np.testing.assert_allclose(probit.probability, noisy.probability, rtol=1e-9)


def test_posterior_of_all_functions():
    """Σ_f P(S, f) accuracy(f) / P(S), over all 2^3 functions on E."""
    r, labels = correlations(3, 9), np.array([1, -1, 1, 1, -1, -1])
    truth = np.array([1, -1, 1])
    functions = 1 - 2 * np.array(list(np.ndindex(2, 2, 2)))
    rows = np.concatenate([np.tile(labels, (8, 1)), functions], axis=1)
    volumes = fv.log_volume(r, rows, method="certified", key=KEY)
    weight = np.exp(volumes.log_volume - volumes.log_volume.max())
    weight /= weight.sum()
    right = (functions == truth).mean(axis=1)
    error = np.sqrt(np.sum((weight * (right - weight @ right) * volumes.standard_error) ** 2))
    found = posterior_accuracy(jax.random.key(1), r, labels, truth)
    assert abs(found.accuracy - weight @ right) < 4 * np.hypot(error, found.standard_error)
    assert np.hypot(error, found.standard_error) < 0.02


def test_elliptical_slice_sampling_of_fifty_outputs():
    """An independent Markov chain in the same orthant, its error from eight chains."""
    n, m = 50, 20
    r = correlations(4, n + m, rank=6)
    rng = np.random.default_rng(5)
    factor = np.linalg.cholesky(r)
    truth = np.sign(factor @ rng.normal(size=n + m)).astype(int)
    labels, test_labels = truth[:n], truth[n:]
    found = posterior_accuracy(KEY, r, labels, test_labels)
    weights = np.linalg.solve(r[:n, :n], r[:n, n:])
    deviation = np.sqrt(1 - np.sum(r[:n, n:] * weights, axis=0))
    means = []
    start = np.where(labels * (factor[:n, :n] @ np.zeros(n)) > 0, 0, labels * 0.1)
    for _ in range(8):
        z, right = start.copy(), []
        for step in range(1500):
            other, angle = factor[:n, :n] @ rng.normal(size=n), rng.uniform(0, 2 * np.pi)
            low, high = angle - 2 * np.pi, angle
            while True:
                proposed = z * np.cos(angle) + other * np.sin(angle)
                if (labels * proposed > 0).all():
                    break
                low, high = (angle, high) if angle < 0 else (low, angle)
                angle = rng.uniform(low, high)
            z = proposed
            if step >= 300:
                right.append(ndtr(test_labels * (z @ weights) / deviation).mean())
        means.append(np.mean(right))
    error = np.hypot(np.std(means, ddof=1) / 8**0.5, found.standard_error)
    assert abs(found.accuracy - np.mean(means)) < 4 * error
    assert error < 0.015
    assert abs(found.ep - found.accuracy) < 0.02


def test_on_the_training_inputs_it_is_one():
    r = correlations(6, 8)
    both = np.block([[r, r], [r, r]])
    labels = np.array([1, 1, -1, 1, -1, -1, 1, -1])
    found = posterior_accuracy(KEY, both, labels, labels)
    np.testing.assert_allclose(found.probability, 1.0, atol=1e-6)


def test_error_is_that_of_repeated_runs():
    """Over 40 keys the deviations are as large as the standard errors say."""
    r = correlations(7, 24, rank=5)
    labels = np.where(np.arange(16) % 3 == 0, -1, 1)
    runs = [
        posterior_accuracy(jax.random.key(seed), r, labels, np.ones(8), particles=32, replicates=8)
        for seed in range(40)
    ]
    accuracy = np.array([run.accuracy for run in runs])
    claimed = np.sqrt(np.mean([run.standard_error**2 for run in runs]))
    assert 0.7 < np.std(accuracy, ddof=1) / claimed < 1.4


def test_networks_that_were_guessed():
    """Wide networks drawn until they fit four inputs, against the infinite one."""
    spec = fv.FCN(width=(512,), sigma_w=2**0.5, sigma_b=0.3)
    x = np.random.default_rng(8).normal(size=(10, 5)).astype(np.float32)
    labels, test_labels = np.array([1, -1, 1, 1]), np.array([1, 1, -1, 1, -1, 1])
    keys = jax.random.split(jax.random.key(9), 8_000)
    outputs = jax.jit(
        jax.vmap(lambda key: spec.apply(spec.init(key, x.shape[1:]), x).reshape(-1) > 0)
    )
    answers = np.concatenate([outputs(part) for part in np.split(keys, 8)]) * 2 - 1
    fits = (answers[:, :4] == labels).all(axis=1)
    right = (answers[fits, 4:] == test_labels).mean(axis=1)
    found = posterior_accuracy(KEY, fv.nngp_kernel(spec, x), labels, test_labels)
    error = np.hypot(np.std(right) / np.sqrt(fits.sum()), found.standard_error)
    assert abs(found.accuracy - right.mean()) < 4 * error + 0.01  # width 512 is not infinity
    assert error < 0.015


@pytest.mark.parametrize("train", [4, 6])
def test_all_boolean_functions_of_five_bits_that_fit(train):
    """A million draws of the Gaussian process on all 32 inputs: those that fit S, counted."""
    x = 1.0 * ((np.arange(32)[:, None] >> np.arange(5)) & 1)
    y = np.where(x.sum(axis=1) % 3 == 1, 1, -1)
    order = np.random.default_rng(3).permutation(32)
    x, y = x[order], y[order]
    kernel = nngp_kernel(FCN((40, 40), 1.0, 0.1), x.astype(np.float32))
    random, root = np.random.default_rng(4), np.linalg.cholesky(kernel)
    drawn = np.concatenate([random.normal(size=(10**5, 32)) @ root.T > 0 for _ in range(10)])
    fit = drawn[(drawn[:, :train] == (y[:train] > 0)).all(axis=1), train:]
    right = (fit == (y[train:] > 0)).mean(axis=1)
    assert len(fit) > 500
    found = posterior_accuracy(jax.random.key(0), kernel, y[:train], y[train:])
    error = np.hypot(right.std() / len(fit) ** 0.5, found.standard_error)
    assert abs(right.mean() - found.accuracy) < 4 * error
    log_share = np.log(len(fit) / len(drawn))
    assert abs(log_share - found.log_volume) < 4 * np.hypot(
        len(fit) ** -0.5, found.log_volume_error
    )
    vote = (fit.mean(axis=0) > 0.5) == (y[train:] > 0)
    assert abs(vote.mean() - found.majority) < 0.1


def test_repeated_inputs_count_once():
    r = correlations(10, 5)
    twice = np.array([0, 1, 1, 2, 3, 4])
    once = posterior_accuracy(KEY, r, [1, -1, 1], [1, -1])
    found = posterior_accuracy(KEY, r[np.ix_(twice, twice)], [1, -1, -1, 1], [1, -1])
    np.testing.assert_allclose(found.probability, once.probability, rtol=1e-10)
    with pytest.raises(ValueError, match="inputs 1 and 2 of S, which are one"):
        posterior_accuracy(KEY, r[np.ix_(twice, twice)], [1, -1, 1, 1], [1, -1])


def class_functions(classes, m):
    return np.array(list(np.ndindex(*[classes] * m)))


@pytest.mark.parametrize("blocks", [False, True])
def test_posterior_of_all_functions_of_three_classes(blocks, monkeypatch):
    """Σ_f P(S, f) accuracy(f) / P(S), over all 3^2 functions on E, by both samplers."""
    if blocks:
        monkeypatch.setattr(estimate, "TOGETHER", 0)
    r, labels, truth = correlations(3, 9), np.array([0, 2, 1, 1, 0, 2, 2]), np.array([2, 1])
    functions = class_functions(3, 2)
    rows = np.concatenate([np.tile(labels, (9, 1)), functions], axis=1)
    volumes = fv.log_volume(r, rows, method="certified", key=KEY, classes=3)
    weight = np.exp(volumes.log_volume - volumes.log_volume.max())
    weight /= weight.sum()
    right = (functions == truth).mean(axis=1)
    error = np.sqrt(np.sum((weight * (right - weight @ right) * volumes.standard_error) ** 2))
    found = posterior_accuracy(jax.random.key(1), r, labels, truth, classes=3)
    assert abs(found.accuracy - weight @ right) < 4 * np.hypot(error, found.standard_error)
    assert np.hypot(error, found.standard_error) < 0.02
    votes = [[weight[functions[:, e] == c].sum() for c in range(3)] for e in range(2)]
    assert found.majority == np.mean(np.argmax(votes, axis=1) == truth)


def test_answers_of_classes_add_up_and_two_are_those_of_the_difference():
    rng = np.random.default_rng(13)
    outputs, response = rng.normal(size=(6, 2, 5)), rng.normal(size=(5, 4))
    deviation, weights = rng.uniform(0.01, 2, size=4), np.full(6, 1 / 6)
    with jax.enable_x64(True):
        two = np.asarray(mean_answers(outputs, weights, response, deviation))
        many = np.asarray(mean_answers(rng.normal(size=(6, 7, 5)), weights, response, deviation))
    difference = (outputs[:, 1] - outputs[:, 0]) @ response / (deviation * 2**0.5)
    np.testing.assert_allclose(two[:, 1], ndtr(difference).mean(axis=0), atol=2e-6)
    np.testing.assert_allclose(many.sum(axis=1), 1.0, atol=2e-6)


def test_two_classes_are_the_binary_case():
    r, labels, truth = correlations(3, 9), np.array([1, -1, 1, 1, -1, -1]), np.array([1, -1, 1])
    binary = posterior_accuracy(KEY, r, labels, truth)
    found = posterior_accuracy(KEY, r, (labels + 1) // 2, (truth + 1) // 2, classes=2)
    np.testing.assert_array_equal(found.probability, binary.probability)


def test_classes_on_the_training_inputs_are_those_of_the_labels():
    r, labels = correlations(6, 8), np.array([0, 1, 2, 1, 0, 0, 2, 1])
    found = posterior_accuracy(KEY, np.block([[r, r], [r, r]]), labels, labels, classes=3)
    np.testing.assert_allclose(found.probability, 1.0, atol=1e-6)


def test_prints_in_a_line():
    found = posterior_accuracy(KEY, correlations(11, 4), [1, -1], [1, 1])
    assert repr(found).startswith("PosteriorAccuracy(0.")
    assert "\n" not in repr(found)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (dict(labels=[]), "labels: got none"),
        (dict(test_labels=[]), "test_labels: got none"),
        (dict(labels=[1, 0]), "wanted -1 and \\+1"),
        (dict(labels=[1, 1, 1]), "got 4 inputs for 3 labels on S and 2 on E"),
        (dict(link="hard"), "link: got 'hard'"),
        (dict(particles=1), "particles: got 1"),
        (dict(classes=3), "labels: got -1 to 1"),
        (dict(kernel=np.ones((4, 4), np.float32)), "float64"),
    ],
)
def test_bad_input(change, match):
    good = dict(kernel=correlations(12, 4), labels=[1, -1], test_labels=[1, 1])
    with pytest.raises(ValueError, match=match):
        posterior_accuracy(KEY, **{**good, **change})
