"""float64 inside, whatever the caller's setting; NumPy float64 outside."""

import contextlib
import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np


def float64_device() -> jax.Device | None:
    """Where float64 work runs: the host's CPU beside a TPU, which has no fast float64.

    None leaves it where JAX puts it.
    """
    return jax.local_devices(backend="cpu")[0] if jax.default_backend() == "tpu" else None


def float64_scope(function: Callable) -> Callable:
    """Run a host-level function with JAX's 64-bit types on, leaving the global setting alone.

    Beside a TPU it runs on the host's CPU, and arrays among its arguments are brought there; those
    that a closure holds are not: bind them with `jax.tree_util.Partial`.

    The function must hand out NumPy arrays or Python numbers: a float64 JAX array would turn
    into float32 at its next operation outside the scope. `to_host` converts.
    """

    @functools.wraps(function)
    def scoped(*args, **kwargs):
        device = float64_device()
        with contextlib.ExitStack() as scope:
            scope.enter_context(jax.enable_x64(True))
            if device is not None:
                scope.enter_context(jax.default_device(device))
                args, kwargs = jax.tree.map(functools.partial(_brought, device), (args, kwargs))
            return function(*args, **kwargs)

    return scoped


def _brought(device: jax.Device, leaf: Any) -> Any:
    return jax.device_put(leaf, device) if isinstance(leaf, jax.Array) else leaf


def to_host(tree: Any) -> Any:
    """Copy every array of a pytree to a NumPy array of the same dtype; blocks until it is there."""
    return jax.tree.map(np.asarray, jax.device_get(tree))


def to_float64(tree: Any) -> Any:
    """Cast every leaf of a pytree of parameters to float64 (inside a `float64_scope`)."""
    return jax.tree.map(lambda leaf: jax.numpy.asarray(leaf, jax.numpy.float64), tree)
