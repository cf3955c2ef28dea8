"""The paper's scatter figures, drawn from the records of sweeps, and their numbers as a table."""

import itertools
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
LEAST = 5.0  # inches: a figure of one panel has room for the bottom line
ROW_HEIGHT, BAR_HEIGHT = 2.3, 0.5  # inches, with titles and labels
MARGIN = 0.2  # inches, on the right
FONT, LINE_HEIGHT, CHARACTER = 6, 1.35, 0.56  # points; the other two in units of it
SIZES: dict[Any, Any] = {"axes.labelsize": FONT, "xtick.labelsize": FONT, "ytick.labelsize": FONT}
TABLE = [
    *("letter", "experiment", "optimizer", "scale", "overtrain", "x", "y"),
    *("within", "within_low", "within_high", "pooled", "pooled_low", "pooled_high"),
    *("draws", "n", "not_drawn", "left_out"),
]
RULE = "ρ: Spearman's correlation of the two axes of a panel, with 95% intervals."
ACROSS = 3  # panels in a row where the records have one of each row of the paper


def paper_figure(
    frame: pd.DataFrame, name: str, scale: str | None = None
) -> tuple[Figure, pd.DataFrame]:
    """Draw a figure of the paper; return it and the numbers of its panels.

    Only panels with records are drawn, under the paper's letters; the line at the bottom names the
    others.

    Args:
        frame: records of any sweeps, as `engine.records.load_sweeps` reads them.
        name: a key of `paper_layout.FIGURES`.
        scale: of the sweeps; None where the records have each system at one scale only.

    Returns:
        The figure, and a table, a row a panel: letter, experiment, optimizer, scale, overtrain;
        x and y, the columns that are correlated; within,
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
    lettered = _lettered(layout)
    norms, bar = _colours(sweeps)
    drawn = _with_records(lettered, sweeps)
    caption = _caption(lettered, drawn, sweeps)
    axes: list[Axes] = []
    found: dict[str, dict[str, Any]] = {}
    with style.applied(), matplotlib.rc_context(SIZES):
        figure, axes, look = _new_figure(drawn, caption)
        panels = [pair for row in drawn for pair in row]
        for axis, (letter, panel) in zip(axes, panels, strict=True):
            runs = sweeps[panel.system]
            found[letter] = _draw(axis, letter, panel, runs, norms[panel.system], look)
        _join_rows(axes, [panel for _, panel in panels])
        if bar:
            scatter.norm_bar(figure, axes, *bar, location="bottom", shrink=0.5, aspect=45)
    rows = [
        {"letter": letter, **(found.get(letter) or _without_records(panel, scale))}
        for row in lettered
        for letter, panel in row
    ]
    return figure, pd.DataFrame(rows, columns=TABLE)


def _lettered(layout: Layout) -> list[list[tuple[str, Panel]]]:
    """Return the rows of a figure with the paper's letters."""
    letters = map(_letter, itertools.count())
    return [[(next(letters), panel) for panel in row] for row in layout.rows]


def _with_records(
    rows: list[list[tuple[str, Panel]]], sweeps: Mapping[System, pd.DataFrame]
) -> list[list[tuple[str, Panel]]]:
    """Return the rows of panels that have records; rows of one panel each are put side by side."""
    kept = [[pair for pair in row if len(sweeps[pair[1].system])] for row in rows]
    kept = [row for row in kept if row]
    if kept != rows and all(len(row) == 1 for row in kept):
        single = [pair for row in kept for pair in row]
        return [single[i : i + ACROSS] for i in range(0, len(single), ACROSS)]
    return kept


