"""How a measure correlates with the error, in two readings, over independent draws.

*Pooled* is Spearman's correlation over all runs of a draw, whatever their size of A: what the
paper's figures show. *Within* is what is left of it between runs of one size of A:

A *level* is the runs of one draw with one |A|: the same S and the same size of A, so that what
differs is the network. The statistic of a draw is Spearman's correlation within levels:
mid-ranks within each level, centred, divided by m + 1 for a level of m runs (van Elteren's
weight, so that a large level does not drown the others), then one correlation over all levels
of the draw. A level with one run drops out. With few runs a level it is smaller than the
correlation of endless runs (0.69 for 0.79 at five): compare values of the same design.

Draws are combined as equals by Fisher's z = atanh ρ with a Student interval over draws. With
one draw there is only an interval *conditional on this S, E*, over runs within levels.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from flatvol_jax.runtime import checks
from flatvol_jax.study.analysis import resampling
from flatvol_jax.study.analysis.columns import ATTACK_SIZE, DRAW, numbers

CONDITIONAL = "conditional on this S, E"
POOLED, WITHIN = READINGS = ("pooled", "within")
KINDS = ("pearson", "spearman", "kendall")


class Correlation(NamedTuple):
    """A correlation with its interval and what the interval is over.

    `z_standard_error` and `freedom` are of the mean of Fisher's z (NaN for a bootstrap);
    `undefined` counts draws in which a constant measure or error leaves no correlation.
    """

    estimate: float
    low: float
    high: float
    confidence: float
    z_standard_error: float
    freedom: int
    draws: int
    undefined: int
    runs: int
    basis: str


def within_level(
    x: np.ndarray,
    y: np.ndarray,
    levels: np.ndarray,
    kind: str = "spearman",
    given: np.ndarray | None = None,
) -> float:
    """Return the correlation of x and y within levels; NaN where it is not defined.

    That is where x or y is constant within all levels, or fewer than two degrees of freedom
    (runs - levels - baselines) are left.

    Pearson: values centred within levels. Spearman: see the head of this file. Kendall: tau-b
    over the pairs of runs of one level.

    With `given` the correlation is partial: scores of x and y are replaced by their
    least-squares residuals on those of `given`. Spearman then takes aligned ranks (Hodges and
    Lehmann 1962): ranks over all runs of the values centred within levels, centred again. Ranks
    among five runs are too coarse a baseline: where it explains everything they leave a partial
    correlation of 0.09 to 0.16, aligned ranks 0.02 to 0.05.

    Args:
        x: (n,) measure.
        y: (n,) error.
        levels: (n,) level of each run.
        kind: "pearson", "spearman" or "kendall".
        given: (n, k) baselines.
    """
    checks.one_of("kind", kind, KINDS)
    columns = 0 if given is None else np.shape(given)[1]
    if len(levels) - len(np.unique(levels)) - columns < 2:
        return np.nan  # one degree of freedom has ρ = ±1 whatever the data
    if columns and kind == "kendall":
        raise ValueError("kind: got 'kendall' with baselines, wanted pearson or spearman.")
    kind = "aligned" if columns and kind == "spearman" else kind
    first, second = (level_scores(values, levels, kind) for values in (x, y))
    if given is not None and columns:
        design = np.stack([level_scores(column, levels, kind) for column in given.T], axis=1)
        scale = np.linalg.norm(design, axis=0)
        design = design[:, scale > 0] / scale[scale > 0]
        first, second = (_residual(scores, design) for scores in (first, second))
    norms = np.linalg.norm(first) * np.linalg.norm(second)
    return float(np.clip(first @ second / norms, -1, 1)) if norms > 0 else np.nan


def level_scores(values: np.ndarray, levels: np.ndarray, kind: str) -> np.ndarray:
    """Return what is correlated: centred values or ranks (n,), for Kendall signs of pairs."""
    values = np.asarray(values, np.float64)
    if kind == "aligned":
        centred = level_scores(values, levels, "pearson")
        return level_scores(mid_ranks(centred, np.zeros(len(centred))), levels, "pearson")
    if kind == "kendall":
        i, j = np.triu_indices(len(values), 1)
        pairs = levels[i] == levels[j]
        return np.sign(values[i[pairs]] - values[j[pairs]])
    _, start, level, counts = np.unique(
        levels, return_index=True, return_inverse=True, return_counts=True
    )
    if kind == "spearman":
        # Centred before scaled: exact in halves, so ties everywhere give exactly zero.
        return (mid_ranks(values, level) - (counts[level] + 1) / 2) / (counts[level] + 1)
    shifted = values - values[start][level]  # a constant level gives exactly zero
    return shifted - (np.bincount(level, shifted, len(counts)) / counts)[level]


def mid_ranks(values: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Return ranks from 1 within each level (n,), ties at their mean; NaNs are last and tied."""
    codes = np.unique(values, return_inverse=True)[1]
    _, level, counts = np.unique(levels, return_inverse=True, return_counts=True)
    below = np.cumsum(counts) - counts  # runs of the levels before
    return stats.rankdata(level * (len(codes) + 1) + codes) - below[level]


