"""What is computed of one S: a random network that fits it, trained ones, guessed ones."""

import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from flatvol_jax.kernels import nngp_kernel
from flatvol_jax.models import FCN, output_labels
from flatvol_jax.study.posterior.digits import Digits
from flatvol_jax.study.posterior.guesses import guess_and_check
from flatvol_jax.study.posterior.margins import normalised_margins, weight_norms
from flatvol_jax.study.posterior.settings import PosteriorConfig
from flatvol_jax.training import TrainedEnsemble, TrainSettings, train_ensemble
from flatvol_jax.volume import marginal_likelihood_bound, posterior_accuracy

Columns = dict[str, Any]


class Kernels:
    """The kernels of one draw on its whole S and E, computed where one is asked for."""

    def __init__(self, digits: Digits):
        self._digits = digits
        self._of_spec = functools.cache(self._computed)

    def _computed(self, spec: FCN) -> np.ndarray:
        return nngp_kernel(spec, np.concatenate([self._digits.train_x, self._digits.test_x]))

    def of(self, spec: FCN, size: int) -> np.ndarray:
        """Return K on the first `size` inputs of S, then E."""
        train, test = len(self._digits.train_y), len(self._digits.test_y)
        rows = np.concatenate([np.arange(size), train + np.arange(test)])
        return self._of_spec(spec)[np.ix_(rows, rows)]


def infinite_columns(
    key: jax.Array, config: PosteriorConfig, digits: Digits, kernels: Kernels, spec: FCN, size: int
) -> Columns:
    """Return the accuracy of a random network of infinite width that fits S, the vote of such.

    The bound is the marginal-likelihood one on the mean error of such networks.
    """
    began, sampler = time.perf_counter(), config.posterior.sampler
    found = posterior_accuracy(
        key,
        kernels.of(spec, size),
        digits.train_y[:size],
        digits.test_y,
        classes=config.classes,
        particles=sampler.particles,
        replicates=sampler.replicates,
    )
    log_volume = min(found.log_volume, 0.0)
    return {
        "measure.accuracy": found.accuracy,
        "measure.accuracy.se": found.standard_error,
        "measure.accuracy.bias": found.bias,
        "measure.accuracy.vote": found.majority,
        "measure.accuracy.ep": found.ep,
        "measure.log_volume": found.log_volume,
        "measure.log_volume.se": found.log_volume_error,
        "measure.bound": float(marginal_likelihood_bound(log_volume, size, config.posterior.delta)),
        "measure.ancestors": found.ancestors,
        "measure.particles": found.particles,
        "measure.classes": len(np.unique(digits.train_y[:size])),
        "is.certified": found.status.startswith("certified"),
        "meta.status": found.status,
        "meta.seconds": time.perf_counter() - began,
    }


def trained_columns(
    key: jax.Array,
    config: PosteriorConfig,
    digits: Digits,
    spec: FCN,
    size: int,
    train: TrainSettings,
    progress: Callable[[float], None] | None = None,
) -> Columns:
    """Return the accuracy of networks at their first epoch with zero error on S.

    Accuracies are of the networks that got there. A batch that is larger than S is S.
    """
    began = time.perf_counter()
    trained = _trained(key, config, digits, spec, size, train, progress)
    with jax.enable_x64(False):
        outputs = np.asarray(_outputs(spec, trained.params, jnp.asarray(digits.test_x)))
    labels = np.stack([output_labels(own) for own in outputs])
    return {
        **accuracy_columns(labels[trained.zero_error], digits.test_y, config.classes),
        "measure.networks": len(labels),
        "measure.epochs.zero_error": float(np.mean(trained.epochs)),
        "is.zero_error": bool(trained.zero_error.all()),
        "meta.seconds": time.perf_counter() - began,
    }


