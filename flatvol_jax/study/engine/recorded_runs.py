"""Runs whose records are finished in a folder that has no units of them, as results/ has none."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from etils import epath

from flatvol_jax.study.engine.plan import (
    Run,
    is_measured,
    measure_unit,
    settings_label,
    training_unit,
)
from flatvol_jax.study.engine.record_files import read_rows, record_files
from flatvol_jax.study.engine.record_merge import SCHEMA
from flatvol_jax.study.engine.units import Unit, row_path

TRAINED_BY = "meta.settings.train"


def recorded_rows(
    workdir: epath.PathLike, runs: Iterable[Run], measures: Mapping[str, Mapping[str, Any]]
) -> dict[tuple[str, int], dict[str, Any]]:
    """Return the rows, by run_id and overtrain, that need no more work although units are gone.

    So a sweep goes on from committed records: a run is done again only where its row lacks a
    measure that is asked for, or has it by other settings or an older version of the stage.

    Args:
        workdir: folder of the records.
        runs: those of the plan.
        measures: what is to be measured, and the settings of each.
    """
    rows: dict[tuple, dict[str, Any]] = {}
    for path in record_files(workdir):
        for row in read_rows(path):
            if row.get("meta.schema") == SCHEMA and row.get("transform") == "none":
                rows[row.get("run_id"), row.get("overtrain")] = row
    return {
        (run.run_id, run.overtrain): row
        for run in runs
        if (row := rows.get((run.run_id, run.overtrain))) is not None
        and not any(row_path(workdir, unit).exists() for unit in _units(run, measures))
        and _has_all(run, row, measures)
    }


def _units(run: Run, measures: Mapping[str, Mapping[str, Any]]) -> Iterator[Unit]:
    """Yield the units of a run: where one is left, the others are missing, and are done again."""
    yield training_unit(run)
    yield from (measure_unit(run, name, settings) for name, settings in measures.items())


def _has_all(run: Run, row: Mapping[str, Any], measures: Mapping[str, Mapping[str, Any]]) -> bool:
    # Rows that were written before this entry are of the first version.
    trained_by = row.get(TRAINED_BY, settings_label("train", {}, version=1))
    return trained_by == settings_label("train", {}) and all(
        row.get(f"meta.settings.{name}") == settings_label(name, settings)
        for name, settings in measures.items()
        if is_measured(run, settings)
    )
