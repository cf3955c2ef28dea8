"""Sampling of C outputs, a block of inputs at a time: unbiased for V(f), in O(C n²) memory."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float
from scipy.linalg.blas import dsyrk, dtrsm
from scipy.linalg.lapack import dpotrf

from flatvol_jax.runtime.arrays import AnyArray
from flatvol_jax.volume.ep import EP
from flatvol_jax.volume.importance import Cloud, cloud_replicates, initial_cloud, visit_coordinates
from flatvol_jax.volume.multiclass.differences import Problem, on_grid
from flatvol_jax.volume.multiclass.host_algebra import (
    factor_of_class,
    mirror_upper,
    precision_from_factor,
)
from flatvol_jax.volume.sampling import Estimate, combined_replicates

_DIFFERENCES = 1500  # of a block, about
_BLOCKS = 20  # at most: each costs a pass over what is left


class _Conditional(NamedTuple):
    """The outputs of a block given those before it, twisted by the sites of it and all after it.

    Attributes:
        mean: E of the block's differences, of each particle, (P, D), in the order of visits.
        winners: E of its outputs f_{i,y_i}, (P, b).
        factor: lower Cholesky factor of the covariance of both, (D + b, D + b).
    """

    mean: Float[np.ndarray, "P D"]
    winners: Float[np.ndarray, "P b"]
    factor: Float[np.ndarray, "D+b D+b"]


def blocked_estimate(
    key: jax.Array,
    problem: Problem,
    ep: EP,
    log_normaliser: AnyArray | np.float64 | float,
    particles: int,
    replicates: int,
    rounding_error: float = 0.0,
    block: int | None = None,
) -> Estimate:
    """Estimate V(f) from the weights of `blocked_particles`.

    Args:
        key: for all draws.
        problem: the labelling, under a kernel that is not singular.
        ep: a run of EP on it, on the host.
        log_normaliser: log Z_s of its sites.
        particles: N, of one replicate.
        replicates: R.
        rounding_error: nats, in the standard error.
        block: inputs of a block; by size where left out.
    """
    cloud, _ = blocked_particles(key, problem, ep, particles, replicates, block)
    runs = jax.device_get(cloud_replicates(cloud))
    return combined_replicates(runs, float(log_normaliser), particles, "ep", rounding_error)


def blocked_particles(
    key: jax.Array,
    problem: Problem,
    ep: EP,
    particles: int,
    replicates: int,
    block: int | None = None,
) -> tuple[Cloud, Callable[[], np.ndarray]]:
    """Draw the outputs by sequential importance sampling, twisted by EP's sites.

    As `twisted_importance_sampling`, of the differences at a block of inputs, hardest first, and
    then of f_{i,y_i} given them, which has no constraint and no weight: the outputs at earlier
    inputs are known, so that nothing larger than a block's covariance is factorised. The sites
    of later inputs are in each block's Gaussian as they are in EP's; whatever they are, the mean
    of the weights is unbiased.

    Args:
        key: for all draws.
        problem: the labelling, under a kernel that is not singular.
        ep: a run of EP on it, on the host.
        particles: N, of one replicate.
        replicates: R.
        block: inputs of a block; by size where left out.

    Returns:
        The cloud, and a function that makes f, (P, C, n).
    """
    classes, n = problem.own.shape
    block = block or max(-(-n // _BLOCKS), _DIFFERENCES // (classes - 1), 1)
    hardness = on_grid(problem, ep.cavities.mean / np.sqrt(ep.cavities.variance), np.inf)
    order = np.argsort(hardness.min(axis=0), kind="stable")
    own, hardness = problem.own[:, order], hardness[:, order]
    precision, shift = (on_grid(problem, leaf, 1.0)[:, order] for leaf in ep.sites)
    factor, _ = dpotrf(problem.kernel[np.ix_(order, order)].T, lower=1, clean=1)

    total = particles * replicates
    noise = np.zeros((classes, total, n))  # f_c = L noise_c
    cloud = initial_cloud(0, particles, replicates)
    for first in range(0, n, block):
        rows = slice(first, min(first + block, n))
        rest = slice(first, n)
        b = rows.stop - first
        # What the outputs before this block say of those from here on, (C, P, r).
        predicted = noise[:, :, :first] @ factor[rest, :first].T
        visits = _visits(own[:, rows], hardness[:, rows])
        conditional = _conditional(
            _residual_kernel(factor[rest, rest]),
            own[:, rest],
            precision[:, rest],
            shift[:, rest],
            predicted,
            b,
            visits,
        )
        block_key = jax.random.fold_in(key, first)
        c, i = visits
        cloud, block_outputs = _draw(
            block_key,
            cloud,
            *map(jnp.asarray, conditional),
            precision[c, first + i],
            shift[c, first + i],
            replicates,
        )
        origin, differences, winners = jax.device_get(block_outputs)
        drawn = np.tile(winners, (classes, 1, 1))
        drawn[c, :, i] -= differences.T
        if not np.array_equal(origin, np.arange(total)):
            noise[:, :, :first] = noise[:, origin, :first]
        drawn -= predicted[:, origin, :b]
        for one in range(classes):
            noise[one, :, rows] = dtrsm(
                1.0, factor[rows, rows], drawn[one].T, lower=1, overwrite_b=1
            ).T

    def outputs() -> np.ndarray:
        drawn = np.empty((total, classes, n))
        for one in range(classes):
            drawn[:, one, order] = noise[one] @ factor.T
        return drawn

    return cloud, outputs


def _visits(own: np.ndarray, hardness: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return class and input of a block's differences, the hardest first."""
    c, i = np.nonzero(~own)
    order = np.argsort(hardness[c, i], kind="stable")
    return c[order], i[order]