def _new_figure(
    rows: list[list[tuple[str, Panel]]], caption: list[str]
) -> tuple[Figure, list[Axes], scatter.Look]:
    """Return an empty figure with its bottom line, its axes in order, their look."""
    lines, columns = max(len(rows), 1), max(map(len, rows), default=1)
    page = PORTRAIT if columns < 4 else max(LANDSCAPE, NARROW * columns)
    width = max(min(style.COLUMN_WIDTH * columns, page), LEAST)
    look = scatter.Look(
        FONT, _characters(width / columns), points=7, ticks=int(2.4 * width / columns)
    )
    text = "\n".join(textwrap.fill(line, _characters(width)) for line in caption)
    row = max(ROW_HEIGHT, 0.8 * width / columns) * bool(rows)
    height = lines * row + BAR_HEIGHT + (text.count("\n") + 1) * FONT * LINE_HEIGHT / 72
    figure = style.new_figure(columns, lines)
    figure.set_size_inches(width, height)
    # Notes may be longer than their panel is wide: room for those of the last column.
    engine = figure.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine), "style.new_figure asks for it"
    engine.set(rect=(0, 0, 1 - MARGIN / width, 1))
    figure.supxlabel(text, x=0.01, ha="left", fontsize=FONT, linespacing=LINE_HEIGHT)
    grid = figure.add_gridspec(lines, columns)
    places = [(i, j) for i, row in enumerate(rows) for j in range(len(row))]
    return figure, [figure.add_subplot(grid[place]) for place in places], look


def _draw(
    axis: Axes,
    letter: str,
    panel: Panel,
    runs: pd.DataFrame,
    norm: Normalize,
    look: scatter.Look,
) -> dict[str, Any]:
    """Draw a panel; return its row of the table."""
    heading, notes = f"({letter}) {panel.system.name}", []
    if _is_overtrained(panel):
        when, *notes = records.overtrained_lines(runs, panel.overtrain)
        heading = f"({letter}) {when}"
    runs = runs[runs[OVERTRAIN] == panel.overtrain]
    place = {**panel.system._asdict(), "scale": None, "overtrain": panel.overtrain}
    if not len(runs):
        scatter.write_title(axis, [heading, *notes], look)
        scatter.write_inside(axis, f"no records {panel.overtrain} epochs after zero error", look)
        return _without_records(panel, None)
    found = scatter.draw_panel(
        axis,
        runs,
        panel.x,
        panel.y,
        heading=heading,
        norm=norm,
        look=look,
        empty=_not_measured(panel, runs),
        notes=notes,
    )
    return place | {"scale": runs[SCALE].iloc[0]} | _table_cells(found)


def _is_overtrained(panel: Panel) -> bool:
    return panel.system.experiment.endswith("_overtrain")


def _without_records(panel: Panel, scale: str | None) -> dict[str, Any]:
    """Return the row of the table of a panel that is not drawn."""
    place = {**panel.system._asdict(), "scale": None, "overtrain": panel.overtrain}
    y = "error" if panel.y is None else panel.y.name
    counts = dict.fromkeys(("draws", "n", "not_drawn"), 0)
    missing = f"no records: {panel.system.command(scale)}"
    return place | {"x": panel.x.name, "y": y, **counts, "left_out": missing}


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


def _caption(
    rows: list[list[tuple[str, Panel]]],
    drawn: list[list[tuple[str, Panel]]],
    sweeps: Mapping[System, pd.DataFrame],
) -> list[str]:
    """Write the bottom line: what the sweeps are, what ρ is, which panels have no records."""
    shown = [pair for row in drawn for pair in row]
    products = any(LOG_PRODUCT in (panel.x, panel.y) for _, panel in shown)
    lines = records.fact_lines(sweeps, () if products else (records.PRODUCT_COUNT,))
    missing: dict[str, list[str]] = {}
    for letter, panel in (pair for row in rows for pair in row if pair not in shown):
        missing.setdefault(panel.system.name, []).append(letter)
    names = "; ".join(f"({', '.join(letters)}) {name}" for name, letters in missing.items())
    return [
        *lines,
        *([RULE] if shown else []),
        *([f"Not drawn, no records: {names}."] * bool(names)),
    ]


def _join_rows(axes: list[Axes], panels: list[Panel]) -> None:
    """Give each row one range of errors an experiment, and no label twice in succession."""
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
