"""Outputs that are multiples of each other: inputs that occur twice."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from flatvol_jax.runtime.faults import NumericalFault

_EPSILON = float(np.finfo(np.float64).eps)
# A correlation is a quotient of numbers that are rounded themselves: at 1 - 8 ε, the variance of
# the difference of two outputs has no digit left.
_SAME = 8 * _EPSILON
# Rows of one output that were scaled and rounded differ by 0.6 ε in standard deviation, 2.1 ε at
# most; rows of different ones carry the rounding of the whole kernel.
_FARTHEST, _SPREAD = 2.5 * _EPSILON, 0.65 * _EPSILON
_ROWS = 1024


class Repetitions(NamedTuple):
    """z_j = ± c z_i, as far as float64 can tell, for the first such i of each j.

    Attributes:
        kept: the outputs that repeat none before them, ascending, (m,).
        place: of each output the index of its first occurrence in `kept`, (n,).
        sign: ±1, (n,).
    """

    kept: np.ndarray
    place: np.ndarray
    sign: np.ndarray


def find_repetitions(read_rows: Callable[[slice], np.ndarray], n: int) -> Repetitions:
    """Find the pairs of outputs whose correlation cannot be told from ±1, within 8 ε.

    Args:
        read_rows: a slice of rows -> these rows of the correlation matrix.
        n: outputs.
    """
    first, sign = np.arange(n), np.ones(n)
    for begin in range(0, n, _ROWS):
        rows = slice(begin, begin + _ROWS)
        correlation = read_rows(rows)
        first[rows] = np.argmax(np.abs(correlation) >= 1.0 - _SAME, axis=1)
        sign[rows] = np.sign(correlation[np.arange(len(correlation)), first[rows]])
    kept, place = np.unique(first, return_inverse=True)
    return Repetitions(kept, place, sign)


def signed_repetitions(read_rows: Callable[[slice], np.ndarray], n: int) -> Repetitions:
    """Find the outputs that occur twice, of correlation +1 within rounding.

    As `find_repetitions`, but outputs of correlation -1 are both kept: `place` is that of the
    first of the same sign, and `sign` is -1 for those that are opposite to one before them.
    """
    found = find_repetitions(read_rows, n)
    groups = 2 * found.kept[found.place] + (found.sign < 0)
    _, first, place = np.unique(groups, return_index=True, return_inverse=True)
    order = np.argsort(first)
    return Repetitions(first[order], np.argsort(order)[place], found.sign)


def contradiction(
    repetitions: Repetitions,
    labels: np.ndarray,
    read_rows: Callable[[slice], np.ndarray],
    noise: float = 0.0,
) -> tuple[int, int] | None:
    """Return two outputs that are one but have two labels, so that V(f) = 0; None without such.

    Where labels agree it does not matter whether two outputs are one or only too close to be told
    apart, so only different labels are examined. Two outputs are one where their rows of the kernel
    agree to the last bits, and so do the rows of all others that cannot be told from them.

    Args:
        repetitions: from `find_repetitions`.
        labels: ±1, (n,).
        read_rows: a slice of rows -> these rows of the correlation matrix.
        noise: variance of the link's noise; with any, no two outputs are one.

    Raises:
        NumericalFault: the outputs are not one, and the kernel does not tell them apart.
    """
    first = repetitions.kept[repetitions.place]
    clashing = np.flatnonzero(labels != repetitions.sign * labels[first])
    if not len(clashing):
        return None
    return impossible_pair(int(first[clashing[0]]), int(clashing[0]), read_rows, noise)


def impossible_pair(
    i: int, j: int, read_rows: Callable[[slice], np.ndarray], noise: float = 0.0
) -> tuple[int, int]:
    """Return a pair of outputs with contradictory labels if they are one, so that V(f) = 0.

    Raises:
        NumericalFault: the outputs are not one, and the kernel does not tell them apart.
    """
    if noise > 0:
        raise NumericalFault(
            f"kernel: got inputs {i} and {j} with different labels and outputs that cannot be told "
            f"apart: the link's noise, of variance {noise:g}, has no digit left beside theirs in "
            "float64. Scale the inputs, one raw column as a rule, or take link='heaviside'."
        )
    if not _rows_agree(read_rows, i):
        raise NumericalFault(
            f"kernel: got inputs {i} and {j} with different labels and rows that cannot be told "
            "apart: their correlation is 1 to the last digits of float64, and yet their rows are "
            "not those of one input. The volume depends on the digits that are lost. Scale the "
            "inputs (one raw column hides all others), or leave one of the two out."
        )
    return i, j


def _rows_agree(read_rows: Callable[[slice], np.ndarray], i: int) -> bool:
    """Tell whether all outputs that cannot be told from output i have one row, but for rounding."""
    row = read_rows(slice(i, i + 1))[0]
    spread = _SPREAD * (1 + len(row) ** -0.5)
    for j in np.flatnonzero(np.abs(row) >= 1.0 - _SAME):
        difference = np.sign(row[j]) * read_rows(slice(j, j + 1))[0] - row
        if np.abs(difference).max() > _FARTHEST or np.std(difference) > spread:
            return False
    return True
