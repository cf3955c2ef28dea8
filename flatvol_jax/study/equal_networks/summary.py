"""Records of equal networks -> which measure predicts the error between them, over draws of S.

The error is that on E2. In one draw all networks fit the same S; two readings:

- *within*: between networks of one cell, a batch size and a rate, which differ by their seed
  alone. It decides.
- *overall*: between all networks of the draw, where batch size and rate confound; beside it the
  partial correlation, given both.

`statistics` calls a level what has one size of A. Here a cell takes its place: no network has an
attack set, and `levelled` numbers the cells in that column. Overall is its reading "pooled".
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from flatvol_jax.study.analysis import columns as col
from flatvol_jax.study.analysis import comparison, selection, statistics, verdicts
from flatvol_jax.study.analysis.statistics import POOLED, READINGS, WITHIN
from flatvol_jax.study.equal_networks import measures as known

HALVES = {
    f"{col.SECOND_TEST_ERROR}.half_1": "E2, first half",
    f"{col.SECOND_TEST_ERROR}.half_2": "E2, second half",
}


def levelled(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the records with the number of each network's cell in the column of a level.

    Cells are numbered by batch size, then rate, the same in all draws. Rate / batch size is added
    as a column.

    Raises:
        ValueError: networks with an attack set, records without batch size or rate.
    """
    selection.require(frame, col.DRAW, col.ATTACK_SIZE, known.BATCH_SIZE, known.LEARNING_RATE)
    if (col.numbers(frame, col.ATTACK_SIZE) != 0).any():
        sizes = sorted(set(frame[col.ATTACK_SIZE]))
        raise ValueError(
            f"frame: got networks with |A| in {sizes}, wanted none with an attack set: records of "
            "experiments.equal_networks."
        )
    recipe = [known.BATCH_SIZE, known.LEARNING_RATE]
    batch_size, rate = (col.numbers(frame, name) for name in recipe)
    return frame.assign(
        **{
            col.ATTACK_SIZE: frame.groupby(recipe, sort=True).ngroup(),
            known.NOISE: rate / batch_size,
        }
    )


def measure_table(
    frame: pd.DataFrame, scale: str | None = None, error: str | None = None
) -> pd.DataFrame:
    """Correlate every measure with the error: a row a measure, those that are judged first.

    The family of a reading is `measures.JUDGED`, whose intervals hold together at 95%
    (Bonferroni); the E1 error's, the ceiling, has the same confidence, every other row 95%.

    Args:
        frame: records.
        scale: of the study; without "cpu" or "paper" there is no verdict.
        error: column of the error; without it E2's, E1's where E2 is empty.

    Returns:
        Columns family, measure, column, claim, asked, confidence; of each reading R ("within",
        "pooled"): R, R_low, R_high, R_draws, R_undefined, R_verdict, R_reason, R_half_width,
        R_decidable; partial with its ends (overall, given batch size and rate); least and most
        (over draws, within); claimed (draws in which the sign is the claimed one); runs, left_out.
        The row of family "increment" is log V within cells given all baselines.
    """
    frame = levelled(frame)
    error = selection.error_column(frame)[0] if error is None else error
    confidence = comparison.simultaneous_confidence(len(known.JUDGED))
    recorded = [m for m in known.MEASURES if m.name != error and np.isfinite(m.values(frame)).any()]
    ceiling = None
    if col.CEILING in recorded and error != col.CEILING.name:
        ceiling = _found(frame, col.CEILING, error, confidence)[0][WITHIN].low
    rows = []
    for measure in dict.fromkeys((*known.JUDGED, *recorded, *known.CONFOUNDERS)):
        together = measure in known.JUDGED or measure == col.CEILING
        found, cells = _found(frame, measure, error, confidence if together else 0.95)
        row = {"family": measure.family, "measure": measure.label, "column": measure.name, **cells}
        if measure in known.JUDGED:
            row["family"] = "judged"
            row |= _judgement(measure, found, scale, ceiling)
        rows.append(row)
    baselines = [m.name for m in recorded if m.family == "baseline" or m in known.JUDGED[3:]]
    if baselines and col.LOG_VOLUME in recorded:
        rows.append(_increment(frame, error, baselines))
    names = ("verdict", "reason", "half_width", "decidable")
    judged = [f"{reading}_{name}" for reading in READINGS for name in names]
    table = pd.DataFrame(rows)
    return table.reindex(columns=[*table, *(n for n in (*judged, "claim") if n not in table)])


def halves_table(frame: pd.DataFrame, scale: str | None = None) -> pd.DataFrame:
    """Return the judged rows on each half of E2 ("half"); none where the records lack them."""
    tables = []
    for column, name in HALVES.items():
        if np.isfinite(col.numbers(frame, column)).any():
            table = measure_table(frame, scale, column)
            tables.append(table[table["family"] == "judged"].assign(half=name))
    found = pd.concat(tables) if tables else pd.DataFrame()
    return found.sort_values("column", kind="stable", ignore_index=True) if tables else found


def error_reliability(frame: pd.DataFrame) -> float:
    """Return the share of the rank variance of the error within cells that E2's size leaves true.

    2r / (1 + r) (Spearman and Brown 1910) of the correlation r of the errors on E2's halves within
    cells; a perfect measure correlates with the error by about its root. NaN without the halves.
    """
    frame, halves = levelled(frame), list(HALVES)
    runs, _ = selection.usable(frame, *halves)
    if not len(runs):
        return np.nan
    r = statistics.combined_estimate(runs, *halves)
    return 2 * r / (1 + r)


