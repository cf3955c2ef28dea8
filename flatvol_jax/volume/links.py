"""The links P(y | z), and what one of them does to a Gaussian: normaliser, moments, site."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from flatvol_jax.volume.normal_tail import normal_tail

# P(y | z) = Φ(y z / s), with s² the variance of the noise on the output: 0 is the hard
# threshold 1[y z > 0] of the paper's text; 1 equals it with K replaced by K + I.
LINK_VARIANCE = {"heaviside": 0.0, "probit": 1.0}


class Tilted(NamedTuple):
    """The tilted distribution N(z; m, v) Φ(z/s) / Z, in coordinates signed by the label.

    Attributes:
        log_normaliser: log Z.
        mean: its mean.
        variance: its variance.
        precision: of the Gaussian site that turns N(m, v) into these moments; positive.
        shift: precision times mean of that site.
    """

    log_normaliser: Array
    mean: Array
    variance: Array
    precision: Array
    shift: Array


def tilt(mean: Array, variance: Array, link_variance: Array | float) -> Tilted:
    """Moments of N(z; m, v) Φ(z/s), elementwise.

    With c² = v + s², a = m/c and h = φ(a)/Φ(a): log Z = log Φ(a), mean m + v h/c, variance
    v - v² h(a+h)/c² (Rasmussen and Williams 2006, eqs 3.58, 3.82, 3.85). The site is written
    as β/(1 - vβ) with β = h(a+h)/c², which keeps its digits when it is all but flat.
    """
    scale = jnp.sqrt(variance + link_variance)
    tail = normal_tail(mean / scale)
    curvature = tail.shrinkage / scale**2
    # v̂/v; for s² = 0 it is the truncated variance itself, free of cancellation.
    kept = (variance * tail.variance + link_variance) / scale**2
    slope = tail.hazard / scale
    return Tilted(
        tail.log_cdf,
        mean + variance * slope,
        variance * kept,
        curvature / kept,
        (mean * curvature + slope) / kept,
    )
