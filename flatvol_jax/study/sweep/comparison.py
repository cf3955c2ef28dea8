"""One self-contained comparison.html: optimizers against each other, an experiment a chapter."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
from etils import epath

from flatvol_jax.study.analysis.columns import BESIDE_VOLUME, DRAW, LOG_VOLUME
from flatvol_jax.study.analysis.experiment_tables import (
    ExperimentTables,
    function_movement_table,
    zero_error_table,
)
from flatvol_jax.study.analysis.optimizer_table import SGD
from flatvol_jax.study.analysis.verdicts import UNCHANGED_WITHIN
from flatvol_jax.study.report import answer, forest, page


def write_comparison(
    path: epath.PathLike, tables: Sequence[ExperimentTables], context: Mapping[str, Any]
) -> None:
    """Write the comparison of the optimizers of each experiment, one HTML file that loads nothing.

    Args:
        path: of the .html file, written atomically.
        tables: `experiment_tables(frame, scale, seed)`, at least one.
        context: as `page.render_page` takes it.
    """
    if not tables:
        raise ValueError("tables: got none, wanted those of at least one experiment.")
    names = list(dict.fromkeys(one.experiment for one in tables))
    page.write_page(
        path,
        "study/sweep/comparison.html.j2",
        {"title": "Optimizers compared", **context},
        experiments=[_experiment(name, tables, context.get("scale")) for name in names],
        margin=UNCHANGED_WITHIN,
        reference=SGD,
    )


def _experiment(name: str, tables: Sequence[ExperimentTables], scale: str | None) -> dict[str, Any]:
    epochs = {i: one for i, one in enumerate(tables) if one.experiment == name}
    frames = pd.concat([one.frame for one in epochs.values()], ignore_index=True)
    return {
        "name": name,
        "epochs": [_epoch(one, f"forest{i}", scale) for i, one in epochs.items()],
        "movement": function_movement_table(frames),
    }


def _epoch(tables: ExperimentTables, prefix: str, scale: str | None) -> dict[str, Any]:
    claims, differences = tables.claims, tables.differences
    levels = differences["levels"].astype(str) + " of " + differences["levels_run"].astype(str)
    differences = differences.assign(of_levels=levels)
    primary = claims[claims["family"] == "primary"]
    judged = differences[differences["family"] == "primary"]
    optimizers = list(dict.fromkeys(claims["optimizer"]))
    reached = zero_error_table(tables.frame)
    sizes = reached.columns.tolist()
    label = f"{tables.experiment}: correlations with the error"
    return {
        "overtrain": tables.overtrain,
        "error": claims["error"].iloc[0],
        "runs": len(tables.frame),
        "draws": tables.frame[DRAW].nunique(),
        "one_draw": bool((claims["within_draws"] <= 1).all()),
        "claims": tables.family,
        "confidence": primary["confidence"].iloc[0],
        "judged": list(judged_rows(claims, judged)),
        "correlates": primary.to_dict("records"),
        "differences": judged.to_dict("records"),
        "halves": tables.halves,
        "plain": _by_optimizer(differences[differences["family"] != "primary"]),
        "correlations": _by_optimizer(claims),
        "measures": list(_by_measure(claims)),
        "columns": [("measure", "measure"), *((name, name, "both") for name in optimizers)],
        "answers": answer.answer_sentences(claims, scale),
        "forest": [
            page.inline_figure(figure, f"{prefix}-{i}", f"{label}: {name}")
            for i, (name, figure) in enumerate(forest.forest_panels(claims))
        ],
        "forest_labels": forest.legend_labels(claims),
        "sizes": [("optimizer", "optimizer"), *((f"{size}", size, "plain") for size in sizes)],
        "reached": reached.rename_axis("optimizer").reset_index(),
    }


def judged_rows(
    claims: pd.DataFrame, differences: pd.DataFrame | None = None
) -> Iterator[dict[str, Any]]:
    """Yield the judged claims, below log V what stands beside it, then those against SGD.

    What stands beside log V is the probit link, the null and the ceiling.
    """
    error = claims["error"].iloc[0]
    beside = _by_optimizer(claims[claims["column"].isin([m.name for m in BESIDE_VOLUME])])
    question = (
        f"Spearman's correlation with the error on {error}; below log V the probit link, the null "
        "and the ceiling"
    )
    for row in claims[claims["family"] == "primary"].to_dict("records"):
        yield {**row, "question": question, "name": row["claim"], "of_levels": ""}
        for other in beside.get(row["optimizer"], ()) if row["column"] == LOG_VOLUME.name else ():
            name = f"{other['optimizer']}: {other['measure']}"
            yield {**other, "question": question, "name": name, "of_levels": ""}
    for row in () if differences is None else differences.to_dict("records"):
        question = f"how much weaker than with {SGD}, same draws"
        yield {**row, "question": question, "name": row["claim"]}


def _by_optimizer(table: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    groups = table.groupby("optimizer", sort=False)
    return {optimizer: rows.to_dict("records") for optimizer, rows in groups}


def _by_measure(claims: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield a row a measure, with its row of each optimizer by the optimizer's name."""
    for (family, measure), group in claims.groupby(["family", "measure"], sort=False):
        cells = {row["optimizer"]: row for row in group.to_dict("records")}
        yield {"family": family, "measure": measure, **cells}
