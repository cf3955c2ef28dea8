"""Our drawing of the paper's figure 1: volumes of functions and local flatness on one landscape."""

import numpy as np
from matplotlib.figure import Figure

from flatvol_jax.study.report import style

# Functions that fit S: from, to (a stretch of parameter space), colour.
REGIONS = ((0.6, 6.3, "#0072b2"), (7.4, 8.5, "#d55e00"), (9.3, 9.75, "#009e73"))
NAMES = ("f₁", "f₂", "f₃")
BASINS = ((-0.2, 7.05), (7.05, 8.9), (8.9, 10.2))  # what leads down to each
LEVEL = 0.2  # a loss that fits S, schematically


def schematic_figure() -> Figure:
    """Draw a loss along one line of parameter space, with three functions that have no error on S.

    The width of a coloured stretch stands for V(f), the probability that random parameters are
    f; the arrow below it for the basin from which training comes down to f. On the whole the wide
    stretch is flat, but it has sharp places (marked): flatness is measured at a point, volume is
    of all of it.
    """
    x = np.linspace(-0.2, 10.2, 2000)
    y = _loss(x)
    with style.applied():
        figure = style.new_figure(2)
        width, height = figure.get_size_inches()
        figure.set_size_inches(width, 0.85 * height)
        axis = figure.subplots()
        axis.plot(x, y, color=style.INK, linewidth=1.1)
        for (low, high, colour), name, (left, right) in zip(REGIONS, NAMES, BASINS, strict=True):
            inside = (x >= left) & (x <= right) & (y < LEVEL)
            axis.fill_between(x[inside], y[inside], -0.06, color=colour, alpha=0.3, linewidth=0)
            axis.plot(x[inside], y[inside], color=colour, linewidth=2.4)
            middle, below = (low + high) / 2, (max(left, 0) + min(right, 10)) / 2
            axis.annotate(f"V({name})", (middle, -0.15), ha="center", color=colour, fontsize=9)
            arrow = {"arrowstyle": "<->", "color": colour, "linewidth": 0.9}
            axis.annotate("", (left, -0.29), (right, -0.29), arrowprops=arrow)
            axis.annotate(f"basin of {name}", (below, -0.43), ha="center", fontsize=7)
        arrow = {"arrowstyle": "->", "color": style.INK, "linewidth": 0.7}
        for text, at, words in (
            ("a sharp place in the\nlargest volume", (1.62, 0.17), (2.3, 0.75)),
            ("flat", (4.6, 0.06), (4.5, 0.4)),
        ):
            axis.annotate(text, at, words, arrowprops=arrow, fontsize=7)
        axis.set(xlim=(-0.6, 10.4), ylim=(-0.52, 1.3), xticks=[], yticks=[])
        axis.set(xlabel="parameters w", ylabel="loss on S")
        axis.axhline(LEVEL, color=style.GRID, linewidth=0.8, linestyle="--")
        axis.annotate("no error\non S\nbelow", (-0.5, LEVEL + 0.03), fontsize=6.5)
        axis.grid(False)
    return figure


def _loss(x: np.ndarray) -> np.ndarray:
    """Return walls between the three stretches, a flat floor with two sharp dents in the first."""
    wall = np.full_like(x, 1.15)
    for low, high, _ in REGIONS:
        centre, half = (low + high) / 2, (high - low) / 2
        steep = 1.15 * (1 - np.exp(-((np.maximum(np.abs(x - centre) - 0.8 * half, 0)) ** 2) / 0.12))
        wall = np.minimum(wall, np.maximum(steep, 0.02 + 0.02 * np.cos(3 * x)))
    dents = 0.15 * np.exp(-((x - 1.62) ** 2) / 0.004) + 0.12 * np.exp(-((x - 2.05) ** 2) / 0.006)
    return wall + dents
