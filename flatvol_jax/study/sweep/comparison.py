"""One self-contained comparison.html: optimizers against each other, an experiment a chapter."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from etils import epath

from flatvol_jax.runtime import files
from flatvol_jax.study.analysis.columns import CEILING, NULL, PROBIT
from flatvol_jax.study.analysis.experiment_tables import (
    ExperimentTables,
    function_movement_table,
    zero_error_table,
)
from flatvol_jax.study.analysis.optimizer_table import SGD
from flatvol_jax.study.analysis.selection import DRAW
from flatvol_jax.study.analysis.verdicts import UNCHANGED_WITHIN
from flatvol_jax.study.report import forest, page, scatter

# What stands beside log V in every table: the other link, the null, the ceiling.
BESIDE = (PROBIT.column, NULL.column, CEILING.column)


def write_comparison(
    path: epath.PathLike, tables: Sequence[ExperimentTables], context: Mapping[str, Any]
) -> None:
    """Write the comparison of the optimizers of each experiment, one HTML file that loads nothing.

    Args:
        path: of the .html file, written atomically.
        tables: `experiment_tables(frame, scale, seed)`, at least one.
        context: `command`, `commit`, `versions` (name -> version), `wall_seconds`, `scale`,
            `title`; what is missing is shown as a dash.
    """
    if not tables:
        raise ValueError("tables: got none, wanted those of at least one experiment.")
    names = list(dict.fromkeys(of_one.experiment for of_one in tables))
    text = page.render_page(
        "study/sweep/comparison.html.j2",
        {"title": "Optimizers compared", **context},
        experiments=[_experiment(name, tables) for name in names],
        margin=UNCHANGED_WITHIN,
        reference=SGD,
    )
    files.write_text(path, text)


def _experiment(name: str, tables: Sequence[ExperimentTables]) -> dict[str, Any]:
    epochs = {i: of_one for i, of_one in enumerate(tables) if of_one.experiment == name}
    frames = pd.concat([of_one.frame for of_one in epochs.values()], ignore_index=True)
    movement = function_movement_table(frames)
    return {
        "name": name,
        "epochs": [_epoch(of_one, f"forest{i}") for i, of_one in epochs.items()],
        "movement": movement.to_dict("records"),
    }


def _epoch(tables: ExperimentTables, prefix: str) -> dict[str, Any]:
    experiment, overtrain, frame = tables.experiment, tables.overtrain, tables.frame
    claims, differences = tables.claims, tables.differences
    primary = claims[claims["family"] == "primary"]
    judged = differences[differences["family"] == "primary"]
    plain = differences[differences["family"] != "primary"]
    reached = zero_error_table(frame)
    svg = scatter.svg_text(forest.forest_figure(claims), transparent=True)
    label = f"{experiment}: correlations of log V and of sharpness with the error, by optimizer"
    return {
        "overtrain": overtrain,
        "error": claims["error"].iloc[0],
        "runs": len(frame),
        "draws": frame[DRAW].nunique(),
        "one_draw": bool((claims["within_draws"] <= 1).all()),
        "claims": tables.family,
        "confidence": primary["confidence"].iloc[0],
        "correlates": primary.to_dict("records"),
        "differences": judged.to_dict("records"),
        "beside": _by_optimizer(claims[claims["column"].isin(BESIDE)]),
        "halves": tables.halves.to_dict("records"),
        "plain": _by_optimizer(plain),
        "correlations": _by_optimizer(claims),
        "measures": _by_measure(claims),
        "figure": page.inline_svg(svg, prefix, label),
        "sizes": reached.columns.tolist(),
        "reached": dict(zip(reached.index, reached.to_numpy().tolist(), strict=True)),
    }


def _by_optimizer(table: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    groups = table.groupby("optimizer", sort=False)
    return {optimizer: rows.to_dict("records") for optimizer, rows in groups}


def _by_measure(claims: pd.DataFrame) -> list[dict[str, Any]]:
    """A row a measure, in `cells` its row of each optimizer, None where it was not measured."""
    optimizers = list(dict.fromkeys(claims["optimizer"]))
    rows = []
    for (family, measure), group in claims.groupby(["family", "measure"], sort=False):
        of = {row["optimizer"]: row for row in group.to_dict("records")}
        cells = [of.get(optimizer) for optimizer in optimizers]
        rows.append({"family": family, "measure": measure, "cells": cells})
    return rows
