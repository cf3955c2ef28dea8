"""Data of one's own: arrays in memory, or an .npz of them, as a `Dataset`."""

from typing import Any

import numpy as np
from etils import epath

from flatvol_jax.data.dataset import Dataset, checked
from flatvol_jax.runtime import checks, files
from flatvol_jax.runtime.hashing import array_hash

SUFFIX = ".npz"
_ARRAYS = ("x", "y")


def from_arrays(x: Any, y: Any, name: str = "arrays", is_test: Any = None) -> Dataset:
    """Return a data set of one's own arrays, which every call of this room takes.

    Args:
        x: (n, ...) real numbers, one example a row, as they are to be. `fv.data.preprocess`
            wants them in [0, 1] for "unit"; "none" takes any.
        y: (n,) labels: class numbers, or -1 and +1; whole numbers of any type.
        name: stands for the data where they are printed.
        is_test: (n,) bool, the examples of a test set of its own, from which E2 is taken first;
            None where there is none.

    Raises:
        ValueError: shapes that do not fit each other, numbers that are not finite, labels that
            are not whole.
    """
    labels = checks.finite("y", y)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.dtype.kind not in "iu":
        whole = labels.astype(np.float64)
        if labels.dtype.kind == "b" or (whole % 1).any():
            raise ValueError(
                f"y: got {labels.dtype} labels {np.unique(labels)[:4].tolist()}, wanted class "
                "numbers, or -1 and +1. Of a bool b take 2 * b.astype(int) - 1."
            )
        labels = whole
    if labels.size and np.abs(labels).max() > np.iinfo(np.int32).max:
        raise ValueError(f"y: got labels up to {np.abs(labels).max()}, wanted class numbers.")
    return checked(Dataset(checks.float32("x", x), labels.astype(np.int32), name, is_test))


def is_file(name: Any) -> bool:
    """Return whether a data set is named by the path of an .npz."""
    return isinstance(name, str) and name.endswith(SUFFIX)


def read_arrays_file(path: str) -> Dataset:
    """Return the data set of an .npz with x, y and perhaps is_test, named by its path.

    Raises:
        ValueError: no such file, or one without these arrays.
    """
    if not epath.Path(path).exists():
        raise ValueError(f"name: got {path!r}, where no file is; wanted an .npz with x and y.")
    arrays = files.read_arrays(path)
    unknown = arrays.keys() - {*_ARRAYS, "is_test"}
    if not arrays.keys() >= set(_ARRAYS) or unknown:
        raise ValueError(
            f"{path}: got the arrays {', '.join(arrays) or 'none'}; wanted x (n, ...), y (n,) and, "
            "if you have a test set of its own, is_test (n,)."
        )
    return from_arrays(arrays["x"], arrays["y"], path, arrays.get("is_test"))


def content_of(dataset: Dataset) -> str:
    """Return a hash of inputs, labels and which are of the test set."""
    parts = [dataset.x, dataset.y] + ([] if dataset.is_test is None else [dataset.is_test])
    return array_hash(*parts)
