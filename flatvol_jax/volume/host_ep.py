"""Expectation propagation with LAPACK's factorisation and triangular inverse, for the CPU.

The updates are those of `ep`, compiled; between them NumPy arrays go to LAPACK. XLA's own Cholesky
and triangular solve take two to three times as long on a CPU: they turn rows into columns, and the
solve has a dense right-hand side. Where factorisations are what costs, the points are Newton's
(`host_newton`), which halves their number.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

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
from flatvol_jax.volume.host_newton import NewtonStep, newton_step

_NEWTON_FROM = 256  # outputs; below it an update's own arithmetic costs more than its matrix
_HALVED, _TENTH = 0.5, 0.1
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
    newton_from: int = _NEWTON_FROM,
) -> EP:
    """Return what `ep.expectation_propagation` returns, to its tolerance; float64 in.

    An iteration costs n³/3 operations for the factor, n³/3 for its inverse and, where a Newton step
    follows, n³/3 in float32; it holds two matrices beside K. Kernels of fewer than `newton_from`
    outputs have the compiled iteration's points, up to rounding.
    """
    kernel, labels = np.asarray(kernel), np.asarray(labels, np.float64)
    inverse: Any = None

    def marginals(sites):
        nonlocal inverse
        inverse = None  # its memory is free before the next one is made
        found, inverse = factored_marginals(kernel, labels, sites)
        return found

    def step(point, residual, sites, found):
        signed = found._replace(mean=labels * found.mean)
        return newton_step(prior_variance, point, residual, sites, signed, inverse)

    prior_variance = np.diagonal(kernel).copy()
    return iterated_on_host(
        prior_variance,
        marginals,
        labels,
        start,
        tolerance,
        max_iterations,
        newton=step if len(kernel) >= newton_from else None,
    )


def iterated_on_host(
    prior_variance: Float[np.ndarray, " n"],
    marginals: Callable[[Sites], Marginals],
    labels: Float[np.ndarray, " n"],
    start: Cavities,
    tolerance: float,
    max_iterations: int,
    rough_marginals: Callable[[Sites], Marginals] | None = None,
    newton: NewtonStep | None = None,
) -> EP:
    """Return EP's fixed point for any algebra on the host.

    Where there are rough marginals the first updates are made of them, until the residual is
    `_ROUGH_TOLERANCE` or is no longer halved; the result is that of the others, which go on from
    there, or begin anew where the rough ones lead nowhere.

    With `newton` its points take the place of Anderson's as long as each halves the residual. Where
    one does not, it is not asked again until the residual has fallen to a tenth.

    Args:
        prior_variance: of each output, (n,).
        marginals: sites signed by the labels -> what they make of the prior, in the coordinates
            of z; NaN where it has no factor.
        labels: y, (n,) float64, ±1.
        start: cavities to start from.
        tolerance: nats, on the residual.
        max_iterations: of the algebra's calls.
        rough_marginals: the same of fewer digits, for less.
        newton: called after `marginals`, with the point, its residual and what was found there.
    """
    before = 0
    if rough_marginals is not None:
        rough = _rough_ep(prior_variance, rough_marginals, labels, start, max_iterations - 1)
        before = int(rough.iterations)
        if rough.residual <= _USEFUL:
            start = rough.cavities
    state, continues = _initial_iterate(labels, start)
    expected = trusted = np.inf  # the residuals that a Newton step should reach, and start from
    while continues:
        point, sites = state.point, _cavity_sites(prior_variance, state, FLOOR)
        found = marginals(sites)
        state, continues = _next_iterate(
            prior_variance, labels, state, sites, found, tolerance, max_iterations - before
        )
        if newton is None or not continues:
            continue
        least = float(state.sweep.residual)
        if not least <= expected:
            trusted = _TENTH * least
        expected = np.inf
        taken_back = not np.array_equal(state.memory.point, point)
        if np.isfinite(least) and least <= trusted and not taken_back:
            ahead = newton(np.asarray(point), np.asarray(state.memory.residual), sites, found)
            if np.isfinite(ahead).all():
                state, expected = state._replace(point=ahead), _HALVED * least
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
    return factored_marginals(kernel, labels, sites)[0]


def factored_marginals(
    kernel: Float[np.ndarray, "n n"], labels: Float[np.ndarray, " n"], sites: Sites
) -> tuple[Marginals, Float[np.ndarray, "n n"] | None]:
    """Return the marginals and L^-1, lower triangular; NaN and None where B has no factor."""
    precision, shift = (np.asarray(leaf) for leaf in sites)
    root, shift = labels * np.sqrt(precision), labels * shift
    scaled = kernel * root
    scaled *= root[:, None]
    scaled.flat[:: len(kernel) + 1] += 1.0
    # B is symmetric: its transpose has the columns that LAPACK works on, without a copy.
    factor, failed = dpotrf(scaled.T, lower=1, overwrite_a=1, clean=1)
    if failed:
        nothing = np.full_like(precision, np.nan)
        return Marginals(nothing, nothing, np.float64(np.nan)), None
    half_log_determinant = np.log(np.diagonal(factor)).sum()
    inverse, _ = dtrtri(factor, lower=1, overwrite_c=1)
    uncertainty = np.einsum("ij,ij->j", inverse, inverse)
    prior_mean = dsymv(1.0, kernel.T, shift)
    whitened = dtrmv(inverse, root * prior_mean, lower=1)
    weights = root * dtrmv(inverse, whitened, lower=1, trans=1)
    mean = prior_mean - dsymv(1.0, kernel.T, weights)
    return Marginals(mean, uncertainty, half_log_determinant), inverse


@jax.jit
def _initial_iterate(labels, start: Cavities) -> tuple[Iterate, jax.Array]:
    return initial_iterate(labels, start), jnp.array(True)


@partial(jax.jit, static_argnames="floor")
def _cavity_sites(prior_variance, state: Iterate, floor: float) -> Sites:
    return cavity_sites(prior_variance, state, floor)


@jax.jit
def _next_iterate(
    prior_variance, labels, state, sites, marginals, tolerance, max_iterations
) -> tuple[Iterate, jax.Array]:
    state = next_iterate(prior_variance, labels, state, sites, marginals)
    return state, needs_update(state, tolerance, max_iterations)
