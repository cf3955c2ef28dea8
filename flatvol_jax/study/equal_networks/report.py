"""One self-contained report.html of the equal networks, and their figure by name."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from etils import epath

from flatvol_jax.study.analysis import run_tables, selection
from flatvol_jax.study.engine.plan import flatten
from flatvol_jax.study.equal_networks import summary, tables
from flatvol_jax.study.equal_networks.figure import equal_networks_figure
from flatvol_jax.study.equal_networks.measures import JUDGED
from flatvol_jax.study.equal_networks.published import DIFFERENCES
from flatvol_jax.study.report import page
from flatvol_jax.study.report.pictures import Picture, drawn_pictures

TITLE = "Networks that differ by their seed"


def equal_networks_pictures(frame: pd.DataFrame, scale: str | None = None) -> list[Picture]:
    """Draw the figure that the records allow."""
    shows = "which measure predicts the error between networks of one S"
    return drawn_pictures(("equal_networks", shows, equal_networks_figure(frame, scale)))


def write_equal_networks_report(
    workdir: epath.PathLike, frame: pd.DataFrame, context: Mapping[str, Any]
) -> epath.Path:
    """Write WORKDIR/report.html, which loads nothing, and return its path.

    Args:
        workdir: the folder of the experiment; the file is written atomically.
        frame: records.
        context: `command`, `commit`, `versions` (name -> version), `wall_seconds`, `scale`,
            `title`, what is missing is shown as a dash; `config`, nested plain data.
    """
    config, scale = context.get("config") or {}, context.get("scale")
    measures = summary.measure_table(frame, scale)
    judged = measures[measures["family"] == "judged"]
    others = measures[measures["family"] != "judged"]
    return page.write_page(
        epath.Path(workdir) / "report.html",
        "study/equal_networks/report.html.j2",
        {"title": TITLE, **context},
        config=list(flatten(config)),
        note=config.get("note"),
        sentence=summary.first_sentence(measures, frame),
        error=selection.error_column(frame)[1],
        pictures=[
            page.inline_figure(picture.figure, picture.name, picture.shows)
            for picture in equal_networks_pictures(frame, scale)
        ],
        judged=judged,
        others=others.sort_values("family", kind="stable"),
        family=len(JUDGED),
        confidence=judged["confidence"].iloc[0],
        reliability=summary.error_reliability(frame),
        halves=summary.halves_table(frame, scale),
        published=tables.published_table(frame, measures),
        differences=DIFFERENCES,
        cells=tables.cell_table(frame),
        draws=tables.draw_table(frame),
        statuses=run_tables.status_table(frame),
        faults=run_tables.fault_table(frame),
    )
