"""The Boolean system, a point a function: volume, flatness, complexity; figures 2, S1 and S2."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from flatvol_jax.study.analysis import columns as col
from flatvol_jax.study.analysis import statistics
from flatvol_jax.study.report import style
from flatvol_jax.study.report.formatting import correlation
from flatvol_jax.study.report.scatter import Look, write_title

FUNCTION, RANK, MINORITY = "function.id", "function.rank", "function.minority"
MINIMA, TRIED = "measure.minima", "measure.minima.tried"
OF_MINIMA = ("measure.sharpness.", "measure.hessian.")  # means over the minima of a function
VOLUME = col.COUNTED_VOLUME
LOOK = Look(points=9, line=60)
STAR: dict[str, Any] = {"s": 60, "color": style.INK, "edgecolors": "white", "linewidths": 0.6}

ESTIMATE = col.Column("measure.log_volume.estimate", "log V, NNGP sampled", scale="ln")
COMPLEXITY = col.Column(
    "measure.complexity.lempel_ziv", "Lempel-Ziv complexity (bits)", unit="bits"
)

STRIPES = (
    "stripes: functions that differ by the order of their inputs, or by the sign of all labels, "
    "have the same V(f)"
)

Panel = tuple[col.Column, col.Column]  # x and y
# Of the parity of the number of labels in the minority: name, colour.
EVEN, ODD = ("minority even", "#0072b2"), ("minority odd", "#d55e00")
CONSTANT, OTHER = ("constant", style.INK), ("minority not recorded", style.MIDDLE)


def volume_sharpness_figure(frame: pd.DataFrame) -> Figure | None:
    """Draw fig. 2: log10 V(f) against log10 sharpness, the best found and the paper's procedure.

    A row of panels an epoch of the minima: at zero error, and some epochs later where they were
    measured again. Bars are one standard error: of log V(f), and of the mean sharpness over the
    minima. The title has Spearman's correlation over all functions and within each of the two
    bands (constants are in neither), with the number of functions, and why the others are left
    out.

    Args:
        frame: records of the Boolean experiment; those of part "function" are drawn.

    Returns:
        None where no function has both a volume and a sharpness.
    """
    return _figure(frame, (VOLUME, col.SHARPNESS), (VOLUME, col.ASCENT))


def sharpness_norm_figure(frame: pd.DataFrame) -> Figure | None:
    """Draw fig. S1: log10 sharpness (best found) against log10 spectral norm of the Hessian."""
    return _figure(frame, (col.SHARPNESS, col.SPECTRAL_NORM))


def volume_norm_figure(frame: pd.DataFrame) -> Figure | None:
    """Draw fig. S2: log10 V(f) against log10 spectral norm of the Hessian."""
    return _figure(frame, (VOLUME, col.SPECTRAL_NORM))


def complexity_figure(frame: pd.DataFrame) -> Figure | None:
    """Draw Lempel-Ziv complexity against log10 V(f): simplicity bias (Valle-Pérez 2018)."""
    return _figure(frame, (COMPLEXITY, VOLUME))


def rank_figure(frame: pd.DataFrame) -> Figure | None:
    """Draw P(f) of every function in the direct sample, against its rank.

    With m(c) functions of exactly c occurrences in N draws, P = c / N stands over the ranks
    1 + Σ_{c' > c} m(c') to Σ_{c' ≥ c} m(c'). The share of draws whose function occurred once
    estimates the mass of all functions that did not occur (Good and Turing; Good 1953).

    Args:
        frame: records; those of part "frequency" are drawn.
    """
    rows = part(frame, "frequency")
    counts, functions, samples = (
        col.numbers(rows, column)
        for column in ("frequency.count", "frequency.functions", "meta.samples")
    )
    if not (counts * functions * samples > 0).any():
        return None
    order = np.argsort(-counts)
    last = np.cumsum(functions[order])
    first = last - functions[order] + 1
    probability = (counts / samples)[order]
    once = functions[counts == 1].sum()
    with style.applied():
        figure = style.new_figure(1)
        axis = figure.subplots()
        ranks = np.stack([first, last], axis=1).ravel()
        axis.plot(ranks, np.repeat(probability, 2), color=EVEN[1], linewidth=1.2)
        axis.set(xscale="log", yscale="log", xlabel="rank of f", ylabel="P(f) = count / draws")
        lines = [
            f"{last[-1]:,.0f} functions in {samples[0]:,.0f} draws",
            f"seen once: {once:,.0f}, {100 * once / samples[0]:.2g}% of the draws",
        ]
        write_title(axis, lines, LOOK)
    return figure


def function_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of part "function", one a function: those of its first epoch."""
    rows = part(frame, "function")
    return at_epoch(rows, epochs_of(rows)[0])


def epochs_of(rows: pd.DataFrame) -> list[float]:
    """Return the epochs after zero error at which minima were measured; [0] without any."""
    known = col.OVERTRAIN in rows and len(rows)
    return sorted(rows[col.OVERTRAIN].dropna().unique()) if known else [0]


def at_epoch(rows: pd.DataFrame, epoch: float) -> pd.DataFrame:
    """Return the rows of one of `epochs_of`."""
    return rows[rows[col.OVERTRAIN] == epoch] if col.OVERTRAIN in rows else rows


