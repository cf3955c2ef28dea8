"""log V(f), basin volume, learning coefficient and sharpness of the same networks, side by side."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from flatvol_jax.study.analysis import columns as col
from flatvol_jax.study.analysis import selection
from flatvol_jax.study.report import scatter, style

SHOWN = (col.LOG_VOLUME, col.BASIN_VOLUME, col.LEARNING_COEFFICIENT, col.SHARPNESS)
LOCAL = (col.BASIN_VOLUME, col.LEARNING_COEFFICIENT)
COLUMNS = 2
LOOK = scatter.Look(ticks=5)


class Cell(NamedTuple):
    """A panel: x against the error (y None), or log V(f) on the x axis against a measure."""

    runs: pd.DataFrame
    x: col.Column
    y: col.Column | None = None


def local_volume_figure(frame: pd.DataFrame) -> Figure | None:
    """Draw every volume-like measure against the error, and the local ones against log V(f).

    All panels of an optimizer show the same networks: those usable for every measure that any
    run is usable for. The line below the panels says how many they are and why the others are
    not there. Bars are one standard error where the records have one.

    Args:
        frame: records, one row a network.

    Returns:
        None where no usable run has a basin volume or a learning coefficient.
    """
    error = selection.error_column(frame)[0]
    cells, lines = [], []
    for optimizer in selection.optimizer_names(frame):
        group = frame[frame[col.OPTIMIZER] == optimizer]
        present = [m for m in SHOWN if len(selection.usable(group, m.name, error)[0])]
        runs, left_out = selection.usable(group, *(m.name for m in present), error)
        local = [measure for measure in LOCAL if measure in present]
        if not local:
            continue
        cells += [Cell(runs, measure) for measure in present]
        if col.LOG_VOLUME in present:
            cells += [Cell(runs, col.LOG_VOLUME, measure) for measure in local]
        reasons = "".join(f"; {count} out: {reason}" for reason, count in left_out.items())
        lines.append(f"{optimizer}: the same {len(runs)} of {len(group)} networks{reasons}")
    if not cells:
        return None
    with style.applied():
        rows = -(-len(cells) // COLUMNS)
        figure = style.new_figure(COLUMNS, rows)
        axes = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
        for axis, cell in zip(axes, cells, strict=False):
            _draw(axis, cell, frame)
        for axis in axes[len(cells) :]:
            axis.remove()
        scatter.colour_bar(figure, axes[: len(cells)].tolist(), frame)
        figure.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=7)
    return figure


def _draw(axis: Axes, cell: Cell, frame: pd.DataFrame) -> None:
    heading, norm = scatter.heading_of(cell.runs), scatter.attack_size_norm(frame)
    scatter.draw_panel(
        axis, cell.runs, cell.x, cell.y, heading=heading, norm=norm, look=LOOK, bars=True
    )
    for measure, write in ((cell.x, axis.set_xlabel), (cell.y, axis.set_ylabel)):
        if measure == col.BASIN_VOLUME and (notes := _notes(cell.runs)):
            write(f"{measure.axis_label}\n({'; '.join(notes)})")


def _notes(runs: pd.DataFrame) -> list[str]:
    """Say how far below a basin volume is."""
    notes = []
    directions = col.numbers(runs, f"{col.BASIN_VOLUME.name}.effective_directions")
    if np.isfinite(directions).any():
        notes.append(f"{np.nanmedian(directions):.3g} effective directions")
    yes, no = (col.flagged(runs, "is.basin_volume_ok", value).sum() for value in (True, False))
    return [*notes, f"ok: {yes} of {yes + no}"] if yes + no else notes
