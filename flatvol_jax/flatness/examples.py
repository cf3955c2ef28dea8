"""Data of n examples: a pytree of arrays with one common leading axis."""

from typing import Any

import jax
import numpy as np

from flatvol_jax.runtime import checks


def number_of_examples(data: Any, batch_size: int) -> int:
    """Return n; axes that differ, or fewer examples than a batch, are a ValueError."""
    batch_size = checks.count("batch_size", batch_size)
    leaves = checks.leaves("data", data)
    lengths = {checks.concrete("data", leaf).shape[:1] for leaf in leaves}
    if len(lengths) != 1 or lengths == {()} or batch_size > min(lengths)[0]:
        axes = sorted((length[0] if length else "none" for length in lengths), key=str)
        raise ValueError(
            f"data: got leading axes {axes} and batch_size {batch_size}, wanted one common "
            "length of at least batch_size."
        )
    return min(lengths)[0]


def checked_examples(data: Any) -> Any:
    """Return finite NumPy arrays, floating ones in float64; integers, such as labels, stay."""

    def checked(leaf):
        array = checks.finite("data", leaf)
        return array if array.dtype.kind in "iub" else array.astype(np.float64)

    return jax.tree.map(checked, data)
