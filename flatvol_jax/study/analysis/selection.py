"""Which runs enter a correlation, with which error, and why the others are left out."""

import numpy as np
import pandas as pd

from flatvol_jax.study.analysis import columns as col


def usable(frame: pd.DataFrame, *measures: str) -> tuple[pd.DataFrame, dict[str, int]]:
    """Return the runs that enter a correlation of `measures`, and the others counted by reason.

    A run must have reached zero training error, each measure must have converged
    (where its status is recorded) and be finite. A run counts under its first reason.
    """
    require(frame, col.DRAW, col.ATTACK_SIZE)
    if col.RUN in frame and frame[col.RUN].duplicated().any():
        run = frame.loc[frame[col.RUN].duplicated(), col.RUN].iloc[0]
        raise ValueError(
            f"frame: got several rows of run {run!r}, wanted one row a run. Select one epoch "
            "and one transform first: rows of a run are not independent."
        )
    left = exclusion_reasons(frame, *measures)
    counts = left[left != ""].value_counts()
    return frame[left == ""], {str(reason): int(count) for reason, count in counts.items()}


def exclusion_reasons(frame: pd.DataFrame, *measures: str) -> pd.Series:
    """Return why each row does not enter a correlation of `measures`; "" of one that does."""
    left = pd.Series("", index=frame.index, dtype=object)
    left[~col.flagged(frame, col.ZERO_ERROR)] = "zero training error not reached"
    for measure in measures:
        for status in col.STATUSES:
            if measure.startswith(status.measures):
                left[(left == "") & col.flagged(frame, status.flag, False)] = status.failure
        left[(left == "") & ~np.isfinite(col.numbers(frame, measure))] = f"no value of {measure}"
    return left


def usable_values(frame: pd.DataFrame, measure: col.Column) -> np.ndarray:
    """Return the values of a measure (n,), NaN where a row does not enter its correlations."""
    return np.where(exclusion_reasons(frame, measure.name) == "", measure.values(frame), np.nan)


def error_column(frame: pd.DataFrame) -> tuple[str, str]:
    """Return the column of the error that decides, and its name: E2's, E1's where E2 is empty."""
    if np.isfinite(col.numbers(frame, col.SECOND_TEST_ERROR)).any():
        return col.SECOND_TEST_ERROR, "E2"
    require(frame, col.TEST_ERROR)
    return col.TEST_ERROR, "E1"


def optimizer_names(frame: pd.DataFrame) -> list[str]:
    """Return the optimizers of a frame, SGD first."""
    names = {str(name) for name in frame[col.OPTIMIZER].dropna()}
    return sorted(names, key=lambda name: (name != "sgd", name))


def narrowed(frame: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """Return the frame with `columns` and what `usable` and the statistics look at.

    Records have hundreds of columns, and each selection of rows copies all of them.
    """
    names = {col.RUN, col.DRAW, col.ATTACK_SIZE, col.SAMPLE, col.OPTIMIZER, *columns}
    return frame[[name for name in frame if name in names or name.startswith("is.")]]


def require(frame: pd.DataFrame, *columns: str) -> None:
    """Raise a ValueError that names the columns `frame` lacks."""
    missing = [column for column in columns if column not in frame]
    if missing:
        raise ValueError(
            f"frame: got no column {', '.join(missing)}; wanted records with flat names, one "
            "row a run. Were these records written by another experiment?"
        )
