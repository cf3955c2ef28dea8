"""Correlations with the error at each size of A, where "within |A|" is their average.

An average hides a sign that turns from one size to another.
"""

import pandas as pd

from flatvol_jax.study.analysis import columns as col
from flatvol_jax.study.analysis import statistics
from flatvol_jax.study.analysis.selection import error_column, optimizer_names, usable

SHOWN = (
    *(col.LOG_VOLUME, col.PROBIT, col.NULL, col.SHARPNESS, col.SPECTRAL_NORM),
    *(col.NN_DISAGREEMENT, col.CEILING),
)


def attack_size_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return Spearman's ρ with the error between the networks of one draw, for each size of A.

    Args:
        frame: records of one experiment at one epoch.

    Returns:
        A row an optimizer and measure: columns optimizer, measure, column, and of each size N of A
        N, N_low, N_high: mean over draws of Fisher's z with a 95% Student interval, each by itself.
        NaN where a size has no correlation; measures that no network has are left out.
    """
    error, rows = error_column(frame)[0], []
    for optimizer in optimizer_names(frame):
        runs = frame[frame[col.OPTIMIZER] == optimizer]
        for measure in SHOWN:
            kept, _ = usable(runs, measure.name, error)
            if not len(kept):
                continue
            row: dict[str, str | float] = {
                "optimizer": optimizer,
                "measure": measure.label,
                "column": measure.name,
            }
            for size, level in kept.groupby(col.ATTACK_SIZE):
                found = statistics.correlation(level, measure.name, error)
                ends = ("", found.estimate), ("_low", found.low), ("_high", found.high)
                row |= {f"{size:g}{end}": value for end, value in ends}
            rows.append(row)
    return pd.DataFrame(rows)


def sizes_of(table: pd.DataFrame) -> list[str]:
    """Return the sizes of A that an `attack_size_table` has, the smallest first."""
    ends = [name.removesuffix("_low") for name in table if str(name).endswith("_low")]
    return sorted(ends, key=float)
