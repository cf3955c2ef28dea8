"""Guess and check draws from the prior given S: against networks that are drawn whole."""

import jax
import numpy as np
import pytest

from flatvol_jax.kernels import nngp_kernel
from flatvol_jax.models import FCN
from flatvol_jax.study.posterior import guesses
from flatvol_jax.study.posterior.guesses import guess_and_check
from flatvol_jax.volume import posterior_accuracy

RNG = np.random.default_rng(0)
X = RNG.normal(size=(7, 5)).astype(np.float32)
TRAIN, TEST = X[:3], X[3:]


def whole_networks(spec, samples):
    """Labels on S and E of networks whose weights are all drawn at once, (samples, 7)."""
    keys = jax.random.split(jax.random.key(1), samples)
    outputs = jax.jit(jax.vmap(lambda key: spec.apply(spec.init(key, (5,)), X)))(keys)
    return np.where(outputs > 0, 1, -1) if outputs.ndim == 2 else np.argmax(outputs, axis=-1)


@pytest.mark.parametrize(
    ("spec", "y"),
    [
        (FCN((6, 3), 2**0.5, 0.3), np.array([1, -1, 1])),
        (FCN((6,), 2**0.5, 0.3, outputs=3), np.array([2, 0, 2])),
    ],
)
def test_labels_on_the_rest_have_the_law_of_whole_networks_that_fit(spec, y):
    found = guess_and_check(jax.random.key(0), spec, TRAIN, y, TEST, 10**6, 30_000, batch=4096)
    labels = whole_networks(spec, 30_000)
    fit = labels[(labels[:, :3] == y).all(axis=1), 3:]
    assert found.networks == 32_768
    assert len(fit) > 300
    share, other = len(found.labels) / found.networks, len(fit) / len(labels)
    assert abs(share - other) < 4 * np.sqrt(2 * other / 30_000)
    for label in np.unique(labels):
        ours, theirs = (found.labels == label).mean(axis=0), (fit == label).mean(axis=0)
        spread = np.sqrt(0.25 / len(fit) + 0.25 / len(found.labels))
        assert np.all(np.abs(ours - theirs) < 4 * spread)
    # Labels of two inputs depend on each other, more than those of networks that do not fit.
    pairs = (found.labels[:, 0] == found.labels[:, 1]).mean()
    assert abs(pairs - (fit[:, 0] == fit[:, 1]).mean()) < 4 * spread


def test_what_fits_answers_s_itself_as_it_should_and_drawing_stops():
    y, spec = np.array([1, -1, 1]), FCN((6, 3), 2**0.5, 0.3)
    found = guess_and_check(jax.random.key(0), spec, TRAIN, y, TRAIN, 5, 10**6, batch=64)
    assert len(found.labels) >= 5
    assert (found.labels == y).all()
    assert found.networks % 64 == 0
    assert found.networks < 10_000
    none = guess_and_check(jax.random.key(0), spec, TRAIN, y, TEST, 1, 0, batch=64)
    assert none.networks == 0
    assert none.labels.shape == (0, 4)


def test_margins_are_those_of_the_whole_networks(monkeypatch):
    """On E = S a network's answers, with its norms, give its margin again."""
    y, spec = np.array([1, -1, 1]), FCN((6, 3), 2**0.5, 0.3)
    seen, answers = [], guesses._answers
    monkeypatch.setattr(guesses, "_answers", lambda *args: seen.append(answers(*args)) or seen[-1])
    found = guess_and_check(jax.random.key(0), spec, TRAIN, y, TRAIN, 5, 10**6, batch=16)
    margins = [np.min(y * outputs, axis=1) / norms for outputs, norms in seen]
    # Of each call the first networks count, the rest of its sixteen are repetitions.
    wanted = np.concatenate([own[: len(np.unique(own))] for own in margins])
    assert len(found.margins) == len(found.labels) >= 5
    assert (found.margins > 0).all()
    np.testing.assert_allclose(found.margins, wanted, rtol=1e-3)


def test_wide_networks_that_fit_are_as_accurate_as_those_of_infinite_width():
    x = RNG.uniform(size=(26, 20)).astype(np.float32)
    y = np.where(x[:, 0] + 0.3 * x[:, 1] > 0.65, 1, -1)
    spec = FCN((64,), 2**0.5, 0.3)
    found = guess_and_check(jax.random.key(2), spec, x[:6], y[:6], x[6:], 400, 200_000, batch=4096)
    infinite = posterior_accuracy(
        jax.random.key(3), nngp_kernel(spec, x), y[:6], y[6:], particles=64
    )
    own = (found.labels == y[6:]).mean(axis=1)
    error = np.hypot(own.std() / len(own) ** 0.5, infinite.standard_error)
    assert len(own) >= 400
    assert error < 0.01
    assert abs(own.mean() - infinite.accuracy) < 4 * error
    log_p = np.log(len(own) / found.networks)
    assert abs(log_p - infinite.log_volume) < 4 * np.hypot(1 / 20, infinite.log_volume_error)
