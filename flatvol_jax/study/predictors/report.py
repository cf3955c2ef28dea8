"""One self-contained report.html of the predictors experiment, and its figure by name."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from etils import epath

from flatvol_jax.study.analysis.verdicts import interval_text
from flatvol_jax.study.engine.plan import flatten
from flatvol_jax.study.predictors.figure import predictors_figure
from flatvol_jax.study.predictors.summary import Summary
from flatvol_jax.study.predictors.tables import NAMES
from flatvol_jax.study.report import page
from flatvol_jax.study.report.pictures import Picture, drawn_pictures

SHOWS = "Measures against environments: how often each orders two networks the wrong way"
_ESTIMATES = ("tau", "granulated", "information", "worst")


def predictor_pictures(summary: Summary) -> list[Picture]:
    """Draw the figure."""
    return drawn_pictures(("predictors", SHOWS, predictors_figure(summary)))


def write_predictor_report(
    workdir: epath.PathLike, summary: Summary, context: Mapping[str, Any]
) -> epath.Path:
    """Write WORKDIR/report.html, which loads nothing, and return its path.

    Args:
        workdir: the folder of the experiment; the file is written atomically.
        summary: of the records.
        context: `command`, `commit`, `versions` (name -> version), `wall_seconds`, `scale`,
            `title`, what is missing is shown as a dash; `config`, nested plain data.
    """
    config = context.get("config") or {}
    factors = [name for name in summary.factors if name in NAMES]
    return page.write_page(
        epath.Path(workdir) / "report.html",
        "study/predictors/report.html.j2",
        {"title": "What predicts that a network generalises", **context},
        config=list(flatten(config)),
        note=config.get("note"),
        sentence=summary.sentence,
        unjudged=summary.unjudged,
        pictures=[
            page.inline_figure(figure, name, shows)
            for name, shows, figure in predictor_pictures(summary)
        ],
        claims=_spelled(summary.claims, "estimate"),
        measures=_spelled(summary.measures, *_ESTIMATES),
        factors=summary.factors,
        factor_columns=[(NAMES[name], name, "correlation") for name in factors],
        levels=summary.levels,
        left_out="; ".join(f"{count} {reason}" for reason, count in summary.left_out.items()),
    )


def _spelled(table: pd.DataFrame, *names: str) -> pd.DataFrame:
    """Return the table with estimates written with their intervals."""
    table = table.copy()
    for name in names if len(table) else ():
        ends = ("low", "high") if name == "estimate" else (f"{name}_low", f"{name}_high")
        values = zip(*(table[column] for column in (name, *ends)), strict=True)
        table[name] = [interval_text(*row).replace("-", "−") for row in values]
    return table
