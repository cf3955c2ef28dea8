"""The figure: each measure's correlation with the error, draw by draw; log V against the error."""

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from flatvol_jax.study.analysis import columns as col
from flatvol_jax.study.analysis import selection, statistics, verdicts
from flatvol_jax.study.analysis.statistics import POOLED, WITHIN
from flatvol_jax.study.equal_networks import measures as known
from flatvol_jax.study.equal_networks.published import BENNETT
from flatvol_jax.study.equal_networks.summary import levelled, measure_table
from flatvol_jax.study.report import style

BESIDE = (col.CEILING, col.SPECTRAL_NORM, col.BASIN_VOLUME)


def equal_networks_figure(frame: pd.DataFrame, scale: str | None = None) -> Figure | None:
    """Draw correlations with the error on the left, log V against it on the right.

    On the left small dots are draws (within a cell), the large dot their mean with its interval,
    the diamond overall, crosses what was published, with its interval over networks; dotted, where
    the rules begin to say "correlates". On the right both axes are less the mean of the network's
    draw and cell.

    Args:
        frame: records.
        scale: of the study.

    Returns:
        None where no correlation is defined.
    """
    table = measure_table(frame, scale)
    shown = [m for m in (*known.JUDGED, *BESIDE) if _row(table, m)["within"] is not None]
    if not shown:
        return None
    with style.applied():
        figure = style.new_figure(2)
        figure.set_figheight(1.5 + 0.3 * len(shown))
        left, right = figure.subplots(1, 2, width_ratios=(3, 2))
        handles = [
            *_draw_correlations(left, frame, table, shown),
            *_draw_cloud(right, frame),
        ]
        style.legend(figure, handles, columns=4, size=6)
    return figure


def _row(table: pd.DataFrame, measure: col.Column) -> dict:
    rows = table[(table["column"] == measure.name) & (table["family"] != "increment")]
    found = rows.iloc[0].to_dict() if len(rows) else {"within": np.nan}
    return found if np.isfinite(found["within"]) else {"within": None}


def _draw_correlations(
    axis: Axes, frame: pd.DataFrame, table: pd.DataFrame, shown: list[col.Column]
) -> list:
    """Draw the left panel; return the entries of its legend."""
    accent, error = matplotlib.colormaps[style.COLOURS](0.5), selection.error_column(frame)[0]
    levels = levelled(frame)
    axis.axvline(0, color=style.INK, linewidth=0.6)
    published = {line.column: line for line in BENNETT}
    for place, measure in enumerate(shown):
        row = _row(table, measure)
        runs = selection.usable(levels, measure.name, error)[0]
        rho = statistics.draw_statistics(runs, measure.name, error)["rho"]
        axis.plot(rho, np.full(len(rho), place), "o", markersize=2, color=style.MIDDLE, alpha=0.7)
        looks = ((WITHIN, 0.0, "o", style.INK), (POOLED, 0.22, "D", accent))
        for reading, apart, marker, colour in looks:
            ends = [row[reading], row[f"{reading}_low"], row[f"{reading}_high"]]
            _interval(axis, ends, place + apart, marker, colour)
        if measure.name in published:
            line = published[measure.name]
            ends = [line.with_error, *line.interval()]
            _interval(axis, ends, place - 0.22, "x", style.MIDDLE)
        limit = measure.sign * verdicts.CORRELATES_BEYOND
        axis.plot([limit, limit], [place - 0.4, place + 0.4], ":", color=style.INK, linewidth=0.8)
    axis.set_yticks(range(len(shown)), [measure.label for measure in shown])
    axis.set_ylim(len(shown) - 0.5, -0.5)
    axis.set_xlim(-1.02, 1.02)
    axis.grid(visible=False, axis="y")
    axis.set_xlabel("Spearman ρ with the error")
    words = {"within a cell": ("o", style.INK), "overall": ("D", accent)}
    handles = [
        style.handle(label, marker=marker, color=colour, linestyle="none", markersize=3.5)
        for label, (marker, colour) in words.items()
    ]
    grey = {"color": style.MIDDLE, "linestyle": "none"}
    handles += [style.handle("a draw", marker="o", markersize=2, **grey)]
    handles += [style.handle("Bennett (2026)", marker="x", markersize=3.5, **grey)]
    return handles


def _interval(axis: Axes, ends: list[float], place: float, marker: str, colour) -> None:
    estimate, low, high = ends
    if not np.isfinite(estimate):
        return
    reach = np.nan_to_num(np.abs([[estimate - low], [high - estimate]]))
    axis.errorbar(
        [estimate],
        [place],
        xerr=reach,
        fmt=marker,
        markersize=3.5,
        color=colour,
        elinewidth=1.0,
    )


def _draw_cloud(axis: Axes, frame: pd.DataFrame) -> list:
    """Draw the right panel; return the entries of its legend."""
    error = selection.error_column(frame)[0]
    runs = selection.usable(levelled(frame), col.LOG_VOLUME.name, error)[0]
    levels = runs.groupby([col.DRAW, col.ATTACK_SIZE]).ngroup().to_numpy()
    volumes, errors = (
        statistics.level_scores(values, levels, "pearson")
        for values in (col.LOG_VOLUME.drawn(runs)[0], 100 * col.numbers(runs, error))
    )
    cells = runs.groupby([known.BATCH_SIZE, known.LEARNING_RATE])
    colours = style.colours(cells.ngroups)
    place = cells.ngroup().to_numpy()
    for number, ((batch_size, rate), _) in enumerate(cells):
        own, label = place == number, f"batch {batch_size:g}, rate {rate:g}"
        axis.plot(volumes[own], errors[own], ".", markersize=3, color=colours[number], label=label)
    axis.set_xlabel("log₁₀ V(f), centred")
    axis.set_ylabel("error (points), centred")
    return axis.get_legend_handles_labels()[0]
