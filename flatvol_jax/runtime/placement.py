"""Data of one large network, laid out over the local devices."""

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from flatvol_jax.runtime.spread import usable_devices


def over_devices(tree: Any, axis: int = 0) -> Any:
    """Cut arrays along an axis into equal parts, one on each local device; dtypes stay.

    Bound to a loss by `jax.tree_util.Partial`, they make XLA compute value, gradient and Hessian
    products of the loss where the rows lie and add up what the devices find, so that no device
    needs to hold all of them:

        loss = Partial(mean_loss, *fv.over_devices((x, y)))
        fv.hessian_measures(key, loss, params)

    A loss that closes over them has them, whole, as constants of its program.

    Args:
        tree: pytree of arrays, NumPy (also memory-mapped) or JAX.
        axis: of the examples; below 0 from the end.

    Returns:
        The same tree of JAX arrays, float64 and int64 ones too, whatever the caller's setting.

    Raises:
        ValueError: an array without that axis, or whose length there is not a multiple of the
            number of devices.
    """
    devices = usable_devices()
    mesh = Mesh(np.array(devices), ("examples",))

    def placed(leaf):
        leaf = leaf if isinstance(leaf, jax.Array) else np.asarray(leaf)
        if not -leaf.ndim <= axis < leaf.ndim:
            raise ValueError(f"tree: got an array of shape {leaf.shape}, wanted an axis {axis}.")
        rows, left = leaf.shape[axis], leaf.shape[axis] % len(devices)
        if left:
            raise ValueError(
                f"tree: got {rows} rows for {len(devices)} devices, wanted a multiple of "
                f"{len(devices)}. Leave {left} rows out, or add {len(devices) - left} to which "
                "the loss gives weight 0."
            )
        names: list[str | None] = [None] * leaf.ndim
        names[axis] = "examples"
        return jax.device_put(leaf, NamedSharding(mesh, PartitionSpec(*names)))

    with jax.enable_x64(True):
        return jax.tree.map(placed, tree)
