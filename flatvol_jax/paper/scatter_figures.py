"""The paper's scatter figures, drawn from the records of sweeps, and their numbers as a table."""

import string
import textwrap
from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from flatvol_jax.paper import records
from flatvol_jax.paper.layout import FIGURES, Layout, Panel, System
from flatvol_jax.runtime import checks
from flatvol_jax.study.analysis.columns import (
    ATTACK_SIZE,
    LOG_PRODUCT,
    OVERTRAIN,
    SCALE,
    TRAIN_SIZE,
)
from flatvol_jax.study.report import scatter, style

PORTRAIT, LANDSCAPE, NARROW = 7.1, 10.2, 1.7  # inches: of a page, of a panel among many
ROW_HEIGHT, BAR_HEIGHT = 2.3, 0.5  # inches, with titles and labels
MARGIN = 0.2  # inches, on the right
FONT, LINE_HEIGHT, CHARACTER = 6, 1.35, 0.56  # points; the other two in units of it
SIZES: dict[Any, Any] = {"axes.labelsize": FONT, "xtick.labelsize": FONT, "ytick.labelsize": FONT}
TABLE = [
    *("letter", "experiment", "optimizer", "scale", "overtrain", "x", "y"),
    *("within", "within_low", "within_high", "pooled", "pooled_low", "pooled_high"),
    *("draws", "n", "not_drawn", "left_out"),
]
RULE = (
    "Spearman's correlations, with the error where the accuracy is drawn (a rising cloud has a "
    "negative one); 95% intervals."
)


def paper_figure(
    frame: pd.DataFrame, name: str, scale: str | None = None
) -> tuple[Figure, pd.DataFrame]:
    """Draw a figure of the paper; return it and the numbers of its panels.

    A panel without records says so, and which command makes them.

    Args:
        frame: records of any sweeps, as `engine.records.load_sweeps` reads them.
        name: a key of `paper_layout.FIGURES`.
        scale: of the sweeps; None where the records have each system at one scale only.

    Returns:
        The figure, and a table, a row a panel: letter, experiment, optimizer, scale, overtrain;
        x and y, the columns that are correlated (the error where the accuracy is drawn); within,
        within_low, within_high, pooled, pooled_low, pooled_high; draws behind the first interval;
        n; not_drawn, those of n that have no logarithm; left_out, counts and reasons.

    Raises:
        ValueError: an unknown name or scale, several sweeps of one system.
    """
    layout = FIGURES[checks.one_of("figure", name, FIGURES)]
    frame = records.networks(frame)
    sweeps = {system: records.sweep(frame, system, scale) for system in layout.systems}
    if layout.overtrained:
        layout = layout.at(records.overtrained_epochs(sweeps))
    panels = [panel for row in layout.rows for panel in row]
    headings = [f"({_letter(i)}) {panel.system.name}" for i, panel in enumerate(panels)]
    if layout.overtrained:
        for i, panel in enumerate(layout.rows[0]):
            lines = records.overtrained_lines(sweeps[panel.system], panel.overtrain)
            headings[i] = "\n".join([*lines, "", headings[i]])
    norms, bar = _colours(sweeps)
    rows: list[dict[str, Any]] = []
    with style.applied(), matplotlib.rc_context(SIZES):
        figure, axes, look = _new_figure(layout, headings, _caption(panels, sweeps))
        for axis, heading, panel in zip(axes, headings, panels, strict=True):
            runs = sweeps[panel.system]
            runs = runs[runs[OVERTRAIN] == panel.overtrain]
            row = _draw(axis, heading, panel, runs, norms.get(panel.system), look, scale)
            rows.append({"letter": _letter(len(rows)), **row})
        _join_rows(axes, panels)
        if bar:
            scatter.norm_bar(figure, axes, *bar, location="bottom", shrink=0.5, aspect=45)
    return figure, pd.DataFrame(rows, columns=TABLE)


def _new_figure(
    layout: Layout, headings: list[str], caption: list[str]
) -> tuple[Figure, list[Axes], scatter.Look]:
    """Return an empty figure with its bottom line, its axes by letter, their look."""
    lines, columns = len(layout.rows), max(map(len, layout.rows))
    page = PORTRAIT if columns < 4 else max(LANDSCAPE, NARROW * columns)
    width = min(style.COLUMN_WIDTH * columns, page)
    look = scatter.Look(
        FONT, _characters(width / columns), points=7, ticks=int(2.4 * width / columns)
    )
    text = "\n".join(textwrap.fill(line, _characters(width)) for line in caption)
    further = text.count("\n") + 1 + max(heading.count("\n") for heading in headings)
    row = max(ROW_HEIGHT, 0.8 * width / columns)
    height = lines * row + BAR_HEIGHT + further * FONT * LINE_HEIGHT / 72
    figure = style.new_figure(columns, lines)
    figure.set_size_inches(width, height)
    # A title may be longer than its panel is wide: room for that of the last column.
    engine = figure.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine), "style.new_figure asks for it"
    engine.set(rect=(0, 0, 1 - MARGIN / width, 1))
    figure.supxlabel(text, x=0.01, ha="left", fontsize=FONT, linespacing=LINE_HEIGHT)
    grid = figure.add_gridspec(lines, columns)
    places = [(i, j) for i, row in enumerate(layout.rows) for j in range(len(row))]
    return figure, [figure.add_subplot(grid[place]) for place in places], look


