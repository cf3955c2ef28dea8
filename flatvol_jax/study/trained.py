"""A trained network of a study, and its loss on clean S as the flatness measures take it."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from jax.tree_util import Partial

from flatvol_jax.flatness import Composed, composed
from flatvol_jax.models import Spec, apply_in_batches
from flatvol_jax.study.problem import Problem


class Trained(NamedTuple):
    """A trained network: its parameters and what it answers.

    Attributes:
        params, state: as `spec.apply` takes them; flatness moves the parameters alone.
        train_output, test_output: logits on S and on E1.
        epochs: epochs to zero error on S and A; None where they are not known.
    """

    params: Any
    state: Any
    train_output: np.ndarray
    test_output: np.ndarray
    epochs: int | None

    @property
    def labels(self) -> np.ndarray:
        """f on S+E1: +1 where the output is above 0, else -1."""
        output = np.concatenate([self.train_output, self.test_output])
        return np.where(output > 0, 1, -1)


def train_loss(problem: Problem, state: Any) -> Composed:
    """L(params), the mean cross-entropy over clean S, float64, with S as leaves, not constants."""
    x, y = _train_set(problem)
    network = Partial(outputs(problem.spec, problem.batch_size), x, host_float64(state))
    return composed(Partial(_mean_cross_entropy, y), network)


def train_losses(problem: Problem, state: Any) -> Partial:
    """params -> the cross-entropy of each example of S, (m,)."""
    x, y = _train_set(problem)
    return Partial(_losses(problem.spec), x, y, host_float64(state))


def host_float64(tree: Any) -> Any:
    """NumPy float64 leaves, which no setting of x64 cuts short before a measure takes them."""
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), tree)


@functools.cache
def batch_loss(spec: Spec, batch_size: int | None = None) -> Callable:
    """(state, params, (x, y)) -> mean cross-entropy; one object a spec, so compiled once."""
    network = outputs(spec, batch_size)
    return lambda state, params, batch: _mean_cross_entropy(
        batch[1], network(batch[0], state, params)
    )


@functools.cache
def outputs(spec: Spec, batch_size: int | None = None) -> Callable:
    """(x, state, params) -> logits in inference mode; one object a spec and batch size."""
    return lambda x, state, params: apply_in_batches(spec, params, x, state, batch_size)


@functools.cache
def _losses(spec: Spec) -> Callable:
    return lambda x, y, state, params: _cross_entropy(y, spec.apply(params, x, state))


def _cross_entropy(y: jax.Array, logits: jax.Array) -> jax.Array:
    return optax.sigmoid_binary_cross_entropy(logits, (y + 1) / 2)


def _mean_cross_entropy(y: jax.Array, logits: jax.Array) -> jax.Array:
    return _cross_entropy(y, logits).mean()


def _train_set(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    return problem.train_x.astype(np.float64), problem.train_y.astype(np.float64)
