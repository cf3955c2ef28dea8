"""How far each measure moves while one network is rescaled and its function stays."""

import itertools
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from flatvol_jax.study.analysis import columns as col
from flatvol_jax.study.analysis.selection import require
from flatvol_jax.study.audit.table import CHANGES, NOT_SEEN, STAYS, audit_table, ratios
from flatvol_jax.study.report import style
from flatvol_jax.study.report.scatter import Look, write_title

NAMES = {"layer": "layer {} scaled by α", "unit": "units of layer {} scaled by αᶻ, z in [−1, 1]"}
# Their lines lie on those of λ max and of the trace; the table has them.
LEFT_OUT = (col.SPECTRAL_NORM.name, "measure.hessian.trace.gauss_newton")
COLOURS = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7a4b00", "#882255"),
    *("#332288", "#999933", "#44aa99"),
)
LOOK = Look(font=6.5, line=60)
MARKERS = "osD^vXP<>"
VOLUME = col.LOG_VOLUME.name
THICK: dict[str, Any] = {"color": "black", "linewidth": 2.6, "zorder": 1.8}
FLAT: dict[str, Any] = {"color": "#b4b4bc", "linewidth": 5.5, "zorder": 1.7}


def symmetry_audit_figure(frame: pd.DataFrame) -> Figure:
    """Draw each measure over its value as trained against α, a panel a symmetry and layer.

    Coloured lines are the measures that change, each in one colour in all panels. Those that stay
    to 1e-3, or within the error of their estimate, are the grey band, named below the panel.
    log V(f) is the thick black line, as a ratio of logarithms. The log product is drawn as the
    geometric mean eigenvalue; for "unit", α^z with z in [-1, 1] scales each unit. Permutations
    have no α and stand in the table only.

    Args:
        frame: records of one audit, a row a transform.

    Raises:
        ValueError: columns that are missing, no row of the network as trained, no α.
    """
    require(frame, col.SYMMETRY, col.LAYER, col.ALPHA)
    if "none" not in set(frame[col.SYMMETRY]):
        raise ValueError('frame: got no row with transform.symmetry "none", wanted the network.')
    known = (col.numbers(frame, col.ALPHA) > 0) & (col.numbers(frame, col.LAYER) > 0)
    scaled = frame[frame[col.SYMMETRY].isin(NAMES) & known]
    groups = list(
        dict.fromkeys(zip(scaled[col.SYMMETRY], scaled[col.LAYER].astype(int), strict=True))
    )
    if not groups:
        raise ValueError(
            'frame: got no row with an α, wanted a rescaling: "layer" or "unit" in '
            "config.audit.symmetries."
        )
    table = audit_table(frame)
    table = table[~table["column"].isin(LEFT_OUT)]
    looks = _looks(table[table["symmetry"].isin({symmetry for symmetry, _ in groups})])
    columns = min(2, len(groups))
    lines = -(-len(groups) // columns)
    with style.applied():
        figure = style.new_figure(columns, lines)
        width, height = figure.get_size_inches()
        figure.set_size_inches(width, height + 0.25 * (2 + len(looks) // (2 * columns)))
        axes = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
        for axis, (symmetry, layer) in zip(axes.ravel(), groups, strict=False):
            rows = table[(table["symmetry"] == symmetry) & (table["layer"] == layer)]
            _draw(axis, frame, symmetry, layer, rows, looks)
        for axis in axes.ravel()[len(groups) :]:
            axis.set_axis_off()
        for axis in axes[:, 0]:
            axis.set_ylabel("measure / its value as trained")
        _legend(figure, table, looks, columns)
    return figure


def _looks(table: pd.DataFrame) -> dict[str, dict]:
    """Choose colour and marker of every measure that changes anywhere."""
    changing = table[(table["verdict"] == CHANGES) & np.isfinite(table["largest"])]
    names = [name for name in dict.fromkeys(changing["column"]) if name != VOLUME]
    pairs = zip(itertools.cycle(COLOURS), itertools.cycle(MARKERS), strict=True)
    return {
        name: {"color": colour, "marker": marker, "markersize": 3, "linewidth": 0.9}
        for name, (colour, marker) in zip(names, pairs, strict=False)
    }


def _draw(axis: Axes, frame, symmetry: str, layer: int, rows: pd.DataFrame, looks: dict) -> None:
    own = (frame[col.SYMMETRY] == symmetry) & (col.numbers(frame, col.LAYER) == layer)
    shown = (own & (col.numbers(frame, col.ALPHA) > 0)) | (frame[col.SYMMETRY] == "none")
    alphas = np.where(frame[col.SYMMETRY] == "none", 1.0, col.numbers(frame, col.ALPHA))[shown]
    order = np.argsort(alphas, kind="stable")
    quiet: dict[str, list[str]] = {STAYS: [], NOT_SEEN: []}
    for row in rows[np.isfinite(rows["largest"])].itertuples():
        ratio = ratios(frame, row.column)[shown][order]
        ratio = np.where(ratio > 0, ratio, np.nan)
        if row.column == VOLUME:
            look = THICK
        elif row.verdict == CHANGES:
            look = looks[row.column]
        else:
            look = FLAT
            quiet[row.verdict].append(row.measure)
        axis.plot(alphas[order], ratio, **look)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel("α")
    axis.xaxis.set_tick_params(labelbottom=True)
    write_title(axis, _title(frame[own], symmetry, layer, quiet), LOOK)


def _title(runs: pd.DataFrame, symmetry: str, layer: int, quiet: dict) -> list[str]:
    """Write the title of a panel and what stands below it."""
    lines = [NAMES[symmetry].format(layer)]
    yes, no = (col.flagged(runs, col.UNCHANGED, value).sum() for value in (True, False))
    if yes + no:
        lines.append(f"function unchanged at {yes} of {yes + no} α")
    for names, what in zip(quiet.values(), ("grey, constant", "grey, within error"), strict=True):
        if names:
            lines.append(f"{what}: {', '.join(names)}")
    return lines


def _legend(figure: Figure, table: pd.DataFrame, looks: dict, columns: int) -> None:
    labels = dict(zip(table["column"], table["measure"], strict=True))
    labels[col.LOG_PRODUCT.name] = "Hessian geometric mean eigenvalue"
    entries = [(labels[name], look) for name, look in looks.items()]
    if VOLUME in labels:
        entries.insert(0, (f"{labels[VOLUME]}, ratio of logs", THICK))
    handles = [style.handle(label, **look) for label, look in entries]
    style.legend(figure, handles, 2 * columns, 6.5)
