"""Exact counts of functions, merged in parts so that memory stays bounded."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

_ROWS = 2**21  # functions that a part of a merge holds, some 100 MB


class Table(NamedTuple):
    """Distinct functions and their counts, in the order of `hashes`.

    Attributes:
        words: packed labels, (m, W) uint64, distinct.
        counts: occurrences, (m,) int64.
    """

    words: np.ndarray
    counts: np.ndarray


def hashes(words: np.ndarray) -> np.ndarray:
    """Hash each function to 64 bits, uniform whatever the functions are: (m,) uint64.

    The finaliser of SplitMix64 (Steele et al. 2014) after each word.
    """
    mixed = np.zeros(len(words), np.uint64)
    for word in words.T:
        mixed ^= word
        mixed += np.uint64(0x9E3779B97F4A7C15)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            mixed ^= mixed >> np.uint64(shift)
            mixed *= np.uint64(factor)
        mixed ^= mixed >> np.uint64(31)
    return mixed


def tabulate(words: np.ndarray, counts: np.ndarray | None = None) -> Table:
    """Count functions (m, W), each with a weight of its own, by default 1."""
    if len(words) == 0:
        return Table(words, np.zeros(0, np.int64))
    mixed = hashes(words)
    order = np.argsort(mixed)
    found, starts, clash = _groups(words, mixed, order)
    if clash:  # two functions of one hash: their rows must not alternate
        order = np.lexsort((*words.T, mixed))
        found, starts, _ = _groups(words, mixed, order)
    if counts is None:
        return Table(found[starts], np.diff(starts, append=len(words)))
    return Table(found[starts], np.add.reduceat(counts[order], starts))


def _groups(words, mixed, order):
    """Return rows in order, where a new function starts, and whether functions share a hash."""
    ordered, mixed = words[order], mixed[order]
    new = np.ones(len(ordered), bool)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    clash = bool((new[1:] & (mixed[1:] == mixed[:-1])).any())
    return ordered, np.flatnonzero(new), clash


def merge(tables: Sequence[Table], rows: int = _ROWS) -> Iterator[Table]:
    """Yield all tables as one: each distinct function once, in parts by ranges of the hash.

    Args:
        tables: in memory, or mapped from files; each is read twice.
        rows: about the number of rows that are held at once.
    """
    parts = max(1, -(-sum(len(table.counts) for table in tables) // rows))
    bounds = np.array([part * 2**64 // parts for part in range(1, parts)], np.uint64)
    cuts = [
        [0, *np.searchsorted(hashes(np.asarray(table.words)), bounds), len(table.counts)]
        for table in tables
    ]
    for part in range(parts):
        slices = [slice(cut[part], cut[part + 1]) for cut in cuts]
        yield tabulate(
            np.concatenate([t.words[s] for t, s in zip(tables, slices, strict=True)]),
            np.concatenate([t.counts[s] for t, s in zip(tables, slices, strict=True)]),
        )


def look_up(table: Table, words: np.ndarray) -> np.ndarray:
    """Return the counts of given functions (k, W) in a table, 0 where it lacks them: (k,) int64."""
    mixed = hashes(np.asarray(table.words))
    wanted = hashes(words)
    first = np.searchsorted(mixed, wanted, side="left")
    last = np.searchsorted(mixed, wanted, side="right")
    counts = np.zeros(len(words), np.int64)
    for step in range(int((last - first).max(initial=0))):  # more than one step at a clash only
        row = np.minimum(first + step, len(mixed) - 1)
        hit = (first + step < last) & (table.words[row] == words).all(axis=1)
        counts[hit] = table.counts[row[hit]]
    return counts
