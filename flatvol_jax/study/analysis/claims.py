"""The tables of an attack sweep: every measure's correlations, the primary claims' verdicts."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from flatvol_jax.runtime import checks
from flatvol_jax.study.analysis import columns as col
from flatvol_jax.study.analysis import comparison, selection, statistics, verdicts
from flatvol_jax.study.analysis.run_tables import fault_lines
from flatvol_jax.study.analysis.statistics import POOLED, READINGS, WITHIN

JUDGEMENT = ("p", "verdict", "reason", "half_width", "decidable")  # columns of a judged reading
PRIMARY = (col.LOG_VOLUME, col.SHARPNESS)
SEEN = "E2 is empty: error on E1, which log V has seen"


def claims_table(
    frame: pd.DataFrame,
    scale: str | None = None,
    seed: int = 0,
    primary_claims: int | None = None,
    error: tuple[str, str] | None = None,
    measures: Sequence[col.Column] = col.MEASURES,
    permutations: int = 4999,
) -> pd.DataFrame:
    """Correlate each measure with the error in two readings: a row an optimizer and measure.

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
    selection.require(frame, col.OPTIMIZER)
    if not len(frame):
        raise ValueError("frame: got no records, wanted at least one finished run.")
    optimizers = selection.optimizer_names(frame)
    own = len(PRIMARY) * len(optimizers)
    claims = own if primary_claims is None else checks.count("primary_claims", primary_claims, own)
    confidence = comparison.simultaneous_confidence(claims)
    error_column, error_name = error or selection.error_column(frame)
    frame = selection.narrowed(frame, error_column, *(m.name for m in (*col.MEASURES, *measures)))
    rows = []
    for optimizer in optimizers:
        group = frame[frame[col.OPTIMIZER] == optimizer]
        known = [
            m for m in measures if m.name != error_column and np.isfinite(m.values(group)).any()
        ]
        correlated, cells = {}, {}
        for measure in dict.fromkeys((*PRIMARY, *known)):
            together = measure in (*PRIMARY, col.PROBIT, col.CEILING)
            found = _correlation_row(group, measure, error_column, confidence if together else 0.95)
            correlated[measure], cells[measure], runs = found
            if permutations:
                cells[measure]["permutation_p"] = statistics.within_p_value(
                    seed, runs, measure.name, error_column, permutations
                )
        ceiling = _ceiling(group, correlated, error_column, confidence)
        place = {"optimizer": optimizer, "error": error_name}
        for measure, row in cells.items():
            judged = _verdict_cells(place, correlated[measure], measure, scale, ceiling)
            rows.append(place | row | judged)
        baselines = [m.name for m in known if m.family == "baseline"]
        if baselines and col.LOG_VOLUME in known:
            rows.append(place | _increment(group, error_column, baselines))
    columns = [f"{reading}_{name}" for reading in READINGS for name in JUDGEMENT]
    table = pd.DataFrame(rows)
    table = table.reindex(columns=[*table, *(name for name in columns if name not in table)])
    return holm_together([table], claims)[0]


