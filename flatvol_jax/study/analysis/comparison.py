"""Two groups on the same draws, and many claims at once."""

from collections.abc import Callable, Hashable, Mapping
from typing import NamedTuple, TypeVar

import numpy as np
import pandas as pd
from scipy import stats

from flatvol_jax.runtime import checks
from flatvol_jax.study.analysis import statistics
from flatvol_jax.study.analysis.columns import ATTACK_SIZE, DRAW, OPTIMIZER, ZERO_ERROR, flagged
from flatvol_jax.study.analysis.selection import require

K = TypeVar("K", bound=Hashable)


class Difference(NamedTuple):
    """Mean over draws of the first group's strength minus the second's, with a t interval."""

    estimate: float
    low: float
    high: float
    confidence: float
    standard_error: float
    freedom: int
    draws: int
    undefined: int


def common_levels(frame: pd.DataFrame, by: str = OPTIMIZER) -> pd.DataFrame:
    """Return rows of the (draw, |A|) levels where every group has runs, all with zero error.

    An optimizer that fails on the hard half of a level would otherwise be judged on its
    easy half.
    """
    require(frame, DRAW, ATTACK_SIZE, by, ZERO_ERROR)
    level = [frame[DRAW], frame[ATTACK_SIZE]]
    done = pd.Series(flagged(frame, ZERO_ERROR), frame.index)
    complete = done.groupby(level).transform("all")
    present = frame[by].groupby(level).transform("nunique") == frame[by].nunique()
    return frame[complete & present]


def paired_difference(
    first: pd.DataFrame,
    second: pd.DataFrame,
    measure: str,
    error: str,
    sign: int,
    confidence: float = 0.95,
    scale: str = "rho",
    reading: str = statistics.WITHIN,
) -> Difference:
    """Compare the Spearman correlations of two groups on the same draws, in one reading.

    Args:
        first: usable runs of one group (SGD), restricted to `common_levels`.
        second: usable runs of the other.
        measure: column.
        error: column.
        sign: +1 or -1, the sign of the correlation that is claimed.
        confidence: in (0, 1).
        scale: "rho" (the thresholds of the rules are on it) or "z".
        reading: "pooled" or "within".
    """
    one, other = (
        statistics.draw_statistics(group, measure, error, reading=reading)
        for group in (first, second)
    )
    return difference_of_draws(one, other, sign, confidence, scale)


def difference_of_draws(
    one: pd.DataFrame,
    other: pd.DataFrame,
    sign: int,
    confidence: float = 0.95,
    scale: str = "rho",
) -> Difference:
    """Compare two groups by their `draw_statistics`.

    Per draw sign (ρ_first - ρ_second), or the same of Fisher's z; mean and Student interval
    over the draws where both are defined. Positive: the claim is weaker in the second group.
    """
    checks.one_of("scale", scale, ("rho", "z"))
    if sign not in (-1, 1):
        raise ValueError(f"sign: got {sign!r}, wanted 1 or -1, the sign that is claimed.")
    one, other = (table.set_index("draw")[scale] for table in (one, other))
    return mean_over_draws((sign * (one - other)).to_numpy(), confidence)  # aligned by draw


def mean_over_draws(values: np.ndarray, confidence: float = 0.95) -> Difference:
    """Average one number a draw, with a Student interval; draws where it is NaN are left out."""
    values = np.asarray(values, np.float64)
    defined = values[np.isfinite(values)]
    draws, undefined = len(defined), len(values) - len(defined)
    mean = float(defined.mean()) if draws else np.nan
    error_of_mean = float(defined.std(ddof=1) / np.sqrt(draws)) if draws > 1 else np.nan
    reach = stats.t.ppf(0.5 + confidence / 2, draws - 1) * error_of_mean if draws > 1 else np.nan
    ends = float(mean - reach), float(mean + reach)
    return Difference(mean, *ends, confidence, error_of_mean, max(draws - 1, 0), draws, undefined)


