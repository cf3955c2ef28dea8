"""One self-contained report.html: what was run, the figure, verdicts, tables, the rules."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
from etils import epath
from markupsafe import Markup
from matplotlib.figure import Figure

from flatvol_jax.study.analysis import columns as col
from flatvol_jax.study.analysis import comparison, run_tables
from flatvol_jax.study.analysis.attack_size_table import attack_size_table
from flatvol_jax.study.analysis.claims import claims_table
from flatvol_jax.study.analysis.optimizer_table import halves_table
from flatvol_jax.study.analysis.selection import optimizer_names
from flatvol_jax.study.engine.plan import flatten
from flatvol_jax.study.report import answer, forest, network_points, page, scatter
from flatvol_jax.study.sweep.comparison import judged_rows
from flatvol_jax.study.sweep.protocol import protocol_note

RUN_COLUMNS = (
    ("optimizer", col.OPTIMIZER),
    ("draw", col.DRAW),
    ("|A|", col.ATTACK_SIZE),
    ("sample", col.SAMPLE),
    ("epoch", col.EPOCH),
    ("zero error", col.ZERO_ERROR),
    ("EP converged", "is.ep_converged"),
    ("error E1", col.TEST_ERROR),
    ("error E2", col.SECOND_TEST_ERROR),
    *((f"{m.label} (nats)", m.name) for m in (col.LOG_VOLUME, col.PROBIT)),
    *((m.label, m.name) for m in (col.SHARPNESS, col.SPECTRAL_NORM, col.LOG_PRODUCT)),
    ("run", col.RUN),
)


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
    claims = claims_table(frame, scale, seed) if claims is None else claims
    primary = claims[claims["family"] == "primary"]
    frame = frame.reset_index(drop=True)
    by = [name for name in (col.OPTIMIZER, col.DRAW, col.ATTACK_SIZE, col.SAMPLE) if name in frame]
    page.write_page(
        path,
        "study/sweep/report.html.j2",
        {"title": "Attack-set sweep", **context},
        config=list(flatten(config)),
        runs=len(frame),
        draws=frame[col.DRAW].nunique(),
        sizes=sorted(frame[col.ATTACK_SIZE].unique().tolist()),
        error=claims["error"].iloc[0],
        answers=answer.answer_sentences(claims, scale),
        decisions=answer.decision_lines(claims, scale),
        forest=[
            page.inline_figure(figure, f"forest{i}", f"correlations with the error: {label}")
            for i, (label, figure) in enumerate(forest.forest_panels(claims))
        ],
        forest_labels=forest.legend_labels(claims),
        panels=list(_panels(frame)),
        networks_of_points=network_points.network_cards(frame),
        claims=primary.to_dict("records"),
        family=comparison.family_size(primary["confidence"].iloc[0]),
        judged=list(judged_rows(claims)),
        halves=halves_table(frame, scale),
        correlations=dict(list(claims.groupby("optimizer", sort=False))),
        one_draw=bool((claims["within_draws"] <= 1).all()),
        by_size=attack_size_table(frame),
        bounds=run_tables.bound_table(frame),
        volumes=run_tables.volume_table(frame),
        sharpness=run_tables.sharpness_table(frame),
        local_volumes=run_tables.local_volume_table(frame),
        pictures=[
            page.inline_figure(figure, f"picture{i}", label)
            for i, (label, figure) in enumerate((pictures or {}).items())
        ],
        informative_below=run_tables.INFORMATIVE_BELOW,
        note=config.get("note"),
        protocol=protocol_note(config),
        movement=() if movement is None else movement,
        statuses=run_tables.status_table(frame),
        faults=run_tables.fault_table(frame),
        run_table=frame.sort_values(by).astype(object),
        run_columns=[column for column in RUN_COLUMNS if column[1] in frame],
    )


def _panels(frame: pd.DataFrame) -> Iterator[tuple[Markup, str]]:
    """Yield each panel of the figure, and as JSON where its networks stand."""
    for optimizer in optimizer_names(frame):
        runs = frame[frame[col.OPTIMIZER] == optimizer]
        for x in scatter.PANELS:
            figure = scatter.panel_figure(runs, x)
            label = f"{optimizer}: {x.axis_label} against the error"
            svg = page.inline_figure(figure, page.slug(f"panel {optimizer} {x.label}"), label)
            places = network_points.network_places(figure, frame, runs, x)
            yield svg, json.dumps(places, separators=(",", ":"))
