"""Inputs and their labels, and the check that every function of this room begins with."""

from typing import NamedTuple

import numpy as np

from flatvol_jax.runtime import checks


class Dataset(NamedTuple):
    """Labelled inputs.

    Attributes:
        x: (n, ...) float32; in [0, 1] as loaded.
        y: (n,) integers: class numbers, or -1 and +1 once binarised.
        name: where the inputs come from.
    """

    x: np.ndarray
    y: np.ndarray
    name: str


def checked(dataset: Dataset) -> Dataset:
    """Return the data set as NumPy arrays; ValueError unless finite and of matching shapes."""
    if not all(hasattr(dataset, part) for part in Dataset._fields):
        raise ValueError(
            f"dataset: got {checks.shown(dataset)}, wanted a Dataset(x, y, name), as fv.data.load "
            "gives."
        )
    if not isinstance(dataset.name, str):
        raise ValueError(f"dataset.name: got {checks.shown(dataset.name)}, wanted a string.")
    x = checks.float32("dataset.x", dataset.x)
    y = checks.concrete("dataset.y", dataset.y)
    if x.ndim < 2:
        raise ValueError(
            f"dataset.x: got shape {x.shape}, wanted (n, ...): one example a row, "
            "at least two dimensions."
        )
    if y.dtype.kind not in "iu":
        raise ValueError(f"dataset.y: got dtype {y.dtype}, wanted integers.")
    if y.shape != x.shape[:1]:
        raise ValueError(
            f"dataset.y: got shape {y.shape}, wanted {x.shape[:1]}: one label a row of x."
        )
    if not len(y):
        raise ValueError("dataset: got no examples, wanted at least one.")
    return Dataset(x, y, dataset.name)
