"""Network parameters as named arrays for an .npz file, and back."""

from typing import Any

import jax
import numpy as np

PARAMS, STATE = "params", "state"  # how the names of the arrays begin


def parameters_to_arrays(params: Any, prefix: str = PARAMS) -> dict[str, np.ndarray]:
    """Name every leaf by its path in the pytree."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(params)
    return {prefix + jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def arrays_to_parameters(arrays: dict[str, np.ndarray], like: Any, prefix: str = PARAMS) -> Any:
    """Rebuild the pytree `like` (arrays or shapes) from the arrays of `parameters_to_arrays`."""
    leaves, structure = jax.tree_util.tree_flatten_with_path(like)
    names = [prefix + jax.tree_util.keystr(path) for path, _ in leaves]
    missing = [name for name in names if name not in arrays]
    if missing:
        raise ValueError(f"parameters: {missing[0]} is not among the stored arrays.")
    return jax.tree.unflatten(structure, [arrays[name] for name in names])