def draw_statistics(
    frame: pd.DataFrame,
    measure: str,
    error: str,
    kind: str = "spearman",
    given: Sequence[str] = (),
    reading: str = WITHIN,
) -> pd.DataFrame:
    """Return the correlation of each draw in one reading: columns draw, rho, z, runs, levels.

    `runs` and `levels` count levels of at least two runs; pooled, a draw is one level.
    z = atanh ρ, where ρ = ±1 is pulled in to half a step of the smallest change that swapping
    two neighbours' ranks could make.
    """
    checks.one_of("reading", reading, READINGS)
    draws, draw = np.unique(frame[DRAW].to_numpy(), return_inverse=True)
    sizes, level = np.unique(frame[ATTACK_SIZE].to_numpy(), return_inverse=True)
    level = draw * len(sizes) + level if reading == WITHIN else draw
    kept = levels_shared(level)
    x, y, draw, level = (
        values[kept] for values in (numbers(frame, measure), numbers(frame, error), draw, level)
    )
    _, start, counts = np.unique(level, return_index=True, return_counts=True)
    runs = np.bincount(draw, minlength=len(draws))
    levels = np.bincount(draw[start], minlength=len(draws))
    if given or kind == "kendall":
        baselines = frame[list(given)].to_numpy(np.float64)[kept]
        parts = [draw == i for i in range(len(draws))]
        rho = np.array([within_level(x[i], y[i], level[i], kind, baselines[i]) for i in parts])
    else:  # `within_level` of all draws at once
        one, other = (level_scores(values, level, kind) for values in (x, y))
        products, *squares = (
            np.bincount(draw, a * b, len(draws))
            for a, b in ((one, other), (one, one), (other, other))
        )
        norms = np.sqrt(squares[0]) * np.sqrt(squares[1])
        known = (norms > 0) & (runs - levels > 1)
        rho = np.where(known, np.clip(products / np.where(known, norms, 1), -1, 1), np.nan)
    z = _fisher(rho, np.bincount(draw[start], _spread(counts), len(draws)))
    columns = {"draw": draws, "rho": rho, "z": z, "runs": runs, "levels": levels}
    return pd.DataFrame(columns)


def correlation(
    frame: pd.DataFrame,
    measure: str,
    error: str,
    reading: str = WITHIN,
    kind: str = "spearman",
    confidence: float = 0.95,
    given: Sequence[str] = (),
) -> Correlation:
    """Return the correlation over all draws in one reading; of a single draw the conditional one.

    Draws count as equals: mean of Fisher's z with a Student interval. For a single draw the
    interval is a jackknife's over the runs of each level, conditional on this S, E.

    Args:
        frame: all rows enter: pass what `usable` returned for the measure, error and baselines.
        measure: column.
        error: column.
        reading: "pooled", the paper's, over all sizes of A of a draw, or "within" them.
        kind: "pearson", "spearman" or "kendall".
        confidence: of the interval.
        given: baselines; the correlation is then the increment of the measure beyond them.
    """
    per_draw = draw_statistics(frame, measure, error, kind, given, reading)
    defined = per_draw[np.isfinite(per_draw["z"])]
    draws, undefined = len(defined), len(per_draw) - len(defined)
    runs = int(defined["runs"].sum())
    if draws == 0:
        return Correlation(
            np.nan, np.nan, np.nan, confidence, np.nan, 0, 0, undefined, 0, "undefined"
        )
    if draws == 1:
        one = frame[frame[DRAW] == defined["draw"].iloc[0]]
        error_of_z, freedom = _one_draw(one, measure, error, kind, given, reading)
        basis = CONDITIONAL
    else:
        error_of_z = float(defined["z"].std(ddof=1) / np.sqrt(draws))
        freedom, basis = draws - 1, f"{draws} draws"
    z = float(defined["z"].mean())
    reach = stats.t.ppf(0.5 + confidence / 2, freedom) * error_of_z
    estimate, low, high = np.tanh([z, z - reach, z + reach]).tolist()
    return Correlation(
        estimate, low, high, confidence, error_of_z, freedom, draws, undefined, runs, basis
    )


