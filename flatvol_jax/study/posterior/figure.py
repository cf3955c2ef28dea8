"""The learning curves of trained and of random networks, the gap, log P(S) and the bound."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from flatvol_jax.study.analysis.names import OPTIMIZERS
from flatvol_jax.study.posterior.summary import network_table, size_table
from flatvol_jax.study.report import style

RANDOM = {
    "random": "a random network that fits S",
    "vote": "majority of such",
    "guessed": "guess and check",
}


def posterior_figure(frame: pd.DataFrame) -> Figure | None:
    """Draw four panels over |S|; None where fewer than two have a random network."""
    table = size_table(frame)
    if len(table) < 2:
        return None
    networks = network_table(frame)
    with style.applied():
        figure = style.new_figure(2, 2)
        curves, gaps, volumes, bounds = figure.subplots(2, 2).ravel()
        names = RANDOM | {name: OPTIMIZERS[name] for name in OPTIMIZERS if name in table}
        for name, colour in zip(names, style.colours(len(names)), strict=True):
            marker = "x" if name == "guessed" else "o"
            _line(curves, _errors(table, name), name, names[name], colour, 100, marker)
        curves.set_ylabel("error on E (%)")
        kinds = list(networks.groupby(["depth", "factor"])) if len(networks) else []
        for ((depth, factor), own), colour in zip(kinds, style.colours(len(kinds)), strict=True):
            label = f"depth {depth}, width × {factor:.3g}"
            _line(gaps, own, "gap", label, colour)
        gaps.axhline(0, color=style.INK, linewidth=0.6)
        gaps.set_ylabel("trained minus random (points)")
        volumes.plot(
            table["size"], -table["log_volume"], "o-", color=style.INK, markersize=3, linewidth=1
        )
        volumes.set_ylabel("−log P(S) / |S| (nats)")
        errors = table.assign(error=1 - table["random"])
        _line(bounds, table, "bound", "PAC-Bayes bound", style.INK, scale=100)
        bounds.plot(
            errors["size"],
            100 * errors["error"],
            "o--",
            color=style.MIDDLE,
            markersize=3,
            linewidth=1,
            label="its mean error",
        )
        bounds.set_ylabel("error of a random network (%)")
        for axis in (curves, gaps, volumes, bounds):
            axis.set_xscale("log", base=2)
            axis.set_xticks(table["size"], [str(size) for size in table["size"]])
            axis.minorticks_off()
            axis.set_xlabel("|S|")
        for axis in (curves, bounds):  # an interval over few draws is wider than all percentages
            low, high = axis.get_ylim()
            axis.set_ylim(max(low, 0), min(high, 100))
        titles = ("learning curves", "what training adds", "the evidence of S", "the bound")
        for axis, title in zip((curves, gaps, volumes, bounds), titles, strict=True):
            axis.set_title(title, loc="left")
            if handles := axis.get_legend_handles_labels()[0]:
                below = {"loc": "upper left", "bbox_to_anchor": (-0.02, -0.2), "columnspacing": 1}
                axis.legend(frameon=False, fontsize=6, ncols=min(2, len(handles)), **below)
    return figure


def _errors(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the table with one minus a fraction of right answers, the ends of its interval too."""
    low, high = f"{name}_low", f"{name}_high"
    return table.assign(**{name: 1 - table[name], low: 1 - table[high], high: 1 - table[low]})


def _line(
    axis: Axes,
    table: pd.DataFrame,
    name: str,
    label: str,
    colour: object,
    scale: float = 1,
    marker: str = "o",
) -> None:
    """Draw means over draws with their intervals, where there are any."""
    known = table[table[name].notna()]
    if known.empty:
        return
    mean, low, high = (scale * known[column] for column in (name, f"{name}_low", f"{name}_high"))
    reach = np.nan_to_num(np.stack([mean - low, high - mean]))
    axis.errorbar(
        known["size"],
        mean,
        reach,
        fmt=f"{marker}-",
        markersize=3,
        linewidth=1,
        elinewidth=0.6,
        color=colour,
        label=label,
    )
