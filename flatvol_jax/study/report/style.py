"""How every figure looks: one style, applied in a context, no global setting touched."""

from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

INK = "#1b1b1f"
GRID = "#d9d9de"
MIDDLE = "#8a8a94"  # seen on light and dark paper
COLUMN_WIDTH = 3.4  # inches, a column of a two-column paper
PANEL_HEIGHT = 3.0
COLOURS = "viridis"  # even in lightness, readable without colour vision

RC = {
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
    """The style, for drawing and for saving, within the context only."""
    with matplotlib.rc_context(RC):
        yield


def new_figure(columns: int, rows: int = 1) -> Figure:
    """An empty figure of `columns` x `rows` panels, drawn by Agg, unknown to pyplot."""
    figure = Figure(figsize=(COLUMN_WIDTH * columns, PANEL_HEIGHT * rows), layout="constrained")
    FigureCanvasAgg(figure)
    return figure
