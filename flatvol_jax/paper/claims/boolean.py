"""Claims on the Boolean system, where volumes are counted and no test set exists.

There is no draw of S, E here: every input is shown and every function is its 128 labels. So the
rules allow no verdict, and intervals are over the functions that were trained to.
"""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import pandas as pd

from flatvol_jax.paper.claims.claim import ONE_SYSTEM, Evidence, PaperClaim, conditional
from flatvol_jax.study.analysis import columns as col
from flatvol_jax.study.analysis import resampling, statistics, verdicts
from flatvol_jax.study.analysis.names import OPTIMIZERS

WHO = "Boolean functions of 7 inputs, 7-40-40-1"
MINORITY = "function.minority"
NO_DRAWS = "all inputs are shown, so there are no draws of S, E; interval over functions"
SMALLER = verdicts.correlates(-1)


def boolean_claims(frame: pd.DataFrame) -> Iterator[PaperClaim]:
    """Yield the claims on volume and sharpness, on constants and bands, on P_SGD against P_B.

    Args:
        frame: records of the Boolean experiment.
    """
    functions = frame[frame[col.PART] == "function"]
    functions = functions[np.isfinite(col.SHARPNESS.values(functions))]
    if len(functions):
        epochs = sorted(functions[col.OVERTRAIN].unique())
        at = {int(epoch): functions[functions[col.OVERTRAIN] == epoch] for epoch in epochs}
        yield _volume_and_sharpness(at)
        yield _constants(at)
        yield _bands(at)
    yield from _sampler_claims(frame[frame[col.PART] == "posterior_summary"])


def _volume_and_sharpness(at: Mapping[int, pd.DataFrame]) -> PaperClaim:
    first, *later = _at_each_epoch(
        at, lambda rows: _spearman(rows, col.COUNTED_VOLUME, col.SHARPNESS)
    )
    norms = (
        _spearman(at[min(at)], col.SPECTRAL_NORM, measure)._replace(
            label=f"spectral norm and {name} at zero error"
        )
        for name, measure in (
            ("sharpness (S1)", col.SHARPNESS),
            ("volume (S2)", col.COUNTED_VOLUME),
        )
    )
    label = "volume and sharpness at zero error: Spearman's ρ"
    met = SMALLER.met(first.estimate)
    return PaperClaim(
        "boolean",
        WHO,
        "functions of larger volume have less sharp minima",
        SMALLER.text,
        1,
        conditional(first._replace(label=label), met, NO_DRAWS, ONE_SYSTEM),
        evidence=(*later, *norms),
    )


def _constants(at: Mapping[int, pd.DataFrame]) -> PaperClaim:
    """Rank the constant functions, 1 the least sharp."""

    def place(rows: pd.DataFrame) -> Evidence:
        rank = pd.Series(col.SHARPNESS.values(rows), rows.index).rank()
        return Evidence("", float(rank[rows[MINORITY] == 0].median()))

    first, *later = _at_each_epoch(at, place)
    functions = at[min(at)]
    largest = functions[functions[MINORITY] == 0]["function.rank"].max()
    label = f"place of the constants in sharpness, 1 the least, of {len(functions)}, at zero error"
    note = f"in volume they are first and second: {'yes' if largest <= 1 else 'no'}"
    met = bool(first.estimate <= 2 and largest <= 1)
    counted = first._replace(label=label, note=note)
    return PaperClaim(
        "constants",
        WHO,
        "the constant functions have the largest volume and the lowest sharpness",
        "1 to 2",
        1,
        conditional(counted, met, "counted, not estimated", ONE_SYSTEM),
        evidence=tuple(later),
    )


def _bands(at: Mapping[int, pd.DataFrame]) -> PaperClaim:
    """Measure the gap in log10 sharpness between odd and even minorities at equal volume."""
    first, *later = _at_each_epoch(at, _odd_coefficient)
    label = "log10 sharpness, odd minus even at equal volume, at zero error"
    met = bool(first.low * first.high > 0)
    return PaperClaim(
        "bands",
        WHO,
        "odd and even numbers of outliers make two bands",
        "not 0",
        1,
        conditional(first._replace(label=label), met, NO_DRAWS, ONE_SYSTEM),
        evidence=tuple(later),
    )


def _sampler_claims(rows: pd.DataFrame) -> Iterator[PaperClaim]:
    for row in rows.to_dict("records"):
        kind = "direct" if np.isfinite(row["measure.total_variation.direct"]) else "nngp"
        name = f"measure.total_variation.{kind}"
        distance, low, high = row[name], row[f"{name}.null.low"], row[f"{name}.null.high"]
        name = f"measure.slope.{kind}"
        slope, error = row[name], 1.96 * row[f"{name}.robust.se"]
        fitted = f"{row[f'{name}.functions']:.0f} functions, HC3 errors"
        optimizer = OPTIMIZERS[row[col.OPTIMIZER]]
        system = "MNIST" if row["meta.system"] == "mnist" else "Boolean"
        beyond = ", far beyond sampling noise" if distance > high else ""
        number = Evidence(
            "total variation between P_optimizer and P_B",
            distance,
            note=f"two samples of P_B of this size: {low:.3f} to {high:.3f} (95%)",
        )
        reason = f"one S; {row['meta.seeds']:.0f} seeds{beyond}"
        label = "slope of ln P_optimizer against ln P_B, 1 if equal"
        yield PaperClaim(
            "sampler",
            f"{system}, |S| = {row['hp.train_size']:.0f}, target {row['target.name']}, {optimizer}",
            f"{optimizer} finds functions as often as the posterior has them",
            f"≤ {high:.3f}",
            1,
            conditional(number, bool(distance <= high), reason, ONE_SYSTEM),
            evidence=(Evidence(label, slope, slope - error, slope + error, fitted),),
        )


def _at_each_epoch(
    at: Mapping[int, pd.DataFrame], measure: Callable[[pd.DataFrame], Evidence]
) -> list[Evidence]:
    """Measure at zero error, then at each later epoch of the minima."""
    return [
        measure(rows)._replace(label=f"the same {epoch} epochs after zero error")
        for epoch, rows in sorted(at.items())
    ]


def _spearman(rows: pd.DataFrame, x: col.Column, y: col.Column) -> Evidence:
    one, other = x.values(rows), y.values(rows)
    known = np.isfinite(one) & np.isfinite(other)
    one, other = one[known], other[known]
    return _over_functions(len(one), lambda kept: statistics.plain_estimate(one[kept], other[kept]))


def _odd_coefficient(rows: pd.DataFrame) -> Evidence:
    """Fit the coefficient of "odd" in log10 sharpness = a + b log V + c odd; no constants."""
    rows = rows[rows[MINORITY] > 0]
    sharpness = col.SHARPNESS.values(rows)
    rows, sharpness = rows[sharpness > 0], np.log10(sharpness[sharpness > 0])
    odd = rows[MINORITY].to_numpy(float) % 2
    design = np.stack([np.ones(len(rows)), col.COUNTED_VOLUME.values(rows), odd], axis=1)

    def coefficient(kept: np.ndarray) -> float:
        return float(np.linalg.lstsq(design[kept], sharpness[kept], rcond=None)[0][2])

    return _over_functions(len(rows), coefficient)


def _over_functions(count: int, statistic: Callable[[np.ndarray], float]) -> Evidence:
    """Return a statistic of functions with its bootstrap interval."""
    everyone = np.arange(count)
    ends = resampling.draw_bootstrap(0, statistic, everyone, 0.95)
    return Evidence("", statistic(everyone), *ends, f"{count} functions")
