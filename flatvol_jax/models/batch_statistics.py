"""The state in which every BatchNorm has the statistics of given inputs."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from flatvol_jax.models.evaluation_check import random_network
from flatvol_jax.models.inputs import KNOWN_SPECS
from flatvol_jax.models.spec import Params, Spec, State


def batch_state(spec: Spec, params: Params, state: State, x: Array | np.ndarray) -> State:
    """Return the state in which every BatchNorm has the mean and variance of x under params.

    A training step moves a statistic r to T(r) = m r + (1 - m) b, b that of the batch and m the
    momentum of its layer. So b = T(0) / (1 - T'(0)), whatever the momenta are. As in training, b
    is taken layer after layer, each behind layers that are normalised by x itself, so that

        spec.apply(params, x, batch_state(spec, params, state, x))

    are the outputs of `spec.train_apply` on x, and on any other input spec.apply(params, ., that
    state) is a function of the input and the parameters alone. It differentiates, through the
    statistics, with respect to params.

    One forward pass; x is one batch, so memory holds a layer's activations on all of it, and those
    of all layers where it is differentiated.

    Args:
        spec: the network.
        params: its parameters.
        state: any state of it, for the structure; running statistics alone.
        x: (m, ...) inputs.

    Returns:
        A state of the same structure, to the rounding of 1 - m; as it came where it is empty.

    Raises:
        ValueError: an array in the state that is no running statistic, or that training does not
            move (m = 1). Where this is traced only dtypes are known, and such an array is NaN.

    Reference: Ioffe and Szegedy 2015, algorithm 1.
    """
    leaves = jax.tree_util.tree_leaves_with_path(state)
    for path, leaf in leaves:
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            raise ValueError(_message(path, f"dtype {jnp.result_type(leaf)}"))
    if not leaves:
        return state
    moved, momentum = _moved_and_momentum(spec, params, state, x)
    _check_momentum(momentum)
    return jax.tree.map(lambda moved, m: moved / (1 - m), moved, momentum)


def check_running_statistics(spec: Spec, x: np.ndarray) -> None:
    """Raise what `batch_state` raises, for a call that traces it: there the numbers are not known.

    Args:
        spec: the network.
        x: (n, ...) inputs; four of them are asked, with random parameters.
    """
    if type(spec) in KNOWN_SPECS or not len(x):
        return
    with jax.enable_x64(False):
        params, state = random_network(spec, x.shape[1:], np.float32)
        if not jax.tree.leaves(state):
            return
        jax.eval_shape(lambda: batch_state(spec, params, state, x[:4]))  # names dtypes
        program = jax.jit(_moved_and_momentum, static_argnums=0)
        at_zero, momentum = program(spec, params, state, x[:4])
        _check_momentum(momentum)
        ones = jax.tree.map(np.ones_like, state)
        at_one = jax.jit(spec.train_apply)(params, ones, x[:4])[1]
        _check_derivative(at_zero, at_one, momentum)


def _moved_and_momentum(spec: Spec, params: Params, state: State, x: Any) -> tuple[State, State]:
    """Return T(0) and T'(0) of a training step T."""
    return jax.jvp(
        lambda state: spec.train_apply(params, state, x)[1],
        (jax.tree.map(jnp.zeros_like, state),),
        (jax.tree.map(jnp.ones_like, state),),
    )


def _check_derivative(at_zero: State, at_one: State, momentum: State) -> None:
    """Check that T is affine in the state, T(1) - T(0) = T'(0), unhidden by a stop_gradient."""
    leaves = jax.tree_util.tree_leaves_with_path(at_zero)
    others = jax.tree.leaves(at_one), jax.tree.leaves(momentum)
    for (path, zero), one, slope in zip(leaves, *others, strict=True):
        rounding = 1e-4 * (1 + np.abs(zero) + np.abs(one))
        if np.any(np.abs(one - zero - slope) > rounding):
            raise ValueError(
                _message(path, "an array whose derivative is not its change (a stop_gradient?)")
            )


def _check_momentum(momentum: State) -> None:
    for path, leaf in jax.tree_util.tree_leaves_with_path(momentum):
        if not isinstance(leaf, jax.core.Tracer) and np.any(np.asarray(leaf) == 1):
            raise ValueError(_message(path, "an array that training does not move"))


def _message(path, got: str) -> str:
    return (
        f"state{jax.tree_util.keystr(path)}: got {got}, wanted a running statistic of a BatchNorm "
        "with momentum below 1. Write constants into the module's code."
    )
