"""log Φ and the hazard φ/Φ to full precision, arbitrarily far into the lower tail."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.scipy.special import log_ndtr
from jaxtyping import Float

from flatvol_jax.runtime.arrays import AnyArray

_TAIL = -4.0  # below it the continued fraction converges to double precision in 80 terms
_TERMS = 80
_HALF_LOG_2PI = 0.9189385332046727


class NormalTail(NamedTuple):
    """Φ at `a` and the moments of a standard normal truncated to z > -a.

    Attributes:
        log_cdf: log Φ(a).
        hazard: h = φ(a)/Φ(a), the shift of the truncated mean.
        shrinkage: h (a + h), by how much the truncated variance falls short of 1.
        variance: 1 - h (a + h), the truncated variance, without cancellation.
    """

    log_cdf: Float[Array, "*shape"]
    hazard: Float[Array, "*shape"]
    shrinkage: Float[Array, "*shape"]
    variance: Float[Array, "*shape"]


def normal_tail(a: Float[AnyArray, "*shape"]) -> NormalTail:
    """Return log Φ(a), h = φ(a)/Φ(a), h(a+h) and 1 - h(a+h), elementwise.

    For a < -4 Laplace's continued fraction of Mills' ratio, with x = -a,
    h = x + 1/(x + 2/(x + 3/(x + ...))), gives a + h and the variance as ratios of positive
    numbers; subtracting φ/Φ from |a| would lose all digits by a = -1e4.

    Reference: Abramowitz and Stegun 26.2.14.
    """
    tail = a < _TAIL
    x = jnp.where(tail, -a, -_TAIL)
    rest = jnp.zeros_like(x)
    for k in range(_TERMS, 1, -1):
        rest = k / (x + rest)
    excess = 1.0 / (x + rest)  # a + h
    centre = jnp.where(tail, 0.0, a)
    log_pdf = -0.5 * a**2 - _HALF_LOG_2PI
    hazard = jnp.where(
        tail, x + excess, jnp.exp(-0.5 * centre**2 - _HALF_LOG_2PI - log_ndtr(centre))
    )
    log_cdf = jnp.where(tail, log_pdf - jnp.log(x + excess), log_ndtr(centre))
    shrinkage = hazard * jnp.where(tail, excess, centre + hazard)
    variance = jnp.where(tail, (rest - excess) / (x + rest), 1.0 - shrinkage)
    return NormalTail(log_cdf, hazard, shrinkage, variance)
