"""Direct sampling of the infinitely wide network: outputs drawn from the Gaussian process."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jax import Array

from flatvol_jax.runtime import checks
from flatvol_jax.runtime.hashing import array_hash, content_hash
from flatvol_jax.sampling.chunk_files import ChunkFiles, check_memory, chunk_tables
from flatvol_jax.sampling.function_sample import Draws
from flatvol_jax.sampling.normals import random_bits, to_normals
from flatvol_jax.sampling.packing import (
    MOST_CLASSES,
    join_halves,
    pack_largest,
    pack_outputs,
    word_count,
)

_VERSION = 1  # of the samples: raise it when the same key and kernel give others
CHUNK = 2**16
_BLOCK = 2**14  # rows of normals at a time


def draw_gaussian_functions(
    key: Array,
    kernel: np.ndarray,
    samples: int,
    *,
    chunk_size: int = CHUNK,
    workdir: epath.PathLike | None = None,
    progress: Callable[[int], None] | None = None,
    outputs: int = 1,
) -> Draws:
    """Draw functions sign(z), z ~ N(0, K): those of `draw_functions` at infinite width.

    z = R ε with R the symmetric root of K (negative eigenvalues, which rounding makes, count as
    0) and ε standard normal, in float32. With C outputs the largest of C such z at each input.

    Args:
        key: determines the draws.
        kernel: (n, n).
        samples: number of functions drawn.
        chunk_size: functions drawn and counted at a time; samples depend on it.
        workdir: folder that keeps the counts of each chunk, as in `sample_functions`.
        progress: called with the number of samples done.
        outputs: 1, or C of a network with C classes.
    """
    outputs = checks.count("outputs", outputs, most=MOST_CLASSES)
    kernel = checks.finite("kernel", kernel, ndim=2)
    if kernel.shape[0] != kernel.shape[1]:
        raise ValueError(f"kernel: got shape {kernel.shape}, wanted (n, n).")
    checks.count("samples", samples)
    checks.count("chunk_size", chunk_size)
    kept = None
    if workdir is None:
        check_memory(samples, word_count(len(kernel), outputs))
    else:
        data = np.asarray(jax.random.key_data(key)).tolist()
        named = [_VERSION, str(jax.random.key_impl(key)), data, array_hash(kernel), chunk_size]
        named += [outputs] if outputs > 1 else []
        kept = ChunkFiles(epath.Path(workdir), content_hash({"gaussian_sampling": named}))
    values, vectors = np.linalg.eigh(kernel)
    root = (vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T).astype(np.float32)

    def draw(chunks):
        for chunk in chunks:
            with jax.enable_x64(False):
                functions = np.asarray(
                    _chunk(jax.random.fold_in(key, chunk), root, chunk_size, outputs)
                )
            yield join_halves(functions)  # outside: the caller's precision is its own

    tables = chunk_tables(samples, chunk_size, draw, kept, progress)
    return Draws(tables, len(kernel), outputs=outputs)


@partial(jax.jit, static_argnames=("size", "outputs"))
def _chunk(key: Array, root: Array, size: int, outputs: int) -> Array:
    """Draw the packed functions of a chunk, (size, W) half-words."""
    rows = min(size, _BLOCK)

    def block(index):
        bits = random_bits(jax.random.fold_in(key, index), rows * outputs * len(root))
        if outputs == 1:
            return pack_outputs(to_normals(bits).reshape(rows, len(root)) @ root)
        drawn = to_normals(bits).reshape(rows, outputs, len(root)) @ root
        return pack_largest(jnp.swapaxes(drawn, 1, 2))

    functions = jax.lax.map(block, jnp.arange(-(-size // rows)))
    return functions.reshape(-1, functions.shape[-1])[:size]
