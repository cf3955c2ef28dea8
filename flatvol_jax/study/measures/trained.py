"""A trained network of a study, and its loss on clean S as the flatness measures take it."""

import functools
from collections.abc import Callable, Mapping, Sequence
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
    wrong_labels,
)
from flatvol_jax.runtime.convolutions import fast_convolutions
from flatvol_jax.study.measures.problem import Problem

PARTS = ("train", "test", "second_test")


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
        """Return f on S+E1: +1 where the output is above 0, else -1; of C outputs the largest."""
        return output_labels(np.concatenate([self.train_output, self.test_output]))


_apply = jax.jit(fast_convolutions(apply_in_batches), static_argnums=(0, 4))


def network_outputs(
    problem: Problem, params: Any, state: Any, parts: Sequence[str] = PARTS
) -> dict[str, np.ndarray]:
    """Return logits on S, E1 and E2, (n,) or (n, C), each named by its part."""
    return {
        part: np.asarray(
            _apply(problem.spec, params, getattr(problem, f"{part}_x"), state, problem.batch_size)
        )
        for part in parts
    }


def error_columns(
    problem: Problem, outputs: Mapping[str, np.ndarray], halves: bool = False
) -> dict[str, float | None]:
    """Return the share of wrong labels on each part, and on E2's halves; None of an empty one."""
    wrong = {part: wrong_labels(outputs[part], getattr(problem, f"{part}_y")) for part in PARTS}
    for half in (1, 2) if halves else ():
        wrong[f"second_test.half_{half}"] = wrong["second_test"][half - 1 :: 2]
    return {
        f"measure.error.{part}": float(np.mean(errors)) if len(errors) else None
        for part, errors in wrong.items()
    }


def function_state(problem: Problem, params: Any, state: Any) -> Any:
    """Return the state that makes the network function of trained parameters.

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
    """Return L(params), the mean cross-entropy over clean S, float64, S as leaves, not constants.

    With batch_norm = "batch" the outputs are those of training mode on S, whose statistics move
    with the parameters; `state` then changes nothing.
    """
    x, y = _train_set(problem)
    network = _bound(_logits, problem.spec, problem.batch_size, problem.batch_norm)
    mean = _bound(_mean, LOSSES[problem.loss])
    return composed(Partial(mean, y), Partial(network, x, host_float64(state)))


def train_losses(problem: Problem, state: Any) -> Partial:
    """Return params -> the cross-entropy of each example of S, (m,); its mean is `train_loss`."""
    losses = _bound(_losses, LOSSES[problem.loss], problem.spec, problem.batch_norm)
    return Partial(losses, *_train_set(problem), host_float64(state))


def batch_loss(problem: Problem, state: Any, batch_size: int | None = None) -> Partial:
    """Return (params, (x, y)) -> mean cross-entropy of a minibatch, `batch_size` inputs at a time.

    With batch_norm = "batch" a step takes the statistics of all of S at its parameters, not those
    of the minibatch: the losses of the minibatches then have `train_loss` as their mean, at the
    price of a forward pass over S, and in a gradient a backward one.
    """
    inputs = None if problem.batch_norm == "running" else _train_set(problem)[0]
    return Partial(_bound(_batch_loss, problem.spec, batch_size), inputs, host_float64(state))


def training_mode_loss(problem: Problem) -> Partial:
    """Return (params, state, (x, y)) -> a minibatch's loss in training mode, and the next state."""
    return Partial(_bound(_training_mode_loss, problem.spec))


def evaluation_mode_loss(problem: Problem) -> Partial:
    """Return (params, state) -> L, the mean cross-entropy over S, as `train_loss` of that state."""
    network = _bound(_logits, problem.spec, problem.batch_size, problem.batch_norm)
    return Partial(_bound(_loss_of_state, network), *_train_set(problem))


def host_float64(tree: Any) -> Any:
    """Return NumPy leaves, floating ones float64, whatever the setting of x64 where it is used."""
    return jax.tree.map(lambda leaf: float64_inputs(np.asarray(leaf)), tree)


@functools.cache
def _bound(function: Callable, *static: Any) -> Callable:
    """Return the function with its first arguments bound: one object for them, compiled once."""
    return lambda *arguments: function(*static, *arguments)


def _logits(spec: Spec, batch_size: int | None, batch_norm: str, x, state, params) -> jax.Array:
    """Return logits in inference mode; with "batch" in training mode, x as one batch."""
    if batch_norm == "batch":
        return spec.train_apply(params, state, x)[0]
    return apply_in_batches(spec, params, x, state, batch_size)


def _losses(each: Callable, spec: Spec, batch_norm: str, x, y, state, params) -> jax.Array:
    return each(y, _logits(spec, None, batch_norm, x, state, params))


def _batch_loss(spec: Spec, batch_size: int | None, inputs, state, params, batch) -> jax.Array:
    """Return the loss of a batch with the statistics of `inputs`, where there are any."""
    if inputs is not None:
        state = batch_state(spec, params, state, inputs)
    logits = _logits(spec, batch_size, "running", batch[0], state, params)
    return _mean(_cross_entropy, batch[1], logits)


def _training_mode_loss(spec: Spec, params, state, batch) -> tuple[jax.Array, Any]:
    logits, state = spec.train_apply(params, state, batch[0])
    return _mean(_cross_entropy, batch[1], logits), state


def _loss_of_state(network: Callable, x, y, params, state) -> jax.Array:
    return _mean(_cross_entropy, y, network(x, state, params))


def _cross_entropy(y: jax.Array, logits: jax.Array) -> jax.Array:
    return cross_entropy(logits, y)


def _squares(y: jax.Array, outputs: jax.Array) -> jax.Array:
    return (outputs - y) ** 2


def _mean(each: Callable, y: jax.Array, outputs: jax.Array) -> jax.Array:
    return each(y, outputs).mean()


LOSSES = {"cross_entropy": _cross_entropy, "squared": _squares}
"""Of each example, by `Problem.loss`: of labels ±1, of real targets."""


def _train_set(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    y = problem.train_y if problem.classes else problem.train_y.astype(np.float64)
    return float64_inputs(problem.train_x), y
