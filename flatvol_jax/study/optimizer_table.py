"""Every optimizer against SGD on the same draws: what breaks a correlation, what leaves it.

A comparison is of two optimizers, and so are its levels (a draw and an |A|): those where both
have runs and every run of both has zero training error. The optimizers of an experiment are not
held to one common set of levels, because then the verdict on one would depend on which others
were run, and one that completes nothing would leave nothing of anybody. What an optimizer does
not complete is left out of its own comparison, and its row says how much that is; beside it, with
no verdict, stands the difference on the levels that all optimizers complete.

Within such a level runs are compared sample by sample: where one run of a pair is not usable
neither enters, so that both correlations are over equally many runs a level. (They shrink with
the runs of a level, see statistics.py; 3 runs against 5 would look like a difference.)
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from flatvol_jax.study import comparison, statistics, verdicts
from flatvol_jax.study.claims import (
    LOG_VOLUME,
    MEASURES,
    OPTIMIZER,
    SHARPNESS,
    Measure,
    holm_together,
    optimizer_names,
)
from flatvol_jax.study.selection import (
    ATTACK_SIZE,
    DRAW,
    error_column,
    numbers,
    require,
    usable,
)

SGD = "sgd"
SAMPLE = "hp.sample"
UNCHANGED_WITHIN = 0.2  # margin of equivalence on Spearman's ρ, as large as what "breaks" exceeds
NOT_BROKEN = ("gd",)  # the paper, appendix G.2: gradient descent behaves as vanilla SGD does
COLUMNS = (
    "optimizer",
    "family",
    "measure",
    "column",
    "claim",
    "error",
    "sgd",
    "other",
    "estimate",
    "low",
    "high",
    "confidence",
    "draws",
    "undefined",
    "levels",
    "levels_run",
    "runs",
    "left_out",
    "p",
    "p_holm",
    "verdict",
    "reason",
)


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
    """How many primary claims an experiment makes: two an optimizer, two more against SGD."""
    optimizers = optimizer_names(frame)
    against = len(optimizers) - 1 if SGD in optimizers else 0
    return 2 * len(optimizers) + 2 * against


def optimizer_table(frame: pd.DataFrame, scale: str | None = None) -> pd.DataFrame:
    """One row for each optimizer but SGD and each measure: its correlation against SGD's.

    The number judged is the mean over draws of sign (ρ_SGD - ρ_other), ρ the within-level
    Spearman correlation with the error: positive where the claimed correlation is weaker. The
    primary claims, per optimizer: log V (Heaviside) is unchanged (within ±0.2), sharpness breaks
    (by more than 0.2); of `NOT_BROKEN` optimizers sharpness is claimed to be unchanged. Their
    intervals hold together at 95% with the claims of `claims_table` (Bonferroni over
    `primary_claims`), `p` is of two one-sided tests, or one-sided against 0.2; the interval
    decides. Every other row has a plain 95% interval and no verdict.

    Args:
        frame: records of one experiment and one epoch (`overtrain`), one row a run.
        scale: of the study; without "cpu" or "paper" there is no verdict.

    Returns:
        Columns optimizer, family, measure, column, claim, error; sgd, other (both correlations,
        on the same pairs of runs); estimate, low, high, confidence, draws, undefined; levels,
        levels_run, runs (of both), left_out (reason -> count); p, p_holm (which counts the claims
        of `claims_table`, too, as if none had a smaller p-value), verdict, reason. No rows without
        SGD, or with SGD alone.
    """
    require(frame, OPTIMIZER, DRAW, ATTACK_SIZE, SAMPLE)
    optimizers, claims = optimizer_names(frame), primary_claims(frame)
    confidence = comparison.simultaneous_confidence(claims)
    others = [name for name in optimizers if name != SGD] if SGD in optimizers else []
    error, error_name = error_column(frame)
    all_complete = comparison.common_levels(frame, OPTIMIZER)
    rows = []
    for other in others:
        both, everywhere = (f[f[OPTIMIZER].isin((SGD, other))] for f in (frame, all_complete))
        for measure in (LOG_VOLUME, SHARPNESS):
            row, difference = _row(both, other, measure, error, confidence)
            rows.append(row | _judge(row, difference, measure, scale, error_name))
        for measure in (LOG_VOLUME, SHARPNESS) if len(others) > 1 else ():
            row, _ = _row(everywhere, other, measure, error)
            excluded = {"level not completed by all": len(both) - len(everywhere)}
            row["left_out"] = {reason: n for reason, n in excluded.items() if n} | row["left_out"]
            row["levels_run"] = _count_levels(both)
            rows.append(row | {"family": "levels that all optimizers complete"})
        for measure in MEASURES:
            known = both[np.isfinite(numbers(both, measure.column))]
            if measure.family != "primary" and known[OPTIMIZER].nunique() == 2:
                rows.append(_row(both, other, measure, error)[0])
    table = pd.DataFrame(rows, columns=list(COLUMNS)).assign(error=error_name)
    return holm_together([table.astype({"p": float})], claims)[0]


def paired_runs(both: pd.DataFrame, other: str, columns: Sequence[str]) -> Pairs:
    """Runs of SGD and `other`, usable for `columns`, with the same draw, |A| and sample.

    Args:
        both: records of the two optimizers.
        other: the optimizer that is not SGD.
        columns: a measure and an error.
    """
    complete = comparison.common_levels(both, OPTIMIZER)
    runs, unusable = usable(complete, *columns)
    level = [DRAW, ATTACK_SIZE]
    paired = runs[runs.groupby([*level, SAMPLE])[OPTIMIZER].transform("nunique") == 2]
    shared = paired[paired.groupby(level)[SAMPLE].transform("nunique") > 1]
    left_out = {
        "level not completed by both": len(both) - len(complete),
        **unusable,
        "its pair is missing or left out": len(runs) - len(paired),
        "its pair is alone on the level": len(paired) - len(shared),
    }
    return Pairs(
        shared[shared[OPTIMIZER] == SGD],
        shared[shared[OPTIMIZER] == other],
        len(shared.groupby(level)),
        _count_levels(both),
        {reason: count for reason, count in left_out.items() if count},
    )


def _count_levels(both: pd.DataFrame) -> int:
    """Levels on which both optimizers have a run, whether it reached zero error or not."""
    return int((both.groupby([DRAW, ATTACK_SIZE])[OPTIMIZER].nunique() == 2).sum())


def _row(
    both: pd.DataFrame, other: str, measure: Measure, error: str, confidence: float = 0.95
) -> tuple[dict[str, Any], comparison.Difference]:
    column, sign = measure.column, measure.sign
    pairs = paired_runs(both, other, (column, error))
    difference = comparison.paired_difference(
        pairs.sgd, pairs.other, column, error, sign, confidence
    )
    return {
        "optimizer": other,
        "family": measure.family,
        "measure": measure.label,
        "column": column,
        "sgd": statistics.within_estimate(pairs.sgd, column, error, "spearman"),
        "other": statistics.within_estimate(pairs.other, column, error, "spearman"),
        "estimate": difference.estimate,
        "low": difference.low,
        "high": difference.high,
        "confidence": confidence,
        "draws": difference.draws,
        "undefined": difference.undefined,
        "levels": pairs.levels,
        "levels_run": pairs.levels_run,
        "runs": len(pairs.sgd) + len(pairs.other),
        "left_out": pairs.left_out,
        "p": np.nan,
    }, difference


def _judge(
    row: dict[str, Any],
    difference: comparison.Difference,
    measure: Measure,
    scale: str | None,
    error_name: str,
) -> dict[str, Any]:
    notes = []
    if row["levels"] < row["levels_run"]:
        notes.append(f"on {row['levels']} of the {row['levels_run']} levels that both ran")
    if error_name == "E1":
        notes.append("E2 is empty: error on E1, which log V has seen")
    note, of = "; ".join(notes), f"{row['optimizer']}: correlation of {measure.label}"
    if measure == SHARPNESS and row["optimizer"] not in NOT_BROKEN:
        claim = f"{of} breaks, weaker than SGD's by more than {verdicts.BREAKS_BEYOND}"
        judged = verdicts.breaks(claim, difference, scale, note)
        p = comparison.excess_p_value(difference, verdicts.BREAKS_BEYOND)
    else:
        claim = f"{of} unchanged from SGD's, within ±{UNCHANGED_WITHIN}"
        judged = verdicts.unchanged(claim, difference, UNCHANGED_WITHIN, scale, note)
        p = comparison.equivalence_p_value(difference, UNCHANGED_WITHIN)
    return {"claim": claim, "p": p, "verdict": judged.verdict, "reason": judged.reason}
