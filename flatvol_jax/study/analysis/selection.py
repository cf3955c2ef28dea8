"""Which runs enter a correlation, with which error, and why the others are left out."""

import numpy as np
import pandas as pd

DRAW, ATTACK_SIZE = "hp.draw", "hp.attack_size"
# Which status a measure depends on, by the beginning of its name.
STATUS = {
    "measure.log_volume": ("is.ep_converged", "EP did not converge"),
    "measure.log_volume.heaviside.corrected": (
        "is.correction_reliable.heaviside",
        "EP's correction is not reliable",
    ),
    "measure.log_volume.heaviside.estimate": (
        "is.certified.heaviside",
        "the estimate is not certified",
    ),
    "measure.bound": ("is.ep_converged", "EP did not converge"),
    "measure.sharpness.best": ("is.sharpness_converged", "sharpness did not converge"),
    "measure.sharpness.sgd": ("is.sgd_sharpness_converged", "the SGD ascent did not converge"),
    "measure.hessian": ("is.hessian_converged", "Hessian measures did not converge"),
    "measure.adaptive_sharpness.inf": (
        "is.adaptive_sharpness_converged.inf",
        "adaptive sharpness did not converge",
    ),
    "measure.normalized_sharpness": (
        "is.normalized_sharpness_converged",
        "normalised sharpness did not converge",
    ),
    "measure.learning_coefficient": (
        "is.learning_coefficient_ok",
        "the learning coefficient did not settle",
    ),
}


def usable(frame: pd.DataFrame, *measures: str) -> tuple[pd.DataFrame, dict[str, int]]:
    """Runs that enter a correlation of `measures`, and how many are left out for which reason.

    A run must have reached zero training error, each measure must have converged
    (where its status is recorded) and be finite. A run counts under its first reason.
    """
    require(frame, DRAW, ATTACK_SIZE)
    if "run_id" in frame and frame["run_id"].duplicated().any():
        run = frame.loc[frame["run_id"].duplicated(), "run_id"].iloc[0]
        raise ValueError(
            f"frame: got several rows of run {run!r}, wanted one row a run. Select one epoch "
            "and one transform first: rows of a run are not independent."
        )
    left = pd.Series("", index=frame.index, dtype=object)
    left[~_status(frame, "is.zero_error", True)] = "zero training error not reached"
    for measure in measures:
        for beginning, (status, reason) in STATUS.items():
            if measure.startswith(beginning):
                left[(left == "") & _status(frame, status, False)] = reason
        left[(left == "") & ~np.isfinite(numbers(frame, measure))] = f"no value of {measure}"
    counts = left[left != ""].value_counts()
    return frame[left == ""], {str(reason): int(count) for reason, count in counts.items()}


def error_column(frame: pd.DataFrame) -> tuple[str, str]:
    """The column of the error that decides, and its name: E2's, or E1's where E2 is empty."""
    if np.isfinite(numbers(frame, "measure.error.second_test")).any():
        return "measure.error.second_test", "E2"
    require(frame, "measure.error.test")
    return "measure.error.test", "E1"


def narrowed(frame: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """The frame with `columns` and what `usable` and the statistics look at; copies are cheap then.

    Records have hundreds of columns, and each selection of rows copies all of them.
    """
    names = {"run_id", DRAW, ATTACK_SIZE, "hp.sample", "hp.train.optimizer", *columns}
    return frame[[name for name in frame if name in names or name.startswith("is.")]]


def require(frame: pd.DataFrame, *columns: str) -> None:
    """Raise a ValueError that names the columns `frame` lacks."""
    missing = [column for column in columns if column not in frame]
    if missing:
        raise ValueError(
            f"frame: got no column {', '.join(missing)}; wanted records with flat names, one "
            "row a run. Were these records written by another experiment?"
        )


def numbers(frame: pd.DataFrame, column: str) -> np.ndarray:
    """A column as float64 (n,); NaN for null and for a column that is not there."""
    if column not in frame:
        return np.full(len(frame), np.nan)
    return pd.to_numeric(frame[column], errors="coerce").to_numpy(np.float64, na_value=np.nan)


def _status(frame: pd.DataFrame, column: str, value: bool) -> np.ndarray:
    if column not in frame:
        return np.zeros(len(frame), bool)
    return np.array([not pd.isna(flag) and bool(flag) == value for flag in frame[column]], bool)
