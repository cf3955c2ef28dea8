"""The paper's own procedure for sharpness: projected SGD ascent (appendix B, table 1)."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree
from jax.tree_util import Partial

from flatvol_jax.flatness.examples import checked_examples, number_of_examples
from flatvol_jax.flatness.objective import checked_loss, checked_objective
from flatvol_jax.flatness.sharpness import box_half_widths, checked_divisor
from flatvol_jax.flatness.worst_case import expansion
from flatvol_jax.runtime import checks
from flatvol_jax.runtime.precision import float64_scope, to_host

_SETTLED = 0.01


class SgdSharpness(NamedTuple):
    """What the procedure reads, and what the loss really is where it ends.

    Attributes:
        value: 100 (max over epochs of the running loss - L(w)) / (1 + L(w)). The running loss
            is the mean over an epoch of each minibatch's loss just after the step on it, so
            the value can lie above the true maximum over the box.
        max_loss: that running loss.
        loss: L(w), full batch.
        full_batch_value: the same with the full-batch loss at the last point w + δ: a lower bound.
        first_order: g·δ of that point, in units of 100 / (1 + L(w)) like the values.
        second_order: ½ δ'Hδ.
        remainder: full_batch_value - first_order - second_order.
        on_face: share of its coordinates that lie on the box's face.
        converged: whether the running maximum rose by less than 1% in the last tenth.
        trace: the running maximum after each epoch, (epochs,) (fig. S4).
        epoch_losses: the running loss of each epoch, (epochs,).
    """

    value: float
    max_loss: float
    loss: float
    full_batch_value: float
    first_order: float
    second_order: float
    remainder: float
    on_face: float
    converged: bool
    trace: np.ndarray
    epoch_losses: np.ndarray


@float64_scope
def sgd_sharpness(
    key: Array,
    loss: Callable[[Any, Any], Array],
    params: Any,
    data: Any,
    epsilon: float,
    batch_size: int,
    learning_rate: float,
    epochs: int,
) -> SgdSharpness:
    """Sharpness by SGD ascent on the summed minibatch loss, clipped to the box (table 1).

    w' <- clip(w' + learning_rate Σ_batch ∇l, w ± ε (|w| + 1)); each epoch visits all data in
    a fresh order, the last batch takes what is left.

    Args:
        key: for the order of the minibatches.
        loss: (params, batch) -> mean loss of the batch.
        params: pytree of parameters w.
        data: pytree of arrays with one leading axis, of length n.
        epsilon: relative half-width of the box.
        batch_size: examples a step, at most n.
        learning_rate: of the summed loss.
        epochs: passes over the data.

    Raises:
        ValueError: a loss that is not a finite scalar, sizes that do not fit, ε ≤ 0.
    """
    key = checks.random_key("key", key)
    epsilon = checks.positive("epsilon", epsilon)
    learning_rate = checks.positive("learning_rate", learning_rate)
    epochs = checks.count("epochs", epochs)
    batch_size = checks.count("batch_size", batch_size)
    number_of_examples(data, batch_size)
    loss, data = checked_loss(loss), checked_examples(data)
    objective = checked_objective(Partial(_full_batch, loss, data), params)
    box = box_half_widths(objective.params, epsilon)
    losses, delta = _ascend(
        key, loss, objective.params, data, epsilon, learning_rate, batch_size, epochs
    )
    losses = np.asarray(losses)
    trace = np.maximum.accumulate(losses)
    parts = to_host(expansion(objective.loss, objective.params, box, delta))
    tail = max(1, epochs // 10)
    earlier = trace[-tail - 1] if epochs > tail else objective.value
    rise = trace[-1] - objective.value
    unit = 100.0 / checked_divisor(objective.value)
    reached = unit * (parts.value - objective.value)
    first, second = unit * parts.first_order, unit * parts.second_order
    return SgdSharpness(
        value=float(unit * rise),
        max_loss=float(trace[-1]),
        loss=objective.value,
        full_batch_value=float(reached),
        first_order=float(first),
        second_order=float(second),
        remainder=float(reached - first - second),
        on_face=float(parts.on_face),
        converged=bool(trace[-1] - earlier <= _SETTLED * abs(rise)),
        trace=trace,
        epoch_losses=losses,
    )


def _full_batch(loss: Partial, data: Any, params: Any) -> Array:
    return loss(params, data)


@partial(jax.jit, static_argnames=("batch_size", "epochs"))
def _ascend(key, loss, params, data, epsilon, learning_rate, batch_size: int, epochs: int):
    """The running loss of each epoch, and how far the last point lies from params, (P,)."""
    size = len(jax.tree.leaves(data)[0])
    whole = size // batch_size
    _, unravel = ravel_pytree(params)
    box = unravel(box_half_widths(params, epsilon))

    def step(point, rows):
        batch = jax.tree.map(lambda leaf: leaf[rows], data)
        gradient = jax.grad(loss)(point, batch)
        rate = learning_rate * len(rows)  # the loss is a mean, the rate refers to the sum
        point = jax.tree.map(
            lambda p, g, w, half: jnp.clip(p + rate * g, w - half, w + half),
            point,
            gradient,
            params,
            box,
        )
        return point, loss(point, batch) * len(rows)

    def epoch(point, epoch_key):
        order = jax.random.permutation(epoch_key, size)
        point, sums = jax.lax.scan(
            step, point, order[: whole * batch_size].reshape(whole, batch_size)
        )
        total = jnp.sum(sums)
        if size % batch_size:
            point, last = step(point, order[whole * batch_size :])
            total = total + last
        return point, total / size

    end, losses = jax.lax.scan(epoch, params, jax.random.split(key, epochs))
    return losses, ravel_pytree(end)[0] - ravel_pytree(params)[0]