def _draw(
    axis: Axes,
    heading: str,
    panel: Panel,
    runs: pd.DataFrame,
    norm: Normalize | None,
    look: scatter.Look,
    scale: str | None,
) -> dict[str, Any]:
    """Draw a panel; return its row of the table."""
    row = {**panel.system._asdict(), "scale": None, "overtrain": panel.overtrain}
    if not len(runs):
        where = "" if scale is None else f" at scale {scale}"
        command = panel.system.command(scale)
        text = f"no records of {panel.system.name}{where}\n\n{command}"
        scatter.write_title(axis, [heading], look)
        scatter.write_inside(axis, text, look)
        y = "error" if panel.y is None else panel.y.name
        counts = dict.fromkeys(("draws", "n", "not_drawn"), 0)
        return row | {"x": panel.x.name, "y": y, **counts, "left_out": f"no records: {command}"}
    assert norm is not None, "a system with runs has a range of |A|"
    found = scatter.draw_panel(
        axis,
        runs,
        panel.x,
        panel.y,
        heading=heading,
        norm=norm,
        look=look,
        empty=_not_measured(panel, runs),
    )
    return row | {"scale": runs[SCALE].iloc[0]} | _table_cells(found)


def _table_cells(numbers: scatter.PanelNumbers) -> dict[str, Any]:
    cells: dict[str, Any] = {"x": numbers.x, "y": numbers.y}
    for name, correlation in (("within", numbers.within), ("pooled", numbers.pooled)):
        cells |= {name: correlation.estimate}
        cells |= {f"{name}_low": correlation.low, f"{name}_high": correlation.high}
    left_out = "; ".join(f"{count}: {reason}" for reason, count in numbers.left_out.items())
    return cells | {
        "draws": numbers.within.draws,
        "n": numbers.runs,
        "not_drawn": numbers.hidden,
        "left_out": left_out,
    }


def _not_measured(panel: Panel, runs: pd.DataFrame) -> str | None:
    """Say which measure of a panel no run has, and the command that adds it."""
    for coordinate in (panel.x, panel.y):
        if coordinate and not np.isfinite(coordinate.values(runs)).any():
            name, command = coordinate.name, panel.system.command(runs[SCALE].iloc[0])
            stage = name.split(".")[1]
            return f"not measured: {name}\n\n{command} --config.measures.{stage}.on=True"
    return None


def _colours(
    sweeps: Mapping[System, pd.DataFrame],
) -> tuple[dict[System, Normalize], tuple[Normalize, str] | None]:
    """Map |A| to colours by system; return the bar, of |A| / |S| where systems differ in |S|."""
    sizes = {system: rows[TRAIN_SIZE].max() for system, rows in sweeps.items() if len(rows)}
    if not sizes:
        return {}, None
    if len(set(sizes.values())) == 1:
        norm = scatter.attack_size_norm(pd.concat(sweeps.values()))
        return dict.fromkeys(sizes, norm), (norm, "attack set size |A|")
    share = max(sweeps[system][ATTACK_SIZE].max() / sizes[system] for system in sizes)
    norms = {system: Normalize(0, share * size) for system, size in sizes.items()}
    return norms, (Normalize(0, share), "attack set size |A| / |S|")


def _caption(panels: list[Panel], sweeps: Mapping[System, pd.DataFrame]) -> list[str]:
    products = any(LOG_PRODUCT in (panel.x, panel.y) for panel in panels)
    return [*records.fact_lines(sweeps, () if products else (records.PRODUCT_COUNT,)), RULE]


def _join_rows(axes: list[Axes], panels: list[Panel]) -> None:
    """Give each row one range of accuracies an experiment, and no label twice in succession."""
    shared: dict[tuple[int, str], list[Axes]] = {}
    row, label = -1, ""
    for axis, panel in zip(axes, panels, strict=True):
        place = axis.get_subplotspec()
        assert place is not None, "each panel stands in the grid"
        last, row = row, place.rowspan.start
        if not len(axis.get_yticks()):
            continue
        if panel.y is None:
            shared.setdefault((row, panel.system.experiment), []).append(axis)
        if row == last and axis.get_ylabel() == label:
            axis.set_ylabel("")
        else:
            label = axis.get_ylabel()
    for group in shared.values():
        low, high = zip(*(axis.get_ylim() for axis in group), strict=True)
        for axis in group:
            axis.set_ylim(min(low), max(high))


def _letter(index: int) -> str:
    """Count a to z, then aa, bb, ..."""
    return string.ascii_lowercase[index % 26] * (1 + index // 26)


def _characters(width: float) -> int:
    """Return how many characters of a title stand in `width` inches."""
    return int((width - 0.1) * 72 / (CHARACTER * FONT))
