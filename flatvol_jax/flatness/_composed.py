"""A loss as outer(inner(params)), from which the Gauss-Newton matrix is computed."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree
from jax.tree_util import Partial
from jaxtyping import Float

from flatvol_jax.runtime.printing import prints_its_fields


@prints_its_fields
class Composed(NamedTuple):
    """L(w) = outer(inner(w)), called like any other loss; made by `composed`.

    Attributes:
        outer: outputs -> mean loss, a scalar, convex in the outputs.
        inner: params -> outputs of the network, (n,) or (n, outputs).
    """

    outer: Partial
    inner: Partial

    def __call__(self, params: Any) -> Array:
        """Return the mean loss at params."""
        return self.outer(self.inner(params))


LossFunction = Callable[[Any], Array] | Composed
"""A loss: any function params -> scalar, or `composed(outer, inner)`."""


def composed(outer: Callable[[Array], Array], inner: Callable[[Any], Array]) -> Composed:
    """Compose a mean loss of the outputs with the network that makes them.

    Data bound by `jax.tree_util.Partial` are arguments of the compiled program, as for any loss.
    """
    return Composed(*(f if isinstance(f, Partial) else Partial(f) for f in (outer, inner)))


def gauss_newton_product(
    loss: Any, params: Any
) -> tuple[Callable[[Float[Array, " P"]], Float[Array, " P"]], int]:
    """Return v -> J' (∇² outer) J v and P of a `Composed` loss, J that of the outputs; traceable.

    H = J' (∇² outer) J + Σ_n (∂ outer / ∂ output_n) ∇² output_n: the second part is left out. For
    a network that is piecewise linear in the weights of each layer it has a zero diagonal, so
    that both matrices have one trace.

    Reference: Schraudolph 2002; Martens 2010.
    """
    vector, unravel = ravel_pytree(params)

    def outputs(point):
        return jnp.asarray(loss.inner(unravel(point)), vector.dtype)

    value, forward = jax.linearize(outputs, vector)
    backward = jax.linear_transpose(forward, vector)
    _, curvature = jax.linearize(jax.grad(loss.outer), value)
    return lambda v: backward(curvature(forward(v)))[0], vector.size
