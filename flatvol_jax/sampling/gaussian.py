"""Direct sampling of the infinitely wide network: outputs drawn from the Gaussian process."""

from collections.abc import Callable

import jax
import numpy as np
from jax import Array

from flatvol_jax.runtime import checks
from flatvol_jax.sampling.function_sample import Draws
from flatvol_jax.sampling.normals import random_bits, to_normals
from flatvol_jax.sampling.packing import join_halves, pack_outputs
from flatvol_jax.sampling.tables import tabulate

CHUNK = 2**16


def draw_gaussian_functions(
    key: Array,
    kernel: np.ndarray,
    samples: int,
    progress: Callable[[int], None] | None = None,
) -> Draws:
    """Signs of z ~ N(0, K): what `draw_functions` gives in the limit of infinite width.

    z = R ε with R the symmetric root of K (negative eigenvalues, which rounding makes, count as
    0) and ε standard normal, in float32.

    Args:
        key: determines the draws.
        kernel: (n, n).
        samples: number of functions drawn; their counts are held in memory.
        progress: called with the number of samples done.
    """
    kernel = checks.finite("kernel", kernel, ndim=2)
    if kernel.shape[0] != kernel.shape[1]:
        raise ValueError(f"kernel: got shape {kernel.shape}, wanted (n, n).")
    values, vectors = np.linalg.eigh(kernel)
    root = (vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T).astype(np.float32)
    tables = []
    with jax.enable_x64(False):
        for first in range(0, checks.count("samples", samples), CHUNK):
            drawn = join_halves(_chunk(jax.random.fold_in(key, first // CHUNK), root))
            tables.append(tabulate(drawn[: samples - first]))
            if progress is not None:
                progress(min(first + CHUNK, samples))
    return Draws(tables, len(kernel))


@jax.jit
def _chunk(key: Array, root: Array) -> Array:
    normals = to_normals(random_bits(key, CHUNK * len(root)))
    return pack_outputs(normals.reshape(CHUNK, len(root)) @ root)
