"""What the flatness measures of a sweep are made of: sharpness by order, local volumes by trust."""

import numpy as np
import pandas as pd

from flatvol_jax.study.analysis.columns import ASCENT, SHARPNESS
from flatvol_jax.study.analysis.selection import numbers, usable

BEST, SGD = SHARPNESS.column, ASCENT.column


def sharpness_table(frame: pd.DataFrame) -> pd.DataFrame:
    """For the best found and the SGD ascent: value, first-order share, share on the box's face.

    Returns:
        Columns procedure, runs, median, first_order_low, first_order_median, first_order_high
        (shares of the full-batch value that the gradient at w explains), on_face (median share
        of coordinates), to_best_low, to_best_high (range of the ratio to the best found),
        negative (runs with a value below 0). Procedures that no run has are left out.
    """
    rows = []
    for procedure, column, full in (
        ("best found", BEST, BEST),
        ("SGD ascent (table 1)", SGD, f"{SGD}.full_batch"),
    ):
        runs = usable(frame, column)[0]
        values = numbers(runs, column)
        if not len(values):
            continue
        with np.errstate(divide="ignore", invalid="ignore"):
            share = numbers(runs, f"{column}.first_order") / numbers(runs, full)
            ratio = values / numbers(runs, BEST)
        rows.append(
            {
                "procedure": procedure,
                "runs": len(runs),
                "median": _quantile(values, 0.5),
                "first_order_low": _quantile(share, 0.0),
                "first_order_median": _quantile(share, 0.5),
                "first_order_high": _quantile(share, 1.0),
                "on_face": _quantile(numbers(runs, f"{column}.on_face"), 0.5),
                "to_best_low": _quantile(ratio, 0.0),
                "to_best_high": _quantile(ratio, 1.0),
                "negative": int((values < 0).sum()),
            }
        )
    return pd.DataFrame(rows)


def local_volume_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Of log V, basin volume and learning coefficient: median, standard error, how many to trust.

    Returns:
        Columns measure, unit, runs, median, se (median standard error), trusted (runs whose own
        status says so), note. Measures that no run has are left out.
    """
    basin, coefficient = "measure.basin_volume", "measure.learning_coefficient"
    certified = "measure.log_volume.heaviside.estimate"
    directions = _quantile(numbers(frame, f"{basin}.effective_directions"), 0.5)
    permutations = _quantile(numbers(frame, f"{basin}.permutations"), 0.5)
    gradient = _quantile(numbers(frame, f"{coefficient}.gradient_norm"), 0.5)
    rows = []
    for measure, column, unit, status, note in (
        ("log V(f), sampled", certified, "nats", "is.certified.heaviside", "the whole prior"),
        (
            "log basin volume",
            basin,
            "nats",
            "is.basin_volume_ok",
            f"from below; {directions:.3g} effective directions in the median; hidden-unit "
            f"permutations add {permutations:.4g}",
        ),
        (
            "learning coefficient",
            coefficient,
            "",
            "is.learning_coefficient_ok",
            f"presumes a minimum; residual gradient {gradient:.2g} in the median",
        ),
    ):
        values = numbers(frame, column)
        known = np.isfinite(values)
        if not known.any():
            continue
        flags = [bool(flag) for flag in frame.loc[known, status] if not pd.isna(flag)]
        rows.append(
            {
                "measure": measure,
                "unit": unit,
                "runs": int(known.sum()),
                "median": _quantile(values, 0.5),
                "se": _quantile(numbers(frame, f"{column}.se"), 0.5),
                "trusted": sum(flags),
                "note": note,
            }
        )
    return pd.DataFrame(rows)


def _quantile(values: np.ndarray, share: float) -> float:
    """Of the finite ones; NaN without any."""
    finite = values[np.isfinite(values)]
    return float(np.quantile(finite, share)) if len(finite) else np.nan
