"""A perturbative correction of EP's log Z: the second-order terms that EP leaves out."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float

from flatvol_jax.runtime.arrays import AnyArray
from flatvol_jax.runtime.printing import prints_its_fields
from flatvol_jax.volume.ep import Cavities
from flatvol_jax.volume.normal_tail import normal_tail

_TRUSTED_RATIO = 0.3  # |c4 / c3| beyond which the series has not begun to converge


@prints_its_fields
class Correction(NamedTuple):
    """Terms of log Z - log Z_EP, nats.

    Attributes:
        third: c3, the term of the third cumulants, which is added to EP.
        fourth: c4, the next one, which is not added and shows how fast the series falls.
        reliable: |c4| <= 0.3 |c3|, or both below 1e-3 nats. False on nearly constant functions
            of strongly correlated kernels, where the corrected value is not to be trusted.
    """

    third: Float[AnyArray, "*shape"]
    fourth: Float[AnyArray, "*shape"]
    reliable: Bool[AnyArray, "*shape"]


def tilted_cumulants(
    mean: Float[AnyArray, " n"], variance: Float[AnyArray, " n"]
) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    """Return the third and fourth cumulant of N(z; m, v) 1[z > 0], signed by the label.

    With b = √v, a = m/b and h = φ(a)/Φ(a), the cumulant generating function is
    mt + vt²/2 + log Φ(a + bt) - log Φ(a), so that κ_l = b^l (d/da)^(l-1) h for l >= 3:
    h' = -h(a+h), κ3 = b³ h [(a+h)(a+2h) - 1] and
    κ4 = b⁴ {h' [(a+h)(a+2h) - 1] + h [(1+h')(a+2h) + (a+h)(1+2h')]}.
    """
    b = jnp.sqrt(variance)
    tail = normal_tail(mean / b)
    h, slope = tail.hazard, -tail.shrinkage
    excess = tail.shrinkage / h  # a + h, without cancellation in the lower tail
    bracket = excess * (excess + h) - 1.0
    third = b**3 * h * bracket
    change = tail.variance * (excess + h) + excess * (1.0 + 2.0 * slope)
    return third, b**4 * (slope * bracket + h * change)


@jax.jit
def second_order_correction(
    covariance: Float[AnyArray, "n n"], labels: Float[AnyArray, " n"], cavity: Cavities
) -> Correction:
    """Return the first two terms that EP leaves out of log Z, from third and fourth cumulants.

        c_l = ½ Σ_{i≠j} κ_l,i κ_l,j W_ij^l / l! for l = 3 and 4, W_ij = Σ_ij / (Σ_ii Σ_jj)

    The tilted distributions differ from EP's Gaussian N(m, Σ) by their cumulants from the
    third on; to second order in them each pair of points adds its own term. All is signed by
    the labels. It costs O(n²) once Σ is there.

    Args:
        covariance: Σ of EP's Gaussian at its fixed point, (n, n).
        labels: ±1, (n,).
        cavity: EP's cavities, in the coordinates of z.

    Reference: Opper, Paquet and Winther, JMLR 14 (2013), eq. 35.
    """
    third, fourth = tilted_cumulants(labels * cavity.mean, cavity.variance)
    variance = jnp.diagonal(covariance)
    # The diagonal is left out by subtracting it: κ_i² W_ii^l with W_ii = 1/Σ_ii.
    terms = []
    for order, cumulant in ((3, third), (4, fourth)):
        scaled = cumulant / variance**order
        signed = scaled * labels**order
        pairs = signed @ (covariance**order @ signed) - jnp.sum(scaled**2 * variance**order)
        terms.append(0.5 * pairs / (6.0 if order == 3 else 24.0))
    return judged_correction(*terms)


def judged_correction(third: Float[Array, ""], fourth: Float[Array, ""]) -> Correction:
    """Say of c3 and c4 whether the series that they begin falls."""
    least = jnp.maximum(_TRUSTED_RATIO * jnp.abs(third), 1e-3 * _TRUSTED_RATIO)
    return Correction(third, fourth, jnp.abs(fourth) <= least)
