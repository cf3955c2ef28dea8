"""log V(f), basin volume, learning coefficient and sharpness of the same networks, side by side."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from flatvol_jax.study.analysis import claims, columns, selection, statistics
from flatvol_jax.study.report import style
from flatvol_jax.study.report.scatter import (
    attack_size_norm,
    colour_bar,
    correlation_lines,
)

BASIN, COEFFICIENT = columns.BASIN_VOLUME.column, columns.LEARNING_COEFFICIENT.column
AXES = {
    measure.column: measure.axis
    for measure in (
        columns.LOG_VOLUME,
        columns.BASIN_VOLUME,
        columns.LEARNING_COEFFICIENT,
        columns.SHARPNESS,
    )
}
VOLUME = columns.LOG_VOLUME.column
COLUMNS = 2


class Cell(NamedTuple):
    """A panel: `measure` against the error, or log V(f) on the x axis against `measure`."""

    runs: pd.DataFrame
    measure: str
    against: str


def local_volume_figure(frame: pd.DataFrame) -> Figure | None:
    """Every volume-like measure against the accuracy, and the local ones against log V(f).

    All panels of an optimizer show the same networks: those usable for every measure that any
    run is usable for. The line above the panels says how many they are and why the others are
    not there. Bars are one standard error where the records have one.

    Args:
        frame: records, one row a network.

    Returns:
        None where no usable run has a basin volume or a learning coefficient.
    """
    error, error_name = selection.error_column(frame)
    cells, lines = [], []
    for optimizer in claims.optimizer_names(frame):
        group = frame[frame[claims.OPTIMIZER] == optimizer]
        present = [name for name in AXES if len(selection.usable(group, name, error)[0])]
        runs, left_out = selection.usable(group, *present, error)
        local = [name for name in (BASIN, COEFFICIENT) if name in present]
        if not local:
            continue
        cells += [Cell(runs, name, error) for name in present]
        if VOLUME in present:
            cells += [Cell(runs, name, VOLUME) for name in local]
        reasons = "".join(f"; {count} out: {reason}" for reason, count in left_out.items())
        lines.append(f"{optimizer}: the same {len(runs)} of {len(group)} networks{reasons}")
    if not cells:
        return None
    with style.applied():
        rows = -(-len(cells) // COLUMNS)
        figure = style.new_figure(COLUMNS, rows)
        axes = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
        for axis, cell in zip(axes, cells, strict=False):
            _draw(axis, cell, error_name, attack_size_norm(frame))
        for axis in axes[len(cells) :]:
            axis.remove()
        colour_bar(figure, axes[: len(cells)].tolist(), frame)
        figure.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=7)
    return figure


def _draw(axis: Axes, cell: Cell, error_name: str, norm: Normalize) -> None:
    runs = cell.runs
    values, bars = AXES[cell.measure].drawn(runs)
    if cell.against == VOLUME:
        x, y, spread = AXES[VOLUME].drawn(runs)[0], values, {"yerr": bars}
        axis.set_xlabel(AXES[VOLUME].label)
        axis.set_ylabel(_label(runs, cell.measure))
        other = "log V(f)"
    else:
        x, y = values, 100 * (1 - selection.numbers(runs, cell.against))
        spread, other = {"xerr": bars}, "the error"
        axis.set_xlabel(_label(runs, cell.measure))
        axis.set_ylabel(f"generalisation accuracy on {error_name} (%)")
    if np.isfinite(bars).any():
        axis.errorbar(x, y, **spread, fmt="none", ecolor=style.INK, elinewidth=0.5, alpha=0.5)
    axis.scatter(
        x,
        y,
        c=selection.numbers(runs, selection.ATTACK_SIZE),
        cmap=style.COLOURS,
        norm=norm,
        s=16,
        linewidths=0.35,
        edgecolors=style.INK,
        alpha=0.9,
        zorder=3,
    )
    axis.xaxis.set_major_locator(MaxNLocator(5))
    within = statistics.correlation(runs, cell.measure, cell.against)
    pooled = statistics.correlation(runs, cell.measure, cell.against, statistics.POOLED)
    optimizer = ", ".join(claims.optimizer_names(runs))
    lines = [
        f"{optimizer}: Spearman ρ with {other}, n = {len(runs)}",
        *correlation_lines(within, pooled),
    ]
    if hidden := int(np.isnan(values).sum()):
        lines[0] += f" ({hidden} at or below 0 not drawn)"
    axis.set_title("\n".join(lines), loc="left", fontsize=7, linespacing=1.35)
    if not len(runs):
        axis.text(0.5, 0.5, "no usable runs", transform=axis.transAxes, ha="center")


def _label(runs: pd.DataFrame, measure: str) -> str:
    """The label; for a basin volume with what tells how far below it is."""
    label = AXES[measure].label
    if measure != BASIN or not len(runs):
        return label
    directions = selection.numbers(runs, f"{BASIN}.effective_directions")
    notes = []
    if np.isfinite(directions).any():
        notes.append(f"{np.nanmedian(directions):.3g} effective directions")
    flags = [bool(flag) for flag in runs.get("is.basin_volume_ok", ()) if not pd.isna(flag)]
    if flags:
        notes.append(f"ok: {sum(flags)} of {len(flags)}")
    return label + (f"\n({'; '.join(notes)})" if notes else "")
