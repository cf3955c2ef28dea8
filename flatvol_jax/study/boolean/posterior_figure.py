"""What an optimizer finds against the Bayesian posterior: P_optimizer(f|S) and P_B(f|S)."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from flatvol_jax.study.analysis.columns import OPTIMIZER, Column
from flatvol_jax.study.analysis.names import OPTIMIZERS
from flatvol_jax.study.boolean.figures import part
from flatvol_jax.study.report import style
from flatvol_jax.study.report.formatting import measured, number
from flatvol_jax.study.report.scatter import Look, write_title

KEYS = ["meta.system", "target.name", OPTIMIZER]
FOUND = Column("measure.log_p_optimizer", "log₁₀ P_optimizer(f | S)", scale="ln")
TRAIN = Column("measure.log_p_train.direct", "log₁₀ P(S)", scale="ln")
# Reference of P_B in the records -> its column, short name, colour and face of its points.
REFERENCES: dict[str, tuple[Column, str, dict[str, Any]]] = {
    "direct": (
        Column("measure.log_p_bayes.direct", "P_B by direct sampling", scale="ln"),
        "direct",
        {"color": "#0072b2", "markerfacecolor": "#0072b2"},
    ),
    "nngp": (
        Column("measure.log_p_bayes.nngp", "P_B of the NNGP", scale="ln"),
        "NNGP",
        {"color": "#d55e00", "markerfacecolor": "none"},
    ),
}
LOOK = Look(font=6, line=68)
STRIPES = "rows of points at the bottom: functions that the optimizer found once, twice, ..."


def posterior_figure(frame: pd.DataFrame) -> Figure | None:
    """Draw log10 P_optimizer(f|S) against log10 P_B(f|S): a column an optimizer, a row a target.

    P_B = V(f) / V(S) from direct samples (filled) and from the NNGP (open); bars are one standard
    error; the line is P_optimizer = P_B. Below each panel stand the slope of the fit in logarithms
    and the total variation between both distributions beside its null, that between two samples of
    P_B of equal sizes (95% range).

    Args:
        frame: records; those of parts "posterior" and "posterior_summary" are drawn.

    Returns:
        None where no function has both probabilities.

    Reference: Mingard, Valle-Pérez, Skalse and Louis 2020.
    """
    rows = part(frame, "posterior")
    if any(key not in rows for key in KEYS):
        return None
    rows = rows[np.any([_has_both(rows, reference) for reference in REFERENCES], axis=0)]
    if not len(rows):
        return None
    targets = list(dict.fromkeys(rows[KEYS[:2]].itertuples(index=False, name=None)))
    optimizers = list(dict.fromkeys(rows[KEYS[2]]))
    table = posterior_table(frame)
    with style.applied():
        figure = style.new_figure(len(optimizers), len(targets))
        shape = len(targets), len(optimizers)
        axes = figure.subplots(*shape, squeeze=False, sharex="row", sharey="row")
        handles: dict[str, Any] = {}
        for line, target in zip(axes, targets, strict=True):
            for axis, optimizer in zip(line, optimizers, strict=True):
                key = (*target, optimizer)
                _draw(axis, rows[(rows[KEYS] == list(key)).all(axis=1)])
                note = [STRIPES] * (axis is axes[-1, 0])
                write_title(axis, [*_lines(key, table), *note], LOOK)
                handles |= dict(zip(*axis.get_legend_handles_labels()[::-1], strict=True))
            line[0].set_ylabel(FOUND.axis_label)
        for axis in axes.ravel():
            axis.set_xlabel("log₁₀ P_B(f | S)")
        columns = len(handles) if len(optimizers) > 1 else 1
        style.legend(figure, list(handles.values()), columns)
    return figure


def posterior_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return part "posterior_summary", a row a system, target, optimizer and reference of P_B.

    Returns:
        Columns system, target, optimizer; seeds, zero_error, matching (direct samples that fit S);
        train, train_se, log10 P(S); of a reference whose slope or total variation is known its
        name, slope, slope_se, functions in the fit, variation, and of its null the mean, 2.5% and
        97.5%: null, low, high. One row with name None where none is known.
    """
    rows = part(frame, "posterior_summary")
    if any(key not in rows for key in KEYS):
        return pd.DataFrame()
    table = []
    for row, train, error in zip(rows.to_dict("records"), *TRAIN.drawn(rows), strict=True):
        place = {
            **dict(zip(("system", "target", "optimizer"), map(row.get, KEYS), strict=True)),
            "seeds": row.get("meta.seeds"),
            "zero_error": row.get("meta.zero_error"),
            "matching": row.get("meta.matching"),
            "train": train,
            "train_se": error,
            "name": None,
        }
        known = [place | _reference(row, name) for name in REFERENCES]
        table += [found for found in known if found["name"]] or [place]
    return pd.DataFrame(table)


def _reference(row: dict[str, Any], name: str) -> dict[str, Any]:
    """Return slope and total variation against one reference; empty where neither is known."""
    slope, variation = f"measure.slope.{name}", f"measure.total_variation.{name}"
    columns = {
        **{"slope": slope, "slope_se": f"{slope}.se", "functions": f"{slope}.functions"},
        **{"variation": variation, "null": f"{variation}.null"},
        **{end: f"{variation}.null.{end}" for end in ("low", "high")},
    }
    found = {key: row.get(column) for key, column in columns.items()}
    known = pd.notna(found["slope"]) or pd.notna(found["variation"])
    return {"name": REFERENCES[name][1], **found} if known else {}


def _has_both(rows: pd.DataFrame, reference: str) -> np.ndarray:
    both = (REFERENCES[reference][0], FOUND)
    return np.all([np.isfinite(each.values(rows)) for each in both], axis=0)


def _draw(axis: Axes, rows: pd.DataFrame) -> None:
    found, found_error = FOUND.drawn(rows)
    for reference, (quantity, _, look) in REFERENCES.items():
        both = _has_both(rows, reference)
        if not both.any():
            continue
        bayes, bayes_error = quantity.drawn(rows[both])
        axis.errorbar(
            bayes,
            found[both],
            xerr=bayes_error,
            yerr=found_error[both],
            fmt="o",
            markersize=3,
            markeredgewidth=0.7,
            elinewidth=0.4,
            label=quantity.label,
            **look,
        )
    if len(rows):
        anchor = found.max()
        axis.axline((anchor, anchor), slope=1, color=style.INK, linewidth=0.7, linestyle="--")
    else:
        axis.text(0.5, 0.5, "no functions", transform=axis.transAxes, ha="center")
    axis.xaxis.set_tick_params(labelbottom=True)


def _heading(key: tuple[str, ...]) -> str:
    system, target, optimizer = key
    return f"{OPTIMIZERS.get(optimizer, optimizer)} on a part of {target} ({system})"


def _lines(key: tuple[str, ...], table: pd.DataFrame) -> list[str]:
    """Write the title of a panel and what stands below it."""
    rows = [row for row in table.itertuples() if (row.system, row.target, row.optimizer) == key]
    if not rows:
        return [_heading(key)]
    reached, seeds = number(rows[0].zero_error, 6), number(rows[0].seeds, 6)
    lines = [_heading(key), f"{reached} of {seeds} seeds at zero error"]
    for row in rows:
        if pd.notna(row.name):
            slope = measured(row.slope, row.slope_se)
            line = f"{row.name}: slope {slope}, n = {number(row.functions)}"
            if pd.notna(row.variation):
                variation, low, high = (number(n, 2) for n in (row.variation, row.low, row.high))
                line += f"; TV {variation}, null {low} to {high}"
            lines.append(line)
    return lines