def holm_together(tables: Sequence[pd.DataFrame], claims: int) -> list[pd.DataFrame]:
    """Add R_p_holm: Holm's adjustment over the primary rows of all the tables, by reading.

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
    """Give by optimizer the lower end of the interval of the E1 error's own within-|A| correlation.

    Optimizers of which it is not recorded, or whose error is E1's, are not there.
    """
    rows = claims[claims["column"] == col.CEILING.name]
    return dict(zip(rows["optimizer"], rows["within_low"].astype(float), strict=True))


def records_summary(
    frame: pd.DataFrame,
    scale: str | None = None,
    seed: int = 0,
    claims: pd.DataFrame | None = None,
) -> list[str]:
    """Write the end of a run in plain text: correlations, intervals, n and verdicts."""
    claims = claims_table(frame, scale, seed) if claims is None else claims
    lines = []
    for optimizer, rows in claims.groupby("optimizer", sort=False):
        lines.append(f"{optimizer}: Spearman correlation with the error on {rows['error'].iloc[0]}")
        lines.append(f"{'':34}{'pooled over |A|':25}{'within |A|':25}{'n':>5}")
        for _, row in rows.iterrows():
            pooled, within = (
                verdicts.interval_text(row[reading], row[f"{reading}_low"], row[f"{reading}_high"])
                for reading in READINGS
            )
            lines.append(f"  {row['measure']:32}{pooled:25}{within:25}{row['runs']:5d}")
        lines += verdict_lines(rows)
    lines.append(
        f"{len(selection.usable(frame)[0])} of {len(frame)} runs reached zero training error; "
        f"{frame[col.DRAW].nunique()} draw(s), {frame[col.ATTACK_SIZE].nunique()} sizes of A"
    )
    return lines + fault_lines(frame)


def verdict_lines(table: pd.DataFrame) -> Iterator[str]:
    """Write the primary claims of a table in plain text: number and verdict in each reading."""
    for row in table[table["family"] == "primary"].to_dict("records"):
        yield f"  {row['claim']}"
        for reading in READINGS:
            estimate, low, high = (row[f"{reading}{end}"] for end in ("", "_low", "_high"))
            number = verdicts.interval_text(estimate, low, high, "not defined")
            reason = row[f"{reading}_reason"]
            yield f"    {reading}: {number}: {row[f'{reading}_verdict']} ({reason})"


def reading_cells(reading: str, found: Any, *more: str) -> dict[str, Any]:
    """Write a correlation or difference in one reading as cells of a table."""
    names = ("low", "high", "draws", "undefined", *more)
    cells = {f"{reading}_{name}": getattr(found, name) for name in names}
    return {reading: found.estimate} | cells


def judgement_cells(reading: str, judged: verdicts.Verdict, p: float) -> dict[str, Any]:
    """Write a verdict in one reading as cells of a table."""
    return {f"{reading}_p": p} | {
        f"{reading}_{name}": value for name, value in judged._asdict().items()
    }


def _correlation_row(
    group: pd.DataFrame, measure: col.Column, error: str, confidence: float
) -> tuple[dict[str, statistics.Correlation], dict[str, Any], pd.DataFrame]:
    """Correlate one measure in both readings: the correlations, its row, the runs behind both."""
    runs, left_out = selection.usable(group, measure.name, error)
    values = measure.values(runs)
    logs = np.log10(np.where(values > 0, values, np.nan)) if measure.scale == "log" else values
    shown = runs.assign(**{measure.name: logs})[np.isfinite(logs)]
    found: dict[str, statistics.Correlation] = {}
    cells: dict[str, Any] = {}
    for reading in READINGS:
        found[reading] = statistics.correlation(
            runs, measure.name, error, reading, confidence=confidence
        )
        cells |= reading_cells(reading, found[reading], "basis", "runs")
        for kind in ("pearson", "kendall"):
            cells[f"{reading}_{kind}"] = statistics.combined_estimate(
                shown, measure.name, error, reading, kind
            )
    row = _row(measure.family, measure.label, measure, confidence)
    return found, row | cells | {"runs": len(runs), "left_out": left_out}, runs


def _increment(group: pd.DataFrame, error: str, baselines: Sequence[str]) -> dict[str, Any]:
    runs, left_out = selection.usable(group, col.LOG_VOLUME.name, error, *baselines)
    within = statistics.correlation(runs, col.LOG_VOLUME.name, error, given=baselines)
    row = _row("increment", "log V beyond all baselines", col.LOG_VOLUME, within.confidence)
    row |= reading_cells(WITHIN, within, "basis", "runs")
    return row | {"runs": len(runs), "left_out": left_out}


def _row(family: str, label: str, measure: col.Column, confidence: float) -> dict[str, Any]:
    names = ("family", "measure", "column", "confidence")
    return dict(zip(names, (family, label, measure.name, confidence), strict=True))


def _ceiling(group: pd.DataFrame, correlated: Mapping, error: str, confidence: float):
    """Return the lower end of the E1 error's own interval within |A|; None without an E2."""
    if col.CEILING in correlated:
        return correlated[col.CEILING][WITHIN].low
    if error == col.CEILING.name or not np.isfinite(col.CEILING.values(group)).any():
        return None
    return _correlation_row(group, col.CEILING, error, confidence)[0][WITHIN].low


def _verdict_cells(
    place: Mapping[str, str],
    found: Mapping[str, statistics.Correlation],
    measure: col.Column,
    scale: str | None,
    ceiling: float | None,
) -> dict[str, Any]:
    """Judge in each reading; the probit link only in the pooled one (rule 5)."""
    readings = READINGS if measure in PRIMARY else (POOLED,) * (measure == col.PROBIT)
    if not readings:
        return {}
    direction = "negatively" if measure.sign < 0 else "positively"
    claim = f"{place['optimizer']}: {measure.label} correlates {direction} with the error"
    cells: dict[str, Any] = {"claim": claim}
    criterion = verdicts.correlates(measure.sign)
    for reading in readings:
        limited = ceiling if measure == col.LOG_VOLUME and reading == WITHIN else None
        note = SEEN if place["error"] == "E1" else ""
        judged = verdicts.judge(criterion, found[reading], scale, note, limited)
        cells |= judgement_cells(reading, judged, verdicts.p_value(criterion, found[reading]))
    return cells
