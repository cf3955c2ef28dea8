"""Forest plot: each optimizer's correlations with the error, a dot and its interval a line."""

from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from flatvol_jax.study.analysis import verdicts
from flatvol_jax.study.analysis.columns import LOG_VOLUME, NULL, SHARPNESS, Column
from flatvol_jax.study.analysis.names import OPTIMIZERS
from flatvol_jax.study.analysis.statistics import POOLED, WITHIN
from flatvol_jax.study.report import formatting, style

MEASURES = (LOG_VOLUME, NULL, SHARPNESS)
APART = {POOLED: -0.14, WITHIN: 0.14}  # of a row's height, downwards
LINE_HEIGHT, FRAME_HEIGHT = 0.34, 1.1  # inches, of an optimizer and of all else


def forest_figure(claims: pd.DataFrame) -> Figure:
    """Draw log V, its control and sharpness side by side, an optimizer a line.

    The control, drawn where the records have it, is log V of a function with as many errors at
    random. The dashed line is where the rules begin to say "correlates"; the number of runs stands
    on the right, "not defined" where no draw has a correlation.

    Args:
        claims: `claims_table` of one experiment at one epoch.
    """
    with style.applied():
        figure, axes = _panels(claims, _measures(claims))
        handles, _ = axes[0].get_legend_handles_labels()
        style.legend(figure, handles, columns=3, labels=legend_labels(claims))
    return figure


def forest_panels(claims: pd.DataFrame) -> list[tuple[str, Figure]]:
    """Return what each panel of `forest_figure` shows, and the panel as a figure of its own."""
    with style.applied():
        return [(_name(one), _panels(claims, [one])[0]) for one in _measures(claims)]


def legend_labels(claims: pd.DataFrame) -> list[str]:
    """Say what the line, the diamonds and the dots are."""
    primary = claims[claims["family"] == "primary"]
    only = ", this S, E only" if (primary["within_draws"] <= 1).all() else ""
    level = f"simultaneous {formatting.percent(primary['confidence'].iloc[0])}{only}"
    return [
        f"“correlates” begins (±{verdicts.CORRELATES_BEYOND})",
        f"pooled, {level}",
        f"within |A|, {level}",
    ]


def _measures(claims: pd.DataFrame) -> list[Column]:
    return [measure for measure in MEASURES if (claims["column"] == measure.name).any()]


def _name(measure: Column) -> str:
    return "control: as many errors at random" if measure == NULL else measure.label


def _panels(claims: pd.DataFrame, measures: list[Column]) -> tuple[Figure, list[Axes]]:
    optimizers = list(dict.fromkeys(claims["optimizer"]))
    figure = style.new_figure(len(measures))
    figure.set_figheight(FRAME_HEIGHT + LINE_HEIGHT * len(optimizers))
    axes = figure.subplots(1, len(measures), sharey=True, squeeze=False)[0].tolist()
    for axis, measure in zip(axes, measures, strict=True):
        own = (claims["column"] == measure.name) & (claims["family"] == measure.family)
        _draw(axis, claims[own].set_index("optimizer").reindex(optimizers), measure)
    return figure, axes


def _draw(axis: Axes, rows: pd.DataFrame, measure: Column) -> None:
    place = np.arange(len(rows))
    accent = matplotlib.colormaps[style.COLOURS](0.5)
    looks: dict[str, tuple[Any, Any, str]] = {
        POOLED: (accent, "none", "D"),
        WITHIN: (style.INK, style.INK, "o"),
    }
    axis.axvline(0, color=style.INK, linewidth=0.6)
    limit = measure.sign * verdicts.CORRELATES_BEYOND
    axis.axvline(limit, color=style.INK, linewidth=0.6, linestyle=(0, (4, 3)), label="limit")
    for kind, (colour, face, marker) in looks.items():
        ends = (kind, f"{kind}_low", f"{kind}_high")
        estimate, low, high = (rows[name].to_numpy(float) for name in ends)
        axis.errorbar(
            estimate,
            place + APART[kind],
            xerr=np.abs([estimate - low, high - estimate]),
            fmt=marker,
            markersize=3.6,
            markerfacecolor=face,
            markeredgecolor=colour,
            markeredgewidth=0.9,
            ecolor=colour,
            elinewidth=1.1,
            label=kind,
        )
    for at in place[rows["within"].isna() & rows["pooled"].isna()]:
        axis.text(-0.5 * measure.sign, at, "not defined", ha="center", va="center", fontsize=7)
    axis.set_xlim(-1.04, 1.04)
    axis.set_xticks([-1, -0.5, 0, 0.5, 1])
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.set_yticks(place, [OPTIMIZERS.get(name, name) for name in rows.index])
    axis.grid(visible=False, axis="y")
    axis.tick_params(axis="y", length=0)
    right = axis.secondary_yaxis("right")
    right.set_yticks(place, [f"n = {runs:.0f}" for runs in rows["runs"].fillna(0)])
    right.tick_params(axis="y", length=0)
    right.spines["right"].set_visible(False)
    axis.set_title(_name(measure), loc="left")
    level = " (95%)" if measure == NULL else ""
    axis.set_xlabel(f"Spearman ρ with the error on {rows['error'].dropna().iloc[0]}{level}")
