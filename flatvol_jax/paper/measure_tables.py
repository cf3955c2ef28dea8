"""Every measure's correlation with the error as Markdown, for pages that quote it."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from flatvol_jax.study.analysis.attack_size_table import attack_size_table, sizes_of
from flatvol_jax.study.analysis.experiment_tables import ExperimentTables
from flatvol_jax.study.analysis.names import OPTIMIZERS, SYSTEMS
from flatvol_jax.study.analysis.statistics import READINGS

DASH = "—"


def measures_markdown(tables: Sequence[ExperimentTables]) -> str:
    """Write two tables a system at zero error: all measures in both readings, and by size of A.

    Cells are Spearman's ρ with its interval over draws: simultaneous for log V (Heaviside) and
    sharpness, 95% for the others and in the second table.
    """
    lines = []
    for one in tables:
        if one.overtrain == 0:
            lines += [f"## {SYSTEMS[one.experiment]}", "", *_readings_table(one.claims), ""]
            lines += [*_sizes_table(attack_size_table(one.frame)), ""]
    return "\n".join(lines)


def _readings_table(claims: pd.DataFrame) -> Iterator[str]:
    optimizers = list(dict.fromkeys(claims["optimizer"]))
    heads = (f"{OPTIMIZERS[name]}, pooled | within \\|A\\|" for name in optimizers)
    yield f"| ρ with the error | {' | '.join(heads)} |"
    yield "|" + "---|" * (1 + 2 * len(optimizers))
    for measure, rows in claims.groupby("measure", sort=False):
        by_optimizer = {row["optimizer"]: row for row in rows.to_dict("records")}
        cells = (
            _cell(by_optimizer.get(name, {}), reading)
            for name in optimizers
            for reading in READINGS
        )
        yield f"| {measure} | {' | '.join(cells)} |"


def _sizes_table(table: pd.DataFrame) -> Iterator[str]:
    sizes = sizes_of(table)
    yield f"| ρ with the error at \\|A\\| = | {' | '.join(sizes)} |"
    yield "|" + "---|" * (1 + len(sizes))
    for row in table.to_dict("records"):
        cells = " | ".join(_cell(row, size) for size in sizes)
        yield f"| {OPTIMIZERS[row['optimizer']]}, {row['measure']} | {cells} |"


def _cell(row: dict, key: str) -> str:
    estimate, low, high = (row.get(f"{key}{end}", np.nan) for end in ("", "_low", "_high"))
    if not np.isfinite(estimate):
        return DASH
    return f"{estimate:+.2f}" + (f" [{low:+.2f}, {high:+.2f}]" if np.isfinite(low + high) else "")
