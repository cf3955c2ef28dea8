"""Arrays by flat names, as files have them, as the nested tree that a framework has."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

_KEY = re.compile(r"\['?([^\]']+)'?\]")  # as jax.tree_util.keystr writes them
_SEPARATORS = re.compile(r"[./]")


def tree_of_names(arrays: Mapping[str, np.ndarray]) -> Any:
    """Return nested dictionaries of arrays named "a.b", "a/b" or "a['b']"; 0, 1, ... make a list.

    Raises:
        ValueError: a name that is also the beginning of another.
    """
    tree: dict[str, Any] = {}
    for name, array in arrays.items():
        if "[" in name:
            first = name.split("[", 1)[0]
            parts = [*([first] if first else []), *_KEY.findall(name)]
        else:
            parts = _SEPARATORS.split(name)
        *groups, last = parts
        inner = tree
        for group in groups:
            inner = inner.setdefault(group, {})
            if not isinstance(inner, dict):
                raise ValueError(f"checkpoint: got an array {name!r} below another array.")
        inner[last] = array
    return _with_lists(tree)


def _with_lists(tree: Any) -> Any:
    if not isinstance(tree, dict):
        return tree
    inner = {name: _with_lists(part) for name, part in tree.items()}
    places = [str(place) for place in range(len(inner))]
    return [inner[place] for place in places] if inner and set(inner) == set(places) else inner
