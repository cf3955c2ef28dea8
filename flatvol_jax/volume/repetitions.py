"""Outputs that are multiples of each other: inputs that occur twice."""

from typing import NamedTuple

import numpy as np

_SAME = 1e-13  # correlations this near to ±1 are those of one input, given twice
_ROWS = 1024


class Repetitions(NamedTuple):
    """z_j = ± c z_i for the first such i of each j.

    Attributes:
        kept: the outputs that repeat none before them, ascending, (m,).
        place: of each output the index of its first occurrence in `kept`, (n,).
        sign: ±1, (n,).
    """

    kept: np.ndarray
    place: np.ndarray
    sign: np.ndarray


def find_repetitions(kernel: np.ndarray, noise: float = 0.0) -> Repetitions:
    """The pairs of outputs whose correlation under K + noise I is within 1e-13 of ±1."""
    n, scale = len(kernel), np.sqrt(np.diagonal(kernel) + noise)
    first, sign = np.arange(n), np.ones(n)
    for begin in range(0, n, _ROWS):
        rows = slice(begin, begin + _ROWS)
        correlation = kernel[rows] / (scale[rows, None] * scale)
        correlation[np.arange(len(correlation)), np.arange(n)[rows]] = 1.0
        first[rows] = np.argmax(np.abs(correlation) >= 1.0 - _SAME, axis=1)
        sign[rows] = np.sign(correlation[np.arange(len(correlation)), first[rows]])
    kept, place = np.unique(first, return_inverse=True)
    return Repetitions(kept, place, sign)


def contradiction(repetitions: Repetitions, labels: np.ndarray) -> tuple[int, int] | None:
    """A pair of outputs whose labels cannot both be: V(f) = 0 under the Heaviside link."""
    first = repetitions.kept[repetitions.place]
    clashing = np.flatnonzero(labels != repetitions.sign * labels[first])
    if not len(clashing):
        return None
    return int(first[clashing[0]]), int(clashing[0])
