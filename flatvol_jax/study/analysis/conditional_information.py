"""What a measure says of the error beyond one or two hyperparameters: conditional information.

Jiang et al. (2020): of two networks let V_μ be the sign of the difference of a measure, V_g that
of their errors. For a set U of hyperparameters, of which both networks have the same values,

    Î(U) = I(V_μ; V_g | U) / H(V_g | U),    K = min of Î(U) over all U of at most two of them.

K is 0 of a measure that only repeats what one or two hyperparameters say, 1 of one that orders any
two networks. Both orders of a pair count, so that H(V_g | u) is one bit; two equal errors say
nothing and are left out. A value u of U weighs as many pairs as have it: in a full grid, as in
their paper, all weigh the same. The direction does not matter to an information.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import xlogy

from flatvol_jax.runtime import checks
from flatvol_jax.study.analysis.comparison import Difference, jackknife_over_draws
from flatvol_jax.study.analysis.network_pairs import level_codes, pairs_within_draws


class Counts(NamedTuple):
    """Pairs of networks with the same values of some hyperparameters.

    Attributes:
        given: the hyperparameters U.
        pairs: (draws, values of U, 3) pairs that the measure orders as the error does, the other
            way round, and not at all.
    """

    given: tuple[str, ...]
    pairs: np.ndarray


def information(pairs: np.ndarray) -> float:
    """Return Î of counts (values of U, 3): agreeing, disagreeing and tied pairs; NaN of none.

    Per value u, with shares a, d and t of its pairs: a + d minus the entropy of (a, d) given that
    the pair is not tied, times a + d, in bits.
    """
    pairs = np.asarray(pairs, np.float64)
    total = pairs.sum()
    if not total:
        return np.nan
    agree, disagree = pairs[:, 0], pairs[:, 1]
    ordered = agree + disagree
    nats = xlogy(agree, agree) + xlogy(disagree, disagree) - xlogy(ordered, ordered)
    return max(0.0, float((ordered.sum() + nats.sum() / np.log(2)) / total))  # but for rounding


def pair_counts(
    frame: pd.DataFrame, measure: str, error: str, factors: Sequence[str], most: int = 2
) -> list[Counts]:
    """Count the pairs of each draw for every set of at most `most` factors, the empty one first.

    Args:
        frame: a row a network; those without a value of the measure or the error are left out.
        measure: column.
        error: column.
        factors: columns of hyperparameters.
        most: hyperparameters in a set.
    """
    checks.count("most", most, least=0)
    values = frame[[measure, error]].to_numpy(np.float64)
    frame = frame[np.isfinite(values).all(axis=1)].reset_index(drop=True)
    x, y = frame[[measure, error]].to_numpy(np.float64).T
    pairs, codes = pairs_within_draws(frame), level_codes(frame, factors)
    decided = y[pairs.first] != y[pairs.second]
    first, second = pairs.first[decided], pairs.second[decided]
    draws, draw = np.unique(pairs.draw[decided], return_inverse=True)
    agreement = np.sign(x[first] - x[second]) * np.sign(y[first] - y[second])
    kind = np.select([agreement > 0, agreement < 0], [0, 1], 2)
    same, levels = codes[first] == codes[second], codes.max(axis=0, initial=0) + 1
    found = []
    for size in range(most + 1):
        for own in map(list, itertools.combinations(range(len(factors)), size)):
            kept, count = same[:, own].all(axis=1), int(np.prod(levels[own]))
            value = np.zeros(int(kept.sum()), int)
            for number in own:
                value = value * levels[number] + codes[first[kept], number]
            place = (draw[kept] * count + value) * 3 + kind[kept]
            counts = np.bincount(place, minlength=len(draws) * count * 3)
            shape = len(draws), count, 3
            found.append(Counts(tuple(factors[i] for i in own), counts.reshape(shape)))
    return found


def least_information(
    counts: Sequence[Counts], confidence: float = 0.95
) -> tuple[Difference, tuple[str, ...]]:
    """Return K with its interval over draws (jackknife), and the hyperparameters that leave least.

    Pairs are counted over all draws together: an information of few pairs would be too large.
    """

    def informations(kept: np.ndarray) -> np.ndarray:
        return np.array([information(own.pairs[kept].sum(axis=0)) for own in counts])

    def least(kept: np.ndarray) -> float:
        values = informations(kept)
        return float(np.nanmin(values)) if np.isfinite(values).any() else np.nan

    draws = len(counts[0].pairs)
    found = jackknife_over_draws(least, draws, confidence)
    values = informations(np.arange(draws))
    known = np.isfinite(values).any()
    return found, counts[int(np.nanargmin(values))].given if known else ()
