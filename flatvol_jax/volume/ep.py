"""Expectation propagation for P(y) = ∫ N(z; 0, K) ∏ 1[y_i z_i > 0] dz, as a jittable core.

The iteration runs over the *cavities* (what the other labels say of each output) instead of
over the sites: any cavity yields a valid site, so Anderson mixing needs no constraint, and it
converges on the labellings where undamped parallel EP cycles (constants, single flips).
Everything inside is in coordinates signed by the labels, where every label is +1.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.linalg import cho_solve, solve_triangular
from jaxtyping import Bool, Float, Int

from flatvol_jax.runtime.arrays import AnyArray
from flatvol_jax.runtime.printing import prints_its_fields
from flatvol_jax.volume import anderson
from flatvol_jax.volume.links import Tilted, tilt

_MEMORY = 5
_LEAST_DAMPING = 1e-3
_LARGEST_GROWTH = 100.0  # of the distance between iterates, in a step that is not taken back
# Least site precision times prior variance. Below it 1 - diag(B^-1) has lost its digits; log Z
# is stationary in the sites, so the floor changes it by about its square.
FLOOR = 1e-8
ROUGH_FLOOR = 1e-3  # the same where 1 - diag(B^-1) is computed in float32


@prints_its_fields
class Cavities(NamedTuple):
    """Mean and variance of each output z_i given all labels but its own, shape (n,)."""

    mean: Float[AnyArray, "*shape n"]
    variance: Float[AnyArray, "*shape n"]


@prints_its_fields
class Sites(NamedTuple):
    """Gaussian sites exp(ν_i z_i - τ_i z_i²/2) in place of 1[y_i z_i > 0], shape (n,) each.

    Attributes:
        precision: τ, positive.
        shift: ν, precision times mean, in the coordinates of z.
    """

    precision: Float[AnyArray, "*shape n"]
    shift: Float[AnyArray, "*shape n"]


class EP(NamedTuple):
    """The end of an EP run.

    Attributes:
        log_volume: log Z, nats.
        residual: nats; see `expectation_propagation`.
        iterations: number of Cholesky factorisations.
        converged: whether the residual fell to the tolerance.
        cavities: the cavities at the end, in the coordinates of z.
        sites: the sites that these marginals and this log Z belong to.
        increments: log P(y_i | all other labels) under each cavity, nats, shape (n,).
    """

    log_volume: Float[AnyArray, ""]
    residual: Float[AnyArray, ""]
    iterations: Int[AnyArray, ""]
    converged: Bool[AnyArray, ""]
    cavities: Cavities
    sites: Sites
    increments: Float[AnyArray, " n"]


class Marginals(NamedTuple):
    """The marginals of the prior times the sites; S = diag(τ), B = I + S^½ K S^½.

    Attributes:
        mean: of each output, (K^-1 + S)^-1 ν.
        uncertainty: d = diag(B^-1), whatever the signs of S^½: variance (1 - d)/τ.
        half_log_determinant: ½ log |B|.
    """

    mean: Float[AnyArray, " n"]
    uncertainty: Float[AnyArray, " n"]
    half_log_determinant: Float[AnyArray, ""] | np.float64


class LinearAlgebra(NamedTuple):
    """The operations that EP needs of its kernel, which need not be an array.

    Attributes:
        diagonal: K -> its diagonal, (n,).
        marginals: K, root, τ, ν -> `Marginals`, with root ** 2 = τ; one factorisation.
    """

    diagonal: Callable[[Any], Float[Array, " n"]]
    marginals: Callable[[Any, Any, Any, Any], Marginals]


def _dense_marginals(
    kernel: Float[Array, "n n"],
    root: Float[Array, " n"],
    precision: Float[Array, " n"],
    shift: Float[Array, " n"],
) -> Marginals:
    # B as S^½ (K + S^-1) S^½, K transposed and L^-1 S^½ in place of L^-1: LAPACK works on
    # columns, XLA on rows, and a constant identity would be kept beside them; this way an
    # iteration holds three matrices beside K.
    scaled = root[:, None] * (kernel.T + jnp.diag(1.0 / precision)) * root
    factor = jnp.linalg.cholesky(scaled, symmetrize_input=False)
    half = solve_triangular(factor, jnp.diag(root), lower=True)
    uncertainty = jnp.sum(half**2, axis=0) / precision
    prior_mean = kernel @ shift
    mean = prior_mean - kernel @ (root * cho_solve((factor, True), root * prior_mean))
    return Marginals(mean, uncertainty, jnp.sum(jnp.log(jnp.diagonal(factor))))


DENSE = LinearAlgebra(jnp.diagonal, _dense_marginals)


class _Sweep(NamedTuple):
    """One parallel update of all sites: the new cavities and the numbers computed on the way."""

    cavity: Cavities
    precision: Float[AnyArray, " n"]
    shift: Float[AnyArray, " n"]
    increments: Float[AnyArray, " n"]
    log_volume: Float[AnyArray, ""]
    residual: Float[Array, ""]


class Iterate(NamedTuple):
    """EP between two updates.

    Attributes:
        point: cavities as Anderson mixing takes them, (2n,): a = m / √v and log v, signed by the
            labels, of order one for every output.
        memory: the points and residuals that the mixing has seen.
        distance: between the last two points.
        sweep: the update of the least residual.
        damping: of the last step; where it falls below `_LEAST_DAMPING`, EP has failed.
        iterations: factorisations so far.
    """

    point: Float[Array, " points"]
    memory: anderson.Memory
    distance: Float[Array, ""]
    sweep: _Sweep
    damping: Float[Array, ""]
    iterations: Int[Array, ""]


def initial_iterate(labels: Float[AnyArray, " n"], start: Cavities) -> Iterate:
    """Return the state before the first update, from cavities in the coordinates of z."""
    signed = Cavities(labels * start.mean, start.variance)
    point, zero = packed(signed), jnp.zeros_like(labels)
    infinite = jnp.array(jnp.inf, labels.dtype)
    nothing = _Sweep(signed, zero, zero, zero, infinite, infinite)
    memory = anderson.empty(_MEMORY, point)
    return Iterate(point, memory, infinite, nothing, jnp.ones_like(infinite), jnp.array(0))


def needs_update(
    state: Iterate, tolerance: Float[Array, ""] | float, max_iterations: Int[Array, ""] | int
) -> Bool[Array, ""]:
    """Return whether another update is to be done."""
    continues = ~(state.sweep.residual <= tolerance) & (state.damping > _LEAST_DAMPING)
    return continues & (state.iterations < max_iterations)


def cavity_sites(
    prior_variance: Float[AnyArray, " n"], state: Iterate, floor: float = FLOOR
) -> Sites:
    """Return the sites of the cavities at the state's point, signed by the labels.

    Args:
        prior_variance: of each output, (n,).
        state: between two updates.
        floor: the least site precision times prior variance.
    """
    return point_sites(prior_variance, state.point, floor)


def point_sites(
    prior_variance: Float[AnyArray, " n"], point: Float[AnyArray, " points"], floor: float = FLOOR
) -> Sites:
    """Return the sites of a point's cavities, signed by the labels; see `cavity_sites`."""
    cavity = _unpacked(point, prior_variance)
    site = tilt(cavity.mean, cavity.variance)
    return Sites(jnp.maximum(site.precision, floor / prior_variance), site.shift)


