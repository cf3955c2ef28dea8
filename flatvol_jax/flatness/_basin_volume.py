"""The prior probability of the region around a network, along straight rays that stay in it."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree
from jax.tree_util import Partial
from jaxtyping import Float, Int
from scipy.special import gammaln, logsumexp

from flatvol_jax.flatness.objective import checked_params, checked_shape
from flatvol_jax.flatness.ray_volume import first_exit, log_ray_volume
from flatvol_jax.runtime import checks
from flatvol_jax.runtime.arrays import AnyArray
from flatvol_jax.runtime.convolutions import fast_convolutions
from flatvol_jax.runtime.precision import float64_scope, to_host
from flatvol_jax.runtime.printing import prints_its_fields

_LEAST_EFFECTIVE = 0.1  # share of the directions
_WIDEST = 0.25  # nats
_ORTHONORMAL = 1e-6


@prints_its_fields
class Preconditioner(NamedTuple):
    """Covariance Λ = D^½ (I + V'(diag(variances) - I)V) D^½ of the steps that give the directions.

    It does not move the estimate's mean, only its spread; best is the shape of the region, such as
    the inverse Hessian. A common factor is without effect.

    Attributes:
        diagonal: D in units of w², pytree like params, scalars broadcast to a leaf; above 0.
        vectors: V, k orthonormal rows in the order of `jax.flatten_util.ravel_pytree`, (k, P).
        variances: along them, where D alone has 1, (k,); above 0.
    """

    diagonal: Any
    vectors: Float[AnyArray, "k P"] | None = None
    variances: Float[AnyArray, " k"] | None = None


@prints_its_fields
class BasinVolume(NamedTuple):
    """The local volume by Monte Carlo over directions.

    Attributes:
        log_volume: log of the mean over directions, nats.
        standard_error: nats, sd / (√directions · mean) of what is averaged (delta method). Too
            small wherever few directions carry the mean: the heavy tail has not been seen then.
        effective_directions: (Σw)²/Σw², w what is averaged.
        log_volumes: log of what is averaged, nats, (directions,).
        radii: r(u) in units of the prior's standard deviations, inf where the ray never left,
            (directions,).
        status: "ok", "few effective directions" (below a tenth of them: a handful carries the
            mean), "imprecise" (standard error above 0.25 nats), "empty" (every radius is zero).
        evaluations: of `inside` along the rays.
        unbounded: share of the rays that never left.
    """

    log_volume: float
    standard_error: float
    effective_directions: float
    log_volumes: Float[np.ndarray, " directions"]
    radii: Float[np.ndarray, " directions"]
    status: str
    evaluations: int
    unbounded: float


@float64_scope
def basin_volume(
    key: Array,
    inside: Callable[[Any], Array],
    params: Any,
    prior_std: Any,
    directions: int = 256,
    preconditioner: Preconditioner | None = None,
    batch_size: int = 8,
) -> BasinVolume:
    """Return the prior probability of the region around w that straight rays reach, by Monte Carlo.

        R = {w + t u : t < r(u)}, r(u) the first radius outside along the direction u.

    With θ = w / prior_std, where the prior is N(0, I), and A_P = 2π^{P/2} / Γ(P/2) the area of
    the unit sphere,

        V(R) = E_u A_P ∫_0^{r(u)} r^{P-1} (2π)^{-P/2} exp(-|θ + r u|²/2) dr,

    u uniform, or drawn as Λ^½z / |Λ^½z|, z ~ N(0, I), and weighted by the inverse of its angular
    central Gaussian density, |Λ|^½ (u'Λ^{-1}u)^{P/2}. The radial integrals are exact.

    What the number is. The mean is unbiased for V(R); its log is below log V(R) on average
    (Jensen), and by Markov's inequality it exceeds log V(R) + c with probability at most e^{-c}:
    log_volume - 3 is a lower bound at 95% whatever the spread, and the largest of m
    preconditioners' less ln(20 m). R is only the part of the set that is seen from w, so V(R) is
    itself a lower bound on the volume of the whole set. In many dimensions a few rare, long rays
    carry the mean: log_volume may then lie hundreds of nats below log V(R), with a preconditioner
    too. standard_error does not show this; `status` does.

    The radius: a geometric grid of ratio 1.25 from 1e-4 of the radius that holds the ray's mass,
    the first point outside, then bisection in log r to 0.001/P, the inside end: log V is too low
    by at most about 0.001 for it. An exit and a return between two points of the grid are
    overlooked. A ray still inside where all but e^{-50} of its mass lies behind never leaves.

    Args:
        key: for the directions.
        inside: params -> boolean scalar, traceable: same labels, loss below a cutoff. Data bound
            by `jax.tree_util.Partial` are arguments of the compiled program.
        params: pytree of parameters w, inside themselves.
        prior_std: pytree like params, scalars broadcast to a leaf; above 0.
        directions: number of rays.
        preconditioner: shape of the cloud of directions; the prior's own when left out.
        batch_size: rays that are followed at once.

    Raises:
        ValueError: `inside` no boolean scalar or false at params, no parameters, prior_std or
            preconditioner of another structure or not above 0, directions < 2.

    Reference: Scherlis & Belrose 2025, "Estimating the probability of sampling a trained neural
    network at random"; Tyler 1987, "Statistical analysis for the angular central Gaussian
    distribution on the sphere".
    """
    directions = checks.count("directions", directions, least=2)
    batch_size = min(checks.count("batch_size", batch_size), directions)
    params = checked_params(params)
    std = _positive_like("prior_std", prior_std, params)
    steps, log_determinant = _checked_steps(preconditioner, params, std)
    inside = _checked_inside(inside, params)
    rays = to_host(_rays(key, inside, params, std, steps, directions, batch_size))
    theta = ravel_pytree(params)[0] / std
    log_volumes = (
        log_ray_volume(rays.radius, rays.along, float(theta @ theta), theta.size)
        + rays.log_weight
        + 0.5 * log_determinant
    )
    return _combined(log_volumes, rays)


def log_permutations(*widths: int) -> float:
    """Return Σ ln(width!), nats, over the hidden layers: the log number of their permutations.

    They map the region to that many copies of the same prior probability and the same function.
    If no two of them overlap, log_volume + log_permutations is that of their union.
    """
    return float(sum(gammaln(checks.count("widths", width) + 1.0) for width in widths))


class _Steps(NamedTuple):
    """z -> scale (z + V'((stretch - 1) V z)), the step in units of the prior's."""

    scale: Float[Array, " P"]
    vectors: Float[Array, "k P"]
    stretch: Float[Array, " k"]


class _Rays(NamedTuple):
    """One ray or, stacked, all of them."""

    radius: Float[Array, "*rays"]
    along: Float[Array, "*rays"]
    log_weight: Float[Array, "*rays"]
    evaluations: Int[Array, "*rays"]


@partial(jax.jit, static_argnames=("directions", "batch_size"))
@fast_convolutions
def _rays(
    key: Array,
    inside: Partial,
    params: Any,
    std: Array,
    steps: _Steps,
    directions: int,
    batch_size: int,
) -> _Rays:
    """Follow every ray to its end; log_weight is (P/2) log u'Λ^{-1}u."""
    w, unravel = ravel_pytree(params)
    theta = w / std

    def follow(ray_key):
        z = jax.random.normal(ray_key, w.shape, w.dtype)
        step = steps.scale * (z + ((steps.stretch - 1.0) * (steps.vectors @ z)) @ steps.vectors)
        length = jnp.linalg.norm(step)
        direction = step / length
        along = theta @ direction
        radius, evaluations = first_exit(
            lambda t: inside(unravel(w + std * (t * direction))), along, w.size
        )
        log_weight = w.size * (jnp.log(jnp.linalg.norm(z)) - jnp.log(length))
        return _Rays(radius, along, log_weight, evaluations)

    return jax.lax.map(follow, jax.random.split(key, directions), batch_size=batch_size)


def _combined(log_volumes: np.ndarray, rays: Any) -> BasinVolume:
    """Join the rays into the mean over directions, its error and its status."""
    directions = len(log_volumes)
    log_total = float(logsumexp(log_volumes))
    if np.isfinite(log_total):
        shares = np.exp(log_volumes - log_total)
        error = float(np.std(directions * shares, ddof=1) / np.sqrt(directions))
        effective = float(1.0 / np.sum(shares**2))
    else:
        error, effective = np.nan, 0.0
    if effective == 0:
        status = "empty"
    elif effective < _LEAST_EFFECTIVE * directions:
        status = "few effective directions"
    elif error > _WIDEST:
        status = "imprecise"
    else:
        status = "ok"
    return BasinVolume(
        log_total - float(np.log(directions)),
        error,
        effective,
        log_volumes,
        rays.radius,
        status,
        int(rays.evaluations.sum()),
        float(np.isinf(rays.radius).mean()),
    )


def _checked_inside(inside: Callable, params: Any) -> Partial:
    """Check that the predicate is a boolean scalar and true at params."""
    if not callable(inside):
        raise ValueError(f"inside: got {type(inside).__name__}, wanted a function of params.")
    inside = inside if isinstance(inside, Partial) else Partial(inside)
    shape = checked_shape(_contains, inside, params, "inside", "one boolean")
    if not (hasattr(shape, "shape") and shape.shape == () and shape.dtype == bool):
        raise ValueError(
            f"inside: got {shape} from inside(params), wanted one boolean; try jnp.all(...) or a "
            "comparison."
        )
    if not bool(_contains(inside, params)):
        raise ValueError(
            "inside: got False at params, wanted parameters inside their own region; try a "
            "larger cutoff."
        )
    return inside


@jax.jit
def _contains(inside: Partial, params: Any) -> Array:
    return inside(params)


def _positive_like(name: str, tree: Any, params: Any) -> Float[Array, " P"]:
    """Return a pytree of positive numbers like params as a vector, (P,)."""
    structure: Any = jax.tree.structure(tree)
    wanted: Any = jax.tree.structure(params)
    if structure != wanted:
        raise ValueError(
            f"{name}: got {structure}, wanted the structure of params, {wanted}; try "
            "jax.tree.map(lambda w: 1.0, params)."
        )
    leaves = []
    for leaf, like in zip(jax.tree.leaves(tree), jax.tree.leaves(params), strict=True):
        values = checks.finite(name, leaf)
        if not (values > 0).all():
            raise ValueError(f"{name}: got {values.min()}, wanted numbers above 0 only.")
        if values.shape not in ((), like.shape):
            raise ValueError(f"{name}: got shape {values.shape}, wanted () or {like.shape}.")
        leaves.append(np.broadcast_to(values.astype(float), like.shape).ravel())
    return jnp.asarray(np.concatenate(leaves))


def _checked_steps(
    preconditioner: Preconditioner | None, params: Any, std: Array
) -> tuple[_Steps, float]:
    """Return the factor of Λ and ln|Λ|, both in units of the prior."""
    if preconditioner is None:
        return _Steps(jnp.ones_like(std), jnp.zeros((0, std.size)), jnp.zeros(0)), 0.0
    diagonal, vectors, variances = preconditioner
    scale = jnp.sqrt(_positive_like("preconditioner.diagonal", diagonal, params)) / std
    if vectors is None and variances is None:
        vectors, variances = np.zeros((0, std.size)), np.zeros(0)
    if vectors is None or variances is None:
        raise ValueError(
            "preconditioner: got one of vectors and variances, wanted both or neither."
        )
    rows = checks.finite("preconditioner.vectors", vectors, ndim=2).astype(float)
    along = checks.finite("preconditioner.variances", variances, ndim=1).astype(float)
    if rows.shape != (len(along), std.size) or not (along > 0).all():
        raise ValueError(
            f"preconditioner: got vectors {rows.shape} and variances {along.shape}, "
            f"smallest {along.min(initial=np.inf)}, wanted (k, {std.size}) and (k,) above 0."
        )
    excess = np.abs(rows @ rows.T - np.eye(len(along))).max(initial=0.0)
    if excess > _ORTHONORMAL:
        raise ValueError(
            f"preconditioner.vectors: got rows whose products differ from the identity by "
            f"{excess:.1e}, wanted orthonormal rows; try numpy.linalg.qr."
        )
    log_determinant = 2 * float(jnp.sum(jnp.log(scale))) + float(np.log(along).sum())
    return _Steps(scale, jnp.asarray(rows), jnp.sqrt(jnp.asarray(along))), log_determinant
