"""Box sharpness (def. 2.1): the largest loss in the box of eq. 7 that several searches find."""

from contextlib import nullcontext
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree
from jaxtyping import Bool, Float, Int

from flatvol_jax.flatness._composed import LossFunction
from flatvol_jax.flatness.objective import Loss, checked_ensemble, checked_objective
from flatvol_jax.flatness.worst_case import METHODS, expansion, linear_search, worst_case
from flatvol_jax.runtime import checks
from flatvol_jax.runtime.convolutions import fast_convolutions
from flatvol_jax.runtime.precision import float64_scope, to_host
from flatvol_jax.runtime.printing import prints_its_fields
from flatvol_jax.runtime.spread import spread, usable_devices


@prints_its_fields
class Sharpness(NamedTuple):
    """Sharpness of one network; value and its parts in units of 100 / (1 + L(w)).

    Attributes:
        value: 100 (max L(w') - L(w)) / (1 + L(w)), the best found: a lower bound.
        max_loss: the full-batch loss at the maximiser.
        loss: L(w).
        first_order: g·δ of the maximiser w + δ.
        second_order: ½ δ'Hδ.
        remainder: value - first_order - second_order.
        converged: whether the search that found it had stopped rising.
        on_face: share of the coordinates that lie on the box's face.
        history: the running maximum of the loss over its evaluations.
        gradients: gradient evaluations (a Hessian product counts as two).
    """

    value: float | Float[np.ndarray, " m"]
    max_loss: float | Float[np.ndarray, " m"]
    loss: float | Float[np.ndarray, " m"]
    first_order: float | Float[np.ndarray, " m"]
    second_order: float | Float[np.ndarray, " m"]
    remainder: float | Float[np.ndarray, " m"]
    converged: bool | Bool[np.ndarray, " m"]
    on_face: float | Float[np.ndarray, " m"]
    history: Float[np.ndarray, "*m evaluations"]
    gradients: int | Int[np.ndarray, " m"]


def box_half_widths(params: Any, epsilon: Float[Array, ""] | float) -> Float[Array, " P"]:
    """Return ε (|w_i| + 1) of each coordinate, (P,) (eq. 7)."""
    return epsilon * (jnp.abs(ravel_pytree(params)[0]) + 1.0)


def checked_divisor(loss: np.ndarray | float) -> np.ndarray | float:
    """Return 1 + L(w), which def. 2.1 divides by; it must be above 0."""
    if not np.all(1.0 + loss > 0):
        raise ValueError(
            f"loss: got {np.min(loss):.3g} at params, wanted more than -1: sharpness divides by "
            "1 + L(w) (def. 2.1)."
        )
    return 1.0 + loss


@float64_scope
def sharpness(
    loss: LossFunction,
    params: Any,
    epsilon: float,
    method: str = "best",
    key: Array | None = None,
) -> Sharpness:
    """Return the box sharpness of a loss at w (def. 2.1), the best found.

        100 (max L(w') - L(w)) / (1 + L(w)) over |w'_i - w_i| ≤ ε (|w_i| + 1) (eq. 7).

    The maximum is not convex; the value is the best found. "sign" iterates
    δ <- box · sign(∇L(w + δ)) from five corners, "lbfgsb" climbs with scipy's L-BFGS-B from
    three points, "best" climbs with it from the best corner: at most 60 gradients
    (worst_case.py).

    Args:
        loss: full-batch mean loss, params -> scalar. The program is compiled once for each
            function object; to share it between data sets bind them with
            `jax.tree_util.Partial(function, x, y)`.
        params: pytree of parameters w.
        epsilon: relative half-width of the box.
        method: "best", "lbfgsb" or "sign".
        key: for the random corners; `jax.random.key(0)` when left out.

    Raises:
        ValueError: a loss that is not a finite scalar, no parameters, ε ≤ 0, unknown method.

    Reference: Keskar et al. 2016, metric 2.1, for the box.
    """
    checks.one_of("method", method, METHODS)
    epsilon = checks.positive("epsilon", epsilon)
    objective = checked_objective(loss, params)
    key = jax.random.key(0) if key is None else checks.random_key("key", key)
    box = box_half_widths(objective.params, epsilon)
    found = worst_case(key, objective, box, method=method)
    parts = expansion(objective.loss, objective.params, box, found.delta)
    return Sharpness(
        **_parts(objective.value, to_host(parts), float),
        converged=found.converged,
        history=found.history,
        gradients=found.gradients,
    )


