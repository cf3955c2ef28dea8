"""A ray from the parameters: where it leaves a region, and the prior probability along it.

The prior is N(0, I) in P dimensions, the ray θ + r u with |u| = 1.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int
from scipy.special import gammaln, logsumexp

_FIRST = 1e-4  # of the radius that holds a ray's mass: where the search begins
_GROWTH = 1.25  # of the radius from one point of the grid to the next
_TOLERANCE = 1e-3  # nats of a ray's log volume, which is P times that of its log radius
_VANISHED = 1e-30  # of the same radius; below it a ray has no length
_REACH = 10.0  # beyond the mode by this much a ray's density has fallen by 50 nats or more
_DEPTH = 45.0  # nats below the mode where the radial integral is cut off
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(100)


def first_exit(
    inside_at: Callable[[Array], Array], along: Float[Array, ""], size: int
) -> tuple[Float[Array, ""], Int[Array, ""]]:
    """Return the last radius found inside before the first exit, and the evaluations it took.

    A geometric grid up to where the first point lies outside, then bisection in log r. Traceable.

    Args:
        inside_at: radius -> boolean scalar.
        along: θ·u, a scalar.
        size: P.

    Returns:
        The radius in standard deviations of the prior, inf where the ray never leaves, and a count.
    """
    limit = _mode(along, size) + _REACH

    def searching(state):
        last, first, _ = state
        walking = jnp.isinf(first) & (last < limit)
        apart = size * (jnp.log(first) - jnp.log(last)) > _TOLERANCE
        return walking | (jnp.isfinite(first) & apart & (first > _VANISHED * limit))

    def look(state):
        last, first, evaluations = state
        ahead = jnp.where(last > 0, _GROWTH * last, _FIRST * limit)
        between = jnp.where(last > 0, jnp.sqrt(last) * jnp.sqrt(first), _FIRST * first)
        radius = jnp.where(jnp.isinf(first), ahead, between)
        stays = inside_at(radius)
        return (
            jnp.where(stays, radius, last),
            jnp.where(stays, first, radius),
            evaluations + 1,
        )

    last, first, evaluations = jax.lax.while_loop(
        searching, look, (jnp.zeros_like(limit), jnp.full_like(limit, jnp.inf), jnp.array(0))
    )
    return jnp.where(jnp.isinf(first), jnp.inf, last), evaluations


def log_ray_volume(
    radius: Float[np.ndarray, "*rays"] | float,
    along: Float[np.ndarray, "*rays"] | float,
    square: float,
    size: int,
) -> Float[np.ndarray, "*rays"]:
    """Return the log prior probability along every ray up to its radius R, nats.

        ln A_P ∫_0^R r^{P-1} (2π)^{-P/2} exp(-(|θ|² + 2 r θ·u + r²)/2) dr

    Gauss-Legendre on the part of [0, R] where the integrand, which is log-concave, lies within 45
    nats of its maximum; to rounding, which is about 1e-16 P.

    Args:
        radius: R in standard deviations of the prior, at least 0, may be inf; (rays,).
        along: θ·u, (rays,).
        square: |θ|².
        size: P.

    Returns:
        nats, (rays,); -inf where R = 0.
    """
    power = size - 1.0
    radius, along = np.broadcast_arrays(np.asarray(radius, float), np.asarray(along, float))
    mode = _mode(along, size)
    top = np.minimum(mode, radius)
    with np.errstate(divide="ignore", invalid="ignore"):
        # The integrand is top^{P-1} exp(-top²/2 - top θ·u) exp(-fall(r - top)) with
        # fall(x) = power (x/top - log(1 + x/top)) - slope x + x²/2.
        climbing = power / radius - radius - along
        slope = np.where(radius < mode, climbing, np.where(size == 1, -along - top, 0.0))
        bend = power / top**2 + 1.0 if size > 1 else 1.0
        behind = 2 * _DEPTH / (np.abs(slope) + np.sqrt(slope**2 + 2 * bend * _DEPTH))
        ahead = 2 * _DEPTH / (np.abs(slope) + np.sqrt(slope**2 + 2 * _DEPTH))
        if size > 1:
            ratio = _DEPTH / power
            ahead = np.minimum(ahead, top * (ratio + np.sqrt(ratio**2 + 2 * ratio)))
        low, high = -np.minimum(behind, top), np.minimum(ahead, radius - top)
        half = 0.5 * (high - low)
        x = low[..., None] + half[..., None] * (_NODES + 1.0)
        fall = 0.5 * x**2 - slope[..., None] * x
        if size > 1:
            relative = x / top[..., None]
            fall = fall + power * (relative - np.log1p(relative))
        peak = -0.5 * top**2 - top * along + (power * np.log(top) if size > 1 else 0.0)
        integral = np.log(half) + logsumexp(-fall, b=_WEIGHTS, axis=-1) + peak
    constant = (1.0 - 0.5 * size) * np.log(2.0) - gammaln(0.5 * size) - 0.5 * square
    return np.where(radius > 0, constant + integral, -np.inf)


def _mode(along, size: int):
    """Return the maximum of r^{P-1} exp(-r²/2 - r θ·u) over r ≥ 0, without cancellation."""
    numpy = jnp if isinstance(along, Array) else np
    root = 0.5 * (numpy.abs(along) + numpy.sqrt(along**2 + 4.0 * (size - 1.0)))
    return numpy.where(along > 0, (size - 1.0) / numpy.maximum(root, 1e-300), root)
