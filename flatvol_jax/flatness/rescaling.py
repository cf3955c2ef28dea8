"""Symmetries of rectified and of normalised layers: other parameters, the same function.

Layers are given by the paths of their arrays (paths.py). Results are NumPy arrays of the dtypes
that came in; scaling by a power of two is exact.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int, Real

from flatvol_jax.flatness.paths import Path, leaf_at, replace_leaf, weight_at
from flatvol_jax.runtime import checks


def rescale(
    params: Any,
    incoming: Sequence[Path],
    outgoing: Sequence[Path],
    alpha: float | Real[np.ndarray, " #units"],
) -> Any:
    """Scale a rectified layer by α and the weights that read it by 1/α (eqs 1 and 8).

        (W_i, b_i, W_{i+1}) -> (α W_i, α b_i, W_{i+1} / α)

    φ(αz) = α φ(z) for φ = ReLU and α > 0, so the network's output stays. With one α for each unit
    of the layer this is neuron-wise. Poolings and averages between the layers commute with it.

    Args:
        params: pytree of parameters.
        incoming: paths of what makes the layer's units: weights (..., fan_in, units) and bias
            (units,). All of them must be named.
        outgoing: paths of the weights (..., fan_in, fan_out) that read the units; a fan_in of
            several times the units is pixels x channels, flattened with the channels last.
        alpha: above 0; one number, or (units,).

    Raises:
        ValueError: α ≤ 0, an unknown path, sizes that do not fit each other.

    Reference: Dinh et al. 2017 for layers, Neyshabur et al. 2015 for units.
    """
    params = _arrays("params", params)
    factors = _factors(params, incoming, alpha)
    for path in incoming:
        params = replace_leaf(params, path, _scaled(leaf_at(params, path), factors))
    for path in outgoing:
        weights = weight_at(params, path, "outgoing")
        divisors = np.tile(factors, _repeats(path, weights, len(factors)))[:, None]
        params = replace_leaf(params, path, _scaled(weights, 1.0 / divisors))
    return params


def permute(
    params: Any,
    incoming: Sequence[Path],
    outgoing: Sequence[Path],
    order: Int[np.ndarray, " units"],
) -> Any:
    """Put the units of a layer into another order; the network's function stays.

    Args:
        params: pytree of parameters.
        incoming: paths of what makes the units, as in `rescale`.
        outgoing: paths of the weights that read them, as in `rescale`.
        order: a permutation of the units, (units,).

    Raises:
        ValueError: an order that is none, an unknown path, sizes that do not fit each other.
    """
    params = _arrays("params", params)
    units, order = _units(params, incoming), checks.concrete("order", order)
    if order.dtype.kind not in "iu" or sorted(order.tolist()) != list(range(units)):
        raise ValueError(f"order: got {order}, wanted a permutation of 0 ... {units - 1}.")
    for path in incoming:
        params = replace_leaf(params, path, leaf_at(params, path)[..., order])
    for path in outgoing:
        weights = weight_at(params, path, "outgoing")
        _repeats(path, weights, units)
        blocks = weights.reshape(*weights.shape[:-2], -1, units, weights.shape[-1])
        params = replace_leaf(params, path, blocks[..., order, :].reshape(weights.shape))
    return params


def rescale_normalised(
    params: Any,
    statistics: Any,
    incoming: Sequence[Path],
    mean: Path,
    variance: Path,
    alpha: float | Real[np.ndarray, " #units"],
    epsilon: float,
) -> tuple[Any, Any]:
    """Scale the layer before a BatchNorm in inference mode, (W, b) -> (αW, αb), and its statistics.

    (z - μ) / √(v + ε) stays where z -> αz, μ -> αμ, v -> α²(v + ε) - ε. Nothing after the
    normalisation changes. For a small α the new v may be below zero; v + ε stays positive.

    Args:
        params: pytree of parameters.
        statistics: pytree of running statistics, as flax's "batch_stats".
        incoming: paths in params of what makes z: weights (..., units), bias (units,).
        mean: path in statistics of μ, (units,).
        variance: path in statistics of v, (units,).
        alpha: above 0; one number, or (units,).
        epsilon: the layer's own ε, 1e-5 in flax.

    Returns:
        params and statistics.

    Raises:
        ValueError: α ≤ 0, ε < 0, an unknown path, sizes that do not fit each other.
    """
    params, statistics = _arrays("params", params), _arrays("statistics", statistics)
    epsilon = checks.non_negative("epsilon", epsilon)
    factors = _factors(params, incoming, alpha)
    for path in incoming:
        params = replace_leaf(params, path, _scaled(leaf_at(params, path), factors))
    running = leaf_at(statistics, variance)
    if running.shape != factors.shape:
        raise ValueError(
            f"variance: got shape {running.shape} at {variance!r}, wanted {factors.shape}."
        )
    moved = factors**2 * (running.astype(np.float64) + epsilon) - epsilon
    statistics = replace_leaf(statistics, variance, moved.astype(running.dtype))
    statistics = replace_leaf(statistics, mean, _scaled(leaf_at(statistics, mean), factors))
    return params, statistics


def _repeats(path: Path, weights: np.ndarray, units: int) -> int:
    """Return how many pixels of all units a flattened input has."""
    repeats, rest = divmod(weights.shape[-2], units)
    if rest:
        raise ValueError(
            f"outgoing: got {weights.shape[-2]} inputs at {path!r}, wanted a multiple of the "
            f"layer's {units} units."
        )
    return repeats


def _units(params: Any, incoming: Sequence[Path]) -> int:
    if len(set(incoming)) < len(incoming):
        raise ValueError(f"incoming: got {incoming}, wanted every path once.")
    sizes = {leaf_at(params, path).shape[-1:] for path in incoming}
    if len(sizes) != 1 or sizes <= {(), (0,)}:
        units = sorted(sum(size) for size in sizes)
        raise ValueError(
            f"incoming: got arrays of {units} units, wanted the paths of one layer's weights and "
            "bias."
        )
    return sizes.pop()[0]


def _factors(
    params: Any, incoming: Sequence[Path], alpha: float | Real[np.ndarray, " #units"]
) -> Float[np.ndarray, " units"]:
    """Return α for each unit, (units,) float64."""
    units = _units(params, incoming)
    factors = checks.finite("alpha", alpha).astype(np.float64)
    if factors.shape not in ((), (units,)):
        raise ValueError(
            f"alpha: got shape {factors.shape}, wanted one number or one for each of {units} units."
        )
    if not (factors > 0).all():
        raise ValueError(f"alpha: got {alpha}, wanted numbers above 0: a rectifier keeps no sign.")
    return np.broadcast_to(factors, (units,))


def _arrays(name: str, tree: Any) -> Any:
    """Return the pytree with NumPy arrays of finite numbers."""
    checks.leaves(name, tree)
    return jax.tree.map(lambda leaf: checks.finite(name, leaf), tree)


def _scaled(array: np.ndarray, factors: np.ndarray) -> np.ndarray:
    if not jax.numpy.issubdtype(array.dtype, np.floating):
        raise ValueError(f"params: got dtype {array.dtype}, wanted floating numbers to scale.")
    with np.errstate(over="ignore"):
        scaled = (array.astype(np.float64) * factors).astype(array.dtype)
    if not np.isfinite(scaled).all():
        raise ValueError(
            f"alpha: got factors up to {np.max(factors):.3g}, which overflow {array.dtype}; try a "
            "wider type or factors closer to 1."
        )
    return scaled
