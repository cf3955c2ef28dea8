"""Pairs of networks of one draw: all of them, and those that differ in one hyperparameter alone."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from flatvol_jax.study.analysis.columns import DRAW
from flatvol_jax.study.analysis.selection import require


class Pairs(NamedTuple):
    """Pairs of rows of a frame, both of one draw, each once: first < second."""

    first: np.ndarray
    second: np.ndarray
    draw: np.ndarray


def pairs_within_draws(frame: pd.DataFrame) -> Pairs:
    """Return all pairs of rows that belong to one draw."""
    require(frame, DRAW)
    draws = frame[DRAW].to_numpy()
    found: list[tuple[np.ndarray, ...]] = []
    for draw in np.unique(draws):
        rows = np.flatnonzero(draws == draw)
        i, j = np.triu_indices(len(rows), 1)
        found.append((rows[i], rows[j], np.full(len(i), draw)))
    return Pairs(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def level_codes(frame: pd.DataFrame, factors: Sequence[str]) -> np.ndarray:
    """Return the levels of each factor by number, in their order, (n, factors); a null is one."""
    require(frame, *factors)
    return np.stack([_codes(frame[name]) for name in factors], axis=1)


def one_factor_pairs(frame: pd.DataFrame, factors: Sequence[str]) -> pd.DataFrame:
    """Return the pairs of one draw whose levels differ in exactly one factor.

    Args:
        frame: a row a network.
        factors: columns of hyperparameters; what is none of them (a seed) may differ as well.

    Returns:
        Columns first and second (places of rows, the lower level first), draw, factor, low and
        high (the two levels).
    """
    pairs, codes = pairs_within_draws(frame), level_codes(frame, factors)
    differ = codes[pairs.first] != codes[pairs.second]
    found = []
    for number, factor in enumerate(factors):
        alone = differ[:, number] & (differ.sum(axis=1) == 1)
        first, second = pairs.first[alone], pairs.second[alone]
        swap = codes[first, number] > codes[second, number]
        first, second = np.where(swap, second, first), np.where(swap, first, second)
        levels = frame[factor].to_numpy(object)
        columns = {"first": first, "second": second, "draw": pairs.draw[alone]}
        own = {"factor": factor, "low": levels[first], "high": levels[second]}
        found.append(pd.DataFrame({**columns, **own}))
    return pd.concat(found, ignore_index=True)


def _codes(levels: pd.Series) -> np.ndarray:
    return pd.factorize(levels, sort=True, use_na_sentinel=False)[0]
