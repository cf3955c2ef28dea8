"""Flatness and volume at every epoch, through an alpha-scaling: figures 5, S5, S7, S8 and S9."""

import string
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.ticker import MaxNLocator

from flatvol_jax.study.analysis import columns as col
from flatvol_jax.study.report import style
from flatvol_jax.study.report.formatting import number
from flatvol_jax.study.report.scatter import Look, write_notes, write_title

SIDE, UNSCALED = "meta.event", "none"
FLAT, VOLUME, PLAIN = "#0072b2", "#d55e00", style.MIDDLE  # lines: flatness, log V, without scaling
TRAIN, TEST = style.INK, "#cc79a7"
AT_ZERO, AT_EVENT = "#009e73", "#c1272d"  # the paper's green and red dashed lines
MOST_BRANCHES = 4  # more are a sweep over alpha, with a figure of its own
BEFORE, AFTER = 5, 50  # epochs of the panel at the bottom on both sides of the event
LOOK = Look(font=6.5, line=66)


class Curve(NamedTuple):
    """Networks at the epochs x, (m,): median, least and largest; the same of one network."""

    x: np.ndarray
    middle: np.ndarray
    low: np.ndarray
    high: np.ndarray


def temporal_figure(frame: pd.DataFrame) -> Figure | None:
    """Draw errors, flatness and log10 V against the epoch, a panel a scaling and measure.

    The blue line is the flatness measure (left axis), the orange one log10 V (right axis):
    Heaviside solid, probit dotted. Dots are sharpness by the ascent of table 1. Grey is the
    network that goes on without scaling. The green dashed line is zero error, the red one the
    scaling; the panel at the bottom shows log10 V around it. Of several networks the median is
    drawn, with a band from the least to the largest, and epochs are counted from zero error.

    Args:
        frame: records of one temporal study, a row a measured epoch of a branch.

    Returns:
        None where no flatness measure and volume were recorded, or where the branches are those
        of a sweep over alpha (more than four).
    """
    frame = frame.assign(
        **{name: col.numbers(frame, name) for name in (col.EPOCH, col.ZERO_EPOCH, col.EVENT_EPOCH)}
    )
    measures = _measures(frame)
    branches = branches_of(frame)
    if not measures or col.LOG_VOLUME.name not in frame or len(branches) > MOST_BRANCHES:
        return None
    panels = [(branch, measure) for branch in branches or [UNSCALED] for measure in measures]
    columns = len(measures) if len(measures) > 1 else min(2, len(panels))
    rows = -(-len(panels) // columns)
    with style.applied():
        figure = style.new_figure(columns, rows)
        width, height = figure.get_size_inches()
        figure.set_size_inches(1.15 * width, (1.75 if branches else 1.4) * height)
        grid = figure.add_gridspec(rows, columns)
        for i, (branch, measure) in enumerate(panels):
            place = grid[divmod(i, columns)]
            _panel(figure, place, frame, branch, measure, string.ascii_lowercase[i])
        _legend(figure, frame, bool(branches))
    return figure


def branches_of(frame: pd.DataFrame) -> list[str]:
    """Return the scaled branches by name, in the order of the records."""
    return [name for name in frame[col.TRANSFORM].unique() if name != UNSCALED]


def scaling_name(layer: float, alpha: float) -> str:
    """Name a scaling: W1 × 5.9, W2 / 5.9, as eq. 8 has it for alpha above 1."""
    first, second = ("×", "/") if alpha > 1 else ("/", "×")
    size = number(max(alpha, 1 / alpha))
    return f"W{layer:g} {first} {size}, W{layer + 1:g} {second} {size}"


def _measures(frame: pd.DataFrame) -> list[col.Column]:
    """Return the flatness measures of the records: sharpness of each box, Hessian measures."""
    main = col.SHARPNESS.name
    boxes = {main: frame["meta.epsilon"].iloc[0]} if main in frame else {}
    for column in frame:
        suffix = column.removeprefix(f"{main}.")
        if column != suffix and suffix.replace(".", "").replace("e-", "").isdigit():
            boxes[column] = float(suffix)
    found = [
        col.Column(name, f"log₁₀ sharpness, ε = {epsilon:g}", scale="log")
        for name, epsilon in sorted(boxes.items(), key=lambda item: -item[1])
    ]
    return found + [m for m in (col.SPECTRAL_NORM, col.LOG_PRODUCT) if m.name in frame]


def _panel(
    figure: Figure,
    place: SubplotSpec,
    frame: pd.DataFrame,
    branch: str,
    measure: col.Column,
    letter: str,
) -> None:
    scaled = branch != UNSCALED
    inner = place.subgridspec(2 + scaled, 1, height_ratios=(1, 3, 1.2)[: 2 + scaled])
    above = figure.add_subplot(inner[0])
    axis = figure.add_subplot(inner[1], sharex=above)
    right = axis.twinx()
    for column, colour in ((col.TRAIN_ERROR, TRAIN), (col.TEST_ERROR, TEST)):
        _draw(above, _curve(frame, branch, 100 * col.numbers(frame, column)), colour)
    _draw(axis, _values(frame, UNSCALED, measure), PLAIN, linewidth=0.7)
    if branch != UNSCALED:
        _draw(axis, _values(frame, branch, measure), FLAT)
    else:
        axis.lines[-1].set_color(FLAT)
    if measure.name == col.SHARPNESS.name and col.ASCENT.name in frame:
        dots = _values(frame, branch, col.ASCENT)
        axis.plot(dots.x, dots.middle, ".", color=FLAT, markersize=2.5)
    _draw(right, _values(frame, branch, col.PROBIT), VOLUME, linestyle=":", linewidth=0.8)
    _draw(right, _values(frame, branch, col.LOG_VOLUME), VOLUME)
    zero, event, alone = _marks(frame)
    for part in (above, axis):
        part.axvline(zero, color=AT_ZERO, linestyle="--", linewidth=0.8)
        if branch != UNSCALED:
            part.axvline(event, color=AT_EVENT, linestyle="--", linewidth=0.8)
    above.tick_params(labelbottom=False)
    above.set_ylabel("error (%)", fontsize=7)
    axis.set_ylabel(measure.axis_label, color=FLAT, fontsize=7)
    epochs = "epoch" if alone else "epochs after zero error"
    axis.set_xlabel(epochs)
    right.set_ylabel("log₁₀ V(f), EP", color=VOLUME, fontsize=7)
    right.grid(False)
    right.spines["right"].set_visible(True)
    write_title(above, [f"({letter}) {_heading(frame, branch)}"], LOOK)
    if scaled:
        axis = figure.add_subplot(inner[2])
        _draw_around(axis, frame, branch, event)
        axis.set_xlabel(f"{epochs}, around the scaling")
    write_notes(axis, _facts(frame, branch), LOOK)


def _draw_around(axis: Axes, frame: pd.DataFrame, branch: str, event: float) -> None:
    """Draw log10 V around the scaling, which the whole course hides."""
    curve = _values(frame, branch, col.LOG_VOLUME)
    near = (curve.x >= event - BEFORE) & (curve.x <= event + AFTER)
    _draw(axis, Curve(*(part[near] for part in curve)), VOLUME)
    axis.axvline(event, color=AT_EVENT, linestyle="--", linewidth=0.8)
    axis.ticklabel_format(axis="y", useOffset=False)
    axis.yaxis.set_major_locator(MaxNLocator(3))
    axis.set_ylabel("log₁₀ V(f)", color=VOLUME, fontsize=7)


def _draw(axis: Axes, curve: Curve, colour: str, **look) -> None:
    axis.plot(curve.x, curve.middle, color=colour, **({"linewidth": 1} | look))
    if (curve.low < curve.high).any():
        axis.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=0.2, linewidth=0)


