"""Trained networks at zero error and beyond, beside guessed ones, by their margin."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from flatvol_jax.study.posterior.summary import margin_table, network_table
from flatvol_jax.study.report import style
from flatvol_jax.study.report.scatter import Look, write_notes

LOOK = Look(font=6.5, line=66)


def margin_figure(frame: pd.DataFrame) -> Figure | None:
    """Draw two panels at the largest |S| of margins; None where no guessed network has one.

    Left: the error on E against the mean margin, a line a network from zero error to the last
    epoch beyond it; margins are in units of the guessed networks' geometric mean, and a cross is
    the mean of guessed ones. Right: the gap at the same margin, with its interval over draws.
    """
    table = margin_table(frame)
    if table.empty or table["log_margin"].isna().all():
        return None
    table = table[table["size"] == table["size"].max()]
    guessed = network_table(frame).set_index(["size", "depth", "factor"])["guessed"]
    kinds = list(table.groupby(["depth", "factor"]))
    with style.applied():
        figure = style.new_figure(2)
        errors, gaps = figure.subplots(1, 2)
        colours = style.colours(len(kinds))
        for i, (((depth, factor), own), colour) in enumerate(zip(kinds, colours, strict=True)):
            label = f"depth {depth}, width × {factor:.3g}"
            margin, error = np.exp(own["log_margin"]), 100 * (1 - own["trained"])
            errors.plot(margin, error, "o-", markersize=3, linewidth=1, color=colour, label=label)
            theirs = guessed.get((own["size"].iloc[0], depth, factor), np.nan)
            errors.plot([1], [100 * (1 - theirs)], "x", markersize=4, color=colour)
            place = np.arange(len(own)) + 0.1 * (i - (len(kinds) - 1) / 2)
            gap, low, high = (own[name].to_numpy() for name in ("gap", "gap_low", "gap_high"))
            reach = np.nan_to_num(np.stack([gap - low, high - gap]))
            gaps.errorbar(
                place, gap, reach, fmt="o", markersize=3, elinewidth=0.6, color=colour, label=label
            )
        errors.set_xscale("log")
        errors.set(xlabel="margin, over that of guessed networks", ylabel="error on E (%)")
        gaps.axhline(0, color=style.INK, linewidth=0.6)
        after = sorted(table["after"].unique())
        gaps.set_xticks(range(len(after)), [str(epoch) for epoch in after])
        gaps.set_xlim(-0.5, len(after) - 0.5)
        gaps.set(xlabel="epochs beyond zero error", ylabel="trained minus guessed (points)")
        seen = table[["gap_low", "gap_high"]][table["matched"] >= table["networks"] / 10]
        if np.isfinite(seen.to_numpy()).any():  # an interval of two draws is wider than the panel
            low, high = np.nanmin(seen), np.nanmax(seen)
            gaps.set_ylim(min(low, 0) - 1, max(high, 0) + 1)
        errors.set_title(f"trained on beyond zero error, |S| = {table['size'].iloc[0]}", loc="left")
        gaps.set_title("at the same margin", loc="left")
        write_notes(errors, ["× mean of guessed networks that fit S"], LOOK)
        write_notes(gaps, ["no point: no guessed network has the margin of a trained one"], LOOK)
        style.legend(figure, errors.get_legend_handles_labels()[0], 3)
    return figure
