"""What an optimizer finds against the Bayesian posterior: P_optimizer(f|S) and P_B(f|S)."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from flatvol_jax.study.analysis.columns import OPTIMIZER, Column
from flatvol_jax.study.boolean.figures import part
from flatvol_jax.study.report import style
from flatvol_jax.study.report.formatting import measured, number
from flatvol_jax.study.report.scatter import Look, write_title

KEYS = ["meta.system", "target.name", OPTIMIZER]
FOUND = Column("measure.log_p_optimizer", "log₁₀ P_optimizer(f | S)", scale="ln")
TRAIN = Column("measure.log_p_train.direct", "log₁₀ P(S)", scale="ln")
# Reference of P_B in the records -> its column, short name, colour and face of its points.
REFERENCES = {
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


def posterior_figure(frame: pd.DataFrame) -> Figure | None:
    """Draw log10 P_optimizer(f|S) against log10 P_B(f|S): a column an optimizer, a row a target.

    P_B = V(f) / V(S) from direct samples (filled) and from the NNGP (open); bars are one standard
    error; the line is P_optimizer = P_B. The titles have the slope of the fit in logarithms and
    the total variation between both distributions beside its null, that between two samples of
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
    summaries = {summary["key"]: summary for summary in posterior_summaries(frame)}
    with style.applied():
        figure = style.new_figure(len(optimizers), len(targets))
        shape = len(targets), len(optimizers)
        axes = figure.subplots(*shape, squeeze=False, sharex="row", sharey="row")
        handles = {}
        for line, target in zip(axes, targets, strict=True):
            for axis, optimizer in zip(line, optimizers, strict=True):
                key = (*target, optimizer)
                _draw(axis, rows[(rows[KEYS] == list(key)).all(axis=1)])
                write_title(axis, _lines(key, summaries.get(key)), LOOK)
                handles |= dict(zip(*axis.get_legend_handles_labels()[::-1], strict=True))
            line[0].set_ylabel(FOUND.axis_label)
        for axis in axes[-1]:
            axis.set_xlabel("log₁₀ P_B(f | S)")
        columns = len(handles) if len(optimizers) > 1 else 1
        style.legend(figure, list(handles.values()), columns)
    return figure


def posterior_summaries(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return part "posterior_summary", an entry a (system, target, optimizer).

    Returns:
        For each: `key`; `seeds`, `zero_error`, `matching` (direct samples that fit S); `train`,
        `train_se`, log10 P(S); and `references`, with for each reference of P_B whose slope or
        total variation is known its `name`, `slope`, `slope_se`, `functions` in the fit,
        `variation`, and of its null the mean, 2.5% and 97.5%: `null`, `low`, `high`.
    """
    rows = part(frame, "posterior_summary")
    if any(key not in rows for key in KEYS):
        return []
    train, train_se = TRAIN.drawn(rows)
    return [
        {
            "key": tuple(row[key] for key in KEYS),
            "seeds": row.get("meta.seeds"),
            "zero_error": row.get("meta.zero_error"),
            "matching": row.get("meta.matching"),
            "train": train[i],
            "train_se": train_se[i],
            "references": [found for name in REFERENCES if (found := _reference(row, name))],
        }
        for i, row in enumerate(rows.to_dict("records"))
    ]


def _reference(row: dict[str, Any], name: str) -> dict[str, Any]:
    """Return slope and total variation against one reference; empty where neither is known."""
    slope, variation = f"measure.slope.{name}", f"measure.total_variation.{name}"
    columns = {
        "slope": slope,
        "slope_se": f"{slope}.se",
        "functions": f"{slope}.functions",
        "variation": variation,
        "null": f"{variation}.null",
        "low": f"{variation}.null.low",
        "high": f"{variation}.null.high",
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


def _lines(key: tuple[str, ...], summary: dict[str, Any] | None) -> list[str]:
    """Write the title of a panel."""
    name = ", ".join(key)
    if summary is None:
        return [name]
    reached, seeds = number(summary["zero_error"], 6), number(summary["seeds"], 6)
    lines = [f"{name}: {reached} of {seeds} seeds at zero error"]
    for found in summary["references"]:
        slope = measured(found["slope"], found["slope_se"])
        line = f"{found['name']}: slope {slope}, n = {number(found['functions'])}"
        if pd.notna(found["variation"]):
            names = ("variation", "low", "high")
            variation, low, high = (number(found[name], 2) for name in names)
            line += f"; TV {variation}, null {low} to {high}"
        lines.append(line)
    return lines