def part(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the rows of one part of the records; none where there is no such part."""
    return frame[frame[col.PART] == name] if col.PART in frame else frame.iloc[:0]


def _figure(frame: pd.DataFrame, *panels: Panel) -> Figure | None:
    """Draw a column for each pair of quantities, x and y, that any function has; None without one.

    A row of panels an epoch of the minima, one row where no quantity is of minima.
    """
    rows = part(frame, "function")
    epochs = epochs_of(rows)
    if not any(quantity.name.startswith(OF_MINIMA) for panel in panels for quantity in panel):
        epochs = epochs[:1]
    panels = tuple(panel for panel in panels if (_reasons(rows, *panel) == "").any())
    if not panels:
        return None
    with style.applied():
        figure = style.new_figure(len(panels), len(epochs))
        axes = figure.subplots(len(epochs), len(panels), squeeze=False, sharey="row")
        for line, epoch in zip(axes, epochs, strict=True):
            for axis, panel in zip(line, panels, strict=True):
                stripes = axis is axes[-1, 0] and VOLUME in panel
                when = epoch if len(epochs) > 1 else None
                _panel(axis, at_epoch(rows, epoch), panel, when, [STRIPES] * stripes)
        _legend(figure, rows)
    return figure


def _panel(
    axis: Axes, rows: pd.DataFrame, panel: Panel, epoch: float | None, notes: list[str]
) -> None:
    reason = _reasons(rows, *panel)
    used = rows[reason == ""]
    _draw(axis, used, *panel)
    lines = _title(used, panel, reason[reason != ""].value_counts())
    title = f"{len(used)} functions"
    if epoch is not None:
        title += f", {epoch:g} epochs after zero error" if epoch else ", at zero error"
    write_title(axis, [title, *lines, *notes], LOOK)


def _draw(axis: Axes, rows: pd.DataFrame, x: col.Column, y: col.Column) -> None:
    (across, _), (up, _) = drawn = x.drawn(rows), y.drawn(rows)
    style.error_bars(axis, *drawn, width=0.4, alpha=0.4, colour=style.MIDDLE)
    groups = _groups(rows)
    star = groups.pop(CONSTANT)
    colours = np.select(list(groups.values()), [colour for _, colour in groups], "none")[~star]
    axis.scatter(across[~star], up[~star], s=LOOK.points, c=colours, lw=0, alpha=0.7, zorder=3)
    axis.scatter(across[star], up[star], marker="*", zorder=4, **STAR)
    axis.xaxis.set_major_locator(MaxNLocator(LOOK.ticks))
    axis.set_xlabel(x.axis_label)
    axis.set_ylabel(y.axis_label)
    axis.tick_params(labelleft=True)


def _legend(figure: Figure, rows: pd.DataFrame) -> None:
    present = [group for group, member in _groups(rows).items() if member.any()]
    handles = [
        style.handle(name, color=colour, marker="*" if name == CONSTANT[0] else "o", ls="")
        for name, colour in present
    ]
    style.legend(figure, handles, len(handles), markerscale=0.7, handletextpad=0.2)


def _title(rows: pd.DataFrame, panel: Panel, left_out: pd.Series) -> list[str]:
    groups = _groups(rows)
    even, odd, constant = groups[EVEN], groups[ODD], groups[CONSTANT]
    lines = [f"Spearman ρ {_rho(rows, panel)}"]
    if even.any() or odd.any():
        lines.append(f"even {_rho(rows[even], panel)}; odd {_rho(rows[odd], panel)}")
    if constant.any():
        lines[0] += f", {constant.sum()} of them constant"
    reasons = [f"{count} {reason}" for reason, count in left_out.items()]
    lines.append(f"left out: {', '.join(reasons) or 'none'}")
    if hidden := int(np.isnan(sum(quantity.drawn(rows)[0] for quantity in panel)).sum()):
        lines.append(f"{hidden} at or below 0 not drawn")
    return lines


def _rho(rows: pd.DataFrame, panel: Panel) -> str:
    x, y = (quantity.values(rows) for quantity in panel)
    value = statistics.plain_estimate(x, y)
    return f"{correlation(value)} (n = {len(rows)})"


def _groups(rows: pd.DataFrame) -> dict[tuple[str, str], np.ndarray]:
    """Return who is in each group, (n,) bool each."""
    minority = col.numbers(rows, MINORITY)
    even, constant = minority % 2 == 0, minority == 0
    return {
        EVEN: even & ~constant,
        ODD: minority % 2 == 1,
        CONSTANT: constant,
        OTHER: np.isnan(minority),
    }


def _reasons(rows: pd.DataFrame, *quantities: col.Column) -> pd.Series:
    """Say why each function is left out, "" where it has all quantities."""
    minima, tried = (col.numbers(rows, column) for column in (MINIMA, TRIED))
    none_found = (minima == 0) & ~(tried == 0)
    reasons = pd.Series("", index=rows.index, dtype=object)
    for quantity in quantities:
        missing = ~np.isfinite(quantity.values(rows)) & (reasons == "")
        reasons[missing] = f"without {quantity.name}"
        if quantity.name.startswith(OF_MINIMA):
            reasons[missing & none_found] = "without a minimum"
            reasons[missing & ~none_found & ~(minima > 0)] = "not trained for"
    return reasons
