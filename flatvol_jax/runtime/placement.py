"""Data of one large network, laid over the local devices: XLA then divides the work by itself."""

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from flatvol_jax.runtime.spread import usable_devices


def over_devices(tree: Any) -> Any:
    """Arrays with their first axis, that of the examples, dealt out to the usable devices.

    A loss that holds them, bound by `jax.tree_util.Partial` or `flatness.composed`, is evaluated
    and differentiated on all devices, each with its own examples, by every measure of `flatness`;
    values equal those of one device to rounding. dtypes stay, float64 too.

    Args:
        tree: pytree of arrays of n examples.

    Raises:
        ValueError: n is no multiple of the number of devices.
    """
    devices = usable_devices()
    sharding = NamedSharding(Mesh(np.array(devices), ("examples",)), PartitionSpec("examples"))
    for leaf in jax.tree.leaves(tree):
        if np.ndim(leaf) == 0 or len(leaf) % len(devices):
            raise ValueError(
                f"tree: got an array of shape {np.shape(leaf)} for {len(devices)} devices, wanted "
                "a multiple of so many examples. Leave some out, or use fewer devices: "
                "with jax.default_device(...)."
            )
    with jax.enable_x64(True):
        return jax.device_put(tree, sharding)