@float64_scope
def ensemble_sharpness(
    loss: LossFunction,
    params: Any,
    epsilon: float,
    key: Array | None = None,
    batch_size: int | None = None,
) -> Sharpness:
    """Return the sharpness of many networks at once by sign iteration, one vmapped program.

    Each member has the value of `sharpness(..., method="sign")` with the same key, to rounding.
    Batches of members are dealt out to the local devices, how many there are changes no bit; a
    loss whose data lie on several devices takes one batch after another on all of them.

    Args:
        loss: full-batch mean loss of one network, params -> scalar.
        params: pytree of parameters with one leading axis, that of the members.
        epsilon: relative half-width of the box.
        key: for the random corners, the same for all members.
        batch_size: members at a time on a device, the last batch filled up; all of them, on one
            device, when left out. Changes rounding.

    Returns:
        Sharpness whose entries have the members as leading axis.

    Raises:
        ValueError: as `sharpness`, and leading axes that differ.
    """
    epsilon = checks.positive("epsilon", epsilon)
    checked, params = checked_ensemble(loss, params)
    key = jax.random.key(0) if key is None else checks.random_key("key", key)
    params = to_host(params)  # each batch goes to the device that takes it
    members = len(jax.tree.leaves(params)[0])
    size = members if batch_size is None else checks.count("batch_size", batch_size)
    batches = np.minimum(np.arange(-(-members // size) * size), members - 1).reshape(-1, size)

    @float64_scope  # a thread has a setting of its own
    def measure(place):
        batch = jax.tree.map(lambda leaf: leaf[batches[place]], params)
        return {place: to_host(_ensemble(key, checked, batch, epsilon))}

    measured: dict[int, Any] = {}
    tasks = [partial(measure, place) for place in range(len(batches))]
    with jax.default_device(usable_devices()[0]) if _spans_devices(checked) else nullcontext():
        spread(tasks, measured.update)
    found, parts, start = jax.tree.map(
        lambda *leaves: np.concatenate(leaves)[:members], *(measured[i] for i in sorted(measured))
    )
    return Sharpness(
        **_parts(start, parts, np.asarray),
        converged=found.settled & found.defined,
        history=found.history,
        gradients=found.gradients,
    )


def _spans_devices(loss: Loss) -> bool:
    """Tell whether data bound to the loss lie on several devices.

    Programs side by side would then deadlock.
    """
    arrays = (leaf for leaf in jax.tree.leaves(loss) if isinstance(leaf, jax.Array))
    return any(len(array.devices()) > 1 for array in arrays)


@jax.jit
@fast_convolutions
def _ensemble(key, loss, params, epsilon):
    def measure(member):
        box = box_half_widths(member, epsilon)
        found = linear_search(key, loss, member, box, "inf")
        return found, expansion(loss, member, box, found.delta), loss(member)

    return jax.vmap(measure)(params)


def _parts(start, parts, number) -> dict[str, Any]:
    """Return value and Taylor parts in units of 100 / (1 + L(w))."""
    unit = 100.0 / checked_divisor(start)
    value, first, second = (
        unit * part for part in (parts.value - start, parts.first_order, parts.second_order)
    )
    return {
        "value": number(value),
        "max_loss": number(parts.value),
        "loss": number(start),
        "first_order": number(first),
        "second_order": number(second),
        "remainder": number(value - first - second),
        "on_face": number(parts.on_face),
    }
