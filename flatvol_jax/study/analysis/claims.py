"""The tables of an attack sweep: every measure's correlations, the primary claims' verdicts."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from flatvol_jax.runtime import checks
from flatvol_jax.study.analysis import comparison, statistics, verdicts
from flatvol_jax.study.analysis.columns import (
    CEILING,
    LOG_VOLUME,
    MEASURES,
    PROBIT,
    SHARPNESS,
    Measure,
)
from flatvol_jax.study.analysis.faults import fault_lines
from flatvol_jax.study.analysis.selection import (
    ATTACK_SIZE,
    STATUS,
    error_column,
    narrowed,
    numbers,
    require,
    usable,
)
from flatvol_jax.study.analysis.statistics import POOLED, READINGS, WITHIN

OPTIMIZER = "hp.train.optimizer"
BOUNDS = {
    "measure.bound.printed": "as printed (eq. 4)",
    "measure.bound.random_split": "random split of S and E",
}
INFORMATIVE_BELOW = 0.5
JUDGEMENT = ("p", "verdict", "reason", "half_width", "decidable")  # columns of a judged reading
LINKS = ("heaviside", "probit")


def claims_table(
    frame: pd.DataFrame,
    scale: str | None = None,
    seed: int = 0,
    primary_claims: int | None = None,
    error: tuple[str, str] | None = None,
    measures: Sequence[Measure] = MEASURES,
    permutations: int = 4999,
) -> pd.DataFrame:
    """One row for each optimizer and measure: its correlation with the error in two readings.

    Pooled is over all |A| of a draw, as the paper measures it; within is between runs of one
    |A|. The primary claims, per optimizer: log V (Heaviside) correlates negatively with the
    error, sharpness positively; both are judged in each reading, log V (probit), the authors'
    link, also in the pooled one. The intervals of a reading hold together at 95% (Bonferroni
    over all primary claims of a reading), `p` is one-sided against 0.3, `p_holm` adjusted; the
    interval decides. The correlation of the error on E1 with that on E2, at the same confidence,
    is the ceiling of log V within |A|. Every other row has a plain 95% interval and no verdict.
    Measures that no run has are left out, except primary ones. The row of family "increment" is
    log V given all baselines.

    Args:
        frame: records of one epoch and one transform, one row a run.
        scale: of the study; without "cpu" or "paper" there is no verdict.
        seed: fixes permutations.
        primary_claims: how many claims are made together in a reading; without it those of this
            table.
        error: column and name of the error; without it `error_column`'s.
        measures: which rows there are beside those of the primary claims.
        permutations: of the p-value within levels; 0 for none.

    Returns:
        Columns optimizer, family, measure, column, claim, error, confidence; of each reading R:
        R (the estimate), R_low, R_high, R_draws, R_undefined, R_basis, R_runs, R_pearson,
        R_kendall, R_p, R_p_holm, R_verdict, R_reason, R_half_width, R_decidable; permutation_p
        (within), runs, left_out (reason -> count).
    """
    require(frame, OPTIMIZER)
    if not len(frame):
        raise ValueError("frame: got no records, wanted at least one finished run.")
    optimizers = optimizer_names(frame)
    own = 2 * len(optimizers)
    claims = own if primary_claims is None else checks.count("primary_claims", primary_claims, own)
    confidence = comparison.simultaneous_confidence(claims)
    error, error_name = error or error_column(frame)
    frame = narrowed(frame, error, *(m.column for m in (*MEASURES, *measures)))
    rows = []
    for optimizer in optimizers:
        group = frame[frame[OPTIMIZER] == optimizer]
        present = [
            m for m in measures if m.column != error and np.isfinite(numbers(group, m.column)).any()
        ]
        ceiling = _ceiling(group, error, confidence)
        place = {"optimizer": optimizer, "error": error_name}
        for measure in dict.fromkeys((LOG_VOLUME, SHARPNESS, *present)):
            together = measure in (LOG_VOLUME, SHARPNESS, PROBIT, CEILING)
            level = confidence if together else 0.95
            row, found = _row(group, measure, error, level)
            if permutations:
                runs = usable(group, measure.column, error)[0]
                p = statistics.within_p_value(seed, runs, measure.column, error, permutations)
                row["permutation_p"] = p
            rows.append(place | row | _judge(optimizer, found, measure, scale, error_name, ceiling))
        baselines = [m.column for m in present if m.family == "baseline"]
        if baselines and LOG_VOLUME in present:
            rows.append(place | _increment(group, error, baselines))
    columns = [f"{reading}_{name}" for reading in READINGS for name in JUDGEMENT]
    table = pd.DataFrame(rows)
    table = table.reindex(columns=[*table, *(name for name in columns if name not in table)])
    return holm_together([table], claims)[0]


def holm_together(tables: Sequence[pd.DataFrame], claims: int) -> list[pd.DataFrame]:
    """The tables with R_p_holm: Holm's adjustment over the primary rows of all of them, by reading.

    `claims` beyond those rows count as made and not shown, which only makes R_p_holm larger.
    """
    for reading in READINGS:
        tested = {
            (number, row): p
            for number, table in enumerate(tables)
            for row, p in table.loc[table["family"] == "primary", f"{reading}_p"].items()
        }
        unseen = {("unseen", i): np.nan for i in range(claims - len(tested))}
        adjusted = comparison.holm(tested | unseen)
        name = f"{reading}_p_holm"
        tables = [
            table.assign(**{name: [adjusted.get((number, row), np.nan) for row in table.index]})
            for number, table in enumerate(tables)
        ]
    return list(tables)


def ceilings(claims: pd.DataFrame) -> dict[str, float]:
    """By optimizer, the lower end of the interval of the E1 error's own correlation within |A|.

    Optimizers of which it is not recorded, or whose error is E1's, are not there.
    """
    rows = claims[claims["column"] == CEILING.column]
    return dict(zip(rows["optimizer"], rows["within_low"].astype(float), strict=True))


def optimizer_names(frame: pd.DataFrame) -> list[str]:
    """The optimizers of a frame, SGD first."""
    names = {str(name) for name in frame[OPTIMIZER].dropna()}
    return sorted(names, key=lambda name: (name != "sgd", name))


def bound_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Of the usable runs, the fraction where each form of the bound says anything (< 0.5)."""
    rows = []
    for column, form in BOUNDS.items():
        values = numbers(usable(frame, column)[0], column)
        informative = float(np.mean(values < INFORMATIVE_BELOW)) if len(values) else np.nan
        least, median = (np.min(values), np.median(values)) if len(values) else (np.nan,) * 2
        rows.append((form, len(values), informative, float(least), float(median)))
    return pd.DataFrame(rows, columns=["form", "runs", "informative", "least", "median"])


