"""The kernel as correlations: under the hard link log V does not depend on the outputs' scales."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

_ROWS = 1024


def output_scales(kernel: Float[np.ndarray, "n n"], noise: float = 0.0) -> Float[np.ndarray, " n"]:
    """Return √(K_ii + noise), the standard deviation of each output with the link's noise."""
    return np.sqrt(np.diagonal(kernel) + noise)


def correlation_reader(
    kernel: Float[np.ndarray, "n n"],
    noise: float = 0.0,
    kept: Int[np.ndarray, " m"] | None = None,
    jitter: float = 0.0,
) -> Callable[[slice], np.ndarray]:
    """Return a function from a slice of rows to those rows of the correlation matrix.

    C_ij = K_ij / (s_i s_j) with s² the diagonal of K + noise I, and C_ii = 1. V(f) under the hard
    link is the same for K + noise I and for C, which has the digits of every output, however much
    their variances differ. The noise is never added to a large K_ii: it is what the entries
    beside the diagonal lack.

    Args:
        kernel: K, (n, n) float64, of positive diagonal; a `np.memmap` is read row by row.
        noise: variance of the link's noise.
        kept: ascending indices of the outputs that stay; all where left out. The slice is of
            these.
        jitter: added to the unit diagonal.
    """
    scale = output_scales(kernel, noise)
    whole = kept is None or len(kept) == len(kernel)
    kept = np.arange(len(kernel)) if kept is None else kept

    def read(rows):
        chosen = kept[rows]
        piece = kernel[rows] if whole else kernel[chosen][:, kept]
        piece = piece / (scale[chosen, None] * scale[kept])
        piece[np.arange(len(chosen)), np.arange(len(kept))[rows]] = 1.0 + jitter
        return piece

    return read


def correlation_matrix(
    kernel: Float[np.ndarray, "n n"], noise: float = 0.0
) -> Float[np.ndarray, "n n"]:
    """Return the correlation matrix of K + noise I, (n, n), some rows at a time."""
    read, matrix = correlation_reader(kernel, noise), np.empty(kernel.shape)
    for begin in range(0, len(kernel), _ROWS):
        rows = slice(begin, begin + _ROWS)
        matrix[rows] = read(rows)
    return matrix