def overtrained_columns(
    key: jax.Array,
    config: PosteriorConfig,
    digits: Digits,
    spec: FCN,
    size: int,
    train: TrainSettings,
    progress: Callable[[float], None] | None = None,
) -> Columns:
    """Return margins and accuracies of networks at zero error and so many epochs beyond.

    With the key of `trained_columns` the networks at zero error are the same. Arrays `margins`
    and `accuracies`, (1 + epochs, networks), first at zero error, NaN where a network did not
    get there.
    """
    began, after = time.perf_counter(), config.posterior.margins.after
    trained = _trained(key, config, digits, spec, size, train, progress, after)
    y, margins, accuracies = digits.train_y[:size], [], []
    for i in range(1 + len(after)):
        params = trained.params
        there = trained.zero_error
        if i:
            params = jax.tree.map(lambda leaf, i=i: leaf[:, i - 1], trained.snapshots.params)
            there = trained.snapshots.epochs[:, i - 1] >= 0
        with jax.enable_x64(False):
            on_train = np.asarray(_outputs(spec, params, jnp.asarray(digits.train_x[:size])))
            on_test = np.asarray(_outputs(spec, params, jnp.asarray(digits.test_x)))
            norms = np.asarray(jax.vmap(weight_norms)(params))
        right = [(output_labels(own) == digits.test_y).mean() for own in on_test]
        margins.append(np.where(there, normalised_margins(on_train, y, norms), np.nan))
        accuracies.append(np.where(there, right, np.nan))
    return {
        "margins": np.stack(margins),
        "accuracies": np.stack(accuracies),
        "meta.seconds": time.perf_counter() - began,
    }


def _trained(
    key: jax.Array,
    config: PosteriorConfig,
    digits: Digits,
    spec: FCN,
    size: int,
    train: TrainSettings,
    progress: Callable[[float], None] | None,
    overtrain: tuple[int, ...] = (),
) -> TrainedEnsemble:
    networks = config.study.sweep.samples
    batch = None if train.batch_size is None else min(train.batch_size, size)
    return train_ensemble(
        jax.random.split(key, networks),
        spec,
        digits.train_x[:size],
        digits.train_y[:size],
        np.ones((networks, size), bool),
        dataclasses.replace(train, batch_size=batch),
        size,
        progress,
        overtrain=overtrain,
    )


def guessed_columns(
    key: jax.Array, config: PosteriorConfig, digits: Digits, spec: FCN, size: int
) -> Columns:
    """Return the accuracy of random networks of finite width that were drawn until they fit S.

    P(S) is the share of networks that fit; log P(S) has the error √((1 - P) / k) of k that do.
    Arrays `margins` and `accuracies` are of those that fit, (k,).
    """
    began, guess = time.perf_counter(), config.posterior.guess
    x, y = digits.train_x[:size], digits.train_y[:size]
    found = guess_and_check(
        key, spec, x, y, digits.test_x, guess.fitting, guess.most, batch=guess.batch
    )
    fitting = len(found.labels)
    share = fitting / found.networks
    return {
        "margins": found.margins,
        "accuracies": (found.labels == digits.test_y).mean(axis=1),
        **accuracy_columns(found.labels, digits.test_y, config.classes),
        "measure.log_volume": float(np.log(share)) if fitting else None,
        "measure.log_volume.se": float(np.sqrt((1 - share) / fitting)) if fitting else None,
        "measure.networks": found.networks,
        "is.complete": fitting >= guess.fitting,
        "meta.seconds": time.perf_counter() - began,
    }


def accuracy_columns(labels: np.ndarray, test_y: np.ndarray, classes: int | None) -> Columns:
    """Return mean accuracy on E of k networks, its error, the accuracy of their vote.

    Args:
        labels: (k, m) of each network.
        test_y: (m,) the true ones.
        classes: C of labels 0..C-1, None of ±1.
    """
    own = (labels == test_y).mean(axis=1)
    options = np.array([-1, 1]) if classes is None else np.arange(classes)
    votes = (labels[..., None] == options).sum(axis=0)
    vote = options[np.argmax(votes, axis=1)] == test_y
    return {
        "measure.fitting": len(own),
        "measure.accuracy": float(own.mean()) if len(own) else None,
        "measure.accuracy.se": float(own.std(ddof=1) / len(own) ** 0.5) if len(own) > 1 else None,
        "measure.accuracy.vote": float(vote.mean()) if len(own) else None,
    }


@functools.partial(jax.jit, static_argnums=0)
def _outputs(spec: FCN, params: Any, x: jax.Array) -> jax.Array:
    return jax.vmap(lambda own: spec.apply(own, x))(params)
