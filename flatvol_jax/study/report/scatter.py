"""A panel of networks as points, coloured by |A|, with its correlations; figure 3 out of two."""

import io
import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import pandas as pd
from etils import epath
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from flatvol_jax.runtime import files
from flatvol_jax.study.analysis import columns as col
from flatvol_jax.study.analysis import selection, statistics
from flatvol_jax.study.analysis.names import OPTIMIZERS
from flatvol_jax.study.report import style


class Look(NamedTuple):
    """Sizes of a panel: its title, the characters in a line of it, its points, ticks of x."""

    font: float = 7
    line: int = 70
    points: float = 16
    ticks: int = 6


class PanelNumbers(NamedTuple):
    """Who is in a panel, who is not, and how the two columns correlate.

    `hidden` counts runs at or below 0, which have a rank but no place on a logarithmic axis.
    """

    x: str
    y: str
    runs: int
    left_out: dict[str, int]
    hidden: int
    within: statistics.Correlation
    pooled: statistics.Correlation


PANELS = (col.LOG_VOLUME, col.SHARPNESS)
NOTES = "_notes"  # names the text below a panel; legends leave out what begins with "_"


def attack_sweep_figure(frame: pd.DataFrame) -> Figure:
    """Draw fig. 3 (a) and (d): one row an optimizer, volume on the left, sharpness on the right.

    The error is that on E2 (on E1 where E2 is empty), as in the primary statistic, and the
    correlations below each panel are with it.

    Args:
        frame: records, one row a network.
    """
    optimizers = selection.optimizer_names(frame)
    with style.applied():
        figure = style.new_figure(len(PANELS), len(optimizers))
        axes = figure.subplots(len(optimizers), len(PANELS), squeeze=False, sharey="row")
        for row, optimizer in zip(axes, optimizers, strict=True):
            runs = frame[frame[col.OPTIMIZER] == optimizer]
            heading, norm = heading_of(runs), attack_size_norm(frame)
            for axis, x in zip(row, PANELS, strict=True):
                draw_panel(axis, runs, x, heading=heading, norm=norm)
            row[1].set_ylabel("")  # the same as on the left
        colour_bar(figure, axes.ravel().tolist(), frame)
    return figure


def panel_figure(frame: pd.DataFrame, x: col.Column) -> Figure:
    """Draw one panel of one optimizer's runs, a column wide."""
    with style.applied():
        figure = style.new_figure(1)
        axis, norm = figure.subplots(), attack_size_norm(frame)
        draw_panel(axis, frame, x, heading=heading_of(frame), norm=norm)
        colour_bar(figure, [axis], frame)
    return figure


def save_figure(figure: Figure, path_stem: epath.PathLike) -> tuple[epath.Path, epath.Path]:
    """Write `path_stem`.png (200 dpi) and `path_stem`.svg atomically; returns both paths."""
    stem = epath.Path(path_stem)
    paths = stem.parent / f"{stem.name}.png", stem.parent / f"{stem.name}.svg"
    files.write_bytes(paths[0], png_bytes(figure))
    files.write_text(paths[1], svg_text(figure))
    return paths


def png_bytes(figure: Figure) -> bytes:
    """Return the figure as PNG, 200 dpi."""
    buffer = io.BytesIO()
    with style.applied():
        figure.savefig(buffer, format="png", dpi=200)
    return buffer.getvalue()


def svg_text(figure: Figure, transparent: bool = False, text: bool = False) -> str:
    """Return the figure as SVG text without a date, so that equal figures are equal files.

    Args:
        figure: what is drawn.
        transparent: whether its paper is left out.
        text: whether words stay words, in a font of the reader's, or become outlines.
    """
    buffer = io.StringIO()
    fonts: dict[Any, Any] = {"svg.fonttype": "none" if text else "path"}
    with style.applied(), matplotlib.rc_context(fonts):
        figure.savefig(
            buffer, format="svg", dpi=200, transparent=transparent, metadata={"Date": None}
        )
    return buffer.getvalue()


