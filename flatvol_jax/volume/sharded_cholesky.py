"""EP's linear algebra on a kernel that is dealt out to devices: B^-1 v, its diagonal, log |B|.

One pass over the row blocks of B factorises it, inverts the factor and drops each row of the
inverse as soon as it has been used. The work is done in place: in row i, the columns left of
step k hold the inverse that is being made and those from k on what is left to factorise.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.linalg import solve_triangular
from jax.sharding import NamedSharding, PartitionSpec

from flatvol_jax.volume.ep import LinearAlgebra, Marginals
from flatvol_jax.volume.sharded_kernel import ShardedKernel


class Solution(NamedTuple):
    """The results of one factorisation B = L L'.

    Attributes:
        solved: B^-1 v, (n,).
        inverse_diagonal: diag(B^-1), (n,).
        half_log_determinant: ½ log |B|; NaN where B is not positive definite.
    """

    solved: Array
    inverse_diagonal: Array
    half_log_determinant: Array


def multiply(kernel: ShardedKernel, vector: Array) -> Array:
    """Return K v."""
    axis, rows = kernel.mesh.axis_names[0], PartitionSpec(*kernel.mesh.axis_names)

    product = jax.shard_map(
        lambda blocks, vector: (blocks[0] @ vector)[:, None],
        mesh=kernel.mesh,
        in_specs=(rows, PartitionSpec()),
        out_specs=PartitionSpec(None, axis),
    )(kernel.blocks, _padded(kernel, vector))
    return _replicated(kernel, product.ravel())


def solve(kernel: ShardedKernel, root: Array, shift: Array | float, vector: Array) -> Solution:
    """Factorise B = diag(root) K diag(root) + shift I and solve B x = v.

    A device holds its n²/D float64 of K, as much again, and a few times b n. A step updates
    all rows below it over the whole width: n³ multiplications and additions in all, shared out
    evenly, where Cholesky factor and inverse need two thirds of that.

    Args:
        kernel: K on D devices, in blocks of b rows.
        root: (n,).
        shift: a number, or a number a row, (n,).
        vector: v, (n,).
    """
    axis, n = kernel.mesh.axis_names[0], len(kernel.diagonal)
    whole, parts = PartitionSpec(), PartitionSpec(axis)
    shift = _padded(kernel, jnp.broadcast_to(shift, (n,)), 1.0)
    solved, diagonal, half_log_determinant = jax.shard_map(
        partial(_factorised, axis),
        mesh=kernel.mesh,
        in_specs=(parts, whole, whole, parts),
        out_specs=(parts, parts, whole),
    )(kernel.blocks, _padded(kernel, root), shift, _padded(kernel, vector))
    return Solution(
        _replicated(kernel, solved), _replicated(kernel, diagonal), half_log_determinant
    )


def _factorised(
    axis: str, blocks: Array, root: Array, shift: Array, vector: Array
) -> tuple[Array, Array, Array]:
    """Factorise and solve on each device; `vector` and the results are its part of the columns.

    Step k has three exchanges: the diagonal block goes to all devices, its row block is dealt
    out by columns to be solved, and is gathered again. A fourth sums b numbers for B^-1 v.
    """
    device, devices = jax.lax.axis_index(axis), jax.lax.axis_size(axis)
    _, held, block, size = blocks.shape
    columns = jnp.arange(size)
    own_columns = device * (size // devices) + jnp.arange(size // devices)
    row_numbers = ((jnp.arange(held) * devices + device) * block)[:, None] + jnp.arange(block)
    scaled = root[row_numbers][:, :, None] * blocks[0] * root
    identity = jnp.eye(block)

    def step(k, state):
        scaled, solved, diagonal, half_log_determinant = state
        owner, place, begin = k % devices, k // devices, k * block
        row = jnp.where(device == owner, scaled[place], 0.0)
        pivot = jax.lax.psum(jax.lax.dynamic_slice_in_dim(row, begin, block, axis=1), axis)
        # Here and not beforehand: XLA would keep a constant diagonal as a matrix beside B.
        pivot += jnp.diag(jax.lax.dynamic_slice_in_dim(shift, begin, block))
        factor = jnp.linalg.cholesky(pivot, symmetrize_input=False)
        half_log_determinant += jnp.sum(jnp.log(jnp.diagonal(factor)))

        # With I in place of the pivot, L_kk^-1 times the row is row k of the inverse up to
        # column k, and behind it the column of L below the pivot, transposed.
        own_identity = jnp.where(device == owner, identity, 0.0)
        row = jax.lax.dynamic_update_slice_in_dim(row, own_identity, begin, axis=1)
        part = jax.lax.psum_scatter(row, axis, scatter_dimension=1, tiled=True)
        part = solve_triangular(factor, part, lower=True)
        row = jax.lax.all_gather(part, axis, axis=1, tiled=True)

        inverse = jnp.where(own_columns < begin + block, part, 0.0)
        diagonal += jnp.sum(inverse**2, axis=0)
        solved += jax.lax.psum(inverse @ vector, axis) @ inverse

        def update(j, scaled):
            place = (j * devices + device) * block
            below = jax.lax.dynamic_slice_in_dim(row, place, block, axis=1)
            rest = jnp.where((columns >= begin) & (columns < begin + block), 0.0, scaled[j])
            return scaled.at[j].set(rest - below.T @ row)

        done = place + (device <= owner)
        scaled = jax.lax.fori_loop(done, held, update, scaled)
        return scaled, solved, diagonal, half_log_determinant

    nothing = jnp.zeros_like(vector)
    start = (scaled, nothing, nothing, jnp.zeros((), vector.dtype))
    _, *results = jax.lax.fori_loop(0, held * devices, step, start)
    return tuple(results)


def _padded(kernel: ShardedKernel, vector: Array, filler: float = 0.0) -> Array:
    size = kernel.blocks.shape[-1]
    return jnp.pad(vector, (0, size - len(vector)), constant_values=filler)


def _replicated(kernel: ShardedKernel, vector: Array) -> Array:
    """Gather a vector on every device and cut off what was filled up."""
    everywhere = NamedSharding(kernel.mesh, PartitionSpec())
    return jax.lax.with_sharding_constraint(vector, everywhere)[: len(kernel.diagonal)]


def _marginals(kernel: ShardedKernel, root: Array, precision: Array, shift: Array) -> Marginals:
    prior_mean = multiply(kernel, shift)
    found = solve(kernel, root, 1.0, root * prior_mean)
    mean = prior_mean - multiply(kernel, root * found.solved)
    return Marginals(mean, found.inverse_diagonal, found.half_log_determinant)


SHARDED = LinearAlgebra(lambda kernel: kernel.diagonal, _marginals)
