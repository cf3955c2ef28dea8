"""float64 inside, whatever the caller's setting; NumPy float64 outside."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np


def float64_scope(function: Callable) -> Callable:
    """Run a host-level function with JAX's 64-bit types on, leaving the global setting alone.

    The function must hand out NumPy arrays or Python numbers: a float64 JAX array would turn
    into float32 at its next operation outside the scope. `to_host` converts.
    """

    @functools.wraps(function)
    def scoped(*args, **kwargs):
        with jax.enable_x64(True):
            return function(*args, **kwargs)

    return scoped


def to_host(tree: Any) -> Any:
    """Copy every array of a pytree to a NumPy array of the same dtype; blocks until it is there."""
    return jax.tree.map(np.asarray, jax.device_get(tree))


def to_float64(tree: Any) -> Any:
    """Cast every leaf of a pytree of parameters to float64 (inside a `float64_scope`)."""
    return jax.tree.map(lambda leaf: jax.numpy.asarray(leaf, jax.numpy.float64), tree)
