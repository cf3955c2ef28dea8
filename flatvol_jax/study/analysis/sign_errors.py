"""How often a measure orders two networks the wrong way, environment by environment.

Dziugaite et al. (2020, "In search of robust measures of generalization"): an environment is a
distribution of pairs of networks, here those of one draw that differ in one hyperparameter alone,
which has one of two given values; its sign error is

    E[1 - sign(x' - x) sign(y' - y)] / 2,

0 of a perfect measure, 1/2 of a coin and of a measure that does not move. A robust measure has a
small error in its *worst* environment, not in the mean.

Their weights leave out pairs whose errors differ by no more than chance: w = (h² - 1/2)_+, with
h = (1 - 2 exp(-n Δ²/2))_+ by Hoeffding's inequality for two errors that differ by Δ on n inputs.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from flatvol_jax.runtime import checks
from flatvol_jax.study.analysis.comparison import (
    Difference,
    interval_columns,
    jackknife_over_draws,
    simultaneous_confidence,
)
from flatvol_jax.study.analysis.network_pairs import one_factor_pairs

ENVIRONMENT = ["factor", "low", "high"]


def hoeffding_weights(difference: np.ndarray, inputs: int) -> np.ndarray:
    """Return the weight of pairs whose errors on `inputs` inputs differ by `difference`, (n,)."""
    checks.count("inputs", inputs)
    chance = 2 * np.exp(-inputs * np.square(difference) / 2)
    return np.maximum(np.maximum(1 - chance, 0) ** 2 - 0.5, 0)


def pair_errors(
    frame: pd.DataFrame,
    measure: str,
    error: str,
    factors: Sequence[str],
    inputs: int | None = None,
    pairs: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Return the sign error and the weight of each pair that differs in one factor.

    Args:
        frame: a row a network; pairs without a value of the measure or the error are left out.
        measure: column, of which a larger value is to go with a larger error.
        error: column, a share of wrong labels.
        factors: columns of hyperparameters.
        inputs: how many the error is of, for Hoeffding's weights; without it pairs weigh the same.
        pairs: `one_factor_pairs(frame, factors)`, where it is known.

    Returns:
        Columns draw, factor, low, high, sign_error, weight.
    """
    pairs = one_factor_pairs(frame, factors) if pairs is None else pairs
    first, second = pairs["first"].to_numpy(), pairs["second"].to_numpy()
    steps = [
        values[second] - values[first]
        for values in (frame[name].to_numpy(np.float64) for name in (measure, error))
    ]
    weight = np.ones(len(pairs)) if inputs is None else hoeffding_weights(steps[1], inputs)
    found = pairs[["draw", *ENVIRONMENT]].assign(
        sign_error=(1 - np.sign(steps[0]) * np.sign(steps[1])) / 2, weight=weight
    )
    return found[np.isfinite(found["sign_error"]) & np.isfinite(weight)]


def weighted_error(pairs: pd.DataFrame, confidence: float = 0.95) -> Difference:
    """Return Σ w e / Σ w over all pairs, with an interval over draws; NaN of no weight.

    The interval is the jackknife's over draws, which count by their weight, but reaches at least as
    far as Wilson's (1927) of (Σw)²/Σw² independent pairs: where a measure never errs, leaving out a
    draw moves nothing. It ends at 0 and 1, as a share does.
    """
    errors, weight = pairs["sign_error"].to_numpy(), pairs["weight"].to_numpy()
    draws, draw = np.unique(pairs["draw"].to_numpy(), return_inverse=True)
    products, weights = (np.bincount(draw, v, len(draws)) for v in (errors * weight, weight))

    def ratio(kept: np.ndarray) -> float:
        whole = weights[kept].sum()
        return float(products[kept].sum() / whole) if whole > 0 else np.nan

    found = jackknife_over_draws(ratio, len(draws), confidence)
    low, high = wilson_interval(found.estimate, effective_count(weight), confidence)
    ends = np.clip((np.minimum(found.low, low), np.maximum(found.high, high)), 0, 1)
    return found._replace(low=float(ends[0]), high=float(ends[1]))


def effective_count(weight: np.ndarray) -> float:
    """Return (Σw)²/Σw², how many pairs of equal weight say as much; 0 of no weight."""
    return float(weight.sum() ** 2 / np.sum(weight**2)) if np.any(weight) else 0.0


def wilson_interval(share: float, count: float, confidence: float) -> tuple[float, float]:
    """Return Wilson's interval of a share of `count` independent cases; NaN of none."""
    if not count > 0:
        return np.nan, np.nan
    z = stats.norm.ppf(0.5 + confidence / 2) / np.sqrt(count)
    middle, reach = share + z**2 / 2, z * np.sqrt(share * (1 - share) + z**2 / 4)
    return float((middle - reach) / (1 + z**2)), float((middle + reach) / (1 + z**2))


def environment_errors(
    pairs: pd.DataFrame, confidence: float = 0.95, least_pairs: float = 12
) -> pd.DataFrame:
    """Return the sign error of each environment: factor, low, high, error, error_low, error_high.

    Also pairs (all), effective (Σw)²/Σw², draws. The error is NaN where fewer than `least_pairs`
    effective pairs are left, as in the authors' code.

    Args:
        pairs: `pair_errors`.
        confidence: of each interval.
        least_pairs: effective pairs.
    """
    rows = []
    for place, own in pairs.groupby(ENVIRONMENT, sort=False):
        effective = effective_count(own["weight"].to_numpy())
        row = {**dict(zip(ENVIRONMENT, place, strict=True)), "pairs": len(own)}
        row |= {"effective": effective, "draws": 0}
        row |= dict.fromkeys(("error", "error_low", "error_high"), np.nan)
        if effective >= least_pairs:
            found = weighted_error(own, confidence)
            row |= {**interval_columns("error", found), "draws": found.draws}
        rows.append(row)
    return pd.DataFrame(rows)


def worst_error(
    pairs: pd.DataFrame, confidence: float = 0.95, least_pairs: float = 12
) -> Difference:
    """Return the largest sign error over environments, with its interval; NaN without any.

    The upper end is the largest of the environments' own upper ends: that of the worst one covers.
    It is NaN where an environment has none, with pairs of one draw alone.
    The lower end is the largest of lower ends that hold together (Bonferroni).

    Args:
        pairs: `pair_errors`.
        confidence: of the interval.
        least_pairs: effective pairs that an environment needs.
    """
    own = environment_errors(pairs, confidence, least_pairs)
    known = own[np.isfinite(own["error"])]
    if known.empty:
        return Difference(np.nan, np.nan, np.nan, confidence, np.nan, 0, 0, 0)
    level = simultaneous_confidence(len(known), confidence)
    together = environment_errors(pairs, level, least_pairs)
    worst, high = float(known["error"].max()), float(known["error_high"].max(skipna=False))
    low, draws = float(together["error_low"].max()), int(known["draws"].min())
    return Difference(worst, low, high, confidence, np.nan, max(draws - 1, 0), draws, 0)
