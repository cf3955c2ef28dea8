"""Rescalings of a spec's own layers: which arrays belong to a layer is the spec's to know."""

import numpy as np

from flatvol_jax.flatness import permute, rescale
from flatvol_jax.models import Spec, checked_spec
from flatvol_jax.models.spec import Params, RectifiedLayer
from flatvol_jax.runtime import checks


def alpha_scale(spec: Spec, params: Params, layer: int, alpha: float | np.ndarray) -> Params:
    """Return (α W_i, α b_i, W_{i+1} / α) in place of (W_i, b_i, W_{i+1}) (eq. 8); b_{i+1} stays.

    The function does not change: bit for bit where α is a power of two, else up to rounding.

    Args:
        spec: the network.
        params: its parameters.
        layer: i, from 1; a rectifier follows it.
        alpha: above 0; one number, or one for each unit (neuron-wise).

    Returns:
        Parameters of the same structure and dtypes, as NumPy arrays.

    Raises:
        ValueError: a layer that no rectifier follows, α ≤ 0.
    """
    return rescale(params, *rectified_layer(spec, layer), alpha)


def permute_units(spec: Spec, params: Params, layer: int, order: np.ndarray) -> Params:
    """Return the units of hidden layer `layer`, from 1, in another order; the function stays."""
    return permute(params, *rectified_layer(spec, layer), order)


def rectified_layer(spec: Spec, layer: int) -> RectifiedLayer:
    """Return the paths of layer i, from 1; a layer that no rectifier follows is a ValueError."""
    layers = checked_spec(spec).rectified_layers()
    if layers is None:
        raise ValueError(
            f"spec: got {type(spec).__name__}, which does not know where its rectifiers are. Name "
            "the arrays of the layer: fv.flatness.rescale(params, incoming, outgoing, alpha)."
        )
    if checks.count("layer", layer) > len(layers):
        raise ValueError(
            f"layer: got {layer}, wanted one that a rectifier follows, 1 to {len(layers)}; the "
            "readout is linear and has no layer after it to scale back."
        )
    return layers[layer - 1]
