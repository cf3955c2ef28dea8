"""Lanczos tridiagonalisation with full reorthogonalisation, which can be continued.

matfree's costs four times as much at 33,081 parameters and depth 150 (its basis is copied at
every step) and cannot be continued where it stopped; benchmarks/flatness.py.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

_BREAKDOWN = 1e-13  # of the largest coefficient so far: the Krylov space is exhausted


class Tridiagonal(NamedTuple):
    """H Q' = Q' T + β_m q_{m+1} e_m' after m steps.

    Attributes:
        basis: q_1 ... q_m as orthonormal rows, (m, P).
        diagonal: α_1 ... α_m.
        off_diagonal: β_1 ... β_m; β_m belongs to the next vector.
        next_vector: q_{m+1}, (P,).
    """

    basis: Array
    diagonal: Array
    off_diagonal: Array
    next_vector: Array


class Ritz(NamedTuple):
    """Approximate eigenpairs, algebraically descending; vectors are rows."""

    values: Array
    residuals: Array
    vectors: Array


def begin(key: Array, size: int) -> Tridiagonal:
    """Nothing but a random start vector of unit length."""
    vector = jax.random.normal(key, (size,), jnp.float64)
    none = jnp.zeros(0)
    return Tridiagonal(jnp.zeros((0, size)), none, none, vector / jnp.linalg.norm(vector))


def extend(
    key: Array, product: Callable[[Array], Array], state: Tridiagonal, depth: int
) -> Tridiagonal:
    """Continue to `depth` steps. Each new vector is orthogonalised twice against all others.

    Where the Krylov space is exhausted (an invariant subspace, a repeated eigenvalue), β is 0
    and the search goes on from a random vector orthogonal to what was found.
    """
    done, size = state.basis.shape
    grow = (0, depth - done)
    first = Tridiagonal(
        jnp.pad(state.basis, (grow, (0, 0))),
        jnp.pad(state.diagonal, grow),
        jnp.pad(state.off_diagonal, grow),
        state.next_vector,
    )

    def step(i, s):
        basis = s.basis.at[i].set(s.next_vector)
        image = product(s.next_vector)
        alpha = s.next_vector @ image
        image = _orthogonalise(_orthogonalise(image, basis), basis)
        beta = jnp.linalg.norm(image)
        scale = jnp.max(jnp.abs(s.diagonal)) + jnp.abs(alpha) + jnp.max(s.off_diagonal)

        def fresh():
            vector = jax.random.normal(jax.random.fold_in(key, i), (size,), image.dtype)
            vector = _orthogonalise(_orthogonalise(vector, basis), basis)
            return jnp.zeros_like(beta), vector / jnp.linalg.norm(vector)

        exhausted = beta <= _BREAKDOWN * scale
        beta, vector = jax.lax.cond(exhausted, fresh, lambda: (beta, image / beta))
        return Tridiagonal(
            basis, s.diagonal.at[i].set(alpha), s.off_diagonal.at[i].set(beta), vector
        )

    return jax.lax.fori_loop(done, depth, step, first)


def _orthogonalise(vector: Array, basis: Array) -> Array:
    return vector - (basis @ vector) @ basis


def ritz_pairs(state: Tridiagonal) -> Ritz:
    """Eigenpairs of T, lifted; ‖Hv - λv‖ = β_m |last component| in exact arithmetic."""
    off = state.off_diagonal[:-1]
    matrix = jnp.diag(state.diagonal) + jnp.diag(off, 1) + jnp.diag(off, -1)
    values, rotation = jnp.linalg.eigh(matrix)
    residuals = state.off_diagonal[-1] * jnp.abs(rotation[-1])
    return Ritz(values[::-1], residuals[::-1], rotation[:, ::-1].T @ state.basis)