def _values(frame: pd.DataFrame, branch: str, measure: col.Column) -> Curve:
    return _curve(frame, branch, measure.drawn(frame)[0])


def _curve(frame: pd.DataFrame, branch: str, values: np.ndarray) -> Curve:
    """Join up to the event the rows of the base, from there those of the branch.

    Networks are interpolated to the epochs of all of them, each within its own range; one without
    zero error has no place among several.
    """
    frame = frame.assign(value=values, x=col.numbers(frame, col.EPOCH) - _origins(frame))
    frame = frame[np.isfinite(frame["value"]) & np.isfinite(frame["x"])]
    to_event = (frame[col.TRANSFORM] == UNSCALED) & ~(
        frame[col.EPOCH] > frame[col.EVENT_EPOCH].fillna(np.inf)
    )
    onwards = (frame[col.TRANSFORM] == branch) & ~to_event
    return Curve(*np.concatenate([_summary(frame[to_event]), _summary(frame[onwards])], axis=1))


def _summary(rows: pd.DataFrame) -> np.ndarray:
    """Return x, median, least and largest, (4, m)."""
    if rows.empty:
        return np.zeros((4, 0))
    x = np.unique(rows["x"])
    each = [
        np.interp(x, run["x"], run["value"], left=np.nan, right=np.nan)
        for _, run in rows.sort_values("x", kind="stable").groupby(col.RUN, sort=False)
    ]
    return np.stack([x, np.nanmedian(each, 0), np.nanmin(each, 0), np.nanmax(each, 0)])


