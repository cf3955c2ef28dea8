"""Leaves of a params pytree by path, a tuple of keys such as ("layer_1", "kernel")."""

from typing import Any

import jax
import numpy as np
from jax.tree_util import tree_flatten_with_path

Path = tuple[str | int, ...]


def leaf_paths(params: Any) -> list[Path]:
    """Return the path of every leaf, in the order of `jax.tree.leaves`."""
    return [tuple(_plain(key) for key in path) for path, _ in tree_flatten_with_path(params)[0]]


def leaf_at(params: Any, path: Path) -> Any:
    """Return the leaf at `path`; a wrong path is a ValueError that lists the paths there are."""
    return jax.tree.leaves(params)[_index(params, path)]


def weight_at(params: Any, path: Path, name: str = "layer") -> Any:
    """Return the leaf at `path`, a weight array (..., fan_in, fan_out) of at least two axes."""
    leaf = jax.tree.leaves(params)[_index(params, path, name)]
    if np.ndim(leaf) < 2:
        raise ValueError(
            f"{name}: got shape {np.shape(leaf)} at {path!r}, wanted a weight array (..., fan_in, "
            "fan_out); try the path of a kernel, not of a bias."
        )
    return leaf


def replace_leaf(params: Any, path: Path, leaf: Any) -> Any:
    """Return the same pytree with another leaf at `path`; traceable."""
    structure: Any
    leaves, structure = jax.tree.flatten(params)
    leaves[_index(params, path)] = leaf
    return structure.unflatten(leaves)


def _index(params: Any, path: Path, name: str = "layer") -> int:
    paths = leaf_paths(params)
    if path not in paths:
        raise ValueError(
            f"{name}: got {path!r}, wanted a tuple of keys that leads to an array, one of "
            f"{', '.join(map(repr, paths))}."
        )
    return paths.index(path)


def _plain(key: Any) -> str | int:
    """Return the key itself of jax's DictKey, FlattenedIndexKey, SequenceKey or GetAttrKey."""
    for attribute in ("key", "idx", "name"):
        if hasattr(key, attribute):
            return getattr(key, attribute)
    return str(key)