def volume_table(frame: pd.DataFrame) -> pd.DataFrame:
    """For each link, how far EP and corrected EP lie from the sampling estimate, nats."""
    rows = []
    for link in LINKS:
        name = f"measure.log_volume.{link}"
        estimate, error = numbers(frame, f"{name}.estimate"), numbers(frame, f"{name}.estimate.se")
        known = np.isfinite(estimate + error)
        if not known.any():
            continue
        row = {"link": link, "runs": int(known.sum()), "se": float(np.median(error[known]))}
        for label, column in (("ep", name), ("corrected", f"{name}.corrected")):
            distance = np.abs(numbers(frame, column) - estimate)[known]
            row |= {label: float(np.median(distance)), f"{label}_most": float(distance.max())}
        certified = [flag for flag in frame[f"is.certified.{link}"] if not pd.isna(flag)]
        rows.append(row | {"certified": sum(map(bool, certified))})
    return pd.DataFrame(rows)


def status_table(frame: pd.DataFrame) -> pd.DataFrame:
    """How many runs reached zero error and how many of their measures converged."""
    flags = {"is.zero_error": "zero training error"}
    names = {
        "is.ep_converged": "EP converged",
        "is.correction_reliable.heaviside": "EP's correction reliable (Heaviside)",
        "is.certified.heaviside": "sampling estimate certified (Heaviside)",
        "is.sharpness_converged": "sharpness converged",
        "is.sgd_sharpness_converged": "SGD ascent converged",
        "is.adaptive_sharpness_converged.inf": "adaptive sharpness converged",
        "is.normalized_sharpness_converged": "normalised sharpness converged",
        "is.learning_coefficient_ok": "learning coefficient settled",
        "is.hessian_converged": "Hessian measures converged",
    }
    flags |= {status: names[status] for status, _ in STATUS.values()}
    rows = []
    for column, name in flags.items():
        values = [v for v in frame.get(column, ()) if not pd.isna(v)]
        yes = sum(bool(v) for v in values)
        rows.append((name, yes, len(values) - yes, len(frame) - len(values)))
    return pd.DataFrame(rows, columns=["status", "yes", "no", "not recorded"])


