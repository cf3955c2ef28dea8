"""The primary claims once more on each half of E2: rule 8 of VERDICTS.md.

E2 is common to all draws, so every interval is conditional on it. Where a verdict is the same on
two disjoint halves, it does not hang on which images E2 has.
"""

import numpy as np
import pandas as pd

from flatvol_jax.study.analysis.claims import claims_table
from flatvol_jax.study.analysis.optimizer_table import optimizer_table, primary_claims
from flatvol_jax.study.analysis.selection import numbers

HALVES = {
    "measure.error.second_test.half_1": "E2, first half",
    "measure.error.second_test.half_2": "E2, second half",
}


def halves_table(frame: pd.DataFrame, scale: str | None = None) -> pd.DataFrame:
    """The primary rows of `claims_table` and `optimizer_table` with the error on a half of E2.

    Args:
        frame: records of one experiment and one epoch, one row a run.
        scale: of the study; without "cpu" or "paper" there is no verdict.

    Returns:
        Columns of both tables that a claim has; `error` says which half. No rows where the
        records have no errors on halves (those before 2026-12 have none).
    """
    there = {column: name for column, name in HALVES.items() if column in frame}
    parts = []
    for half in there.items():
        if not np.isfinite(numbers(frame, half[0])).any():
            continue
        count = primary_claims(frame)
        claims = claims_table(
            frame, scale, primary_claims=count, error=half, measures=(), permutations=0
        )
        differences = optimizer_table(frame, claims, scale, half, measures=())
        parts += [claims, differences[differences["family"] == "primary"]]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
