"""float64 inside, whatever the caller's setting; NumPy float64 outside."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

jax_config: Any = jax.config
"""JAX's settings, whose names its own type does not know."""
FAST_FLOAT64 = ("cpu", "gpu")  # platforms whose float64 is arithmetic of the device itself


def float64_device() -> jax.Device | None:
    """Return where float64 work runs: None for JAX's own choice, on a TPU the host's first CPU.

    Raises:
        ValueError: JAX was told to leave out the CPU.
    """
    if jax.default_backend() in FAST_FLOAT64:
        return None
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError as error:
        raise ValueError(
            f"JAX_PLATFORMS: got {jax_config.jax_platforms!r}, wanted the CPU beside a "
            f"{jax.default_backend()}, which has no fast float64: try JAX_PLATFORMS=tpu,cpu."
        ) from error


@contextlib.contextmanager
def float64_types() -> Iterator[None]:
    """Turn JAX's 64-bit types on, and give products all digits of their type.

    Where `jax_default_matmul_precision` names an algorithm, it would round float64 to less.
    """
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        yield


def float64_scope(function: Callable) -> Callable:
    """Run a host-level function within `float64_types`, leaving the global settings alone.

    Where the default backend has no fast float64 it runs on `float64_device()`: JAX arrays among
    the arguments, also those bound to a `jax.tree_util.Partial`, are copied there first, since an
    array that is committed to a device takes the computation to it. Arrays in a closure stay where
    they are.

    The function must hand out NumPy arrays or Python numbers: a float64 JAX array would turn
    into float32 at its next operation outside the scope. `to_host` converts.
    """

    @functools.wraps(function)
    def scoped(*args, **kwargs):
        with float64_types():
            device = float64_device()
            if device is None:
                return function(*args, **kwargs)
            args, kwargs = _moved((args, kwargs), device)
            with jax.default_device(device):
                return function(*args, **kwargs)

    return scoped


def _moved(tree: Any, device: jax.Device) -> Any:
    def moved(leaf):
        is_array = isinstance(leaf, jax.Array) and not isinstance(leaf, jax.core.Tracer)
        return jax.device_put(leaf, device) if is_array else leaf

    return jax.tree.map(moved, tree)


def to_host(tree: Any) -> Any:
    """Copy every array of a pytree to a NumPy array of the same dtype; blocks until it is there."""
    return jax.tree.map(np.asarray, jax.device_get(tree))


def to_float64(tree: Any) -> Any:
    """Cast every leaf of a pytree of parameters to float64 (inside a `float64_scope`)."""
    return jax.tree.map(lambda leaf: jax.numpy.asarray(leaf, jax.numpy.float64), tree)
