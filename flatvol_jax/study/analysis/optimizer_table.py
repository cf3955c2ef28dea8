"""Every optimizer against SGD on the same draws: what breaks a correlation, what leaves it.

A comparison is of two optimizers, and so are its levels (a draw and an |A|): those where both
have runs and every run of both has zero training error. The optimizers of an experiment are not
held to one common set of levels: the verdict on one would depend on which others were run, and an
optimizer that completes no level would leave no level for any other. What an optimizer does not
complete is left out of its own comparison, and its row says how much that is; beside it, with no
verdict, stands the difference on the levels that all optimizers complete.

Within such a level runs are compared sample by sample: where one run of a pair is not usable
neither enters, so that both correlations are over equally many runs a level. (They shrink with
the runs of a level, see statistics.py; 3 runs against 5 would look like a difference.)
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from flatvol_jax.study.analysis import columns as col
from flatvol_jax.study.analysis import comparison, selection, statistics, verdicts
from flatvol_jax.study.analysis.claims import (
    PRIMARY,
    SEEN,
    ceilings,
    claims_table,
    holm_together,
    judgement_cells,
    reading_cells,
)
from flatvol_jax.study.analysis.statistics import READINGS, WITHIN

SGD = "sgd"
NOT_BROKEN = ("gd",)  # the paper, appendix G.2: gradient descent behaves as vanilla SGD does
EVERYWHERE = "levels that all optimizers complete"
COLUMNS = (
    *("optimizer", "family", "measure", "column", "claim", "error", "confidence"),
    *(
        f"{reading}{name}"
        for reading in READINGS
        for name in (
            *("", "_low", "_high", "_sgd", "_other", "_draws", "_undefined"),
            *("_p", "_p_holm", "_verdict", "_reason", "_half_width", "_decidable"),
        )
    ),
    *("levels", "levels_run", "runs", "left_out"),
)
HALVES = {
    f"{col.SECOND_TEST_ERROR}.half_1": "E2, first half",
    f"{col.SECOND_TEST_ERROR}.half_2": "E2, second half",
}


class Pairs(NamedTuple):
    """Runs of SGD and of another optimizer, pair by pair, and what is not among them.

    `levels` of `levels_run` levels that both ran are left; `left_out` counts runs by reason.
    """

    sgd: pd.DataFrame
    other: pd.DataFrame
    levels: int
    levels_run: int
    left_out: dict[str, int]


def primary_claims(frame: pd.DataFrame) -> int:
    """Count the primary claims of an experiment in a reading: two an optimizer, two more vs SGD.

    They are one family: log V and sharpness correlate with the error; against SGD log V's
    correlation is unchanged and sharpness's breaks.
    """
    optimizers = selection.optimizer_names(frame)
    against = len(optimizers) - 1 if SGD in optimizers else 0
    return 2 * len(optimizers) + 2 * against


def optimizer_table(
    frame: pd.DataFrame,
    claims: pd.DataFrame,
    scale: str | None = None,
    error: tuple[str, str] | None = None,
    measures: Sequence[col.Column] = col.MEASURES,
) -> pd.DataFrame:
    """Hold each optimizer's correlations against SGD's: a row an optimizer and measure.

    The number judged is the mean over draws of sign (ρ_SGD - ρ_other), ρ the Spearman correlation
    with the error, pooled over |A| or within it: positive where the claimed correlation is weaker.
    The primary claims, per optimizer and in each reading: log V (Heaviside) is unchanged (within
    ±0.2), sharpness breaks (by more than 0.2, and only where SGD's own correlation holds in that
    reading); of `NOT_BROKEN` optimizers sharpness is claimed to be unchanged. Their intervals hold
    together at 95% with the claims of `claims_table` in that reading (Bonferroni over
    `primary_claims`), R_p is of two one-sided tests, or one-sided against 0.2; the interval
    decides. Every other row has a plain 95% interval and no verdict.

    Args:
        frame: records of one experiment and one epoch (`overtrain`), one row a run.
        claims: `claims_table` of the same records with `primary_claims(frame)`: its verdicts on
            SGD say whether there is anything to break, its E1 errors are the ceiling of log V.
        scale: of the study; without "cpu" or "paper" there is no verdict.
        error: column and name of the error; without it `error_column`'s.
        measures: which rows there are beside those of the primary claims.

    Returns:
        The columns `COLUMNS`: of each reading R the difference R with R_low and R_high, R_sgd and
        R_other (both correlations, on the same pairs of runs), R_draws, R_undefined, R_p, R_p_holm
        (which counts the claims of `claims_table`, too, as if none had a smaller p-value),
        R_verdict, R_reason, R_half_width, R_decidable; levels, levels_run, runs (of both),
        left_out (reason -> count). No rows without SGD, or with SGD alone.
    """
    selection.require(frame, col.OPTIMIZER, col.DRAW, col.ATTACK_SIZE, col.SAMPLE)
    optimizers, count = selection.optimizer_names(frame), primary_claims(frame)
    confidence = comparison.simultaneous_confidence(count)
    others = [name for name in optimizers if name != SGD] if SGD in optimizers else []
    error_column, error_name = error or selection.error_column(frame)
    frame = selection.narrowed(frame, error_column, *(m.name for m in (*col.MEASURES, *measures)))
    all_complete = comparison.common_levels(frame)
    rows = []
    for other in others:
        both, everywhere = (f[f[col.OPTIMIZER].isin((SGD, other))] for f in (frame, all_complete))
        for measure in PRIMARY:
            row, found = _difference_row(both, other, measure, error_column, confidence)
            rows.append(row | _verdict_cells(row, found, measure, scale, error_name, claims))
        for measure in PRIMARY if len(others) > 1 and measures else ():
            row, _ = _difference_row(everywhere, other, measure, error_column)
            excluded = {"level not completed by all": len(both) - len(everywhere)}
            row["left_out"] = {reason: n for reason, n in excluded.items() if n} | row["left_out"]
            rows.append(row | {"levels_run": _count_levels(both), "family": EVERYWHERE})
        for measure in measures:
            known = both[np.isfinite(measure.values(both))]
            beside = measure not in PRIMARY and measure.name != error_column
            if beside and known[col.OPTIMIZER].nunique() == 2:
                level = confidence if measure == col.PROBIT else 0.95
                rows.append(_difference_row(both, other, measure, error_column, level)[0])
    table = pd.DataFrame(rows, columns=list(COLUMNS)).assign(error=error_name)
    numeric = {f"{reading}_p": float for reading in READINGS}
    return holm_together([table.astype(numeric)], count)[0]


def halves_table(frame: pd.DataFrame, scale: str | None = None) -> pd.DataFrame:
    """Judge the primary claims once more with the error on each half of E2: rule 8.

    E2 is common to all draws, so every interval is conditional on it. Where a verdict is the same
    on two disjoint halves, it does not hang on which images E2 has.

    Args:
        frame: records of one experiment and one epoch, one row a run.
        scale: of the study; without "cpu" or "paper" there is no verdict.

    Returns:
        Columns of `claims_table` and `optimizer_table`; `error` says which half. No rows where the
        records have no errors on halves (those before 2026-12 have none).
    """
    parts = []
    for half in HALVES.items():
        if np.isfinite(col.numbers(frame, half[0])).any():
            claims = claims_table(
                frame, scale, 0, primary_claims(frame), half, measures=(), permutations=0
            )
            parts += [claims, optimizer_table(frame, claims, scale, half, measures=())]
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    return table[table["family"] == "primary"].reset_index(drop=True) if parts else table


def paired_runs(both: pd.DataFrame, other: str, columns: Sequence[str]) -> Pairs:
    """Pair runs of SGD and `other`, usable for `columns`, with the same draw, |A| and sample.

    Args:
        both: records of the two optimizers.
        other: the optimizer that is not SGD.
        columns: a measure and an error.
    """
    complete = comparison.common_levels(both)
    runs, unusable = selection.usable(complete, *columns)
    level = [col.DRAW, col.ATTACK_SIZE]
    paired = runs[runs.groupby([*level, col.SAMPLE])[col.OPTIMIZER].transform("nunique") == 2]
    shared = paired[paired.groupby(level)[col.SAMPLE].transform("nunique") > 1]
    left_out = {
        "level not completed by both": len(both) - len(complete),
        **unusable,
        "its pair is missing or left out": len(runs) - len(paired),
        "its pair is alone on the level": len(paired) - len(shared),
    }
    return Pairs(
        shared[shared[col.OPTIMIZER] == SGD],
        shared[shared[col.OPTIMIZER] == other],
        len(shared.groupby(level)),
        _count_levels(both),
        {reason: count for reason, count in left_out.items() if count},
    )


def _count_levels(both: pd.DataFrame) -> int:
    """Count the levels on which both optimizers have a run, with or without zero error."""
    return int((both.groupby([col.DRAW, col.ATTACK_SIZE])[col.OPTIMIZER].nunique() == 2).sum())


def _difference_row(
    both: pd.DataFrame, other: str, measure: col.Column, error: str, confidence: float = 0.95
) -> tuple[dict[str, Any], dict[str, comparison.Difference]]:
    """Compare one measure in both readings: its row, and the differences."""
    pairs = paired_runs(both, other, (measure.name, error))
    found: dict[str, comparison.Difference] = {}
    cells: dict[str, Any] = {}
    for reading in READINGS:
        sgd, others = (
            statistics.draw_statistics(runs, measure.name, error, reading=reading)
            for runs in (pairs.sgd, pairs.other)
        )
        found[reading] = comparison.difference_of_draws(sgd, others, measure.sign, confidence)
        cells |= reading_cells(reading, found[reading]) | {
            f"{reading}_sgd": statistics.mean_over_z(sgd),
            f"{reading}_other": statistics.mean_over_z(others),
        }
    return {
        "optimizer": other,
        "family": measure.family,
        "measure": measure.label,
        "column": measure.name,
        "confidence": confidence,
        **cells,
        "levels": pairs.levels,
        "levels_run": pairs.levels_run,
        "runs": len(pairs.sgd) + len(pairs.other),
        "left_out": pairs.left_out,
    }, found


def _verdict_cells(
    row: Mapping[str, Any],
    found: Mapping[str, comparison.Difference],
    measure: col.Column,
    scale: str | None,
    error_name: str,
    claims: pd.DataFrame,
) -> dict[str, Any]:
    optimizer, levels, run = (row[name] for name in ("optimizer", "levels", "levels_run"))
    notes = [f"on {levels} of the {run} levels that both ran"] if levels < run else []
    notes += [SEEN] if error_name == "E1" else []
    sgd = claims[(claims["optimizer"] == SGD) & (claims["family"] == "primary")]
    sgd = sgd[sgd["column"] == measure.name].iloc[0]
    low = [ceilings(claims)[name] for name in (SGD, optimizer) if name in ceilings(claims)]
    breaks = measure == col.SHARPNESS and optimizer not in NOT_BROKEN
    criterion = verdicts.BREAKS if breaks else verdicts.UNCHANGED
    claimed = (
        f"breaks, weaker than SGD's by more than {verdicts.BREAKS_BEYOND}"
        if breaks
        else f"unchanged from SGD's, within ±{verdicts.UNCHANGED_WITHIN}"
    )
    cells: dict[str, Any] = {"claim": f"{optimizer}: correlation of {measure.label} {claimed}"}
    for reading, difference in found.items():
        limited = min(low) if low and measure == col.LOG_VOLUME and reading == WITHIN else None
        reference = sgd[f"{reading}_verdict"] if breaks else verdicts.HOLDS
        judged = verdicts.judge(criterion, difference, scale, "; ".join(notes), limited, reference)
        cells |= judgement_cells(reading, judged, verdicts.p_value(criterion, difference))
    return cells
