"""Every measure's correlation with the error as Markdown, for pages that quote it."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from flatvol_jax.study.analysis import columns as col
from flatvol_jax.study.analysis.attack_size_table import attack_size_table, sizes_of
from flatvol_jax.study.analysis.experiment_tables import ExperimentTables
from flatvol_jax.study.analysis.names import OPTIMIZERS, SYSTEMS
from flatvol_jax.study.analysis.statistics import READINGS

DASH = "—"
MAIN = (col.LOG_VOLUME, col.SHARPNESS, col.NULL)


def measures_markdown(tables: Sequence[ExperimentTables]) -> str:
    """Write four tables a system at zero error, cells being Spearman's ρ with the error.

    They are: the main measures by optimizer; all measures pooled, and within |A|; the main ones by
    size of A. Each ρ has its interval over draws: simultaneous for log V (Heaviside) and sharpness,
    95% for the others and by size.
    """
    lines = []
    for one in tables:
        if one.overtrain == 0:
            lines += [f"## {SYSTEMS[one.experiment]}", "", *_optimizers_table(one.claims), ""]
            for reading, name in zip(READINGS, ("pooled", "within \\|A\\|"), strict=True):
                lines += [*_reading_table(one.claims, reading, name), ""]
            lines += [*_sizes_table(attack_size_table(one.frame)), ""]
    return "\n".join(lines)


def _optimizers_table(claims: pd.DataFrame) -> Iterator[str]:
    """Yield a line an optimizer: log V, sharpness and the control in both readings."""
    heads = (f"{measure.label}, pooled | within \\|A\\|" for measure in MAIN)
    yield f"| ρ with the error | {' | '.join(heads)} |"
    yield "|" + "---|" * (1 + 2 * len(MAIN))
    for optimizer, rows in claims.groupby("optimizer", sort=False):
        found = _rows_by(rows, "measure")
        cells = (_cell(found.get(m.label, {}), reading) for m in MAIN for reading in READINGS)
        yield f"| {OPTIMIZERS[optimizer]} | {' | '.join(cells)} |"


def _reading_table(claims: pd.DataFrame, reading: str, name: str) -> Iterator[str]:
    """Yield a line a measure, with a column an optimizer."""
    optimizers = list(dict.fromkeys(claims["optimizer"]))
    yield f"| ρ with the error, {name} | {' | '.join(OPTIMIZERS[o] for o in optimizers)} |"
    yield "|" + "---|" * (1 + len(optimizers))
    for measure, rows in claims.groupby("measure", sort=False):
        found = _rows_by(rows, "optimizer")
        cells = [_cell(found.get(optimizer, {}), reading) for optimizer in optimizers]
        if set(cells) != {DASH}:
            yield f"| {measure} | {' | '.join(cells)} |"


def _rows_by(rows: pd.DataFrame, column: str) -> dict[str, dict]:
    return {row[column]: row for row in rows.to_dict("records")}


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