def difference_of_means(
    first: np.ndarray, second: np.ndarray, confidence: float = 0.95
) -> Difference:
    """Compare the means over two independent sets of draws, with Welch's t interval.

    A draw where a number is NaN is left out; a side with one draw leaves no interval. `draws` are
    those of the smaller side, `freedom` is Welch's, rounded down.
    """
    one, other = (np.asarray(values, np.float64) for values in (first, second))
    sides = [values[np.isfinite(values)] for values in (one, other)]
    draws, undefined = min(map(len, sides)), len(one) + len(other) - sum(map(len, sides))
    if not draws:
        return Difference(np.nan, np.nan, np.nan, confidence, np.nan, 0, 0, undefined)
    mean = float(sides[0].mean() - sides[1].mean())
    if draws == 1:
        return Difference(mean, np.nan, np.nan, confidence, np.nan, 0, 1, undefined)
    errors = [values.var(ddof=1) / len(values) for values in sides]
    error = float(np.sqrt(sum(errors)))
    parts = sum(e**2 / (len(values) - 1) for e, values in zip(errors, sides, strict=True))
    freedom = sum(errors) ** 2 / parts if parts else float(sum(map(len, sides)) - 2)
    reach = float(stats.t.ppf(0.5 + confidence / 2, freedom)) * error
    ends = mean - reach, mean + reach
    return Difference(mean, *ends, confidence, error, int(freedom), draws, undefined)


def jackknife_over_draws(
    statistic: Callable[[np.ndarray], float], draws: int, confidence: float = 0.95
) -> Difference:
    """Return a statistic of all draws together, with a Student interval by leaving one out.

    For what cannot be computed of one draw and averaged: a ratio of sums, a minimum.

    Args:
        statistic: takes the numbers of the draws that are kept, returns a number.
        draws: how many there are.
        confidence: of the interval.
    """
    everyone = np.arange(draws)
    estimate = float(statistic(everyone)) if draws else np.nan
    error = np.nan
    if draws > 1:
        left_out = np.array([statistic(np.delete(everyone, draw)) for draw in everyone])
        error = float(np.sqrt((draws - 1) * left_out.var()))
    reach = stats.t.ppf(0.5 + confidence / 2, draws - 1) * error if draws > 1 else np.nan
    ends = float(estimate - reach), float(estimate + reach)
    return Difference(estimate, *ends, confidence, error, max(draws - 1, 0), draws, 0)


def interval_columns(name: str, found: Difference | statistics.Correlation) -> dict[str, float]:
    """Return an estimate and the ends of its interval as NAME, NAME_low and NAME_high."""
    return {name: found.estimate, f"{name}_low": found.low, f"{name}_high": found.high}


def t_test(distance: float, standard_error: float, freedom: int) -> float:
    """Return the one-sided p-value, Student's t, of a distance that is ≤ 0; NaN of one draw."""
    if not freedom:
        return np.nan
    if standard_error == 0:
        return 0.0 if distance > 0 else 1.0
    return float(stats.t.sf(distance / standard_error, freedom))


def holm(p_values: Mapping[K, float]) -> dict[K, float]:
    """Adjust p-values by Holm's step-down method (1979): p_(i) -> max_{j ≤ i} (k - j + 1) p_(j).

    At most 1. A NaN (a claim without a test) stays NaN but counts in k: it was a claim.
    """
    values = np.array(list(p_values.values()), np.float64)
    order = np.argsort(values, kind="stable")  # NaNs last
    steps = values[order] * (len(values) - np.arange(len(values)))
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return dict(zip(p_values, adjusted.tolist(), strict=True))


def simultaneous_confidence(claims: int, confidence: float = 0.95) -> float:
    """Return the level of each of `claims` intervals so that all hold together (Bonferroni)."""
    return 1 - (1 - confidence) / checks.count("claims", claims)


def family_size(confidence: float) -> int:
    """Return how many intervals of this level hold together at 95%."""
    return round(0.05 / (1 - confidence))
