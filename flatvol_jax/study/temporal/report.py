"""One self-contained report.html of the temporal study, and its figures by name."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from etils import epath

from flatvol_jax.study.analysis.columns import DRAW, RUN, SCALE
from flatvol_jax.study.engine.plan import flatten
from flatvol_jax.study.report import page
from flatvol_jax.study.report.pictures import Picture, drawn_pictures
from flatvol_jax.study.temporal.alpha_sweep import alpha_sweep_figure
from flatvol_jax.study.temporal.figure import scaling_name, temporal_figure
from flatvol_jax.study.temporal.summary import branch_table, largest_alpha, temporal_sentence

# The paper's number of a variant of configs/temporal.py.
FIGURES = {"fig5": "5", "S5": "S5", "S7": "S7", "S8": "S8", "S9": "S9"}


def temporal_pictures(frame: pd.DataFrame) -> list[Picture]:
    """Draw all figures that the records of a temporal study allow, by name.

    Args:
        frame: records, a row a measured epoch of a branch.
    """
    paper = FIGURES.get(frame[SCALE].iloc[0])
    shows = "flatness and log V(f) at every epoch"
    alphas = "what alpha-scaling does to the function, by alpha and layer"
    return drawn_pictures(
        (
            f"figure_{paper}" if paper else "temporal",
            f"Figure {paper}: {shows}" if paper else shows,
            temporal_figure(frame),
        ),
        ("alpha_sweep", alphas, alpha_sweep_figure(frame)),
    )


def write_temporal_report(
    workdir: epath.PathLike, frame: pd.DataFrame, context: Mapping[str, Any]
) -> epath.Path:
    """Write WORKDIR/report.html, which loads nothing, and return its path.

    It shows numbers and gives no verdict: the networks of a draw are dependent.

    Args:
        workdir: the folder of the study; the file is written atomically.
        frame: records, a row a measured epoch of a branch.
        context: `command`, `commit`, `versions` (name -> version), `wall_seconds`, `scale`,
            `title`, what is missing is shown as a dash; `config`, nested plain data.
    """
    table, config = branch_table(frame), context.get("config") or {}
    names = [
        "without scaling" if pd.isna(row.alpha) else scaling_name(row.layer, row.alpha)
        for row in table.itertuples()
    ]
    return page.write_page(
        epath.Path(workdir) / "report.html",
        "study/temporal/report.html.j2",
        {"title": "Through time", **context},
        config=list(flatten(config)),
        note=config.get("note"),
        sentence=temporal_sentence(table),
        networks=frame[RUN].nunique(),
        draws=frame[DRAW].nunique(),
        pictures=[
            (page.inline_figure(figure, name, shows), shows)
            for name, shows, figure in temporal_pictures(frame)
        ],
        branches=_with_short_names(table.assign(name=names)),
        alphas=_with_short_names(largest_alpha(table)) if len(table) else (),
    )


def _with_short_names(table: pd.DataFrame) -> pd.DataFrame:
    """Abbreviate the names of networks."""
    return table.assign(network=table[RUN].str[:6]) if len(table) else table
