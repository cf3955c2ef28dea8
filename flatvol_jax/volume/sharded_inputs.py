"""Checks of the mesh and the kernel for EP over several devices, and the kernel's distribution."""

import functools
from collections.abc import Callable

import jax
import numpy as np
from jax.sharding import Mesh

from flatvol_jax.runtime import memory
from flatvol_jax.runtime.faults import NumericalFault
from flatvol_jax.volume import inputs
from flatvol_jax.volume.correlation import correlation_reader
from flatvol_jax.volume.sharded_cholesky import solve
from flatvol_jax.volume.sharded_kernel import BLOCK, ShardedKernel, shard_kernel

_ROW_BLOCKS = 4  # of b n float64 on each device: a row block, its solution, updates of others


def check_mesh(mesh: Mesh, method: str, batch_size: int) -> None:
    """Refuse a mesh that a kernel cannot be dealt out to, and methods that do not support it."""
    if method != "ep":
        raise ValueError(
            f"mesh: got one with method {method!r}; a kernel over several devices has method "
            "'ep' only. Leave the mesh out, or ask for 'ep'."
        )
    if batch_size > 1:
        raise ValueError(
            f"batch_size: got {batch_size} with a mesh, wanted 1: all devices work on one "
            "labelling, one after another."
        )
    if not isinstance(mesh, Mesh) or mesh.devices.ndim != 1:
        raise ValueError(
            f"mesh: got {mesh!r}, wanted a jax.sharding.Mesh of one axis: "
            "jax.make_mesh((jax.local_device_count(),), ('rows',))."
        )
    away = [device for device in mesh.devices if device.process_index != jax.process_index()]
    single = [device for device in mesh.devices if device.platform == "tpu"]
    if away or single:
        raise ValueError(
            f"mesh: got {(away or single)[0]}, wanted devices of this process that have "
            "float64: jax.local_devices() of GPUs or CPUs."
        )


def without_outer_mesh(function: Callable) -> Callable:
    """Run a function outside of the caller's `jax.set_mesh`, which may have other devices."""

    @functools.wraps(function)
    def alone(*args, **kwargs):
        with jax.set_mesh(Mesh(np.empty((), object), ())):
            return function(*args, **kwargs)

    return alone


@without_outer_mesh
def sharded_correlation(
    kernel: np.ndarray, kept: np.ndarray, noise: float, mesh: Mesh
) -> ShardedKernel:
    """Put the correlations of K + noise I among the outputs `kept` on the devices of a mesh.

    Args:
        kernel: K on the host, (n, n), its entries checked; may be a `np.memmap`.
        kept: indices of rows, ascending.
        noise: variance of the link's noise.
        mesh: one axis of devices.

    Raises:
        NumericalFault: K is indefinite, in what is left out, too.
        ValueError: the devices are the host, and it has no memory for that.
    """
    n = len(kernel)
    _check_memory(n, mesh)
    sharded = shard_kernel(correlation_reader(kernel), n, mesh)
    slack = inputs.rounding(n)
    nothing = np.zeros(n)
    found = jax.jit(solve)(sharded, nothing + 1.0, slack, nothing)
    if not np.isfinite(found.half_log_determinant):
        raise NumericalFault(
            "kernel: got an indefinite matrix, its correlations have an eigenvalue below "
            f"{-slack:.3g}; wanted positive semidefinite. Compute it in float64. "
            + inputs.jitter_advice(kernel, 10 * slack)
        )
    if len(kept) == n and noise == 0:
        return sharded
    del sharded  # the devices have no room for both
    return shard_kernel(correlation_reader(kernel, noise, kept), len(kept), mesh)


def _check_memory(n: int, mesh: Mesh) -> None:
    """Refuse what the host cannot hold where it is all devices: K, B and what is under way."""
    if mesh.devices[0].platform != "cpu":
        return

    def needed(n):
        return 8 * n * (2.1 * n + _ROW_BLOCKS * min(mesh.size * BLOCK, n))

    memory.check_memory("kernel", n, needed, "Take fewer inputs, or a machine with more memory.")