def next_iterate(
    prior_variance: Float[AnyArray, " n"],
    labels: Float[AnyArray, " n"],
    state: Iterate,
    sites: Sites,
    marginals: Marginals,
) -> Iterate:
    """Return the state after an update, given what the sites make of the prior."""
    sweep = _sweep_of(prior_variance, labels, sites, marginals)
    residual = packed(sweep.cavity) - state.point
    new_distance = jnp.linalg.norm(residual)
    near = new_distance <= jnp.maximum(_LARGEST_GROWTH * state.distance, 1.0)
    failed = ~(jnp.isfinite(sweep.residual) & jnp.isfinite(new_distance) & near)
    better = sweep.residual < state.sweep.residual
    step = jnp.where(new_distance > state.distance, 0.5, 1.0)
    damping = jnp.where(failed, state.damping / 4, step)
    first = state.iterations == 0
    memory = jax.tree.map(
        partial(jnp.where, failed),
        anderson.forget(state.memory),
        anderson.remember(state.memory, state.point, residual, first),
    )
    return Iterate(
        anderson.mix(memory, damping),
        memory,
        jnp.where(failed, state.distance, new_distance),
        jax.tree.map(partial(jnp.where, better), sweep, state.sweep),
        damping,
        state.iterations + 1,
    )


def ep_result(
    labels: Float[AnyArray, " n"], state: Iterate, tolerance: Float[Array, ""] | float
) -> EP:
    """Return the result in the coordinates of z."""
    sweep = state.sweep
    return EP(
        sweep.log_volume,
        sweep.residual,
        state.iterations,
        sweep.residual <= tolerance,
        Cavities(labels * sweep.cavity.mean, sweep.cavity.variance),
        Sites(sweep.precision, labels * sweep.shift),
        sweep.increments,
    )


def packed(cavity: Cavities) -> Float[Array, " points"]:
    """Return cavities signed by the labels as an `Iterate` has them."""
    scaled = cavity.mean / jnp.sqrt(cavity.variance)
    return jnp.concatenate([scaled, jnp.log(cavity.variance)])


def _unpacked(point: Float[AnyArray, " points"], prior_variance: Float[AnyArray, " n"]) -> Cavities:
    mean, log_variance = jnp.split(point, 2)
    variance = jnp.minimum(jnp.exp(log_variance), prior_variance)
    return Cavities(mean * jnp.sqrt(variance), variance)


