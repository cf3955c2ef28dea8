"""The paper's own procedures for sharpness: projected SGD ascent (appendix B, table 1)."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree
from jax.tree_util import Partial
from jaxtyping import Float

from flatvol_jax.flatness._sharpness import box_half_widths, checked_divisor
from flatvol_jax.flatness.examples import checked_examples, number_of_examples
from flatvol_jax.flatness.objective import (
    Objective,
    check_loss_and_state,
    check_scalar,
    checked_loss,
    checked_objective,
    checked_params,
    checked_state,
)
from flatvol_jax.flatness.worst_case import expansion
from flatvol_jax.runtime import checks
from flatvol_jax.runtime.convolutions import fast_convolutions
from flatvol_jax.runtime.precision import float64_scope, to_host
from flatvol_jax.runtime.printing import prints_its_fields

READINGS = ("full", "minibatch")
"""What `sgd_sharpness` takes as `reading`."""
_SETTLED = 0.01


@prints_its_fields
class SgdSharpness(NamedTuple):
    """The sharpness that the procedure reads, and the full-batch loss where it ends.

    Attributes:
        value: 100 (max_loss - L(w)) / (1 + L(w)). With the full reading and no `center_loss` it
            is a lower bound of the sharpness of def. 2.1; the minibatch reading can lie above it.
        max_loss: the largest loss that was read.
        loss: L(w).
        full_batch_value: the same with L at the last point of the ascent in place of max_loss: a
            lower bound whatever is read.
        first_order: g·δ of that point, in units of 100 / (1 + L(w)) like the values.
        second_order: ½ δ'Hδ.
        remainder: full_batch_value - first_order - second_order.
        on_face: share of its coordinates that lie on the box's face.
        converged: whether the running maximum rose by less than 1% in the last tenth.
        history: the running maximum after each epoch, (epochs,) (fig. S4).
        epoch_losses: what was read in each epoch alone, (epochs,).
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
    history: Float[np.ndarray, " epochs"]
    epoch_losses: Float[np.ndarray, " epochs"]


@float64_scope
def sgd_sharpness(
    key: Array,
    loss: Callable[..., Any],
    params: Any,
    data: Any,
    epsilon: float,
    batch_size: int,
    learning_rate: float,
    epochs: int,
    reading: str = "full",
    center_loss: Callable[..., Array] | None = None,
    drop_incomplete: bool = False,
    state: Any = None,
) -> SgdSharpness:
    """Measure sharpness by SGD ascent on the mean minibatch loss, clipped to the box (table 1).

    w' <- clip(w' + learning_rate · ∇loss(w', batch), w ± ε (|w| + 1)) (eq. 7); each epoch visits
    the data in a fresh order. For fully connected networks (MNIST, CIFAR-10, Boolean) the paper's
    authors read the loss of all data after each step. This is the default here and most of the
    cost: a forward pass over all data a step.

    For the ResNet they read each minibatch after its own step, in training mode, and L(w) in
    evaluation mode. BatchNorm's running statistics are then entries of the state that the
    optimizer clips with the parameters. That is

        sgd_sharpness(key, loss, params, data, 1e-5, 128, 1.0, 100, reading="minibatch",
                      center_loss=evaluation_loss, drop_incomplete=True, state=statistics)

    where loss(params, state, batch) -> (mean loss, state after it) runs the network in training
    mode: s' <- clip(state after the forward pass on the batch at w', s ± ε (|s| + 1)). The reading
    leaves the state as it is. A network in training mode answers by the statistics of its batch,
    so the state moves nothing that is read; it moves `full_batch_value`.

    Args:
        key: for the order of the minibatches.
        loss: (params, batch) -> mean loss of the batch; with a state (params, state, batch) ->
            (mean loss of the batch, state after it).
        params: pytree of parameters w.
        data: pytree of arrays with one leading axis, of length n.
        epsilon: relative half-width of the box.
        batch_size: examples a step, at most n; the last batch of an epoch takes what is left.
        learning_rate: of the mean loss of a batch.
        epochs: passes over the data.
        reading: "full": the loss of all data after each step, the largest. "minibatch": each
            batch's loss after its own step, the mean over the examples of an epoch, the largest.
        center_loss: L, where it is another function than the ascent's: params -> scalar, with a
            state (params, state) -> scalar. Left out, it is `loss` of all data.
        drop_incomplete: whether to leave out the last batch of an epoch where it is short.
        state: pytree of what moves beside the parameters, s.

    Raises:
        ValueError: a loss that is not a finite scalar, or comes without the state after it; sizes
            that do not fit, ε ≤ 0, an unknown reading.
    """
    key = checks.random_key("key", key)
    epsilon = checks.positive("epsilon", epsilon)
    learning_rate = checks.positive("learning_rate", learning_rate)
    epochs, batch_size = checks.count("epochs", epochs), checks.count("batch_size", batch_size)
    reading = checks.one_of("reading", reading, READINGS)
    drop_incomplete = checks.boolean("drop_incomplete", drop_incomplete)
    number_of_examples(data, batch_size)
    data, params = checked_examples(data), checked_params(params)
    has_state, state = state is not None, checked_state({} if state is None else state)
    point = (params, state) if has_state else (params,)
    batch_loss: Any = checked_loss(loss)
    batch = jax.tree.map(lambda leaf: leaf[:batch_size], data)
    if has_state:
        check_loss_and_state(batch_loss, params, state, batch)
    elif center_loss is not None:
        check_scalar(Partial(_loss_of_all_data, batch_loss, batch), point)
    if center_loss is None:
        center = Partial(_loss_of_all_data, batch_loss, data)
    else:
        center = Partial(_at_point, checked_loss(center_loss))
    objective = checked_objective(center, point)
    losses, delta = _ascend(
        key,
        batch_loss,
        point,
        data,
        epsilon,
        learning_rate,
        batch_size,
        epochs,
        reading,
        drop_incomplete,
    )
    return _joined_result(objective, epsilon, np.asarray(losses), delta)


