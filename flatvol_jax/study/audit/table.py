"""The table of a symmetry audit: how far each measure moves under each symmetry."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from flatvol_jax.study.analysis import columns as col
from flatvol_jax.study.analysis.selection import require

UNCHANGED_WITHIN = 1e-3  # relative; float32 parameters and searches leave 1e-5 or so
WITHIN_ERROR = 4.0  # joint standard errors of the estimate as trained and as transformed
STAYS, NOT_SEEN, CHANGES = "unchanged", "within error", "changes"

_EVERY = ("layer", "unit", "permutation")
_LAYERS = ("layer", "permutation")
_NONE = ("permutation",)
# Under which symmetries a measure is invariant, by its definition. Relative flatness of a layer
# also survives the scaling of the layer's own units, not that of its inputs.
CLAIMED = {
    col.LOG_VOLUME.name: _EVERY,
    col.PROBIT.name: _EVERY,
    "measure.adaptive_sharpness.inf": _EVERY,
    "measure.adaptive_sharpness.2": _EVERY,
    "measure.average_sharpness.adaptive": _EVERY,
    "measure.normalized_sharpness": _EVERY,
    "measure.fisher_rao": _EVERY,
    "measure.relative_flatness": _LAYERS,
    "measure.relative_flatness.layer_1.norm_trace": _LAYERS,
    "measure.relative_flatness.layer_2.norm_trace": _LAYERS,
}
EXTRA = (
    col.Column("measure.hessian.trace.gauss_newton", "Hessian trace (exact)", "flatness"),
    col.Column("measure.average_sharpness.plain", "average sharpness", "flatness"),
    col.Column("measure.adaptive_sharpness.2", "adaptive sharpness (worst, 2-norm)", "invariant"),
    col.Column("measure.relative_flatness.layer_1.norm_trace", "‖W₁‖² tr H₁", "invariant"),
    col.Column("measure.relative_flatness.layer_2.norm_trace", "‖W₂‖² tr H₂", "invariant"),
)


def audited(frame: pd.DataFrame) -> list[col.Column]:
    """Return the measures of an audit's records that a parametrisation could move."""
    return [
        measure
        for measure in (*col.MEASURES, *EXTRA)
        if np.isfinite(col.numbers(frame, measure.name)).any() and not _of_the_function(measure)
    ]


def _of_the_function(measure: col.Column) -> bool:
    """Say whether it is read from f alone, as baselines are, or is a constant of training."""
    read = measure.family in ("baseline", "ceiling")
    return read and "parameter_norm" not in measure.name


def ratios(frame: pd.DataFrame, column: str) -> np.ndarray:
    """Return a measure over its value at the network as it was trained, one for each transform.

    For the log product it is the ratio of geometric mean eigenvalues.
    """
    base = frame[col.SYMMETRY].to_numpy() == "none"
    values = col.numbers(frame, column)
    if column == col.LOG_PRODUCT.name:
        with np.errstate(invalid="ignore"):  # no eigenvalue has no mean
            values = values / col.numbers(frame, f"{col.LOG_PRODUCT.name}.count")
        return np.exp(values - values[base][0])
    return values / values[base][0]


def audit_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a row a measure, symmetry and layer: least and largest ratio over α, largest change.

    Args:
        frame: records of one audit, a row a transform.

    Returns:
        Columns measure, column, symmetry, layer, least, largest (ratios to the network as it was
        trained), change (largest |ratio - 1|), errors (largest difference in joint standard
        errors, NaN where the measure has none), verdict ("unchanged": change is at most 1e-3,
        "within error": errors is at most 4, "changes"), claimed (whether the definition makes it
        invariant), transforms.
    """
    require(frame, col.SYMMETRY, col.LAYER)
    rows = []
    groups = frame[frame[col.SYMMETRY] != "none"].groupby([col.SYMMETRY, col.LAYER], sort=False)
    for measure in audited(frame):
        ratio = pd.Series(ratios(frame, measure.name), index=frame.index)
        errors = pd.Series(_in_errors(frame, measure.name), index=frame.index)
        for (symmetry, layer), group in groups:
            own = ratio[group.index]
            change = float(np.abs(own - 1).max(skipna=False))
            worst = float(errors[group.index].max(skipna=False))
            rows.append(
                {
                    "measure": measure.label,
                    "column": measure.name,
                    "symmetry": symmetry,
                    "layer": int(layer),
                    "least": float(own.min()),
                    "largest": float(own.max()),
                    "change": change,
                    "errors": worst,
                    "verdict": _verdict(change, worst),
                    "claimed": symmetry in CLAIMED.get(measure.name, _NONE),
                    "transforms": len(group),
                }
            )
    return pd.DataFrame(rows)


def _in_errors(frame: pd.DataFrame, column: str) -> np.ndarray:
    """Return |difference to the network as trained| in joint standard errors; NaN without any."""
    base = frame[col.SYMMETRY].to_numpy() == "none"
    values, errors = col.numbers(frame, column), col.numbers(frame, f"{column}.se")
    joint = np.hypot(errors, errors[base][0])
    return np.abs(values - values[base][0]) / np.where(joint > 0, joint, np.nan)


def _verdict(change: float, errors: float) -> str:
    if change <= UNCHANGED_WITHIN:
        return STAYS
    return NOT_SEEN if errors <= WITHIN_ERROR else CHANGES


def audit_summary(frame: pd.DataFrame, table: pd.DataFrame) -> Iterator[str]:
    """Write in plain text: was the function kept, on whose data, the table, a line a measure."""
    kept, identical = (
        col.flagged(frame, flag).sum() for flag in (col.UNCHANGED, "is.output_identical")
    )
    yield (
        f"{kept} of {len(frame)} forms have the same function on S and E1, "
        f"{identical} the same outputs to the last bit; the smallest |output| is "
        f"{col.numbers(frame, 'measure.output.least').min():.2g}, outputs moved by at most "
        f"{col.numbers(frame, 'measure.output.largest_change').max():.2g}"
    )
    if "meta.data" in frame:
        yield f"log V and all other numbers are of {frame['meta.data'].iloc[0]}"
    groups = list(dict.fromkeys(zip(table["symmetry"], table["layer"], strict=True)))
    yield f"{'measure over its value as trained':36}" + "".join(
        f"{f'{symmetry} {layer}':>20}" for symmetry, layer in groups
    )
    for label, rows in table.groupby("measure", sort=False):
        cells = {(row.symmetry, row.layer): _cell(row) for row in rows.itertuples()}
        yield f"  {label:34}" + "".join(f"{cells[group]:>20}" for group in groups)
    broken = table[table["claimed"] & (table["verdict"] == CHANGES)]
    for row in broken.itertuples():
        yield (
            f"{row.measure} claims to be invariant under {row.symmetry} {row.layer} and changed by "
            f"{row.change:.2g}"
        )


def _cell(row) -> str:
    if not np.isfinite(row.change):
        return "—"
    if row.verdict != CHANGES:
        return row.verdict
    return f"{row.least:.3g} to {row.largest:.3g}"
