"""Lanczos tridiagonalisation with full reorthogonalisation, which can be continued.

matfree's costs four times as much at 33,081 parameters and depth 150 (its basis is copied at
every step) and cannot be continued where it stopped; benchmarks/flatness.py.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

_BREAKDOWN = 1e-13  # of the largest coefficient so far: the Krylov space is exhausted


class Tridiagonal(NamedTuple):
    """H Q' = Q' T + β_m q_{m+1} e_m' after m steps.

    Attributes:
        basis: q_1 ... q_m as orthonormal rows, (m, P).
        diagonal: α_1 ... α_m.
        off_diagonal: β_1 ... β_m; β_m belongs to the next vector.
        next_vector: q_{m+1}, (P,).
    """

    basis: Float[Array, "m P"]
    diagonal: Float[Array, " m"]
    off_diagonal: Float[Array, " m"]
    next_vector: Float[Array, " P"]


class Ritz(NamedTuple):
    """Approximate eigenpairs, algebraically descending; vectors are rows."""

    values: Float[Array, " m"]
    residuals: Float[Array, " m"]
    vectors: Float[Array, "m P"]


def begin(key: Array, size: int) -> Tridiagonal:
    """Return a state without steps: a random start vector of unit length."""
    vector = jax.random.normal(key, (size,), jnp.float64)
    none = jnp.zeros(0)
    return Tridiagonal(jnp.zeros((0, size)), none, none, vector / jnp.linalg.norm(vector))


def extend(
    key: Array, product: Callable[[Array], Array], state: Tridiagonal, depth: int
) -> Tridiagonal:
    """Continue to `depth` steps, each new vector orthogonalised against all others.

    A second pass follows where the first one took more than half of the vector away (Daniel et
    al. 1976). Where the Krylov space is exhausted (an invariant subspace, a repeated eigenvalue),
    β is 0 and the search goes on from a random vector orthogonal to what was found.
    """
    done, size = state.basis.shape
    rows = max(32, -(-depth // 8))  # a slab of the basis; slabs that are still empty are not read
    blank = jnp.zeros((depth - done, size), state.next_vector.dtype)
    basis = jnp.concatenate([state.basis, blank])
    slabs = tuple(basis[first : first + rows] for first in range(0, depth, rows))
    grow = (0, depth - done)

    def step(i, carry):
        slabs, diagonal, off_diagonal, vector, behind = carry
        slabs = tuple(
            slab.at[jnp.where(i >= c * rows, i - c * rows, rows)].set(vector, mode="drop")
            for c, slab in enumerate(slabs)
        )

        def orthogonalise(image):
            for c, slab in enumerate(slabs):
                image = jax.lax.cond(
                    i >= c * rows, lambda v, s: v - (s @ v) @ s, lambda v, s: v, image, slab
                )
            return image

        image = product(vector) - behind
        alpha = vector @ image
        image = image - alpha * vector
        before = jnp.linalg.norm(image)
        image = orthogonalise(image)
        lost = jnp.linalg.norm(image) < 0.5 * before
        image = jax.lax.cond(lost, orthogonalise, lambda v: v, image)
        beta = jnp.linalg.norm(image)
        scale = jnp.max(jnp.abs(diagonal)) + jnp.abs(alpha) + jnp.max(off_diagonal)

        def fresh():
            vector = jax.random.normal(jax.random.fold_in(key, i), (size,), image.dtype)
            vector = orthogonalise(orthogonalise(vector))
            return jnp.zeros_like(beta), vector / jnp.linalg.norm(vector)

        exhausted = beta <= _BREAKDOWN * scale
        beta, ahead = jax.lax.cond(exhausted, fresh, lambda: (beta, image / beta))
        diagonal, off_diagonal = diagonal.at[i].set(alpha), off_diagonal.at[i].set(beta)
        return slabs, diagonal, off_diagonal, ahead, beta * vector

    behind = state.off_diagonal[-1] * state.basis[-1] if done else jnp.zeros_like(state.next_vector)
    carry = (slabs, jnp.pad(state.diagonal, grow), jnp.pad(state.off_diagonal, grow))
    slabs, diagonal, off_diagonal, vector, _ = jax.lax.fori_loop(
        done, depth, step, (*carry, state.next_vector, behind)
    )
    return Tridiagonal(jnp.concatenate(slabs), diagonal, off_diagonal, vector)


def tridiagonal_matrix(state: Tridiagonal) -> Float[Array, "m m"]:
    """Return T, (m, m)."""
    off = state.off_diagonal[:-1]
    return jnp.diag(state.diagonal) + jnp.diag(off, 1) + jnp.diag(off, -1)


def ritz_pairs(state: Tridiagonal) -> Ritz:
    """Return the eigenpairs of T, lifted; ‖Hv - λv‖ = β_m |last component| in exact arithmetic."""
    values, rotation = jnp.linalg.eigh(tridiagonal_matrix(state))
    residuals = state.off_diagonal[-1] * jnp.abs(rotation[-1])
    return Ritz(values[::-1], residuals[::-1], rotation[:, ::-1].T @ state.basis)
