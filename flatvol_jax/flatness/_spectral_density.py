"""Spectral density of the Hessian by stochastic Lanczos quadrature."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float
from scipy import stats

from flatvol_jax.flatness import lanczos
from flatvol_jax.flatness._composed import LossFunction
from flatvol_jax.flatness.hessian import without_rounding
from flatvol_jax.flatness.objective import (
    Loss,
    checked_objective,
    checked_operator,
    curvature_product,
)
from flatvol_jax.runtime import checks
from flatvol_jax.runtime.convolutions import fast_convolutions
from flatvol_jax.runtime.precision import float64_scope
from flatvol_jax.runtime.printing import prints_its_fields


@prints_its_fields
class SpectralDensity(NamedTuple):
    """A quadrature of the spectrum for each probe: ∫ f dμ ≈ mean over probes of Σ_j w_j f(λ_j).

    μ puts the mass 1/P on each eigenvalue. Means over the probes are unbiased for every
    polynomial f of degree at most 2 depth - 1.

    Attributes:
        nodes: Ritz values λ_j, (probes, depth); 0 exactly where they are within rounding of zero,
            so that shares of negative and of positive eigenvalues count no zeros.
        weights: (probes, depth), a row sums to one.
        size: P.
    """

    nodes: Float[np.ndarray, "probes depth"]
    weights: Float[np.ndarray, "probes depth"]
    size: int

    def mean(self, function: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean of `function(λ)` over the spectrum and its standard error over probes.

        Args:
            function: of an array (probes, depth), to (..., probes, depth). P times the mean of
                λ is the trace, of λ² the squared Frobenius norm.
        """
        means = np.sum(self.weights * function(self.nodes), axis=-1)  # one a probe
        spread = np.std(means, axis=-1, ddof=1) / np.sqrt(len(self.nodes))
        return np.mean(means, axis=-1), spread

    def cumulative(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Share of the eigenvalues of at most `points`, and its standard error over probes."""
        return self.mean(lambda nodes: nodes <= np.asarray(points)[..., None, None])

    def density(self, points: np.ndarray, width: float) -> tuple[np.ndarray, np.ndarray]:
        """Return μ convolved with a Gaussian of deviation `width`, and its standard error."""
        width = checks.positive("width", width)
        return self.mean(
            lambda nodes: stats.norm.pdf(np.asarray(points)[..., None, None], nodes, width)
        )


@float64_scope
def spectral_density(
    key: Array,
    loss: LossFunction,
    params: Any,
    probes: int = 8,
    depth: int = 80,
    operator: str = "hessian",
) -> SpectralDensity:
    """Return quadratures of the spectrum of ∇²L(w) from `probes` random start vectors.

    A probe z, uniform on the sphere, spans a Krylov space whose tridiagonal matrix
    T = S Λ S' has the Ritz values as nodes and S_1j² as weights: E z'f(H)z = ∫ f dμ.

    Args:
        key: for the probes.
        loss: mean loss, params -> scalar; see `sharpness` on how often it is compiled.
        params: pytree of parameters w.
        probes: start vectors, at least 2, for a standard error.
        depth: Lanczos steps of each, at most the number of parameters.
        operator: "hessian", or "gauss_newton" for a loss made by `flatness.composed`.

    Raises:
        ValueError: a loss that is not a finite scalar, sizes that do not fit.

    Reference: Ghorbani, Krishnan and Xiao 2019; Ubaru, Chen and Saad 2017.
    """
    objective = checked_objective(loss, params)
    checked_operator(operator, objective.loss)
    probes, depth = checks.count("probes", probes, least=2), checks.count("depth", depth)
    size = sum(np.size(leaf) for leaf in jax.tree.leaves(objective.params))
    if depth > size:
        raise ValueError(f"depth: got {depth}, wanted at most the number of parameters, {size}.")
    nodes, weights = _quadratures(
        jax.random.split(key, probes), objective.loss, objective.params, operator, depth
    )
    return SpectralDensity(without_rounding(np.asarray(nodes), size), np.asarray(weights), size)


@partial(jax.jit, static_argnames=("operator", "depth"))
@fast_convolutions
def _quadratures(keys: Array, loss: Loss, params: Any, operator: str, depth: int):
    product, size = curvature_product(loss, params, operator)

    def quadrature(key):
        state = lanczos.extend(key, product, lanczos.begin(key, size), depth)
        nodes, rotation = jnp.linalg.eigh(lanczos.tridiagonal_matrix(state))
        return nodes, rotation[0] ** 2

    return jax.lax.map(quadrature, keys)
