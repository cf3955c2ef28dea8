"""Two optimizers on the same draws, and many claims at once."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from flatvol_jax.runtime import checks
from flatvol_jax.study.analysis import statistics
from flatvol_jax.study.analysis.selection import ATTACK_SIZE, DRAW, require


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


def common_levels(frame: pd.DataFrame, by: str = "hp.train.optimizer") -> pd.DataFrame:
    """Rows of the (draw, |A|) levels where every group has runs, all with zero training error.

    An optimizer that fails on the hard half of a level would otherwise be judged on its
    easy half.
    """
    require(frame, DRAW, ATTACK_SIZE, by, "is.zero_error")
    done = frame["is.zero_error"].map(lambda flag: not pd.isna(flag) and bool(flag))
    level = [frame[DRAW], frame[ATTACK_SIZE]]
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
    """Difference of the Spearman correlation of two groups on the same draws, in one reading.

    Per draw sign (ρ_first - ρ_second), or the same of Fisher's z; mean and Student interval
    over the draws where both are defined. Positive: the claim is weaker in the second group.

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
    checks.one_of("scale", scale, ("rho", "z"))
    if sign not in (-1, 1):
        raise ValueError(f"sign: got {sign!r}, wanted 1 or -1, the sign that is claimed.")
    one, other = (
        statistics.draw_statistics(group, measure, error, reading=reading).set_index("draw")[scale]
        for group in (first, second)
    )
    difference = sign * (one - other)  # aligned by draw
    return mean_over_draws(difference.to_numpy(), confidence)


def mean_over_draws(values: np.ndarray, confidence: float = 0.95) -> Difference:
    """Mean of one number a draw, with a Student interval; draws where it is NaN are left out."""
    defined = values[np.isfinite(values)]
    draws, undefined = len(defined), len(values) - len(defined)
    mean = float(defined.mean()) if draws else np.nan
    error_of_mean = float(defined.std(ddof=1) / np.sqrt(draws)) if draws > 1 else np.nan
    reach = stats.t.ppf(0.5 + confidence / 2, draws - 1) * error_of_mean if draws > 1 else np.nan
    return Difference(
        mean,
        float(mean - reach),
        float(mean + reach),
        confidence,
        error_of_mean,
        max(draws - 1, 0),
        draws,
        undefined,
    )


def equivalence_p_value(difference: Difference, margin: float) -> float:
    """p-value of two one-sided t tests (TOST, Schuirmann 1987) of |difference| ≥ margin."""
    margin = checks.positive("margin", margin)
    if not difference.freedom:
        return np.nan
    distance = margin - abs(difference.estimate)
    if difference.standard_error == 0:
        return 0.0 if distance > 0 else 1.0
    return float(stats.t.sf(distance / difference.standard_error, difference.freedom))


def excess_p_value(difference: Difference, threshold: float) -> float:
    """One-sided p-value of a t test of: the difference is ≤ threshold."""
    if not difference.freedom:
        return np.nan
    distance = difference.estimate - threshold
    if difference.standard_error == 0:
        return 0.0 if distance > 0 else 1.0
    return float(stats.t.sf(distance / difference.standard_error, difference.freedom))


def threshold_p_value(correlation: statistics.Correlation, sign: int, threshold: float) -> float:
    """One-sided p-value, over draws, of: the correlation of the claimed sign is ≤ threshold."""
    if correlation.draws < 2:
        return np.nan
    distance = sign * np.arctanh(correlation.estimate) - np.arctanh(threshold)
    if correlation.z_standard_error == 0:
        return 0.0 if distance > 0 else 1.0
    return float(stats.t.sf(distance / correlation.z_standard_error, correlation.freedom))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Holm's step-down adjusted p-values (1979): p_(i) -> max_{j ≤ i} (k - j + 1) p_(j).

    At most 1. A NaN (a claim without a test) stays NaN but counts in k: it was a claim.
    """
    values = np.array(list(p_values.values()), np.float64)
    order = np.argsort(np.where(np.isfinite(values), values, np.inf), kind="stable")
    steps = values[order] * (len(values) - np.arange(len(values)))
    known = np.isfinite(steps)
    adjusted = np.full(len(values), np.nan)
    adjusted[order[known]] = np.minimum(np.maximum.accumulate(steps[known]), 1)
    return dict(zip(p_values, adjusted.tolist(), strict=True))


def simultaneous_confidence(claims: int, confidence: float = 0.95) -> float:
    """Level of each of `claims` intervals so that all hold together (Bonferroni)."""
    return 1 - (1 - confidence) / checks.count("claims", claims)


def family_size(confidence: float) -> int:
    """How many intervals of this level hold together at 95%: `simultaneous_confidence`, back."""
    return round(0.05 / (1 - confidence))
