"""A kernel whose rows are dealt out to several devices, so that none holds all of it."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec

BLOCK = 512  # rows at most; every device factorises every diagonal block, so not many more
_ALIGNMENT = 8


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ShardedKernel:
    """K, (n, n), its rows in blocks of b; block g lies on device g mod D of the mesh.

    The matrix is filled up with zeros to N rows and columns, a multiple of D b.

    Attributes:
        blocks: (D, N / (D b), b, N) float64, the first axis over the mesh; [d, j] is row block
            j D + d.
        diagonal: of K, (n,), on every device.
        mesh: one axis, local devices.
    """

    blocks: Array
    diagonal: Array
    mesh: Mesh = field(metadata={"static": True})


def shard_kernel(
    read_rows: Callable[[slice], np.ndarray], n: int, mesh: Mesh, block: int = BLOCK
) -> ShardedKernel:
    """Put a kernel on the devices of a mesh; the host holds one block of rows at a time.

    Args:
        read_rows: a slice of rows -> these rows of K, (rows, n) float64.
        n: rows of K.
        mesh: a mesh of one axis; any axis type, only its devices and the name matter.
        block: the most rows of a block; fewer where that leaves less to fill up.
    """
    devices = mesh.devices.ravel()
    held, block = block_shape(n, len(devices), block)
    size = len(devices) * held * block
    mesh = Mesh(devices, mesh.axis_names)
    shards, diagonal = [], np.zeros(n)
    for place, device in enumerate(devices):
        shard = jnp.zeros((1, held, block, size), device=device)
        for j in range(held):
            begin = (j * len(devices) + place) * block
            rows = slice(begin, min(begin + block, n))
            if begin >= n:
                break
            piece = np.zeros((block, size))
            piece[: rows.stop - begin, :n] = read_rows(rows)
            diagonal[rows] = np.diagonal(piece[: rows.stop - begin], begin)
            # One at a time: a queue of copies would hold as many pieces.
            shard = jax.block_until_ready(_written(shard, jax.device_put(piece, device), j))
        shards.append(shard)
    blocks = jax.make_array_from_single_device_arrays(
        (len(devices), held, block, size),
        NamedSharding(mesh, PartitionSpec(*mesh.axis_names)),
        shards,
    )
    everywhere = NamedSharding(mesh, PartitionSpec())
    return ShardedKernel(blocks, jax.device_put(diagonal, everywhere), mesh)


def block_shape(n: int, devices: int, most: int = BLOCK) -> tuple[int, int]:
    """Return the fewest blocks on each device of at most `most` rows, and the rows of each."""
    held = math.ceil(n / (devices * most))
    block = math.ceil(n / (devices * held * _ALIGNMENT)) * _ALIGNMENT
    return held, block


@partial(jax.jit, donate_argnums=0)
def _written(shard: Array, piece: Array, j: int) -> Array:
    return shard.at[0, j].set(piece)
