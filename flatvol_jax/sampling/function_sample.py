"""Summaries of a sample of functions: the most frequent ones, their volumes and errors."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from flatvol_jax.runtime import checks
from flatvol_jax.runtime.printing import prints_its_fields
from flatvol_jax.sampling.packing import (
    first_label_negative,
    pack_functions,
    pack_known,
    unpack_functions,
)
from flatvol_jax.sampling.tables import Table, look_up, merge, tabulate

_LEAST_CHUNKS = 8  # for a standard error from the spread between chunks


@prints_its_fields
class Draws(NamedTuple):
    """A sample of functions, for `most_frequent` and `count_of`.

    Attributes:
        tables: the counts of each chunk.
        inputs: n, labels of a function.
        symmetric: whether f and not f are counted as one.
        readouts: functions that share the hidden layers of a network.
        outputs: of a network; of one the label is the sign, of C the largest.
    """

    tables: Sequence[Table]
    inputs: int
    symmetric: bool = False
    readouts: int = 1
    outputs: int = 1

    @property
    def samples(self) -> int:
        """Return the number of functions drawn."""
        return int(sum(table.counts.sum() for table in self.tables))


@prints_its_fields
class FunctionSample(NamedTuple):
    """Functions and how often they were drawn.

    Attributes:
        functions: labels, (m, n) int8, ±1, of networks with C outputs 0..C-1; of a symmetric sample
            one of each pair f, not f.
        counts: how often each occurred, (m,) int64; f and not f together where symmetric.
        volume: V(f), the share of samples; of one of the pair where symmetric, (m,).
        log_volume: ln V(f), nats; -inf for no occurrence. The volume is unbiased, its logarithm
            is not.
        standard_error: of `log_volume`, nats, to first order: √((1 - p) / (N p)) of a binomial
            count; from the spread between chunks where readouts share hidden layers. NaN for no
            occurrence.
        samples: N, the functions drawn, with those that a condition leaves out.
        matching: those that fulfil the condition.
        distinct: the number of different functions among these.
        frequencies: (k, 2) int64: a count, ascending, and how many functions have it.
    """

    functions: np.ndarray
    counts: np.ndarray
    volume: np.ndarray
    log_volume: np.ndarray
    standard_error: np.ndarray
    samples: int
    matching: int
    distinct: int
    frequencies: np.ndarray


def most_frequent(
    draws: Draws, top: int | None = None, condition: np.ndarray | None = None
) -> FunctionSample:
    """Return the most frequent functions of a sample, equal counts in the order of their bits.

    Args:
        draws: the sample, by `draw_functions`.
        top: how many; all by default.
        condition: (n,) labels ±1 that a function must have, 0 where any will do; of C classes
            0..C-1, and -1 where any will do.

    Raises:
        ValueError: a condition of another shape, or on a symmetric sample.
    """
    if condition is not None and draws.symmetric:
        raise ValueError(
            "condition: a symmetric sample has one function of each pair; draw a plain one."
        )
    kept = Table(draws.tables[0].words[:0], np.zeros(0, np.int64))
    matching, distinct = 0, 0
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    for part in merge(draws.tables):
        if condition is not None:
            hit = matches(part.words, condition, draws.inputs, draws.outputs)
            part = Table(part.words[hit], part.counts[hit])
        matching, distinct = matching + int(part.counts.sum()), distinct + len(part.counts)
        parts.append(np.unique(part.counts, return_counts=True))
        kept = _best(Table(*map(np.concatenate, zip(kept, part, strict=True))), top)
    values, numbers = map(np.concatenate, zip(*parts, strict=True))
    joined = tabulate(values.astype(np.uint64)[:, None], numbers)
    frequencies = np.column_stack([joined.words[:, 0].astype(np.int64), joined.counts])
    return FunctionSample(
        functions=unpack_functions(kept.words, draws.inputs, draws.outputs),
        **_volumes(draws, kept.words, kept.counts),
        samples=draws.samples,
        matching=matching,
        distinct=distinct,
        frequencies=frequencies[np.argsort(frequencies[:, 0])],
    )


def count_of(draws: Draws, functions: np.ndarray) -> FunctionSample:
    """Return the counts of given functions (m, n), ±1 or 0..C-1, in their order; 0 for none.

    `distinct` and `frequencies` are those of the given functions.
    """
    functions = checks.finite("functions", functions, ndim=2)
    labels, said = _labels(draws.outputs)
    if functions.shape[1] != draws.inputs or not np.isin(functions, labels).all():
        raise ValueError(
            f"functions: got shape {functions.shape}, wanted (m, {draws.inputs}) of {said}, a "
            "label for each input of the sample."
        )
    words = pack_functions(functions, draws.outputs)
    if draws.symmetric:
        words = first_label_negative(words, draws.inputs)
    counts = np.sum([look_up(table, words) for table in draws.tables], axis=0)
    values, numbers = np.unique(counts, return_counts=True)
    return FunctionSample(
        functions=functions.astype(np.int8),
        **_volumes(draws, words, counts),
        samples=draws.samples,
        matching=int(counts.sum()),
        distinct=len(functions),
        frequencies=np.column_stack([values, numbers]),
    )


def matches(words: np.ndarray, condition: np.ndarray, inputs: int, outputs: int = 1) -> np.ndarray:
    """Tell which functions (m, W) have the labels of a condition (n,).

    Any label will do where it is 0 with one output, -1 with several.
    """
    condition = checks.concrete("condition", condition)
    labels, said = _labels(outputs)
    anything = 0 if outputs == 1 else -1
    if condition.shape != (inputs,) or not np.isin(condition, (*labels, anything)).all():
        raise ValueError(
            f"condition: got shape {condition.shape}, wanted ({inputs},) of {said}, a label for "
            f"each input, or {anything} where any will do."
        )
    wanted, used = pack_known(condition, outputs, condition != anything)
    return ((words & used) == wanted).all(axis=1)


def _labels(outputs: int) -> tuple[tuple[int, ...], str]:
    """Return the labels of networks with so many outputs, and how they are said."""
    if outputs == 1:
        return (-1, 1), "-1 and +1"
    return tuple(range(outputs)), f"classes 0..{outputs - 1}"


def _best(table: Table, top: int | None) -> Table:
    order = np.lexsort((*table.words.T, -table.counts))[:top]
    return Table(table.words[order], table.counts[order])


def _volumes(draws: Draws, words: np.ndarray, counts: np.ndarray) -> dict[str, Any]:
    """Return counts, volume, log volume and its standard error."""
    share = counts / draws.samples
    with np.errstate(divide="ignore", invalid="ignore"):
        if draws.readouts == 1:
            error = np.sqrt((1 - share) / (draws.samples * share))
        else:
            error = _spread(draws.tables, words, share) / share
        volume = share / 2 if draws.symmetric else share
        return {
            "counts": counts,
            "volume": volume,
            "log_volume": np.log(volume),
            "standard_error": np.where(counts > 0, error, np.nan),
        }


def _spread(tables, words, share) -> np.ndarray:
    """Return the standard error of shares from the chunks, as of a ratio Σ counts / Σ samples."""
    if len(tables) < _LEAST_CHUNKS:
        raise ValueError(
            f"chunk_size: got {len(tables)} chunks, wanted at least {_LEAST_CHUNKS}: the error of "
            "dependent samples comes from their spread. Take smaller chunks or more samples."
        )
    sizes = np.array([table.counts.sum() for table in tables])
    counts = np.stack([look_up(table, words) for table in tables])
    residuals = counts - sizes[:, None] * share
    chunks = len(tables)
    return np.sqrt((residuals**2).sum(axis=0) * chunks / (chunks - 1)) / sizes.sum()