def records_summary(
    frame: pd.DataFrame,
    scale: str | None = None,
    seed: int = 0,
    claims: pd.DataFrame | None = None,
) -> list[str]:
    """Lines of plain text for the end of a run: correlations, intervals, n and verdicts."""
    claims = claims_table(frame, scale, seed) if claims is None else claims
    lines = []
    for optimizer, rows in claims.groupby("optimizer", sort=False):
        lines.append(f"{optimizer}: Spearman correlation with the error on {rows['error'].iloc[0]}")
        lines.append(f"{'':34}{'pooled over |A|':25}{'within |A|':25}{'n':>5}")
        for _, row in rows.iterrows():
            pooled, within = (
                _interval(row[reading], row[f"{reading}_low"], row[f"{reading}_high"])
                for reading in READINGS
            )
            lines.append(f"  {row['measure']:32}{pooled:25}{within:25}{row['runs']:5d}")
        for _, row in rows[rows["family"] == "primary"].iterrows():
            lines.append(f"  {row['claim']}")
            for reading in READINGS:
                verdict, reason = row[f"{reading}_verdict"], row[f"{reading}_reason"]
                lines.append(f"    {reading}: {verdict} ({reason})")
    sizes = frame[ATTACK_SIZE].nunique()
    used = len(usable(frame)[0])
    lines.append(
        f"{used} of {len(frame)} runs reached zero training error; "
        f"{frame['hp.draw'].nunique()} draw(s), {sizes} sizes of A"
    )
    return lines + fault_lines(frame)


def _row(
    group: pd.DataFrame, measure: Measure, error: str, confidence: float
) -> tuple[dict[str, Any], dict[str, statistics.Correlation]]:
    runs, left_out = usable(group, measure.column, error)
    values = numbers(runs, measure.column)
    logs = np.log10(np.where(values > 0, values, np.nan)) if measure.scale == "log" else values
    shown = runs.assign(**{measure.column: logs})[np.isfinite(logs)]
    found, cells = {}, {}
    for reading in READINGS:
        found[reading] = statistics.correlation(
            runs, measure.column, error, reading, confidence=confidence
        )
        cells |= _cells(reading, found[reading])
        for kind in ("pearson", "kendall"):
            cells[f"{reading}_{kind}"] = statistics.combined_estimate(
                shown, measure.column, error, reading, kind
            )
    return {
        "family": measure.family,
        "measure": measure.label,
        "column": measure.column,
        "confidence": confidence,
        **cells,
        "runs": len(runs),
        "left_out": left_out,
    }, found


def _increment(group, error, baselines):
    runs, left_out = usable(group, LOG_VOLUME.column, error, *baselines)
    within = statistics.correlation(runs, LOG_VOLUME.column, error, given=baselines)
    return {
        "family": "increment",
        "measure": "log V beyond all baselines",
        "column": LOG_VOLUME.column,
        "confidence": within.confidence,
        **_cells(WITHIN, within),
        "runs": len(runs),
        "left_out": left_out,
    }


def _cells(reading: str, found: statistics.Correlation) -> dict[str, Any]:
    return {
        reading: found.estimate,
        **{
            f"{reading}_{name}": getattr(found, name)
            for name in ("low", "high", "draws", "undefined", "basis", "runs")
        },
    }


def _ceiling(group: pd.DataFrame, error: str, confidence: float) -> float | None:
    """The lower end of the E1 error's own interval within |A|; None without an E2."""
    if error == CEILING.column or not np.isfinite(numbers(group, CEILING.column)).any():
        return None
    runs, _ = usable(group, CEILING.column, error)
    return statistics.correlation(runs, CEILING.column, error, confidence=confidence).low


def _judge(
    optimizer: str,
    found: Mapping[str, statistics.Correlation],
    measure: Measure,
    scale: str | None,
    error_name: str,
    ceiling: float | None,
) -> dict[str, Any]:
    """The verdict in each reading; of the probit link only in the pooled one (rule 5)."""
    direction = "negatively" if measure.sign < 0 else "positively"
    claim = f"{optimizer}: {measure.label} correlates {direction} with the error"
    note = "E2 is empty: error on E1, which log V has seen" if error_name == "E1" else ""
    readings = READINGS if measure in (LOG_VOLUME, SHARPNESS) else (POOLED,) * (measure == PROBIT)
    cells: dict[str, Any] = {"claim": claim} if readings else {}
    for reading in readings:
        limited = ceiling if measure == LOG_VOLUME and reading == WITHIN else None
        judged = verdicts.correlates(claim, found[reading], measure.sign, scale, note, limited)
        cells[f"{reading}_p"] = comparison.threshold_p_value(
            found[reading], measure.sign, verdicts.CORRELATES_BEYOND
        )
        cells |= judgement_cells(reading, judged)
    return cells


def judgement_cells(reading: str, judged: verdicts.Verdict) -> dict[str, Any]:
    """What a table holds of a verdict in one reading."""
    names = ("verdict", "reason", "half_width", "decidable")
    return {f"{reading}_{name}": getattr(judged, name) for name in names}


def _interval(estimate, low, high):
    if not np.isfinite(estimate):
        return "—"
    ends = f"[{low:+.2f}, {high:+.2f}]" if np.isfinite([low, high]).all() else "[—]"
    return f"{estimate:+.2f} {ends}"