def _sweep_of(
    prior_variance: Float[AnyArray, " n"],
    labels: Float[AnyArray, " n"],
    sites: Sites,
    marginals: Marginals,
) -> _Sweep:
    """Return cavities from marginals, and log Z of them.

    Reference: Rasmussen and Williams 2006, section 3.6.
    """
    precision, shift = sites
    mean, uncertainty = labels * marginals.mean, marginals.uncertainty
    variance = (1.0 - uncertainty) / precision
    new = new_cavities(prior_variance, sites, mean, uncertainty)
    tilted = tilt(new.mean, new.variance)
    log_volume = (
        jnp.sum(tilted.log_normaliser)
        - marginals.half_log_determinant
        + 0.5 * jnp.sum(shift * mean)
        + 0.5 * jnp.sum(jnp.log1p(precision * new.variance))
        + 0.5
        * jnp.sum(
            (precision * new.mean**2 - 2 * shift * new.mean - shift**2 * new.variance)
            / (1 + precision * new.variance)
        )
    )
    return _Sweep(
        new,
        precision,
        shift,
        tilted.log_normaliser,
        log_volume,
        _jeffreys(tilted, mean, variance),
    )


def new_cavities(
    prior_variance: Float[AnyArray, " n"],
    sites: Sites,
    mean: Float[AnyArray, " n"],
    uncertainty: Float[AnyArray, " n"],
) -> Cavities:
    """Return the marginals without their own sites, all signed by the labels.

    With S = diag(τ), B = I + S^½ K S^½ = L L' and d = diag(B^-1), the column norms of L^-1:
    marginal variance (1 - d)/τ and cavity variance (1 - d)/(τ d), neither a difference of
    large numbers.
    """
    precision, shift = sites
    variance = (1.0 - uncertainty) / precision
    return Cavities(
        (mean - variance * shift) / uncertainty,
        jnp.minimum(variance / uncertainty, prior_variance),
    )


def _jeffreys(
    tilted: Tilted, mean: Float[AnyArray, " n"], variance: Float[AnyArray, " n"]
) -> Float[Array, ""]:
    """Return Σ_i KL(q_i | q̂_i) + KL(q̂_i | q_i) of marginals q and moment-matched tilted q̂, nats."""
    scale = variance * tilted.variance
    return 0.5 * jnp.sum(
        (tilted.variance - variance) ** 2 / scale
        + (tilted.mean - mean) ** 2 * (variance + tilted.variance) / scale
    )


def prior_cavities(kernel: Any, algebra: LinearAlgebra = DENSE) -> Cavities:
    """Return the cold start: no other label seen, but a variance below the prior's (K_ii / e)."""
    variance = algebra.diagonal(kernel) / jnp.e
    return Cavities(jnp.zeros_like(variance), variance)


@partial(jax.jit, static_argnames=("max_iterations", "algebra"))
def expectation_propagation(
    kernel: Any,
    labels: Float[AnyArray, " n"],
    start: Cavities,
    tolerance: Float[Array, ""] | float,
    max_iterations: int,
    algebra: LinearAlgebra = DENSE,
) -> EP:
    """Run expectation propagation for the Heaviside link: parallel updates with Anderson mixing.

    The residual is the Jeffreys divergence between the marginals and the moments they should
    match, summed over points. It is zero at the fixed point and only there; log Z is
    stationary there too, so both go with the square of the distance and the residual
    measures, in nats, how far log Z still is from EP's fixed point: within a factor of three
    on data-like labels, of some hundred on constants. It says nothing of EP's own error.

    The step is full while the distance between iterates falls and half where it grew; where it
    grows a hundredfold, or a step leaves the numbers that float64 can hold, that step is taken
    back and tried again at a quarter, without the memory. What is returned is the iterate of the
    least residual.

    Args:
        kernel: K, (n, n) float64, symmetric positive semidefinite, as `algebra` takes it.
        labels: y, (n,) float64, ±1.
        start: cavities to start from, in the coordinates of z.
        tolerance: nats; the run stops when the residual is at or below it.
        max_iterations: the run stops after so many factorisations.
        algebra: how K is held and factorised; its functions are told apart by identity.
    """
    prior_variance = algebra.diagonal(kernel)

    def iterate(state):
        sites = cavity_sites(prior_variance, state)
        root = labels * jnp.sqrt(sites.precision)
        marginals = algebra.marginals(kernel, root, sites.precision, labels * sites.shift)
        return next_iterate(prior_variance, labels, state, sites, marginals)

    def continues(state):
        return needs_update(state, tolerance, max_iterations)

    state = jax.lax.while_loop(continues, iterate, initial_iterate(labels, start))
    return ep_result(labels, state, tolerance)
