"""A kernel in blocks, each within a budget of memory.

neural_tangents.batch does not serve here: its block must divide both n and n2 (1499 is prime), the
caller must guess a size that fits into memory, and it computes both triangles.
"""

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from flatvol_jax.runtime.precision import float64_types
from flatvol_jax.runtime.spread import spread

Progress = Callable[[int, int], None]

BLOCK_BYTES = 512 * 10**6  # of values while one block is computed
_PROBE = 8  # rows and columns of the block whose memory the compiler is asked for


def in_blocks(
    kernel_function: Any,
    x: Float[jax.Array, "n ..."],
    x2: Float[jax.Array, "n2 ..."] | None = None,
    progress: Progress | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> Float[np.ndarray, "n _"]:
    """Compute K(x, x2), (n, n2) float64, a block at a time.

    Without x2 it is K(x, x), exactly symmetric, from its upper blocks.

    Each device takes a block at a time; the blocks do not depend on how many there are.

    Args:
        kernel_function: jitted (x, x2) -> K.
        x: (n, ...) inputs.
        x2: (n2, ...) inputs.
        progress: called as `progress(done, total)` after each block.
        block_bytes: memory for a block; a single pair is computed whatever it takes.
    """
    symmetric = x2 is None
    x2 = x if x2 is None else x2
    side = max(1, math.isqrt(block_bytes // _bytes_per_pair(kernel_function, x.shape[1:])))
    blocks = [
        (slice(row, row + side), slice(column, column + side))
        for row, column in itertools.product(range(0, len(x), side), range(0, len(x2), side))
        if column >= row or not symmetric
    ]
    kernel = np.empty((len(x), len(x2)))
    host_x, host_x2, reports = np.asarray(x), np.asarray(x2), itertools.count(1)

    def fill(rows, columns):
        """Write one block where it belongs, so that no finished block waits in memory."""
        with float64_types():  # a thread has settings of its own
            block = np.asarray(
                kernel_function(jnp.asarray(host_x[rows]), jnp.asarray(host_x2[columns]))
            )
        if symmetric and rows == columns:
            block = 0.5 * (block + block.T)
        kernel[rows, columns] = block
        if symmetric:
            kernel[columns, rows] = block.T

    def report(_):
        if progress is not None:
            progress(next(reports), len(blocks))

    spread([functools.partial(fill, *block) for block in blocks], report)
    return kernel


@functools.cache
def _bytes_per_pair(kernel_function: Any, input_shape: tuple[int, ...]) -> int:
    """Return the bytes that one pair takes on the way, by the compiler's count; nothing is run."""
    probe = jax.ShapeDtypeStruct((_PROBE, *input_shape), jnp.float64)
    memory = kernel_function.lower(probe, probe).compile().memory_analysis()
    return -(-(memory.temp_size_in_bytes + memory.output_size_in_bytes) // _PROBE**2)