def _residual_kernel(factor: np.ndarray) -> np.ndarray:
    """Return the covariance of the outputs that are left, given those before them."""
    kernel = dsyrk(1.0, factor, lower=1).T
    mirror_upper(kernel)
    return kernel


def _conditional(
    kernel: Float[np.ndarray, "r r"],
    own: Bool[np.ndarray, "C r"],
    precision: Float[np.ndarray, "C r"],
    shift: Float[np.ndarray, "C r"],
    predicted: Float[np.ndarray, "C P r"],
    b: int,
    visits: tuple[np.ndarray, np.ndarray],
) -> _Conditional:
    """Return the Gaussian of the first b inputs' differences and winners under all sites.

    With R_c = K_b· B_c and h = Σ_c B_c (m_c + μ_c), t̄ = P^-1 h:

        E g_c = t̄_b - μ_c - R_c (t̄ - m_c - μ_c),
        Cov(g_ic, g_jd) = [c = d] (K_bb - K_b· B_c K_·b) + (I - R_c) P^-1 (I - R_d)',
        Cov(t_i, g_jd) = P^-1 (I - R_d)', Cov(t, t) = P^-1.

    Args:
        kernel: of the r inputs that are left, given those before.
        own: (C, r).
        precision: of the sites, (C, r), anything where the class is the label.
        shift: the same.
        told: μ, (C, P, r).
        b: inputs of this block.
        visits: class and input of its differences, in order.
    """
    classes, r = own.shape
    root = np.where(own, 1.0, precision**0.5)
    site_mean = np.where(own, 0.0, shift / precision)
    predicted = predicted + site_mean[:, None, :]
    work, total = np.empty((r, r)), np.zeros((r, r))
    pull, responses, rests = np.zeros(predicted.shape[1:]), [], []
    for one in range(classes):
        factor: Any = factor_of_class(kernel, root[one], own[one], work)  # K is not singular
        half = dtrsm(1.0, factor, np.asfortranarray(root[one][:, None] * kernel[:, :b]), lower=1)
        rests.append(kernel[:b, :b] - half.T @ half)
        response = dtrsm(1.0, factor, half, lower=1, trans_a=1, overwrite_b=1).T * root[one]
        responses.append(response)
        precision_from_factor(factor, root[one])
        mirror_upper(work)
        total += work
        pull += predicted[one] @ work
    winner_factor, _ = dpotrf(total.T, lower=1, overwrite_a=1, clean=0)
    winners = dtrsm(1.0, winner_factor, pull.T, lower=1)
    winners = dtrsm(1.0, winner_factor, winners, lower=1, trans_a=1, overwrite_b=1).T
    first = np.eye(r, b)
    halves = [first - response.T for response in responses] + [first]
    halves = [dtrsm(1.0, winner_factor, half, lower=1) for half in halves]
    c, i = visits
    means = np.empty((classes, b, len(pull)))
    for one, response in enumerate(responses):
        given = winners[:, :b] - predicted[one, :, :b] + site_mean[one, :b]
        means[one] = (given - (winners - predicted[one]) @ response.T).T
    places = np.concatenate([c * b + i, classes * b + np.arange(b)])
    joined = np.concatenate(halves, axis=1)[:, places]
    covariance = dsyrk(1.0, joined, trans=1, lower=1).T
    mirror_upper(covariance)
    for one, rest in enumerate(rests):
        at = np.flatnonzero(c == one)
        covariance[np.ix_(at, at)] += rest[np.ix_(i[at], i[at])]
    factor, failed = dpotrf(covariance.T, lower=1, clean=1)
    if failed:
        factor = np.full_like(covariance, np.nan)
    return _Conditional(means[c, i].T, winners[:, :b], np.ascontiguousarray(factor))


@partial(jax.jit, static_argnames="replicates")
def _draw(key, cloud: Cloud, mean, winners, factor, precision, shift, replicates: int):
    """Visit a block's differences; return the particles, and for each its origin and outputs."""
    differences, total = len(precision), len(cloud.log_weight)
    start = cloud._replace(
        noise=jnp.zeros((total, differences), mean.dtype), origin=jnp.arange(total)
    )
    visits = factor[:differences, :differences]
    done = visit_coordinates(
        jax.random.fold_in(key, 0), start, mean, visits, precision, shift, replicates
    )
    own, across = factor[differences:, differences:], factor[differences:, :differences]
    fresh = jax.random.normal(jax.random.fold_in(key, 1), winners.shape, mean.dtype)
    g = mean[done.origin] + done.noise @ visits.T
    t = winners[done.origin] + done.noise @ across.T + fresh @ own.T
    return done._replace(noise=done.noise[:, :0], origin=None), (done.origin, g, t)
