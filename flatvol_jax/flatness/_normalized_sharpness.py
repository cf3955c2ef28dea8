"""Normalized sharpness: the Hessian diagonal and the weights, balanced over rows and columns."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from flatvol_jax.flatness.paths import Path, weight_at
from flatvol_jax.runtime import checks
from flatvol_jax.runtime.printing import prints_its_fields


@prints_its_fields
class NormalizedSharpness(NamedTuple):
    """The measure and how its minimisation ended.

    Attributes:
        value: the sum over layers, in units of the square root of the loss.
        layers: the minimum of each layer, (layers,).
        iterations: of each, (layers,).
        residuals: Σ |∂/∂ln σ²| + Σ |∂/∂ln σ'²| of each, relative to its value, (layers,).
        converged: whether all residuals are at most the tolerance.
    """

    value: float
    layers: Float[np.ndarray, " layers"]
    iterations: Int[np.ndarray, " layers"]
    residuals: Float[np.ndarray, " layers"]
    converged: bool


def normalized_sharpness(
    diagonal: Any,
    params: Any,
    layers: Sequence[Path],
    tolerance: float = 1e-8,
    max_iterations: int = 10_000,
) -> NormalizedSharpness:
    """Return the normalized sharpness: Hessian diagonal and weights balanced in each layer.

        Σ_layers min over σ, σ' > 0 of Σ_ij h_ij (σ_i σ'_j)² + W_ij² / (σ_i σ'_j)².

    σ_i belongs to an input of the layer, σ'_j to an output (rows of a convolution are its
    fan-in: patch position and channel). Both sums have factor 1; with factors a and b, as a
    PAC-Bayes bound has them, the minimum is √(ab) times this one. Convex in ln σ, ln σ'; rows and
    columns are minimised in turn, each in closed form, until the gradient is below tolerance.

    Zeros of h and W are treated exactly: a term that goes to 0 along a direction in which no other
    grows does not count. Such are all terms of an input that is always 0 or of a dead unit.

    Unchanged under layer-wise and neuron-wise scaling, which multiply h by (α_i / α'_j)² and
    divide W² by it.

    Args:
        diagonal: ∂²L/∂w² as a pytree like params, not negative: `gauss_newton_diagonal`.
        params: pytree of parameters w.
        layers: paths of the weight matrices (..., fan_in, fan_out); biases stay out.
        tolerance: of the residual; the error of the value is of the order of its square.
        max_iterations: of each layer.

    Raises:
        ValueError: an unknown or repeated path, shapes that differ, a negative diagonal.

    Reference: Tsuzuku, Sato, Sugiyama 2020, "Normalized flat minima: exploring scale invariant
    definition of flat minima for neural networks using PAC-Bayesian analysis".
    """
    tolerance = checks.positive("tolerance", tolerance)
    max_iterations = checks.count("max_iterations", max_iterations)
    layers = list(layers)
    if not layers or len(set(layers)) < len(layers):
        raise ValueError(f"layers: got {layers!r}, wanted the paths of different weight matrices.")
    found = [
        _minimum(*_matrices(diagonal, params, layer), tolerance, max_iterations) for layer in layers
    ]
    values, iterations, residuals = map(np.array, zip(*found, strict=True))
    converged = bool((residuals <= tolerance).all())
    return NormalizedSharpness(float(values.sum()), values, iterations, residuals, converged)


def _matrices(diagonal: Any, params: Any, layer: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return h and W² of a layer, (fan_in, fan_out)."""
    weights = checks.finite("params", weight_at(params, layer)).astype(np.float64)
    curvature = checks.finite("diagonal", weight_at(diagonal, layer, "diagonal")).astype(np.float64)
    if curvature.shape != weights.shape:
        raise ValueError(
            f"diagonal: got shape {curvature.shape} at {layer!r}, wanted that of params there, "
            f"{weights.shape}."
        )
    if (curvature < 0).any():
        raise ValueError(
            f"diagonal: got {curvature.min():.3g} at {layer!r}, wanted no negative entries; try "
            "gauss_newton_diagonal."
        )
    shape = (-1, weights.shape[-1])
    return curvature.reshape(shape), weights.reshape(shape) ** 2


def _minimum(
    h: Float[np.ndarray, "rows columns"],
    v: Float[np.ndarray, "rows columns"],
    tolerance: float,
    max_iterations: int,
) -> tuple[float, int, float]:
    """Minimise Σ h_ij a_i b_j + v_ij / (a_i b_j), a, b > 0; return value, iterations, residual."""
    kept = _attained(h, v)
    h, v = h * kept, v * kept
    if not kept.any():
        return 0.0, 0, 0.0
    unit_h, unit_v = h.max(), v.max()  # the minimum is homogeneous of degree ½ in each
    h, v = h / unit_h, v / unit_v
    rows, columns = kept.any(axis=1), kept.any(axis=0)
    h, v = h[rows][:, columns], v[rows][:, columns]
    b, iterations, residual = np.ones(h.shape[1]), 0, np.inf
    while residual > tolerance and iterations < max_iterations:
        a = np.sqrt((v @ (1 / b)) / (h @ b))
        up, down = b * (a @ h), (1 / a) @ v / b  # of each column; those of the rows are equal
        value = up.sum() + down.sum()
        residual = np.abs(up - down).sum() / value
        b = b * np.sqrt(down / up)
        iterations += 1
    return float(np.sqrt(unit_h) * np.sqrt(unit_v) * value), iterations, float(residual)


def _attained(
    h: Float[np.ndarray, "rows columns"], v: Float[np.ndarray, "rows columns"]
) -> Bool[np.ndarray, "rows columns"]:
    """Tell which terms stay above 0 at the infimum, (rows, columns).

    A direction (p, -q) of (ln a, ln b) along which nothing grows has p_i ≤ q_j where h_ij > 0
    and p_i ≥ q_j where v_ij > 0: an order on the graph with an edge for each term. A term can go
    to 0, all such terms at once, unless its ends are in one strongly connected component.
    """
    rows, columns = h.shape
    to_column, to_row = np.nonzero(h), np.nonzero(v)
    start = np.concatenate([to_column[0], to_row[1] + rows])
    end = np.concatenate([to_column[1] + rows, to_row[0]])
    graph = coo_array((np.ones(len(start), np.int8), (start, end)), shape=(rows + columns,) * 2)
    _, component = connected_components(graph, connection="strong")
    return (component[:rows, None] == component[rows:]) & ((h > 0) | (v > 0))
