"""Symmetric matrices of which LAPACK has made one triangle."""

import numpy as np

_BLOCK = 256
_UPPER = np.triu(np.ones((_BLOCK, _BLOCK)), 1) + 0.5 * np.eye(_BLOCK)


def mirror_upper(matrix: np.ndarray) -> None:
    """Make a matrix symmetric whose upper triangle holds, in place, block by block."""
    for begin in range(0, len(matrix), _BLOCK):
        block = slice(begin, begin + _BLOCK)
        corner = matrix[block, block]
        upper = corner * _UPPER[: len(corner), : len(corner)]
        np.add(upper, upper.T, out=corner)
        matrix[begin + _BLOCK :, block] = matrix[block, begin + _BLOCK :].T
