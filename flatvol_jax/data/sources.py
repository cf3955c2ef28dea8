"""A data set by name."""

import numpy as np
from etils import epath

from flatvol_jax.data import embedded, own_arrays, prepared
from flatvol_jax.data.dataset import Dataset
from flatvol_jax.runtime import checks

BOOLEAN = {f"boolean{bits}": bits for bits in range(2, 11)}
SOURCES = (*BOOLEAN, "cifar10", "mnist", "mnist5k")
"""What `load` takes as `name`."""


def load(
    name: str,
    data_dir: epath.PathLike | None = None,
    progress: prepared.Progress | None = None,
) -> Dataset:
    """Load a data set: `x` float32 in [0, 1], `y` int32.

    - "mnist5k": 5,000 MNIST digits, (5000, 784), in class order; no download.
    - "mnist": all 70,000, train then test, (70000, 784); LeCun et al. (1998).
    - "cifar10": all 60,000, train then test, (60000, 32, 32, 3); Krizhevsky (2009).
    - "boolean7", and "boolean2" to "boolean10": {0,1}^n in lexicographic order, (2^n, n); `y` is
      the row's number, as there is no canonical target.
    - a path that ends in .npz: your own arrays x, y and perhaps is_test, as `from_arrays` takes
      them.

    "mnist" and "cifar10" are read from copies that tensorflow-datasets has prepared (without
    TensorFlow when prepared as array_record) and are cached once decoded.

    Args:
        name: one of `SOURCES`, or the path of an .npz.
        data_dir: where prepared copies lie; otherwise the environment variable TFDS_DATA_DIR,
            otherwise ~/tensorflow_datasets. The embedded data sets ignore it.
        progress: called as `progress(done, total)` while images are decoded.

    Raises:
        ValueError: an unknown name; a prepared copy that is missing or damaged.
    """
    checked_source("name", name)
    if own_arrays.is_file(name):
        return own_arrays.read_arrays_file(name)
    if name in BOOLEAN:
        return Dataset(**embedded.boolean_cube(BOOLEAN[name]), name=name)
    if name == "mnist5k":
        arrays = embedded.read_mnist5k()
    else:
        arrays = prepared.read_prepared(name, data_dir, progress)
    x = arrays["x"]
    if name == "mnist":
        x = x.reshape(len(x), -1)
    x = np.divide(x, 255, dtype=np.float32)
    return Dataset(x, arrays["y"].astype(np.int32), name, arrays.get("is_test"))


def checked_source(name: str, value: str) -> str:
    """Return what `load` takes as a name; anything else is a ValueError."""
    if own_arrays.is_file(value):
        return value
    try:
        return checks.one_of(name, value, SOURCES)
    except ValueError as error:
        raise ValueError(f"{error} Or the path of an .npz of your own, with x and y.") from None
