"""One self-contained report.html of the temporal study, and its figures by name."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from etils import epath

from flatvol_jax.runtime import files
from flatvol_jax.study.engine.plan import flatten
from flatvol_jax.study.report import page, scatter
from flatvol_jax.study.report.pictures import Picture, drawn_pictures
from flatvol_jax.study.temporal.alpha_sweep import alpha_sweep_figure
from flatvol_jax.study.temporal.figure import scaling_name, temporal_figure
from flatvol_jax.study.temporal.summary import branch_table, largest_alpha

FILE = "report.html"
# The paper's number of a variant of configs/temporal.py.
FIGURES = {"fig5": "5", "S5": "S5", "S7": "S7", "S8": "S8", "S9": "S9"}


def temporal_pictures(frame: pd.DataFrame) -> list[Picture]:
    """All figures that the records of a temporal study allow, by name.

    Args:
        frame: records, a row a measured epoch of a branch.
    """
    paper = FIGURES.get(frame["meta.scale"].iloc[0])
    name = f"figure_{paper}" if paper else "temporal"
    shows = "flatness and log V(f) at every epoch"
    candidates = [
        (name, f"Figure {paper}: {shows}" if paper else shows, temporal_figure(frame)),
        (
            "alpha_sweep",
            "what alpha-scaling does to the function, by alpha and layer",
            alpha_sweep_figure(frame),
        ),
    ]
    return drawn_pictures(candidates)


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
    table = branch_table(frame)
    text = page.render_page(
        "study/temporal/report.html.j2",
        {"title": "Through time", **context},
        config=list(flatten(context.get("config") or {})),
        note=(context.get("config") or {}).get("note"),
        networks=frame["run_id"].nunique(),
        draws=frame["hp.draw"].nunique(),
        pictures=[
            (page.inline_svg(scatter.svg_text(figure, transparent=True), name, shows), shows)
            for name, shows, figure in temporal_pictures(frame)
        ],
        branches=_named(table).to_dict("records"),
        alphas=largest_alpha(table).to_dict("records") if len(table) else [],
    )
    path = epath.Path(workdir) / FILE
    files.write_text(path, text)
    return path


def _named(table: pd.DataFrame) -> pd.DataFrame:
    """The table of branches with the names that a reader understands."""
    if table.empty:
        return table
    names = [
        "without scaling" if pd.isna(row.alpha) else scaling_name(row.layer, row.alpha)
        for row in table.itertuples()
    ]
    return table.assign(name=names)
