"""Sequential importance sampling of P(y), twisted by Gaussian sites: the jittable core."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import erfc, logsumexp, ndtri
from jaxtyping import Float, Int

from flatvol_jax.runtime.arrays import AnyArray

_BLOCK = 32  # coordinates between two looks at the weights
_SLAB = 256  # coordinates whose means take in those before them by one product of matrices
_CERTAIN = 40.0  # mean of a coordinate that fills up the last slab: Φ is 1, no weight changes
_TAIL = -30.0  # below it the truncated normal is drawn through its Rayleigh envelope
_LEAST_UNIFORM = 2.0**-53
_HALF_LOG_2PI = 0.9189385332046727


class Replicates(NamedTuple):
    """Independent estimates of one P(y), shape (R,) each.

    Attributes:
        log_estimate: log of each replicate's unbiased estimate of P(y), nats.
        relative_variance: within-run estimate of Var(estimate) / P(y)².
        effective_sample_size: the least of the run, (Σw)²/Σw², of N particles.
    """

    log_estimate: Float[Array, " R"]
    relative_variance: Float[Array, " R"]
    effective_sample_size: Float[Array, " R"]


class Cloud(NamedTuple):
    """All particles, replicate after replicate, P = R N of them.

    Attributes:
        noise: standardised coordinates ε of z = m + Lε, (P, n); zero where not yet visited.
        log_weight: since the last resampling, (P,).
        ancestor: each particle's ancestor at the start, (P,), numbered within its replicate.
        log_estimate: log mean weight up to the last resampling, summed, (R,).
        resamplings: (R,).
        effective: least effective sample size seen, (R,).
        origin: which row of its mean each particle has, (P,); None where all have one mean.
        centres: means of the coordinates of the slab that is visited, given all slabs before it,
            (P, slab); None between slabs.
    """

    noise: Float[Array, "P n"]
    log_weight: Float[Array, " P"]
    ancestor: Int[Array, " P"]
    log_estimate: Float[Array, " R"]
    resamplings: Int[Array, " R"]
    effective: Float[Array, " R"]
    origin: Int[Array, " P"] | None = None
    centres: Float[Array, "P slab"] | None = None


def truncated_normal(
    uniform: Float[Array, " P"], a: Float[Array, " P"]
) -> tuple[Float[Array, " P"], Float[Array, " P"]]:
    """Draw t ~ N(0, 1) given t > -a; return it with log of its importance weight.

    The weight is Φ(a), the normaliser, for the draw by inversion. Below a = -30, where
    inversion leaves the range of float64, t is drawn from t exp(-(t² - a²)/2) on t > -a, and
    the weight is φ(a)/t: the product of draw and weight is exact in both.
    """
    tail = a < _TAIL
    cdf = 0.5 * erfc(-jnp.maximum(a, _TAIL) * 0.5**0.5)
    envelope = jnp.sqrt(jnp.where(tail, a**2, 0.0) - 2.0 * jnp.log(uniform))
    return (
        jnp.where(tail, envelope, -ndtri(uniform * cdf)),
        jnp.where(tail, -0.5 * a**2 - _HALF_LOG_2PI, 0.0)
        + jnp.log(jnp.where(tail, 1.0 / envelope, cdf)),
    )


@partial(jax.jit, static_argnames=("particles", "replicates"))
def twisted_importance_sampling(
    key: Array,
    mean: Float[AnyArray, " n"],
    factor: Float[AnyArray, "n n"],
    precision: Float[AnyArray, " n"],
    shift: Float[AnyArray, " n"],
    particles: int,
    replicates: int,
) -> Replicates:
    """Estimate P(y)/Z_s without bias, the mean over N(m, Σ) of ∏_i 1[z_i > 0]/s_i(z_i).

    The sites s_i(z) = exp(ν_i z - τ_i z²/2) make N(0, K) into Z_s N(m, Σ), Σ = L L'.
    Coordinates are visited in order. Given those before it, z_i is Gaussian with mean
    m_i + Σ_{j < i} L_ij ε_j and variance L_ii²; the sites of the coordinates after it are in
    there already, those of the coordinates before it no longer matter. Its own site is taken
    out, which leaves the cavity N(c, v); z_i is drawn from N(c, v) on z_i > 0, and the weight
    grows by the ratio of normalisers

        Φ(c/√v) / ∫ s_i(z) N(z; c, v) dz.

    Whatever the sites, the mean of the final weights is unbiased; with exact ones every
    weight would be 1. Where a replicate's effective sample size has fallen below half at the
    end of a block of 32 coordinates, its particles are resampled (multinomially).

    The variance within a run follows from the ancestors (Lee and Whiteley 2018, eq. 6):
    1 - (N/(N-1))^(T+1) (1 - Σ_g W_g²), W_g the final weight of the offspring of ancestor g
    and T the number of resamplings.

    Args:
        key: for all draws.
        mean: m, signed by the labels, (n,).
        factor: L, lower triangular, signed, (n, n).
        precision: τ >= 0, (n,).
        shift: ν, signed, (n,).
        particles: N, of one replicate, at least 2.
        replicates: R.

    References: Genz, J. Comput. Graph. Stat. 1 (1992), separation of variables; Whiteley and
    Lee, Ann. Stat. 42 (2014), twisted particle filters.
    """
    cloud = initial_cloud(len(mean), particles, replicates)
    return cloud_replicates(
        visit_coordinates(key, cloud, mean, factor, precision, shift, replicates)
    )


@partial(jax.jit, static_argnames=("particles", "replicates"))
def twisted_particles(
    key: Array,
    mean: Float[AnyArray, " n"],
    factor: Float[AnyArray, "n n"],
    precision: Float[AnyArray, " n"],
    shift: Float[AnyArray, " n"],
    particles: int,
    replicates: int,
) -> tuple[Array, Cloud]:
    """Return the z that `twisted_importance_sampling` draws, (P, n), and the cloud."""
    cloud = initial_cloud(len(mean), particles, replicates)
    cloud = visit_coordinates(key, cloud, mean, factor, precision, shift, replicates)
    return jnp.asarray(mean + cloud.noise @ factor.T), cloud


def initial_cloud(n: int, particles: int, replicates: int) -> Cloud:
    """Return R times N particles that have visited none of n coordinates; float64."""
    return Cloud(
        noise=jnp.zeros((replicates * particles, n)),
        log_weight=jnp.zeros(replicates * particles),
        ancestor=jnp.tile(jnp.arange(particles), replicates),
        log_estimate=jnp.zeros(replicates),
        resamplings=jnp.zeros(replicates, int),
        effective=jnp.full(replicates, float(particles)),
    )


def visit_coordinates(
    key: Array,
    cloud: Cloud,
    mean: Float[AnyArray, "*P n"],
    factor: Float[AnyArray, "n n"],
    precision: Float[AnyArray, " n"],
    shift: Float[AnyArray, " n"],
    replicates: int,
) -> Cloud:
    """Visit the coordinates one after another: see `twisted_importance_sampling`.

    Args:
        key: for all draws.
        cloud: with no coordinate visited.
        mean: m, (n,); or of each particle at the beginning, (P, n), then `cloud.origin` says
            which row is whose.
        factor: L of the coordinates, the first n rows and columns of a larger one too.
        precision: τ >= 0, (n,).
        shift: ν, (n,).
        replicates: R.
    """
    n, total = len(precision), len(cloud.log_weight)
    slabs = -(-n // _SLAB)
    size = -(-n // slabs // _BLOCK) * _BLOCK  # of a slab; the last one is filled up
    shift, precision = (jnp.pad(vector, (0, slabs * size - n)) for vector in (shift, precision))

    def visit_slab(k: Array, cloud: Cloud) -> Cloud:
        first = k * size
        places = first + jnp.arange(size)
        real = places < n
        rows = jnp.where(real[:, None], jnp.take(factor, places, axis=0, mode="clip")[:, :n], 0.0)
        rows = jnp.pad(rows, ((0, 0), (0, slabs * size - n)))
        m = jnp.take(mean, places, axis=-1, mode="fill", fill_value=_CERTAIN)
        m = jnp.broadcast_to(m if cloud.origin is None else m[cloud.origin], (total, size))

        def add_slab(j, centres):
            before = jax.lax.dynamic_slice(cloud.noise, (0, j * size), (total, size))
            across = jax.lax.dynamic_slice(rows, (0, j * size), (size, size))
            return centres + before @ across.T

        cloud = cloud._replace(centres=jax.lax.fori_loop(0, k, add_slab, m))
        own = jax.lax.dynamic_slice(rows, (0, first), (size, size)) + jnp.diag(1.0 - real)

        def visit_block(b: Array, cloud: Cloud) -> Cloud:
            return _visit_block(
                jax.random.fold_in(key, first + b * _BLOCK),
                cloud,
                b * _BLOCK,
                first,
                own,
                precision,
                shift,
                replicates,
            )

        return jax.lax.fori_loop(0, size // _BLOCK, visit_block, cloud)._replace(centres=None)

    start = cloud._replace(noise=jnp.zeros((total, slabs * size), precision.dtype))
    cloud = jax.lax.fori_loop(0, slabs, visit_slab, start)
    return cloud._replace(noise=cloud.noise[:, :n])


def _visit_block(
    key: Array,
    cloud: Cloud,
    begin: Array,
    first: Array,
    own: Float[Array, "slab slab"],
    precision: Float[Array, " n"],
    shift: Float[Array, " n"],
    replicates: int,
) -> Cloud:
    """Visit 32 coordinates of a slab, the one at `begin` and those after it.

    Args:
        key: of the block.
        cloud: with the slab's centres.
        begin: number of the first coordinate in its slab.
        first: number of the slab's first coordinate among all.
        own: L of the slab's coordinates.
        precision: τ of all coordinates.
        shift: ν of all coordinates.
        replicates: R.
    """
    cloud = _resample(jax.random.fold_in(key, 0), cloud, replicates)
    total, size = len(cloud.log_weight), len(own)
    rows = jax.lax.dynamic_slice(own, (begin, 0), (_BLOCK, size))
    within = jax.lax.dynamic_slice(rows, (0, begin), (_BLOCK, _BLOCK))
    tau, nu = (
        jax.lax.dynamic_slice(vector, (first + begin,), (_BLOCK,)) for vector in (precision, shift)
    )
    means: Any = cloud.centres
    centres = jax.lax.dynamic_slice(means, (0, begin), (total, _BLOCK))
    visited = jax.lax.dynamic_slice(cloud.noise, (0, first), (total, size))
    base = (centres + visited @ rows.T).T

    def visit(state, i):
        noise, log_weight = state
        pivot = within[i, i]
        centre = base[i] + within[i] @ noise
        left = 1.0 - tau[i] * pivot**2  # share of the precision that is not the site's
        v = pivot**2 / left
        c = (centre - pivot**2 * nu[i]) / left
        scale = jnp.sqrt(v)
        own_key = jax.random.fold_in(key, 1 + i)
        uniform = jax.random.uniform(own_key, (total,), tau.dtype, _LEAST_UNIFORM, 1.0)
        t, log_normaliser = truncated_normal(uniform, c / scale)
        z = c + scale * t
        log_site = 0.5 * (
            (nu[i] ** 2 * v + 2.0 * nu[i] * c - tau[i] * c**2) / (1.0 + tau[i] * v)
            - jnp.log1p(tau[i] * v)
        )
        noise = noise.at[i].set((z - centre) / pivot)
        return (noise, log_weight + log_normaliser - log_site), None

    start = (jnp.zeros((_BLOCK, total), tau.dtype), cloud.log_weight)
    (noise, log_weight), _ = jax.lax.scan(visit, start, jnp.arange(_BLOCK))
    return cloud._replace(
        noise=jax.lax.dynamic_update_slice(cloud.noise, noise.T, (0, first + begin)),
        log_weight=log_weight,
    )


def _effective_sample_size(log_weight: Float[Array, "R N"]) -> Float[Array, " R"]:
    """Return (Σw)²/Σw² along the last axis."""
    return jnp.exp(2.0 * logsumexp(log_weight, axis=-1) - logsumexp(2.0 * log_weight, axis=-1))


def _resample(key: Array, cloud: Cloud, replicates: int) -> Cloud:
    """Resample the replicates whose effective sample size has fallen below half."""
    log_weight = cloud.log_weight.reshape(replicates, -1)
    particles = log_weight.shape[1]
    effective = _effective_sample_size(log_weight)
    needed = effective < 0.5 * particles
    cloud = cloud._replace(effective=jnp.minimum(cloud.effective, effective))

    def resampled(cloud: Cloud) -> Cloud:
        cumulated = jnp.cumsum(jax.nn.softmax(log_weight, axis=-1), axis=-1)
        uniform = jax.random.uniform(key, (replicates, particles), log_weight.dtype)
        chosen = jax.vmap(jnp.searchsorted)(cumulated, uniform * cumulated[:, -1:])
        parent = jnp.where(needed[:, None], chosen, jnp.arange(particles))
        parent = (parent + particles * jnp.arange(replicates)[:, None]).reshape(-1)
        log_mean_weight = logsumexp(log_weight, axis=-1) - jnp.log(particles)
        return cloud._replace(
            noise=cloud.noise[parent],
            log_weight=jnp.where(needed[:, None], 0.0, log_weight).reshape(-1),
            ancestor=cloud.ancestor[parent],
            log_estimate=cloud.log_estimate + jnp.where(needed, log_mean_weight, 0.0),
            resamplings=cloud.resamplings + needed,
            origin=None if cloud.origin is None else cloud.origin[parent],
            centres=None if cloud.centres is None else cloud.centres[parent],
        )

    return jax.lax.cond(needed.any(), resampled, lambda cloud: cloud, cloud)


def cloud_replicates(cloud: Cloud) -> Replicates:
    """Return the estimates of particles that have visited all coordinates."""
    replicates = len(cloud.log_estimate)
    particles = len(cloud.log_weight) // replicates
    log_weight = cloud.log_weight.reshape(replicates, particles)
    unrelated = 1.0 - jnp.sum(offspring_weights(cloud) ** 2, axis=-1)
    inflation = (particles / (particles - 1.0)) ** (cloud.resamplings + 1)
    return Replicates(
        cloud.log_estimate + logsumexp(log_weight, axis=-1) - jnp.log(particles),
        1.0 - inflation * unrelated,
        jnp.minimum(cloud.effective, _effective_sample_size(log_weight)),
    )


def offspring_weights(cloud: Cloud) -> Array:
    """Return W_g, the weight at the end of the offspring of each ancestor g, (R, N)."""
    replicates = len(cloud.log_estimate)
    share = jax.nn.softmax(cloud.log_weight.reshape(replicates, -1), axis=-1)
    ancestor, particles = cloud.ancestor.reshape(share.shape), share.shape[1]
    return jax.vmap(lambda w, g: jax.ops.segment_sum(w, g, particles))(share, ancestor)