def combined_estimate(
    frame: pd.DataFrame, measure: str, error: str, reading: str = WITHIN, kind: str = "spearman"
) -> float:
    """Return the estimate of `correlation`, without an interval."""
    return mean_over_z(draw_statistics(frame, measure, error, kind, reading=reading))


def mean_over_z(per_draw: pd.DataFrame) -> float:
    """Combine `draw_statistics` by the mean of Fisher's z; NaN where no draw has one."""
    return float(np.tanh(per_draw["z"].mean())) if per_draw["z"].notna().any() else np.nan


def within_p_value(
    seed: int, frame: pd.DataFrame, measure: str, error: str, permutations: int = 4999
) -> float:
    """Return a two-sided p-value of no Spearman correlation within levels, given the draws.

    Ranks of the error are permuted within each level; a level is a draw and a size of A.
    """
    levels = frame.groupby([DRAW, ATTACK_SIZE]).ngroup().to_numpy()
    x, y = (level_scores(numbers(frame, c), levels, "spearman") for c in (measure, error))
    if not (x.any() and y.any()):
        return np.nan
    return resampling.permutation_p_value(seed, x, y, levels, permutations)


def plain_estimate(x: np.ndarray, y: np.ndarray, kind: str = "spearman") -> float:
    """Correlate all rows (n,), which have no draws or levels; Kendall's is tau-b."""
    if kind == "kendall" and len(x) > 2:
        return float(stats.kendalltau(x, y).statistic)  # in n log n, all pairs are many here
    return within_level(x, y, np.zeros(len(x), int), kind)


def levels_shared(levels: np.ndarray) -> np.ndarray:
    """Return a mask (n,) of the runs that are not alone on their level."""
    _, inverse, counts = np.unique(levels, return_inverse=True, return_counts=True)
    return counts[inverse] > 1


def _levels(sizes: np.ndarray, reading: str) -> np.ndarray:
    return sizes if reading == WITHIN else np.zeros(len(sizes), int)


def _one_draw(frame, measure, error, kind, given, reading) -> tuple[float, int]:
    """Return the error of z over the runs of each |A| of one draw, and its degrees of freedom."""
    frame = frame[levels_shared(_levels(frame[ATTACK_SIZE].to_numpy(), reading))]
    sizes, x, y = frame[ATTACK_SIZE].to_numpy(), numbers(frame, measure), numbers(frame, error)
    baselines = frame[list(given)].to_numpy(np.float64)

    def z_of(kept):
        levels = _levels(sizes[kept], reading)
        kept, levels = (values[levels_shared(levels)] for values in (kept, levels))
        rho = within_level(x[kept], y[kept], levels, kind, baselines[kept])
        spread = _spread(np.unique(levels, return_counts=True)[1]).sum()
        return float(_fisher(rho, spread))

    freedom = len(frame) - len(np.unique(sizes)) - len(given)
    return resampling.stratified_jackknife(z_of, sizes), freedom


def _spread(sizes: np.ndarray) -> np.ndarray:
    """Sum the squares of the centred ranks of levels of these sizes."""
    return sizes * (sizes**2 - 1.0) / 12


def _fisher(rho: np.ndarray | float, spread: np.ndarray) -> np.ndarray:
    limit = np.maximum(0.0, 1 - 0.5 / np.maximum(spread, 0.5))
    return np.arctanh(np.clip(rho, -limit, limit))


def _residual(scores: np.ndarray, design: np.ndarray) -> np.ndarray:
    residual = scores - design @ np.linalg.lstsq(design, scores, rcond=None)[0]
    # What is left after a perfect fit is rounding, not a residual.
    return residual if np.linalg.norm(residual) > 1e-8 * np.linalg.norm(scores) else 0 * scores