def first_sentence(table: pd.DataFrame, frame: pd.DataFrame) -> str:
    """Say in a sentence which of the judged measures predict the error, and which do not."""
    judged = table[table["family"] == "judged"]
    if judged["within"].isna().all():
        return "No correlation is defined: too few networks of a cell reached zero error on S."
    draws, runs = int(judged["within_draws"].max()), int(judged["runs"].max())
    parts = []
    for verdict, words in (
        (verdicts.HOLDS, "predicted by {}"),
        (verdicts.FAILS, "not predicted by {}"),
        (verdicts.UNDECIDABLE, "undecidable at this |E1|: {}"),
        (verdicts.UNDECIDED, "undecided: {}"),
        (verdicts.CONDITIONAL, "one draw decides nothing: {}"),
    ):
        own = judged[judged["within_verdict"] == verdict]
        names = [_in_words(row) for row in own.to_dict("records")]
        if names:
            parts.append(words.format(", ".join(names)))
    return (
        "Which of the networks that fit the same S, trained alike, has the smaller error: "
        f"{'; '.join(parts)} ({draws} draw{'s' * (draws != 1)} of S, {runs} networks; "
        "Spearman's ρ with the error between networks of one batch size and rate)."
    )


def equal_networks_summary(frame: pd.DataFrame, scale: str | None = None) -> list[str]:
    """Return the first sentence, then a line a measure."""
    table = measure_table(frame, scale)
    lines = [first_sentence(table, frame), f"  {'':38}{'within a cell':25}{'overall':25}networks"]
    for row in table.to_dict("records"):
        within, overall = (
            verdicts.interval_text(row[reading], row[f"{reading}_low"], row[f"{reading}_high"])
            for reading in (WITHIN, POOLED)
        )
        verdict = row["within_verdict"] if isinstance(row["within_verdict"], str) else ""
        lines.append(f"  {row['measure']:38}{within:25}{overall:25}{row['runs']:5d}  {verdict}")
    reliability = error_reliability(frame)
    if np.isfinite(reliability):
        lines.append(f"  reliability of the error on E2 within a cell: {reliability:.2f}")
    return lines


def _found(
    frame: pd.DataFrame, measure: col.Column, error: str, confidence: float
) -> tuple[dict[str, statistics.Correlation], dict[str, Any]]:
    """Correlate one measure in both readings and partially: the correlations, cells of its row."""
    runs, left_out = selection.usable(frame, measure.name, error)
    found: dict[str, statistics.Correlation] = {}
    cells: dict[str, Any] = {"confidence": confidence}
    for reading in READINGS:
        found[reading] = statistics.correlation(
            runs, measure.name, error, reading, confidence=confidence
        )
        cells |= comparison.interval_columns(reading, found[reading])
        cells |= {f"{reading}_{n}": getattr(found[reading], n) for n in ("draws", "undefined")}
    given = [c.name for c in known.CONFOUNDERS[:2] if runs[c.name].nunique() > 1]
    partial = statistics.correlation(
        runs, measure.name, error, POOLED, confidence=confidence, given=given
    )
    cells |= comparison.interval_columns("partial", partial)
    by_draw = statistics.draw_statistics(runs, measure.name, error)["rho"].dropna()
    cells |= {"least": by_draw.min(), "most": by_draw.max()}
    cells["claimed"] = int((measure.sign * by_draw > 0).sum())
    return found, cells | {"runs": len(runs), "left_out": left_out}


def _increment(frame: pd.DataFrame, error: str, baselines: Sequence[str]) -> dict[str, Any]:
    runs, left_out = selection.usable(frame, col.LOG_VOLUME.name, error, *baselines)
    found = statistics.correlation(runs, col.LOG_VOLUME.name, error, given=baselines)
    row: dict[str, Any] = {"family": "increment", "measure": "log V beyond all baselines"}
    row |= {
        "column": col.LOG_VOLUME.name,
        **comparison.interval_columns(WITHIN, found),
        "within_draws": found.draws,
    }
    return row | {"confidence": found.confidence, "runs": len(runs), "left_out": left_out}


def _judgement(
    measure: col.Column,
    found: Mapping[str, statistics.Correlation],
    scale: str | None,
    ceiling: float | None,
) -> dict[str, Any]:
    direction = "negatively" if measure.sign < 0 else "positively"
    criterion = verdicts.correlates(measure.sign)
    cells = {"claim": f"{measure.label} correlates {direction} with the error"}
    for reading in READINGS:
        limit = ceiling if measure in known.OF_FUNCTION and reading == WITHIN else None
        judged = verdicts.judge(criterion, found[reading], scale, ceiling=limit)
        cells |= {f"{reading}_{name}": value for name, value in judged._asdict().items()}
    return cells | {"asked": criterion.text}


def _in_words(row: Mapping[str, Any]) -> str:
    """Name a measure with its correlation, and say where its sign is not the claimed one."""
    number = verdicts.interval_text(row["within"], row["within_low"], row["within_high"], "none")
    sign = -1 if row["asked"].startswith("ρ <") else 1
    against = verdicts.is_opposite(sign, row["within_low"], row["within_high"])
    return f"{row['measure']} ({number}{', the opposite of what is claimed' if against else ''})"
