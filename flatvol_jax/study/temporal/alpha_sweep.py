"""What alpha-scaling does to a function under continued SGD, by alpha and layer."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from flatvol_jax.study.analysis.columns import LN10
from flatvol_jax.study.report import style
from flatvol_jax.study.report.scatter import Look, write_notes, write_title
from flatvol_jax.study.temporal.summary import branch_table

LEAST_ALPHAS = 5  # fewer are drawn through time, by temporal.py
LOOK = Look(font=6.5, line=64)


LOOKS = {
    "largest": {"color": "#d55e00", "marker": "o"},
    "last": {"color": "#0072b2", "marker": "s"},
}
# A row of panels each: columns of the table of branches, their unit, which of the two looks.
ROWS = {
    "labels unlike f at the event": (
        ("differs.largest", 1, "largest"),
        ("differs.last", 1, "last"),
    ),
    "|Δ log₁₀ V| in one epoch": (("jump", LN10, "largest"),),
    "epochs after scaling": (("jump_epoch", 1, "largest"), ("relaxation", 1, "last")),
    "error on S (%)": (("error.train.largest", 0.01, "largest"),),
}


def alpha_sweep_figure(frame: pd.DataFrame) -> Figure | None:
    """Draw by alpha, a column a layer: labels that differ, jump of log V, when, error on S.

    A point is a network. Dashed lines are the same networks going on without scaling, which change
    labels as well. A function is kept where no label differs at any epoch; where log V does not
    come back within 1% it has no point in the third row.

    Args:
        frame: records of one temporal study.

    Returns:
        None where the study has no layer with five alphas or more, or no log V.
    """
    table = branch_table(frame)
    if "jump" not in table:
        return None
    scaled = table[table["alpha"].notna()]
    counts = scaled.groupby("layer")["alpha"].nunique()
    layers = sorted(counts.index[counts >= LEAST_ALPHAS])
    if not layers:
        return None
    plain = table[table["alpha"].isna()]
    with style.applied():
        figure = style.new_figure(len(layers), len(ROWS))
        width, height = figure.get_size_inches()
        figure.set_size_inches(width, 0.6 * height)
        axes = figure.subplots(len(ROWS), len(layers), squeeze=False, sharex=True, sharey="row")
        for axis, layer in zip(axes.T, layers, strict=True):
            _column(axis, scaled[scaled["layer"] == layer], plain)
            title, *notes = _title(scaled[scaled["layer"] == layer], layer)
            write_title(axis[0], [title], LOOK)
            write_notes(axis[-1], notes, LOOK)
        for axis, label in zip(axes[:, 0], ROWS, strict=True):
            axis.set_ylabel(label, fontsize=7)
        _legend(figure)
    return figure


def _column(axes: np.ndarray, rows: pd.DataFrame, plain: pd.DataFrame) -> None:
    for axis, quantities in zip(axes, ROWS.values(), strict=True):
        for column, unit, look in quantities:
            _draw(axis, rows, plain, column, unit, LOOKS[look])
        axis.axvline(1, color=style.GRID, linewidth=0.8)
        axis.set_xscale("log")
    axes[2].set_yscale("symlog", linthresh=1)
    axes[-1].set_xlabel("α: W × α, b × α, next W / α")


def _draw(axis: Axes, rows, plain: pd.DataFrame, column: str, unit: float, look: dict) -> None:
    values, unscaled = (pd.to_numeric(table[column]).to_numpy() / unit for table in (rows, plain))
    axis.scatter(rows["alpha"], values, s=10, alpha=0.8, linewidths=0, **look)
    if np.isfinite(unscaled).any() and column != "jump_epoch":
        axis.axhline(np.nanmedian(unscaled), color=look["color"], linewidth=0.8, linestyle="--")


def _title(rows: pd.DataFrame, layer: float) -> list[str]:
    networks = rows["run_id"].nunique()
    kept, back = (int(rows[name].sum()) for name in ("kept", "recovered"))
    lines = [
        f"layer {layer:g}, {networks} network{'s' * (networks > 1)}, "
        f"{rows['alpha'].nunique()} values of α",
        f"f kept at every epoch in {kept} of {len(rows)}, there at the end in {back}",
    ]
    if diverged := int(rows["diverged"].sum()):
        lines.append(f"{diverged} diverged")
    return lines


def _legend(figure: Figure) -> None:
    labels = {
        "largest": "the largest value after scaling; third row: the epoch of log V's largest step",
        "last": "the value at the end; third row: the epoch from which log V is back within 1%",
    }
    handles = [
        style.handle(label, linestyle="", markersize=4, **LOOKS[look])
        for look, label in labels.items()
    ]
    dashed = {"linewidth": 0.8, "linestyle": "--", "color": style.INK}
    handles.append(style.handle("the same network without scaling", **dashed))
    style.legend(figure, handles, size=6.5)
