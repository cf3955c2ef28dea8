"""What the runs of a sweep reached and measured: status, faults, bound, EP's error, flatness."""

import numpy as np
import pandas as pd

from flatvol_jax.study.analysis import columns as col
from flatvol_jax.study.analysis.selection import usable

INFORMATIVE_BELOW = 0.5
LINKS = ("heaviside", "probit")
FAULT = "is.fault."  # then the measure; meta.fault.MEASURE says what it was


def bound_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the fraction of usable runs where each form of the bound is informative (< 0.5)."""
    rows = []
    for column, form in col.BOUNDS.items():
        values = col.numbers(usable(frame, column)[0], column)
        informative = float(np.mean(values < INFORMATIVE_BELOW)) if len(values) else np.nan
        rows.append((form, len(values), informative, _quantile(values, 0), _quantile(values, 0.5)))
    return pd.DataFrame(rows, columns=["form", "runs", "informative", "least", "median"])


def volume_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Give for each link how far EP and corrected EP lie from the sampling estimate, nats."""
    rows = []
    for link in LINKS:
        name = f"measure.log_volume.{link}"
        estimate, error = (
            col.numbers(frame, f"{name}.estimate"),
            col.numbers(frame, f"{name}.estimate.se"),
        )
        known = np.isfinite(estimate + error)
        if not known.any():
            continue
        row = {"link": link, "runs": int(known.sum()), "se": float(np.median(error[known]))}
        for label, column in (("ep", name), ("corrected", f"{name}.corrected")):
            distance = np.abs(col.numbers(frame, column) - estimate)[known]
            row |= {label: float(np.median(distance)), f"{label}_most": float(distance.max())}
        rows.append(row | {"certified": int(col.flagged(frame, f"is.certified.{link}").sum())})
    return pd.DataFrame(rows)


def status_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Count how many runs reached zero error and how many of their measures converged."""
    flags = [
        (col.ZERO_ERROR, "zero training error"),
        *((one.flag, one.says) for one in col.STATUSES),
    ]
    rows = []
    for flag, says in flags:
        yes, no = (int(col.flagged(frame, flag, value).sum()) for value in (True, False))
        rows.append((says, yes, no, len(frame) - yes - no))
    return pd.DataFrame(rows, columns=["status", "yes", "no", "not recorded"])


def fault_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Count how many networks have which fault; give what the first of them says.

    Columns: `fault`, `networks`, `example` (an empty text where the fault says all). A fault that
    no network has is left out.
    """
    diverged = col.flagged(frame, "is.diverged")
    rows = [
        ("training diverged", diverged, ""),
        (
            "zero training error not reached",
            col.flagged(frame, col.ZERO_ERROR, False) & ~diverged,
            "",
        ),
        *((status.failure, col.flagged(frame, status.flag, False), "") for status in col.STATUSES),
    ]
    for column in frame.columns:
        if column.startswith(FAULT):
            name, at = column.removeprefix(FAULT), col.flagged(frame, column)
            texts = frame.get(f"meta.fault.{name}", pd.Series("", index=frame.index))[at]
            rows.append((f"{name} not measured", at, next(iter(texts.dropna()), "")))
    counted = [(fault, int(at.sum()), text) for fault, at, text in rows if at.any()]
    return pd.DataFrame(counted, columns=["fault", "networks", "example"])


def fault_lines(frame: pd.DataFrame) -> list[str]:
    """Write the table as lines of plain text, for the end of a run; none where all is well."""
    return [
        f"  {row.networks} of {len(frame)} networks: {row.fault}"
        + (f" ({row.example})" if row.example else "")
        for row in fault_table(frame).itertuples()
    ]


def sharpness_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Describe the best found and the SGD ascent: value, first-order share, share on the face.

    Returns:
        Columns procedure, runs, median, first_order_low, first_order_median, first_order_high
        (shares of the full-batch value that the gradient at w explains), on_face (median share
        of coordinates), to_best_low, to_best_high (range of the ratio to the best found),
        negative (runs with a value below 0). Procedures that no run has are left out.
    """
    rows = []
    for procedure, column, full in (
        ("best found", col.SHARPNESS.name, col.SHARPNESS.name),
        ("SGD ascent (table 1)", col.ASCENT.name, f"{col.ASCENT.name}.full_batch"),
    ):
        runs = usable(frame, column)[0]
        values = col.numbers(runs, column)
        if not len(values):
            continue
        with np.errstate(divide="ignore", invalid="ignore"):
            share = col.numbers(runs, f"{column}.first_order") / col.numbers(runs, full)
            ratio = values / col.SHARPNESS.values(runs)
        rows.append(
            {
                "procedure": procedure,
                "runs": len(runs),
                "median": _quantile(values, 0.5),
                "first_order_low": _quantile(share, 0.0),
                "first_order_median": _quantile(share, 0.5),
                "first_order_high": _quantile(share, 1.0),
                "on_face": _quantile(col.numbers(runs, f"{column}.on_face"), 0.5),
                "to_best_low": _quantile(ratio, 0.0),
                "to_best_high": _quantile(ratio, 1.0),
                "negative": int((values < 0).sum()),
            }
        )
    return pd.DataFrame(rows)


def local_volume_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Give of log V, basin volume and learning coefficient median, standard error, trusted runs.

    Returns:
        Columns measure, unit, runs, median, se (median standard error), trusted (runs whose own
        status says so), note. Measures that no run has are left out.
    """
    directions, permutations, gradient = (
        _quantile(col.numbers(frame, name), 0.5)
        for name in (
            f"{col.BASIN_VOLUME.name}.effective_directions",
            f"{col.BASIN_VOLUME.name}.permutations",
            f"{col.LEARNING_COEFFICIENT.name}.gradient_norm",
        )
    )
    basin = (
        f"from below; {directions:.3g} effective directions in the median; hidden-unit "
        f"permutations add {permutations:.4g}"
    )
    coefficient = f"presumes a minimum; residual gradient {gradient:.2g} in the median"
    rows = []
    for label, measure, status, note in (
        ("log V(f), sampled", col.ESTIMATE, "is.certified.heaviside", "the whole prior"),
        ("log basin volume", col.BASIN_VOLUME, "is.basin_volume_ok", basin),
        (
            "learning coefficient",
            col.LEARNING_COEFFICIENT,
            "is.learning_coefficient_ok",
            coefficient,
        ),
    ):
        values = measure.values(frame)
        known = np.isfinite(values)
        if known.any():
            rows.append(
                {
                    "measure": label,
                    "unit": measure.unit,
                    "runs": int(known.sum()),
                    "median": _quantile(values, 0.5),
                    "se": _quantile(col.numbers(frame, f"{measure.name}.se"), 0.5),
                    "trusted": int(col.flagged(frame[known], status).sum()),
                    "note": note,
                }
            )
    return pd.DataFrame(rows)


def _quantile(values: np.ndarray, share: float) -> float:
    """Return a quantile of the finite ones; NaN without any."""
    finite = values[np.isfinite(values)]
    return float(np.quantile(finite, share)) if len(finite) else np.nan
