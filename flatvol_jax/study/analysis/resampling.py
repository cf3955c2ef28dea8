"""What one sample can say about its own spread: jackknife, permutation, bootstrap."""

from collections.abc import Callable

import numpy as np
from scipy import stats

from flatvol_jax.runtime import checks


def stratified_jackknife(statistic: Callable[[np.ndarray], float], levels: np.ndarray) -> float:
    """Return the standard error of a statistic of runs that are independent within fixed levels.

    var = Σ_levels (m - 1)/m Σ_i (t_(i) - mean t)², t_(i) the statistic without run i (Efron and
    Tibshirani 1993, sec. 11; strata added). Preferred to a bootstrap here: levels hold about
    five runs, and a resample of five has ties that bias a rank correlation towards zero.

    Args:
        statistic: takes the (n,) indices of the runs kept, returns a number.
        levels: (n,) the level of each run; a level with one run adds nothing.

    Returns:
        The standard error; NaN where leaving a run out leaves the statistic undefined, and where
        it never moves it: so few runs, or such a perfect order, show no spread to measure.
    """
    levels = np.asarray(levels)
    everyone = np.arange(len(levels))
    variance = 0.0
    for level in np.unique(levels):
        members = everyone[levels == level]
        if len(members) > 1:
            left_out = np.array([statistic(np.delete(everyone, run)) for run in members])
            variance += (len(members) - 1) * left_out.var()
    return float(np.sqrt(variance)) if variance > 0 else np.nan


def permutation_p_value(
    seed: int, x: np.ndarray, y: np.ndarray, levels: np.ndarray, permutations: int = 4999
) -> float:
    """Return the two-sided p-value of Σ x y when y is exchangeable within each level.

    p = (1 + #{|Σ x y'| ≥ |Σ x y|}) / (1 + permutations), which never is zero and never too
    small (Phipson and Smyth 2010).

    Args:
        seed: whole number that fixes the permutations.
        x: (n,) scores centred within levels.
        y: (n,) scores centred within levels.
        levels: (n,) the level of each run.
        permutations: how many.
    """
    permutations = checks.count("permutations", permutations)
    generator = np.random.default_rng(seed)
    x, y, levels = np.asarray(x), np.asarray(y), np.asarray(levels)
    permuted = np.zeros(permutations)
    for level in np.unique(levels):
        members = levels == level
        copies = np.tile(y[members], (permutations, 1))
        permuted += generator.permuted(copies, axis=1) @ x[members]
    # A permutation that only swaps ties must count as equal despite rounding.
    slack = 1e-12 * np.linalg.norm(x) * np.linalg.norm(y)
    return float((1 + np.sum(np.abs(permuted) >= abs(x @ y) - slack)) / (1 + permutations))


def draw_bootstrap(
    seed: int,
    statistic: Callable[[np.ndarray], float],
    draws: np.ndarray,
    confidence: float,
    resamples: int = 1000,
) -> tuple[float, float]:
    """Return the interval of a statistic of runs when whole draws are resampled, never single runs.

    Expanded percentile interval (Hesterberg 2015, The American Statistician 69): the tails are
    Φ(-t √(n/(n-1))), t the Student quantile at n - 1 degrees of freedom for n draws, because
    the plain percentiles are too narrow for ten draws.

    Args:
        seed: whole number that fixes the resamples.
        statistic: takes indices of runs (a draw picked twice stands twice), returns a number.
        draws: (n_runs,) the draw of each run, at least two different ones.
        confidence: in (0, 1).
        resamples: how many.

    Returns:
        low and high; NaN where no resample has the statistic defined.
    """
    members = [np.flatnonzero(draws == draw) for draw in np.unique(draws)]
    count = len(members)
    if count < 2:
        raise ValueError("draws: got one draw, wanted at least two: runs are not resampled.")
    generator = np.random.default_rng(seed)
    picks = generator.integers(count, size=(resamples, count))
    values = np.array([statistic(np.concatenate([members[i] for i in row])) for row in picks])
    values = values[np.isfinite(values)]
    if not len(values):
        return np.nan, np.nan
    quantile = stats.t.ppf(0.5 + confidence / 2, count - 1)
    tail = stats.norm.cdf(-quantile * np.sqrt(count / (count - 1)))
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)