def draw_panel(
    axis: Axes,
    frame: pd.DataFrame,
    x: col.Column,
    y: col.Column | None = None,
    *,
    heading: str,
    norm: Normalize,
    look: Look = Look(),
    empty: str | None = None,
    bars: bool = False,
    notes: Sequence[str] = (),
) -> PanelNumbers:
    """Draw the usable runs as points; below the panel stand n and both correlations.

    Args:
        axis: where to draw.
        frame: records of one optimizer and one epoch, one row a network.
        x: what stands on the x axis.
        y: the same of the y axis; None for the error.
        heading: the title.
        norm: |A| to the range of the colours.
        look: sizes.
        empty: stands in the panel where no run is usable; None for the reasons.
        bars: whether to draw standard errors where the records have them.
        notes: stand below the numbers.
    """
    error, error_name = selection.error_column(frame)
    named = x.name, error if y is None else y.name
    runs, left_out = selection.usable(frame, *named)
    values, across = x.drawn(runs)
    errors = 100 * col.numbers(runs, error), np.full(len(runs), np.nan)
    heights, up = errors if y is None else y.drawn(runs)
    if bars:
        style.error_bars(axis, (values, across), (heights, up), width=0.5, alpha=0.5)
    axis.scatter(
        values,
        heights,
        c=runs[col.ATTACK_SIZE].to_numpy(np.float64),
        cmap=style.COLOURS,
        norm=norm,
        s=look.points,
        linewidths=0.35,
        edgecolors=style.MIDDLE,
        alpha=0.9,
        zorder=3 if bars else 1,
    )
    axis.xaxis.set_major_locator(MaxNLocator(look.ticks))
    axis.set_xlabel(x.axis_label)
    axis.set_ylabel(f"error on {error_name} (%)" if y is None else y.axis_label)
    found = PanelNumbers(
        *named,
        len(runs),
        left_out,
        int(np.isnan(values + heights).sum()),
        statistics.correlation(runs, *named),
        statistics.correlation(runs, *named, statistics.POOLED),
    )
    write_title(axis, [heading, *_lines(found), *notes], look)
    if not len(runs):
        reasons = [f"{count}: {reason}" for reason, count in left_out.items()]
        write_inside(axis, empty or "\n".join(["no usable runs", *reasons]), look)
    return found


def write_title(axis: Axes, lines: Sequence[str], look: Look) -> None:
    """Write the first of `lines` above the panel, the others below it, long ones wrapped."""
    title, *notes = lines
    axis.set_title(_wrapped(title, look.line), loc="left", fontsize=look.font, linespacing=1.35)
    write_notes(axis, notes, look)


def write_notes(axis: Axes, lines: Sequence[str], look: Look) -> None:
    """Write `lines` below the panel and the label of its x axis."""
    if lines:
        axis.annotate(
            _wrapped("\n".join(lines), look.line),
            (0, 0),
            (0, -3),
            xycoords=("axes fraction", axis.xaxis.label),
            textcoords="offset points",
            va="top",
            fontsize=look.font,
            linespacing=1.35,
            annotation_clip=False,
            label=NOTES,
        )


def words_of(axis: Axes) -> str:
    """Return the title of a panel and the notes below it, a line each."""
    notes = [text.get_text() for text in axis.texts if text.get_label() == NOTES]
    return "\n".join([axis.get_title(loc="left"), *notes])


def write_inside(axis: Axes, text: str, look: Look) -> None:
    """Write `text` in the middle of a panel without points, which then has no ticks."""
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(True)
    where: dict[str, Any] = {"ha": "center", "va": "center", "transform": axis.transAxes}
    axis.text(0.5, 0.5, _wrapped(text, look.line - 8), fontsize=look.font, **where)


def _wrapped(text: str, width: int) -> str:
    """Break each line of `text` at spaces."""
    wrap = textwrap.TextWrapper(width, break_long_words=False, break_on_hyphens=False)
    return "\n".join(wrap.fill(line) for line in text.split("\n"))


def attack_size_norm(frame: pd.DataFrame) -> Normalize:
    """Map |A| to the range of the colours."""
    sizes = frame[col.ATTACK_SIZE]
    return Normalize(float(sizes.min()), float(max(sizes.max(), sizes.min() + 1)))


def colour_bar(figure: Figure, axes: list[Axes], frame: pd.DataFrame) -> None:
    """Draw the colours' key beside `axes` for the sizes |A| in `frame`."""
    norm_bar(figure, axes, attack_size_norm(frame), "attack set size |A|")


def norm_bar(figure: Figure, axes: list[Axes], norm: Normalize, label: str, **place) -> None:
    """Draw the colours' key beside `axes`, or where `place` says (options of `Figure.colorbar`)."""
    place = {"fraction": 0.05, "aspect": 28, "pad": 0.02} | place
    bar = figure.colorbar(ScalarMappable(norm, style.COLOURS), ax=axes, **place)
    bar.set_label(label)
    bar.outline.set_linewidth(0.4)


def heading_of(runs: pd.DataFrame) -> str:
    """Name the optimizers of a panel."""
    return ", ".join(OPTIMIZERS.get(name, name) for name in selection.optimizer_names(runs))


def _lines(found: PanelNumbers) -> list[str]:
    """Write what stands below a panel."""
    left_out = sum(found.left_out.values())
    return [
        f"ρ pooled over |A|: {_interval(found.pooled)}",
        f"ρ within |A|: {_interval(found.within)}",
        f"n = {found.runs} ({left_out} left out){_basis_text(found.within)}",
        *([f"{found.hidden} at or below 0 not drawn"] if found.hidden else []),
    ]


def _interval(correlation: statistics.Correlation) -> str:
    rounded = np.round([correlation.estimate, correlation.low, correlation.high], 2)
    if np.isnan(rounded[0]):
        return "not defined"
    estimate, low, high = (f"{number + 0.0:.2f}".replace("-", "−") for number in rounded)
    return estimate if np.isnan(rounded).any() else f"{estimate} [{low}, {high}]"


def _basis_text(correlation: statistics.Correlation) -> str:
    return {0: "", 1: ", this S, E only"}.get(correlation.draws, f", {correlation.basis}")