def _origins(frame: pd.DataFrame) -> np.ndarray | float:
    """Return the epoch from which each row's is counted: zero error, of several networks."""
    if frame[col.RUN].nunique() == 1:
        return 0.0
    return frame.groupby(col.RUN)[col.ZERO_EPOCH].transform("max").to_numpy()


def _marks(frame: pd.DataFrame) -> tuple[float, float, bool]:
    """Return where zero error and the event stand on the x axis; whether there is one network."""
    shifted = [frame[name] - _origins(frame) for name in (col.ZERO_EPOCH, col.EVENT_EPOCH)]
    return float(shifted[0].max()), float(shifted[1].max()), frame[col.RUN].nunique() == 1


def _heading(frame: pd.DataFrame, branch: str) -> str:
    if branch == UNSCALED:
        return "without scaling"
    row = frame[frame[col.TRANSFORM] == branch].iloc[0]
    alpha = row[col.ALPHA]
    source = "eq. 8" if alpha > 1 else "as the public code"
    return f"{scaling_name(row[col.LAYER], alpha)} ({source})"


def _facts(frame: pd.DataFrame, branch: str) -> list[str]:
    """Say networks, zero error, and what became of the function."""
    networks, zero = frame[col.RUN].nunique(), frame.groupby(col.RUN)[col.ZERO_EPOCH].max().dropna()
    first, last = (number(epoch) for epoch in (zero.min(), zero.max()))
    when = "zero error at epoch " + (first if first == last else f"{first} to {last}")
    if len(zero) < networks:
        when = f"{len(zero)} with zero error" + (when[10:] if len(zero) else "")
    lines = [f"{networks} network{'s' * (networks > 1)}, {when}"]
    later = frame[(frame[col.TRANSFORM] == branch) & (frame[col.EPOCH] >= frame[col.EVENT_EPOCH])]
    if not len(later):
        return lines
    inputs = int(frame[col.TRAIN_SIZE].iloc[0] + frame[col.TEST_SIZE].iloc[0])
    differs = later.groupby(col.RUN)[col.DIFFERS]
    most, end = number(differs.max().max()), number(differs.last().max())
    lines.append(f"labels unlike f at the event: at most {most} of {inputs}, at the end {end}")
    after = later[later[SIDE] == "after"]
    if len(after):
        kept = col.flagged(after, col.UNCHANGED).sum()
        least = number(col.numbers(after, "measure.output.least").min(), 2)
        moved = number(col.numbers(after, "measure.output.largest_change").max(), 2)
        lines += [
            f"scaling itself: f unchanged in {kept} of {len(after)},",
            f"outputs moved by at most {moved}, least |output| {least}",
        ]
    return lines


def _legend(figure: Figure, frame: pd.DataFrame, scaled: bool) -> None:
    def line(colour: str, label: str, linestyle: str = "-", **look) -> Artist:
        return style.handle(label, color=colour, linestyle=linestyle, linewidth=1, **look)

    handles = [line(TRAIN, "error on S"), line(TEST, "error on E1")]
    handles += [line(FLAT, "flatness (left)"), line(VOLUME, "log₁₀ V, Heaviside (right)")]
    if col.ASCENT.name in frame:
        handles.append(line(FLAT, "SGD ascent (table 1)", "", marker="."))
    if col.PROBIT.name in frame:
        handles.append(line(VOLUME, "log₁₀ V, probit (right)", ":"))
    handles.append(line(AT_ZERO, "zero error", "--"))
    if scaled:
        handles += [line(AT_EVENT, "scaling", "--"), line(PLAIN, "flatness without scaling")]
    style.legend(figure, handles, 4, 6.5)
