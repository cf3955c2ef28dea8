"""A trained network of a study, and its loss on clean S as the flatness measures take it."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.tree_util import Partial

from flatvol_jax.flatness import Composed, composed
from flatvol_jax.models import (
    Spec,
    apply_in_batches,
    batch_state,
    check_running_statistics,
    cross_entropy,
    float64_inputs,
    output_labels,
)
from flatvol_jax.study.measures.problem import Problem


class Trained(NamedTuple):
    """A trained network: its parameters and what it answers.

    Attributes:
        params, state: as `spec.apply` takes them; flatness moves the parameters, and with
            batch_norm = "batch" the state follows them.
        train_output, test_output: logits on S and on E1, (n,), or (n, C) of C classes.
        epochs: epochs to zero error; None where they are not known.
    """

    params: Any
    state: Any
    train_output: np.ndarray
    test_output: np.ndarray
    epochs: int | None

    @property
    def labels(self) -> np.ndarray:
        """f on S+E1: +1 where the output is above 0, else -1; of C outputs the largest."""
        return output_labels(np.concatenate([self.train_output, self.test_output]))


def function_state(problem: Problem, params: Any, state: Any) -> Any:
    """The state that makes the network function of trained parameters.

    With batch_norm = "running" the one that training left. With "batch" that of S under params,
    the same structure: the outputs f(x) = spec.apply(params, x, batch_state(params, S)) on S are
    those of training mode.
    """
    if problem.batch_norm == "running":
        return state
    check_running_statistics(problem.spec, problem.train_x)
    found = jax.jit(batch_state, static_argnums=0)(problem.spec, params, state, problem.train_x)
    return jax.tree.map(np.asarray, found)


def train_loss(problem: Problem, state: Any) -> Composed:
    """L(params), the mean cross-entropy over clean S, float64, with S as leaves, not constants.

    With batch_norm = "batch" the outputs are those of training mode on S, whose statistics move
    with the parameters; `state` then changes nothing.
    """
    x, y = _train_set(problem)
    network = outputs(problem.spec, problem.batch_size, problem.batch_norm)
    mean = _MEANS[problem.loss]
    return composed(Partial(mean, y), Partial(network, x, host_float64(state)))


def train_losses(problem: Problem, state: Any) -> Partial:
    """params -> the cross-entropy of each example of S, (m,); the mean is `train_loss`."""
    x, y = _train_set(problem)
    losses = _losses(problem.spec, problem.batch_norm, problem.loss)
    return Partial(losses, x, y, host_float64(state))


def host_float64(tree: Any) -> Any:
    """NumPy leaves, floating ones float64, which no setting of x64 cuts short before a measure
    takes them.
    """
    return jax.tree.map(lambda leaf: float64_inputs(np.asarray(leaf)), tree)


def batch_loss(problem: Problem, state: Any, batch_size: int | None = None) -> Partial:
    """(params, (x, y)) -> mean cross-entropy of a minibatch of S, `batch_size` inputs at a time.

    With batch_norm = "batch" a step takes the statistics of all of S at its parameters, not those
    of the minibatch: the losses of the minibatches then have `train_loss` as their mean, at the
    price of a forward pass over S, and in a gradient a backward one.
    """
    if problem.batch_norm == "running":
        return Partial(_batch_loss(problem.spec, batch_size), host_float64(state))
    loss = _batch_loss_given_inputs(problem.spec, batch_size)
    return Partial(loss, _train_set(problem)[0], host_float64(state))


def training_mode_loss(problem: Problem) -> Partial:
    """(params, state, (x, y)) -> mean cross-entropy of a minibatch in training mode, next state."""
    return Partial(_training_mode_loss(problem.spec))


def evaluation_mode_loss(problem: Problem) -> Partial:
    """(params, state) -> L, the mean cross-entropy over clean S, as `train_loss` of that state.

    With batch_norm = "batch" the outputs are of training mode on S, and the state changes nothing.
    """
    loss = _evaluation_mode_loss(problem.spec, problem.batch_size, problem.batch_norm)
    return Partial(loss, *_train_set(problem))


@functools.cache
def _training_mode_loss(spec: Spec) -> Callable:
    """One object a spec, so compiled once."""

    def loss(params, state, batch):
        logits, state = spec.train_apply(params, state, batch[0])
        return _mean_cross_entropy(batch[1], logits), state

    return loss


@functools.cache
def _evaluation_mode_loss(spec: Spec, batch_size: int | None, batch_norm: str) -> Callable:
    network = outputs(spec, batch_size, batch_norm)
    return lambda x, y, params, state: _mean_cross_entropy(y, network(x, state, params))


@functools.cache
def _batch_loss(spec: Spec, batch_size: int | None) -> Callable:
    """(state, params, (x, y)) -> mean cross-entropy; one object a spec, so compiled once."""
    network = outputs(spec, batch_size)
    return lambda state, params, batch: _mean_cross_entropy(
        batch[1], network(batch[0], state, params)
    )


@functools.cache
def _batch_loss_given_inputs(spec: Spec, batch_size: int | None) -> Callable:
    """The same with the statistics of all inputs, whose place is before the state."""
    loss = _batch_loss(spec, batch_size)
    return lambda inputs, state, params, batch: loss(
        batch_state(spec, params, state, inputs), params, batch
    )


@functools.cache
def outputs(spec: Spec, batch_size: int | None = None, batch_norm: str = "running") -> Callable:
    """(x, state, params) -> logits; one object a spec and setting, so compiled once.

    "running": in inference mode, `batch_size` inputs at a time. "batch": in training mode, x as
    one batch.
    """
    if batch_norm == "batch":
        return lambda x, state, params: spec.train_apply(params, state, x)[0]
    return lambda x, state, params: apply_in_batches(spec, params, x, state, batch_size)


@functools.cache
def _losses(spec: Spec, batch_norm: str, loss: str) -> Callable:
    network, each = outputs(spec, batch_norm=batch_norm), LOSSES[loss]
    return lambda x, y, state, params: each(y, network(x, state, params))


def _cross_entropy(y: jax.Array, logits: jax.Array) -> jax.Array:
    return cross_entropy(logits, y)


def _mean_cross_entropy(y: jax.Array, logits: jax.Array) -> jax.Array:
    return cross_entropy(logits, y).mean()


def _squares(y: jax.Array, outputs: jax.Array) -> jax.Array:
    return (outputs - y) ** 2


def _mean_square(y: jax.Array, outputs: jax.Array) -> jax.Array:
    return _squares(y, outputs).mean()


LOSSES = {"cross_entropy": _cross_entropy, "squared": _squares}
"""Of each example, by `Problem.loss`: of labels ±1, of real targets."""
_MEANS = {"cross_entropy": _mean_cross_entropy, "squared": _mean_square}


def _train_set(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    y = problem.train_y if problem.classes else problem.train_y.astype(np.float64)
    return float64_inputs(problem.train_x), y
