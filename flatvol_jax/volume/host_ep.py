"""Expectation propagation with LAPACK's factorisation and triangular inverse, for the CPU.

The updates are those of `ep`, compiled; between them NumPy arrays go to LAPACK. XLA's own Cholesky
and triangular solve take two to three times as long on a CPU: they turn rows into columns, and the
solve has a dense right-hand side.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.linalg.blas import dsymv, dtrmv
from scipy.linalg.lapack import dpotrf, dtrtri

from flatvol_jax.runtime.arrays import AnyArray
from flatvol_jax.volume.ep import (
    EP,
    Cavities,
    Iterate,
    Marginals,
    Sites,
    cavity_sites,
    ep_result,
    initial_iterate,
    needs_update,
    next_iterate,
)


def on_cpu(array: jax.Array) -> bool:
    """Return whether the array lies in the host's memory, where LAPACK can read it."""
    return all(device.platform == "cpu" for device in array.devices())


def expectation_propagation_on_host(
    kernel: Float[AnyArray, "n n"],
    labels: Float[np.ndarray, " n"],
    start: Cavities,
    tolerance: float,
    max_iterations: int,
) -> EP:
    """Return what `ep.expectation_propagation` returns, up to rounding; float64 in.

    An iteration costs n³/3 operations for the factor and n³/3 for its inverse, and holds two
    matrices beside K.
    """
    kernel, labels = np.asarray(kernel), np.asarray(labels, np.float64)
    return iterated_on_host(
        np.diagonal(kernel).copy(),
        partial(lapack_marginals, kernel, labels),
        labels,
        start,
        tolerance,
        max_iterations,
    )


def iterated_on_host(
    prior_variance: Float[np.ndarray, " n"],
    marginals: Callable[[Sites], Marginals],
    labels: Float[np.ndarray, " n"],
    start: Cavities,
    tolerance: float,
    max_iterations: int,
) -> EP:
    """Return EP's fixed point for any algebra on the host.

    Args:
        prior_variance: of each output, (n,).
        marginals: sites signed by the labels -> what they make of the prior, in the coordinates
            of z; NaN where it has no factor.
        labels: y, (n,) float64, ±1.
        start: cavities to start from.
        tolerance: nats, on the residual.
        max_iterations: of the algebra's calls.
    """
    state, continues = _initial_iterate(labels, start)
    while continues:
        sites = _cavity_sites(prior_variance, state)
        found = marginals(sites)
        state, continues = _next_iterate(
            prior_variance, labels, state, sites, found, tolerance, max_iterations
        )
    return ep_result(labels, state, tolerance)


def lapack_marginals(
    kernel: Float[np.ndarray, "n n"], labels: Float[np.ndarray, " n"], sites: Sites
) -> Marginals:
    """Return the mean of each output, d = diag(B^-1) and ½ log |B|, B = I + S^½ K S^½ = L L'.

    NaN where B has no factor, as of entries that are not finite.
    """
    precision, shift = (np.asarray(leaf) for leaf in sites)
    root, shift = labels * np.sqrt(precision), labels * shift
    scaled = kernel * root
    scaled *= root[:, None]
    scaled.flat[:: len(kernel) + 1] += 1.0
    # B is symmetric: its transpose has the columns that LAPACK works on, without a copy.
    factor, failed = dpotrf(scaled.T, lower=1, overwrite_a=1, clean=1)
    if failed:
        nothing = np.full_like(precision, np.nan)
        return Marginals(nothing, nothing, np.float64(np.nan))
    half_log_determinant = np.log(np.diagonal(factor)).sum()
    inverse, _ = dtrtri(factor, lower=1, overwrite_c=1)
    uncertainty = np.einsum("ij,ij->j", inverse, inverse)
    prior_mean = dsymv(1.0, kernel.T, shift)
    whitened = dtrmv(inverse, root * prior_mean, lower=1)
    weights = root * dtrmv(inverse, whitened, lower=1, trans=1)
    return Marginals(prior_mean - dsymv(1.0, kernel.T, weights), uncertainty, half_log_determinant)


@jax.jit
def _initial_iterate(labels, start: Cavities) -> tuple[Iterate, jax.Array]:
    return initial_iterate(labels, start), jnp.array(True)


@jax.jit
def _cavity_sites(prior_variance, state: Iterate) -> Sites:
    return cavity_sites(prior_variance, state)


@partial(jax.jit, static_argnames="max_iterations")
def _next_iterate(
    prior_variance, labels, state, sites, marginals, tolerance, max_iterations: int
) -> tuple[Iterate, jax.Array]:
    state = next_iterate(prior_variance, labels, state, sites, marginals)
    return state, needs_update(state, tolerance, max_iterations)
