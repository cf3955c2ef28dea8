"""How every figure looks: one style, applied in a context, no global setting touched."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

INK = "#1b1b1f"
GRID = "#d9d9de"
MIDDLE = "#8a8a94"  # seen on light and dark paper
COLUMN_WIDTH = 3.4  # inches, a column of a two-column paper
PANEL_HEIGHT = 3.0
COLOURS = "viridis"  # even in lightness, readable without colour vision

RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.5,
    "svg.hashsalt": "flatvol_jax",  # the same records give the same file
}


@contextmanager
def applied() -> Iterator[None]:
    """Apply the style, for drawing and for saving, within the context only."""
    with matplotlib.rc_context(RC):
        yield


class RoundedLayout(ConstrainedLayoutEngine):
    """Round the positions of the axes that matplotlib's constrained layout finds.

    Its solver adds terms in the order of their addresses in memory, so the last digits of a
    position, and with them a figure's file, would differ from run to run.
    """

    def execute(self, fig) -> None:
        """Compute the places of the axes."""
        super().execute(fig)
        for axis in fig.axes:
            if axis.get_in_layout():
                axis.set_position(np.round(axis.get_position(original=True).bounds, 6))
                axis.set_in_layout(True)  # set_position takes the axes out of the layout


def new_figure(columns: int, rows: int = 1) -> Figure:
    """Return an empty figure of `columns` x `rows` panels, drawn by Agg, unknown to pyplot."""
    figure = Figure(figsize=(COLUMN_WIDTH * columns, PANEL_HEIGHT * rows), layout=RoundedLayout())
    FigureCanvasAgg(figure)
    return figure


def colours(count: int) -> np.ndarray:
    """Return so many colours, even in lightness, (count, 4)."""
    return matplotlib.colormaps[COLOURS](np.linspace(0, 0.9, max(count, 1)))[:count]


def error_bars(
    axis: Axes, x: tuple, y: tuple, *, width: float, alpha: float, colour: str = INK
) -> None:
    """Draw standard errors, x and y each (values, errors), where there are any."""
    (across, across_error), (up, up_error) = x, y
    errors: dict[str, Any] = {
        name: error if np.isfinite(error).any() else None
        for name, error in (("xerr", across_error), ("yerr", up_error))
    }
    if any(error is not None for error in errors.values()):
        look: dict[str, Any] = {
            "fmt": "none",
            "ecolor": colour,
            "elinewidth": width,
            "alpha": alpha,
        }
        axis.errorbar(across, up, **errors, **look)


def handle(label: str, **look) -> Line2D:
    """Return an entry of a legend."""
    return Line2D([], [], label=label, **look)


def legend(figure: Figure, handles: Sequence, columns: int = 1, size: float = 7, **more) -> None:
    """Write the legend of all panels below them."""
    place: dict[str, Any] = {"loc": "outside lower center", "frameon": False, "fontsize": size}
    figure.legend(handles=handles, ncols=columns, **place, **more)
