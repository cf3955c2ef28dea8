"""Newton's step towards EP's fixed point, by products with the Jacobian of an update.

An update maps cavities to sites, sites to the marginals that they make of the prior, and these to
new cavities. The first and the last map act on each output alone. The one between has with
Σ = (K^-1 + S)^-1, the covariance of the marginals, and m, their mean, the derivative

    dm = Σ (dν - m dτ),    d diag(Σ) = -(Σ ∘ Σ) dτ.

A product with the Jacobian costs O(n²) once Σ is there, which costs n³/3 operations in float32
from the factor's inverse: the step may be that inexact, since the next update finds its residual in
float64.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float
from scipy.linalg.blas import ssymv
from scipy.linalg.lapack import slauum
from scipy.sparse.linalg import LinearOperator, gmres

from flatvol_jax.volume.ep import Marginals, Sites, new_cavities, packed, point_sites

_ACCURACY = 1e-3  # of the linear equations, relative to their right-hand side
_PRODUCTS = 40  # at most, of a step
_FURTHEST = 5.0  # change of a coordinate; of order one each, few outputs would else run away

NewtonStep = Callable[[np.ndarray, np.ndarray, Sites, Marginals], np.ndarray]
"""point, residual g(x) - x, sites, marginals -> the next point."""


def newton_step(
    prior_variance: Float[np.ndarray, " n"],
    point: Float[np.ndarray, " points"],
    residual: Float[np.ndarray, " points"],
    sites: Sites,
    marginals: Marginals,
    inverse: Float[np.ndarray, "n n"],
) -> Float[np.ndarray, " points"]:
    """Return x + (I - ∂g/∂x)^-1 (g(x) - x), the equations solved by GMRES to a thousandth.

    No coordinate changes by more than 5.

    Args:
        prior_variance: of each output, (n,).
        point: x, (2n,), as `ep.Iterate` has it.
        residual: g(x) - x.
        sites: of x, signed by the labels.
        marginals: of these sites, signed by the labels.
        inverse: L^-1 of B = I + S^½ Y K Y S^½ = L L', Y = diag(y), lower triangular.
    """
    product = jacobian_product(prior_variance, point, sites, marginals, inverse)
    size = len(point)
    equations = LinearOperator((size, size), lambda v: v.ravel() - product(v.ravel()), dtype=float)
    step, _ = gmres(equations, residual, rtol=_ACCURACY, restart=_PRODUCTS, maxiter=1)
    return point + np.clip(step, -_FURTHEST, _FURTHEST)


def jacobian_product(
    prior_variance: Float[np.ndarray, " n"],
    point: Float[np.ndarray, " points"],
    sites: Sites,
    marginals: Marginals,
    inverse: Float[np.ndarray, "n n"],
) -> Callable[[Float[np.ndarray, " points"]], Float[np.ndarray, " points"]]:
    """Return v -> (∂g/∂x) v of the update g at x, to float32's precision.

    With B^-1 = (L^-1)' L^-1: Σ = S^-½ (I - B^-1) S^-½, whose diagonal is (1 - d)/τ.
    """
    precision = np.asarray(sites.precision)
    root, mean, uncertainty = np.sqrt(precision), marginals.mean, marginals.uncertainty
    to_sites, to_point = _derivatives(prior_variance, point, sites, mean, uncertainty)
    to_sites, to_point = np.asarray(to_sites), np.asarray(to_point)
    # slauum makes the lower triangle, the only one that ssymv reads.
    inverted, _ = slauum(inverse.astype(np.float32), lower=1, overwrite_c=1)
    squared = np.square(inverted)
    variance, twice = (1.0 - uncertainty) / precision, 1.0 - 2.0 * np.diagonal(inverted)

    def product(direction):
        halves = direction.reshape(2, -1)
        precisions, shifts = (to_sites * halves).sum(axis=1)
        force = (shifts - mean * precisions) / root
        means = (force - _symmetric_product(inverted, force)) / root
        share = precisions / precision
        variances = -(_symmetric_product(squared, share) + twice * share) / precision
        uncertainties = -variance * precisions - precision * variances
        parts = np.stack([means, uncertainties, precisions, shifts])
        return (to_point * parts).sum(axis=1).ravel()

    return product


def _symmetric_product(
    lower: Float[np.ndarray, "n n"], vector: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """Return the product with a symmetric float32 matrix, given by its lower triangle."""
    return ssymv(1.0, lower, vector.astype(np.float32), lower=1).astype(np.float64)


@jax.jit
def _derivatives(
    prior_variance: Array, point: Array, sites: Sites, mean: Array, uncertainty: Array
) -> tuple[Float[Array, "2 2 n"], Float[Array, "2 4 n"]]:
    """Return the derivatives of what acts on each output alone.

    Of (τ, ν) in the two halves of a point, and of the halves of the new point in the marginals'
    mean, d, τ and ν.
    """

    def sites_of(*halves):
        return jnp.stack(point_sites(prior_variance, jnp.concatenate(halves)))

    def point_of(mean, uncertainty, precision, shift):
        sites = Sites(precision, shift)
        new = packed(new_cavities(prior_variance, sites, mean, uncertainty))
        return new.reshape(2, -1)

    halves = tuple(jnp.split(point, 2))
    return _partials(sites_of, halves), _partials(point_of, (mean, uncertainty, *sites))


def _partials(function: Callable[..., Array], arguments: tuple[Any, ...]) -> Array:
    """Return ∂f_o/∂a_i of a function that acts on each output alone, (o, i, n)."""
    ones = jnp.ones_like(arguments[0])
    columns = []
    for place in range(len(arguments)):
        tangents = [jnp.zeros_like(ones)] * len(arguments)
        tangents[place] = ones
        columns.append(jax.jvp(function, arguments, tuple(tangents))[1])
    return jnp.stack(columns, axis=1)
