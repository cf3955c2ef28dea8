"""Inputs of a network: finite numbers, real or whole as they came."""

from typing import Any

import numpy as np

from flatvol_jax.models.cnn import CNN
from flatvol_jax.models.fcn import FCN
from flatvol_jax.models.resnet import ResNet
from flatvol_jax.models.spec import Spec
from flatvol_jax.models.stax_model import StaxModel
from flatvol_jax.runtime import checks

KNOWN_SPECS = (CNN, FCN, ResNet)
_REAL = (*KNOWN_SPECS, StaxModel)  # whose inputs are real numbers


def network_inputs(spec: Spec, name: str, x: Any) -> np.ndarray:
    """Return finite inputs: real numbers as float32, integers and bool as they came.

    A network of one's own gets integers as integers, for an embedding needs them; a convolution
    or a dense layer of Flax turns uint8 pixels 0 ... 255 into the same real numbers, without
    scaling. Integers of 64 bits become int32, which is what JAX makes of them. fv.FCN, fv.CNN,
    fv.ResNet and fv.StaxModel compute with real numbers, so they get float32 whatever came.

    Raises:
        ValueError: text, objects, a sparse matrix, complex numbers, NaN or infinite entries,
            numbers beyond float32, integers beyond int32.
    """
    array = checks.finite(name, x)
    if array.dtype.kind not in "iub" or isinstance(spec, _REAL):
        return checks.float32(name, array)
    return checks.whole_numbers(name, array)


def float64_inputs(x: np.ndarray) -> np.ndarray:
    """Return inputs for a float64 scope: real numbers as float64, integers and bool as they are."""
    return x if x.dtype.kind in "iub" else x.astype(np.float64)
