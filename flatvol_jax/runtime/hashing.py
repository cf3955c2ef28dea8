"""Content hashes of plain data and arrays: the names of runs, units and cached arrays."""

import hashlib
import json
from typing import Any

import numpy as np

from flatvol_jax.runtime.arrays import AnyArray


def content_hash(data: Any, digits: int = 16) -> str:
    """Hash plain data (dicts, lists, numbers, strings) through its sorted JSON form."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


def array_hash(*arrays: AnyArray, digits: int = 16) -> str:
    """Hash arrays by dtype, shape and bytes, in the order given."""
    digest = hashlib.sha256()
    for given in arrays:
        array = np.ascontiguousarray(given)
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()[:digits]
