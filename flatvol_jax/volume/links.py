"""The links P(y | z), and what the hard one does to a Gaussian: normaliser, moments, site."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Float

from flatvol_jax.runtime.arrays import AnyArray
from flatvol_jax.volume.normal_tail import normal_tail

LINK_VARIANCE = {"heaviside": 0.0, "probit": 1.0}
"""P(y | z) = Φ(y z / s), with s² the variance of the noise on the output: 0 is the hard
threshold 1[y z > 0] of the paper's text. Any other is the hard one on the noisy output, K + s² I
in place of K, and so it is computed: EP has the same fixed point and sampling less variance."""


class Tilted(NamedTuple):
    """The tilted distribution N(z; m, v) 1[z > 0] / Z, in coordinates signed by the label.

    Attributes:
        log_normaliser: log Z.
        mean: its mean.
        variance: its variance.
        precision: of the Gaussian site that turns N(m, v) into these moments; positive.
        shift: precision times mean of that site.
    """

    log_normaliser: Float[AnyArray, "*shape"]
    mean: Float[AnyArray, "*shape"]
    variance: Float[AnyArray, "*shape"]
    precision: Float[AnyArray, "*shape"]
    shift: Float[AnyArray, "*shape"]


def tilt(mean: Float[AnyArray, "*shape"], variance: Float[AnyArray, "*shape"]) -> Tilted:
    """Return the moments of N(z; m, v) 1[z > 0] and their Gaussian site, elementwise.

    With a = m/√v and h = φ(a)/Φ(a): log Z = log Φ(a), mean m + √v h, variance v (1 - h(a+h))
    (Rasmussen and Williams 2006, eqs 3.58, 3.82, 3.85, for the hard link). The site is written
    as β/(1 - vβ) with β = h(a+h)/v, which keeps its digits when it is all but flat.
    """
    scale = jnp.sqrt(variance)
    tail = normal_tail(mean / scale)
    curvature, slope = tail.shrinkage / variance, tail.hazard / scale
    return Tilted(
        tail.log_cdf,
        mean + variance * slope,
        variance * tail.variance,
        curvature / tail.variance,
        (mean * curvature + slope) / tail.variance,
    )
