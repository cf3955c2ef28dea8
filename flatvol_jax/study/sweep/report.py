"""One self-contained report.html: what was run, the figure, verdicts, tables, the rules."""

from collections.abc import Mapping
from typing import Any

import markupsafe
import pandas as pd
from etils import epath
from matplotlib.figure import Figure

from flatvol_jax.runtime import files
from flatvol_jax.study.analysis import claims as study_claims
from flatvol_jax.study.analysis import columns, comparison, flatness_tables, selection
from flatvol_jax.study.analysis.columns import (
    LOG_PRODUCT,
    LOG_VOLUME,
    PROBIT,
    SHARPNESS,
    SPECTRAL_NORM,
)
from flatvol_jax.study.analysis.faults import fault_table
from flatvol_jax.study.analysis.halves import halves_table
from flatvol_jax.study.engine.plan import flatten
from flatvol_jax.study.report import page, scatter
from flatvol_jax.study.sweep.protocol import protocol_note

RUN_COLUMNS = {
    "hp.train.optimizer": "optimizer",
    "hp.draw": "draw",
    "hp.attack_size": "|A|",
    "hp.sample": "sample",
    "epoch": "epoch",
    "is.zero_error": "zero error",
    "is.ep_converged": "EP converged",
    "measure.error.test": "error E1",
    "measure.error.second_test": "error E2",
    LOG_VOLUME.column: "log V, Heaviside (nats)",
    PROBIT.column: "log V, probit (nats)",
    SHARPNESS.column: "sharpness",
    SPECTRAL_NORM.column: "spectral norm",
    LOG_PRODUCT.column: "log product",
    "run_id": "run",
}


def write_report(
    path: epath.PathLike,
    frame: pd.DataFrame,
    config: Mapping[str, Any],
    context: Mapping[str, Any],
    claims: pd.DataFrame | None = None,
    pictures: Mapping[str, Figure] | None = None,
    movement: pd.DataFrame | None = None,
    seed: int = 0,
) -> None:
    """Write the report of an attack sweep, one HTML file that loads nothing else.

    Args:
        path: of the .html file, written atomically.
        frame: records at zero error, one row a network.
        config: nested plain data, shown as a table of dotted names; its `note` at the top.
        context: `command`, `commit`, `versions` (name -> version), `wall_seconds`, `scale`
            ("cpu" and "paper" allow verdicts), `title`; what is missing is shown as a dash.
        claims: `claims_table(frame, scale, seed)` if it was computed already.
        pictures: further figures of the sweep, what each shows -> figure.
        movement: `function_movement_table` of a sweep that went beyond zero error.
        seed: fixes permutations.
    """
    scale = context.get("scale")
    if claims is None:
        claims = study_claims.claims_table(frame, scale, seed)
    primary = claims[claims["family"] == "primary"]
    text = page.render_page(
        "study/sweep/report.html.j2",
        {"title": "Attack-set sweep", **context},
        config=list(flatten(config)),
        runs=len(frame),
        draws=frame[selection.DRAW].nunique(),
        sizes=sorted(frame[selection.ATTACK_SIZE].unique().tolist()),
        error=claims["error"].iloc[0],
        panels=_panels(frame),
        claims=_records(primary),
        family=comparison.family_size(primary["confidence"].iloc[0]),
        beside=_beside(claims),
        halves=_records(halves_table(frame, scale)),
        correlations={
            optimizer: _records(rows) for optimizer, rows in claims.groupby("optimizer", sort=False)
        },
        one_draw=bool((claims["within_draws"] <= 1).all()),
        bounds=_records(study_claims.bound_table(frame)),
        volumes=_records(study_claims.volume_table(frame)),
        sharpness=_records(flatness_tables.sharpness_table(frame)),
        local_volumes=_records(flatness_tables.local_volume_table(frame)),
        pictures=[
            page.inline_svg(scatter.svg_text(figure, transparent=True), f"picture{i}", label)
            for i, (label, figure) in enumerate((pictures or {}).items())
        ],
        informative_below=study_claims.INFORMATIVE_BELOW,
        note=config.get("note"),
        protocol=protocol_note(config),
        movement=[] if movement is None else _records(movement),
        statuses=_records(study_claims.status_table(frame)),
        faults=_records(fault_table(frame)),
        table=_run_table(frame),
    )
    files.write_text(path, text)


def _beside(claims: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """By optimizer, what stands beside log V: the probit link, the null and the ceiling."""
    wanted = [measure.column for measure in (columns.PROBIT, columns.NULL)]
    wanted.append(columns.CEILING.column)
    rows = claims[claims["column"].isin(wanted)]
    return {optimizer: _records(group) for optimizer, group in rows.groupby("optimizer")}


def _panels(frame: pd.DataFrame) -> list[markupsafe.Markup]:
    panels = []
    for optimizer in study_claims.optimizer_names(frame):
        runs = frame[frame[study_claims.OPTIMIZER] == optimizer]
        for panel in scatter.PANELS:
            svg = scatter.svg_text(scatter.panel_figure(runs, panel), transparent=True)
            label = f"{optimizer}: {panel.label} against generalisation accuracy"
            panels.append(page.inline_svg(svg, f"panel{len(panels)}", label))
    return panels


def _run_table(frame: pd.DataFrame) -> dict[str, list]:
    columns = [column for column in RUN_COLUMNS if column in frame]
    order = ["hp.train.optimizer", "hp.draw", "hp.attack_size"]
    by = [column for column in (*order, "hp.sample") if column in frame]
    rows = frame.sort_values(by)[columns].astype(object).values.tolist()
    return {"columns": [RUN_COLUMNS[column] for column in columns], "rows": rows}


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return table.to_dict("records")
