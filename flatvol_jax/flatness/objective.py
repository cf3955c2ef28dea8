"""A loss and its parameters as a function of one float64 vector, the same for every measure."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree
from jax.tree_util import Partial
from jaxtyping import Float

from flatvol_jax.flatness._composed import Composed, LossFunction, gauss_newton_product
from flatvol_jax.flatness.loss_precision import check_float64
from flatvol_jax.runtime import checks
from flatvol_jax.runtime.faults import NumericalFault
from flatvol_jax.runtime.precision import to_float64

Loss = Partial | Composed
OPERATORS = ("hessian", "gauss_newton")


class Objective(NamedTuple):
    """A checked loss at a checked point.

    Attributes:
        loss: params -> scalar, as a `jax.tree_util.Partial` or a `Composed`: a function object is
            compiled for once, and arrays bound to it are arguments of the program, so that one
            program serves many data sets.
        params: float64.
        value: the loss at params, finite.
    """

    loss: Loss
    params: Any
    value: float


def checked_objective(loss: LossFunction, params: Any) -> Objective:
    """Check that `loss(params)` is a finite scalar, computed in float64; inside a float64 scope."""
    loss, params = checked_loss(loss), checked_params(params)
    check_scalar(loss, params)
    value = float(evaluate(loss, params))
    if not np.isfinite(value):
        raise NumericalFault(f"loss: got {value} at params, wanted a finite loss to start from.")
    return Objective(loss, params, value)


def check_scalar(loss: Loss, params: Any) -> None:
    """Check that `loss(params)` is one real scalar, computed in float64, without running it."""
    shape = checked_shape(evaluate, loss, params)
    if not (hasattr(shape, "shape") and shape.shape == ()):
        raise ValueError(f"loss: got {shape} from loss(params), wanted one scalar.")
    _check_real(shape)


def check_loss_and_state(loss: Partial, params: Any, state: Any, batch: Any) -> None:
    """Check that `loss(params, state, batch)` is a scalar and a state of the one given's form."""
    found = checked_shape(evaluate, Partial(_with_state, loss, state, batch), params)
    if not (isinstance(found, tuple) and len(found) == 2 and _shapes(found[1]) == _shapes(state)):
        raise ValueError(
            f"loss: got {checks.shown(found)} from loss(params, state, batch), wanted a pair of "
            "the mean loss and the state after it, arrays of the names and shapes of `state`."
        )
    check_scalar(Partial(_loss_alone, loss, state, batch), params)


def _with_state(loss: Partial, state: Any, batch: Any, params: Any) -> Any:
    return loss(params, state, batch)


def _loss_alone(loss: Partial, state: Any, batch: Any, params: Any) -> Any:
    return loss(params, state, batch)[0]


def _shapes(tree: Any) -> tuple:
    leaves, structure = jax.tree.flatten(tree)
    return structure, [jnp.shape(leaf) for leaf in leaves]


def checked_ensemble(loss: LossFunction, params: Any) -> tuple[Loss, Any]:
    """Check a loss and the parameters of many networks, as `checked_objective` checks one."""
    leaves = checks.leaves("params", params)
    lengths = {checks.concrete("params", leaf).shape[:1] for leaf in leaves}
    if len(lengths) != 1 or lengths == {()}:
        raise ValueError(
            f"params: got leading axes {sorted(lengths)}, wanted one common axis, the members."
        )
    loss, params = checked_loss(loss), checked_params(params)
    shape = checked_shape(_evaluate_each, loss, params)
    if not (hasattr(shape, "shape") and len(shape.shape) == 1):
        raise ValueError(f"loss: got {shape} from a member, wanted one scalar.")
    _check_real(shape)
    values = np.asarray(_evaluate_each(loss, params))
    if not np.isfinite(values).all():
        raise NumericalFault(
            f"loss: got {values[~np.isfinite(values)][0]} at member "
            f"{int(np.argmin(np.isfinite(values)))}, wanted finite losses to start from."
        )
    return loss, params