def _joined_result(
    objective: Objective,
    epsilon: float,
    losses: Float[np.ndarray, " epochs"],
    delta: Float[Array, " P"],
) -> SgdSharpness:
    """Join what was read in each epoch and what L is at the last point."""
    history = np.maximum.accumulate(losses)
    box = box_half_widths(objective.params, epsilon)
    parts = to_host(expansion(objective.loss, objective.params, box, delta))
    tail = max(1, len(losses) // 10)
    earlier = history[-tail - 1] if len(losses) > tail else objective.value
    rise = history[-1] - objective.value
    unit = 100.0 / checked_divisor(objective.value)
    reached = unit * (parts.value - objective.value)
    first, second = unit * parts.first_order, unit * parts.second_order
    return SgdSharpness(
        value=float(unit * rise),
        max_loss=float(history[-1]),
        loss=objective.value,
        full_batch_value=float(reached),
        first_order=float(first),
        second_order=float(second),
        remainder=float(reached - first - second),
        on_face=float(parts.on_face),
        converged=bool(history[-1] - earlier <= _SETTLED * abs(rise)),
        history=history,
        epoch_losses=losses,
    )


def _at_point(loss: Partial, point: tuple) -> Array:
    return loss(*point)


def _loss_of_all_data(loss: Partial, data: Any, point: tuple) -> Array:
    return _loss_and_state(loss, point, data)[0]


def _loss_and_state(loss: Partial, point: tuple, batch: Any) -> tuple[Array, tuple]:
    """Return the mean loss of a batch, and () or (the state after it,)."""
    if len(point) == 1:
        return loss(*point, batch), ()
    value, state = loss(*point, batch)
    return value, (state,)


_STATIC = ("batch_size", "epochs", "reading", "drop_incomplete")


@partial(jax.jit, static_argnames=_STATIC)
@fast_convolutions
def _ascend(
    key, loss, center, data, epsilon, learning_rate, batch_size, epochs, reading, drop_incomplete
):
    """Return the loss read in each epoch, and how far the last point lies from the center, (P,)."""
    size = len(jax.tree.leaves(data)[0])
    whole, rest = divmod(size, batch_size)
    if drop_incomplete:
        rest = 0
    used = whole * batch_size + rest
    flat_center, unravel = ravel_pytree(center)
    box = unravel(box_half_widths(center, epsilon))

    def step(point, rows):
        batch = jax.tree.map(lambda leaf: leaf[rows], data)
        params, *state = point
        gradient, moved = jax.grad(
            lambda p: _loss_and_state(loss, (p, *state), batch), has_aux=True
        )(params)
        climbed = jax.tree.map(lambda p, g: p + learning_rate * g, params, gradient)
        point = jax.tree.map(
            lambda p, w, half: jnp.clip(p.astype(w.dtype), w - half, w + half),
            (climbed, *moved),
            center,
            box,
        )
        if reading == "full":
            return point, _loss_of_all_data(loss, data, point)
        return point, _loss_and_state(loss, point, batch)[0] * (len(rows) / used)

    def epoch(point, epoch_key):
        order = jax.random.permutation(epoch_key, size)
        point, reads = jax.lax.scan(
            step, point, order[: whole * batch_size].reshape(whole, batch_size)
        )
        if rest:
            point, last = step(point, order[whole * batch_size :])
            reads = jnp.append(reads, last)
        return point, jnp.max(reads) if reading == "full" else jnp.sum(reads)

    end, losses = jax.lax.scan(epoch, center, jax.random.split(key, epochs))
    return losses, ravel_pytree(end)[0] - flat_center
