"""One picture: measures against environments, each cell how often a measure errs there."""

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from flatvol_jax.study.predictors.summary import COIN, Summary
from flatvol_jax.study.predictors.tables import NAMES, level_text
from flatvol_jax.study.report import style

LINE_HEIGHT, FRAME_HEIGHT = 0.19, 1.9  # inches, of a measure and of all else
ERRORS = "PuOr_r"  # a low error at one end, a coin in the middle: told apart without colour vision
DARK = 0.3  # from a coin on, a cell is dark


def predictors_figure(summary: Summary) -> Figure:
    """Draw each measure as a line: τ and Ψ with intervals, its sign error by environment.

    Measures stand by their worst environment, the best on top. A dot: the 95% interval lies below a
    coin's 1/2; a cross: above. A cell without enough pairs is grey, and an environment without any
    is left out, unless all are so.
    """
    table = summary.measures
    with style.applied():
        figure = style.new_figure(3)
        figure.set_figheight(FRAME_HEIGHT + LINE_HEIGHT * len(table))
        marks, cells = figure.subplots(1, 2, width_ratios=(1, 2.4), sharey=True)
        _draw_correlations(marks, summary)
        image = _draw_environments(cells, summary)
        bar = figure.colorbar(image, ax=cells, shrink=0.6, pad=0.01)
        bar.set_label("sign error: share of pairs in the wrong order")
        bar.outline.set_visible(False)
    return figure


def _draw_correlations(axis: Axes, summary: Summary) -> None:
    table, place = summary.measures, np.arange(len(summary.measures))
    accent = matplotlib.colormaps[style.COLOURS](0.5)
    for name, label, shift, colour, face in (
        ("tau", "τ, all networks", -0.15, accent, "none"),
        ("granulated", "Ψ, one hyperparameter at a time", 0.15, style.INK, style.INK),
    ):
        middle, low, high = (table[column].to_numpy(float) for column in _ends(name))
        axis.errorbar(
            middle,
            place + shift,
            xerr=np.abs(np.nan_to_num([middle - low, high - middle])),
            fmt="o",
            markersize=3,
            markerfacecolor=face,
            color=colour,
            elinewidth=0.9,
            label=label,
        )
    axis.axvline(0, color=style.INK, linewidth=0.6)
    axis.set_xlim(-1.04, 1.04)
    axis.set_yticks(place, table["measure"])
    axis.set_ylim(len(table) - 0.5, -0.5)
    axis.set_xlabel("Kendall's τ with the error,\nin the claimed direction")
    axis.grid(visible=False, axis="y")
    axis.tick_params(axis="y", length=0)
    axis.legend(frameon=False, fontsize=6, loc="lower center", bbox_to_anchor=(0.3, 1.0))


def _draw_environments(axis: Axes, summary: Summary):
    environments = summary.environments
    environments = environments[~environments["environment"].isin(summary.unjudged)]
    names = list(dict.fromkeys(environments["environment"]))
    first = environments.drop_duplicates("environment").set_index("environment").loc[names]
    shape = len(summary.measures), len(names)
    errors, low, high = (
        environments.pivot(index="column", columns="environment", values=value)
        .loc[summary.measures["column"], names]
        .to_numpy(float)
        for value in ("error", "error_low", "error_high")
    )
    axis.set_facecolor(style.GRID)
    image = axis.pcolormesh(
        np.arange(shape[1] + 1) - 0.5,
        np.arange(shape[0] + 1) - 0.5,
        np.ma.masked_invalid(errors),
        cmap=ERRORS,
        vmin=0,
        vmax=1,
    )
    for decided, marker in ((high < COIN, "o"), (low > COIN, "x")):
        dark = np.abs(np.nan_to_num(errors, nan=COIN) - COIN) > DARK
        for shown, colour in ((decided & dark, "white"), (decided & ~dark, style.INK)):
            rows, columns = np.nonzero(shown)
            axis.plot(columns, rows, marker, color=colour, markersize=1.6, markeredgewidth=0.6)
    factors = first["factor"].to_numpy()
    for edge in np.flatnonzero(factors[1:] != factors[:-1]):
        axis.axvline(edge + 0.5, color="white", linewidth=2)
    steps = [
        f"{level_text(low)} → {level_text(high)}"
        for low, high in zip(first["low"], first["high"], strict=True)
    ]
    axis.set_xticks(np.arange(len(names)), steps, rotation=90)
    for factor in dict.fromkeys(factors):
        middle = np.flatnonzero(factors == factor).mean()
        name = "stop" if factor == "stop" else NAMES[factor]
        axis.text(middle, -0.7, name, ha="center", va="bottom", fontsize=6, rotation=30)
    axis.set_xlabel("environment: pairs of networks that differ in this alone")
    axis.grid(visible=False)
    axis.tick_params(axis="both", length=0)
    return image


def _ends(name: str) -> tuple[str, str, str]:
    return name, f"{name}_low", f"{name}_high"
