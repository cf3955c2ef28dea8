"""Inputs and their labels, and the check that every function of this room begins with."""

from typing import NamedTuple

import numpy as np

from flatvol_jax.runtime import checks
from flatvol_jax.runtime.printing import prints_its_fields


@prints_its_fields
class Dataset(NamedTuple):
    """Labelled inputs.

    Attributes:
        x: (n, ...) float32; in [0, 1] as loaded.
        y: (n,) integers: class numbers, or -1 and +1 once binarised.
        name: where the inputs come from.
        is_test: (n,) bool, the examples of the source's own test split; None where it has none.
    """

    x: np.ndarray
    y: np.ndarray
    name: str
    is_test: np.ndarray | None = None

    def keep(self, rows: np.ndarray) -> "Dataset":
        """Return the data set of these rows, an index or a mask."""
        is_test = None if self.is_test is None else self.is_test[rows]
        return Dataset(self.x[rows], self.y[rows], self.name, is_test)


def checked(dataset: Dataset) -> Dataset:
    """Return the data set as NumPy arrays; ValueError unless finite and of matching shapes."""
    if not all(hasattr(dataset, part) for part in ("x", "y", "name")):
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
    is_test = getattr(dataset, "is_test", None)
    if is_test is not None:
        is_test = checks.concrete("dataset.is_test", is_test)
        if is_test.dtype != bool or is_test.shape != y.shape:
            raise ValueError(
                f"dataset.is_test: got {is_test.dtype} of shape {is_test.shape}, wanted bool "
                f"{y.shape}, or None."
            )
    return Dataset(x, y, dataset.name, is_test)
