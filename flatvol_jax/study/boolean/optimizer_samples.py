"""Which functions an optimizer finds: many seeds trained to zero error on a part of the inputs."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from flatvol_jax.models import Params, Spec, State, network_inputs
from flatvol_jax.runtime import checks
from flatvol_jax.training import TrainSettings, train_ensemble


class OptimizerSample(NamedTuple):
    """A sample of P_optimizer(f|S), a row a seed.

    Attributes:
        functions: labels ±1 on all inputs, (m, n) int8; 0 for a seed without zero error on S.
        zero_error: which seeds reached it, (m,) bool.
        epochs: epochs to zero error, or those that were spent without it, (m,).
    """

    functions: np.ndarray
    zero_error: np.ndarray
    epochs: np.ndarray


def optimizer_functions(
    keys: jax.Array,
    spec: Spec,
    x: np.ndarray,
    train_rows: np.ndarray,
    labels: np.ndarray,
    settings: TrainSettings,
    ensemble: int = 250,
    progress: Callable[[float], None] | None = None,
) -> OptimizerSample:
    """Train a network for each key on S to zero error and read its function off all inputs.

    The label of an input is +1 if and only if the output is above 0, at the first epoch with
    zero error on S. A seed is independent of the others, however they are batched.

    Args:
        keys: (m,) keys; each determines initialisation and minibatches of a network.
        spec: the network.
        x: (n, ...) inputs on which functions are defined, S among them.
        train_rows: the rows of x that are S, distinct.
        labels: ±1, a label for each of these rows.
        settings: optimizer, batches, loss, cap.
        ensemble: networks that are trained as one program, rounded up to a multiple of
            `settings.vmap_size`; changes no function.
        progress: called with the share that is done.

    Raises:
        ValueError: rows that are none of x or occur twice, labels that do not fit them.
    """
    x, rows = network_inputs(spec, "x", x), checks.concrete("train_rows", train_rows)
    labels = checks.finite("labels", labels)
    whole = rows.ndim == 1 and rows.dtype.kind in "iu"
    if not whole or len(np.unique(rows)) != len(rows) or not np.isin(rows, range(len(x))).all():
        raise ValueError(
            f"train_rows: got {rows.dtype} of shape {rows.shape}, wanted distinct whole numbers "
            f"from 0 to {len(x) - 1}: the rows of x to train on."
        )
    if labels.shape != rows.shape:
        raise ValueError(
            f"labels: got shape {labels.shape}, wanted {rows.shape}: a label for each row of S."
        )
    size = min(checks.count("ensemble", ensemble), len(keys))
    size = -(-size // settings.vmap_size) * settings.vmap_size
    use = np.ones((size, len(rows)), bool)
    functions, reached, epochs = [], [], []
    for first in range(0, len(keys), size):
        members = np.minimum(np.arange(first, first + size), len(keys) - 1)
        trained = train_ensemble(keys[members], spec, x[rows], labels, use, settings, len(rows))
        outputs = _outputs(spec, trained.params, trained.state, x)
        functions.append(np.where(outputs > 0, 1, -1).astype(np.int8))
        reached.append(trained.zero_error)
        epochs.append(trained.epochs)
        if progress is not None:
            progress(min(1.0, (first + size) / len(keys)))
    found, fits, lengths = (
        np.concatenate(parts)[: len(keys)] for parts in (functions, reached, epochs)
    )
    # Both the training program and the one that f is read from say so.
    fits &= (found[:, rows] == labels).all(axis=1)
    found[~fits] = 0
    return OptimizerSample(found, fits, lengths)


def _outputs(spec: Spec, params: Params, state: State, x: np.ndarray) -> np.ndarray:
    """Return outputs (m, n) of m networks, in the float32 of their training."""
    with jax.enable_x64(False):
        return np.asarray(_apply(spec)(params, state, x))


@functools.cache
def _apply(spec: Spec) -> Any:
    def one(params, state, x):
        return spec.apply(params, x, state)

    return jax.jit(jax.vmap(one, in_axes=(0, 0, None)))
