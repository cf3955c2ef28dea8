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
    FLOOR,
    ROUGH_FLOOR,
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

_ROUGH_TOLERANCE = 1e-2  # nats, on the residual of updates of few digits
_USEFUL = 10.0  # nats, the residual up to which they have found a better start
_PATIENCE = 2  # of them in a row that do not halve the residual: it is their rounding


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
    rough_marginals: Callable[[Sites], Marginals] | None = None,
) -> EP:
    """Return EP's fixed point for any algebra on the host.

    Where there are rough marginals the first updates are made of them, until the residual is
    `_ROUGH_TOLERANCE` or is no longer halved; the result is that of the others, which go on from
    there, or begin anew where the rough ones lead nowhere.

    Args:
        prior_variance: of each output, (n,).
        marginals: sites signed by the labels -> what they make of the prior, in the coordinates
            of z; NaN where it has no factor.
        labels: y, (n,) float64, ±1.
        start: cavities to start from.
        tolerance: nats, on the residual.
        max_iterations: of the algebra's calls.
        rough_marginals: the same of fewer digits, for less.
    """
    before = 0
    if rough_marginals is not None:
        rough = _rough_ep(prior_variance, rough_marginals, labels, start, max_iterations - 1)
        before = int(rough.iterations)
        if rough.residual <= _USEFUL:
            start = rough.cavities
    state, continues = _initial_iterate(labels, start)
    while continues:
        sites = _cavity_sites(prior_variance, state, FLOOR)
        found = marginals(sites)
        state, continues = _next_iterate(
            prior_variance, labels, state, sites, found, tolerance, max_iterations - before
        )
    result = ep_result(labels, state, tolerance)
    return result._replace(iterations=result.iterations + before)


def _rough_ep(
    prior_variance: Float[np.ndarray, " n"],
    rough_marginals: Callable[[Sites], Marginals],
    labels: Float[np.ndarray, " n"],
    start: Cavities,
    max_iterations: int,
) -> EP:
    """Return EP by marginals of few digits, as near its fixed point as they lead."""
    state, _ = _initial_iterate(labels, start)
    continues, since = max_iterations > 0, 0
    while continues and since < _PATIENCE:
        before = float(state.sweep.residual)
        sites = _cavity_sites(prior_variance, state, ROUGH_FLOOR)
        found = rough_marginals(sites)
        state, continues = _next_iterate(
            prior_variance, labels, state, sites, found, _ROUGH_TOLERANCE, max_iterations
        )
        since = 0 if float(state.sweep.residual) < 0.5 * before else since + 1
    return ep_result(labels, state, _ROUGH_TOLERANCE)


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


@partial(jax.jit, static_argnames="floor")
def _cavity_sites(prior_variance, state: Iterate, floor: float) -> Sites:
    return cavity_sites(prior_variance, state, floor)


@partial(jax.jit, static_argnames="max_iterations")
def _next_iterate(
    prior_variance, labels, state, sites, marginals, tolerance, max_iterations: int
) -> tuple[Iterate, jax.Array]:
    state = next_iterate(prior_variance, labels, state, sites, marginals)
    return state, needs_update(state, tolerance, max_iterations)
