"""Anderson mixing of a fixed-point iteration x <- g(x), with a memory of fixed shape."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float

_REGULARISATION = 1e-14


class Memory(NamedTuple):
    """The last `m` differences of points and of residuals; empty slots are zero.

    Attributes:
        steps: x_k - x_{k-1}, shape (m, d).
        changes: r_k - r_{k-1} with r = g(x) - x, shape (m, d).
        point: x_k, shape (d,).
        residual: r_k, shape (d,).
    """

    steps: Float[Array, "m d"]
    changes: Float[Array, "m d"]
    point: Float[Array, " d"]
    residual: Float[Array, " d"]


def empty(size: int, point: Float[Array, " d"]) -> Memory:
    """Return a memory of `size` differences that has seen nothing."""
    slots = jnp.zeros((size, len(point)), point.dtype)
    return Memory(slots, slots, jnp.zeros_like(point), jnp.zeros_like(point))


def remember(
    memory: Memory,
    point: Float[Array, " d"],
    residual: Float[Array, " d"],
    first: Bool[Array, ""] | bool,
) -> Memory:
    """Add the newest point and residual, the oldest difference leaves; `first` has none yet."""
    step = jnp.where(first, 0.0, point - memory.point)
    change = jnp.where(first, 0.0, residual - memory.residual)
    return Memory(
        jnp.roll(memory.steps, 1, axis=0).at[0].set(step),
        jnp.roll(memory.changes, 1, axis=0).at[0].set(change),
        point,
        residual,
    )


def forget(memory: Memory) -> Memory:
    """Drop all differences from the memory, keeping its newest point and residual."""
    return memory._replace(
        steps=jnp.zeros_like(memory.steps), changes=jnp.zeros_like(memory.changes)
    )


def mix(memory: Memory, damping: Float[Array, ""] | float = 1.0) -> Float[Array, " d"]:
    """Return the next point, x + βr - γ'(ΔX + βΔR) with γ = argmin |r - γ'ΔR|.

    The normal equations are regularised at 1e-14 of their trace; with an empty memory the
    step is βr.

    Reference: Walker and Ni, SIAM J. Numer. Anal. 49 (2011), eq. 2.2.
    """
    gram = memory.changes @ memory.changes.T
    ridge = _REGULARISATION * jnp.trace(gram) + jnp.finfo(gram.dtype).tiny
    gram = gram + ridge * jnp.eye(len(gram), dtype=gram.dtype)
    weights = jnp.linalg.solve(gram, memory.changes @ memory.residual)
    moves = memory.steps + damping * memory.changes
    return memory.point + damping * memory.residual - weights @ moves