def checked_shape(
    jitted: Any,
    function: Any,
    params: Any,
    name: str = "loss",
    wanted: str = "one scalar",
    *static: Any,
) -> Any:
    """Return the shape of `jitted(function, params, *static)`, not run, all in float64.

    The trace is kept by JAX as that of a call is: once for each function object.
    """
    try:
        traced = jitted.trace(function, params, *static)
    except (TypeError, OverflowError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{name}: wanted {wanted} from {name}(params), got: {reason}") from error
    shape = jax.tree.map(lambda out: jax.ShapeDtypeStruct(out.shape, out.dtype), traced.out_info)
    check_float64(name, traced, params)
    return shape


def _check_real(shape: jax.ShapeDtypeStruct) -> None:
    if not jnp.issubdtype(shape.dtype, jnp.floating):
        raise ValueError(
            f"loss: got dtype {shape.dtype} from loss(params), wanted a floating one: other "
            "numbers have no gradient."
        )


def checked_loss(loss: Callable[..., Any] | Composed) -> Loss:
    """Check that the loss can be called, and make it a pytree."""
    if not callable(loss):
        raise ValueError(f"loss: got {type(loss).__name__}, wanted a function of params.")
    return loss if isinstance(loss, Loss) else Partial(loss)


def checked_params(params: Any) -> Any:
    """Check that there are parameters and that they are finite; float64."""
    arrays = [checks.finite("params", leaf) for leaf in checks.leaves("params", params)]
    if sum(array.size for array in arrays) == 0:
        raise ValueError("params: got no parameters, wanted a pytree of arrays.")
    leaves: list[Any]
    structure: Any
    leaves, structure = jax.tree.flatten(params)
    kept = [  # an array on a device stays where it is
        leaf if isinstance(leaf, jax.Array) else array
        for leaf, array in zip(leaves, arrays, strict=True)
    ]
    return to_float64(structure.unflatten(kept))


def checked_state(state: Any) -> Any:
    """Check that what moves beside the parameters is finite; float64, and empty where it is."""
    for leaf in checks.leaves("state", state):
        checks.finite("state", leaf)
    return to_float64(state)


@jax.jit
def evaluate(loss: Loss, params: Any) -> Array:
    """Return the loss at params."""
    return loss(params)


@jax.jit
def _evaluate_each(loss: Loss, params: Any) -> Array:
    return jax.vmap(lambda member: loss(member))(params)


def flat_loss(
    loss: Loss, params: Any
) -> tuple[Callable[[Float[Array, " P"]], Float[Array, ""]], Float[Array, " P"]]:
    """Return the loss as a function of a vector, and params as that vector; traceable."""
    vector, unravel = ravel_pytree(params)
    return lambda point: jnp.asarray(loss(unravel(point)), vector.dtype), vector


def hessian_product(
    loss: Loss, params: Any
) -> tuple[Callable[[Float[Array, " P"]], Float[Array, " P"]], int]:
    """Return v -> H v and P, forward over reverse; the gradient is linearised once."""
    function, vector = flat_loss(loss, params)
    _, product = jax.linearize(jax.grad(function), vector)
    return product, vector.size


def curvature_product(
    loss: Loss, params: Any, operator: str
) -> tuple[Callable[[Float[Array, " P"]], Float[Array, " P"]], int]:
    """Return v -> C v and P, C the Hessian or the Gauss-Newton matrix; traceable."""
    if operator == "hessian":
        return hessian_product(loss, params)
    return gauss_newton_product(loss, params)


def checked_operator(operator: str, loss: Any) -> str:
    """Check that the operator exists for this loss."""
    checks.one_of("operator", operator, OPERATORS)
    if operator == "gauss_newton" and not isinstance(loss, Composed):
        raise ValueError(
            "loss: got a function of params, wanted flatness.composed(outer, inner) for the "
            "Gauss-Newton matrix: it needs the outputs in between."
        )
    return operator
