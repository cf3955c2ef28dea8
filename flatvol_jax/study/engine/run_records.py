"""The records of a sweep's runs: joined from their units, or finished before and without units."""

from collections.abc import Iterable, Mapping
from typing import Any

from etils import epath

from flatvol_jax.study.engine.plan import TRAIN, Measures, Run, units_of
from flatvol_jax.study.engine.record_files import read_rows, record_files
from flatvol_jax.study.engine.record_merge import SCHEMA
from flatvol_jax.study.engine.records import SETTINGS, write_records
from flatvol_jax.study.engine.shards import Shard
from flatvol_jax.study.engine.store import Store

_TRAINED_BY = f"{SETTINGS}{TRAIN.name}"
_TRAINING: dict[str, Any] = {}  # what determines training is in run_id


def merge_records(
    store: Store,
    runs: Iterable[Run],
    measures: Measures,
    experiment: str | None = None,
    scale: str | None = None,
    shard: Shard = Shard(),
    together: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[dict[str, Any]]:
    """Join each trained run with its measures, write records.jsonl, return the rows.

    The keys of a row are `run_id`, `epoch` (with `overtrain`, the epochs since zero error) and
    `transform`; `meta.experiment` and `meta.scale` say which sweep it belongs to.

    A measure that is not done yet leaves its columns out of the row, and what records.jsonl had in
    its place stays there. `meta.arrays.STAGE` names the .npz of a unit that has one,
    `meta.settings.STAGE` the settings and the version of the stage that it was computed by.
    `together` has by run_id the columns of what is measured on networks together; where it is
    given, a row without them is not finished.
    """
    rows, finished = [], []
    for run in runs:
        trained = store.row(run.training)
        if trained is None:
            continue
        keys = {"run_id": run.run_id, "overtrain": run.overtrain, "transform": "none"}
        sweep = {"meta.experiment": experiment, "meta.scale": scale}
        row = {**keys, **run.hp_columns, **trained, **sweep, _TRAINED_BY: TRAIN.label(_TRAINING)}
        units = units_of(run, measures)
        found = {name: store.row(unit) for name, unit in units.items()}
        for name, columns in found.items():
            if columns is not None:
                row |= columns | {f"{SETTINGS}{name}": measures[name].label}
        row |= (together or {}).get(run.run_id, {})
        for unit in (run.training, *units.values()):
            if path := store.arrays_path(unit):
                row[f"meta.arrays.{unit.stage}"] = path
        rows.append(row)
        complete = together is None or run.run_id in together
        finished.append(complete and None not in found.values())
    return write_records(store.workdir, rows, shard, finished)


def recorded_rows(
    workdir: epath.PathLike, runs: Iterable[Run], measures: Measures
) -> dict[tuple[str, int], dict[str, Any]]:
    """Return the rows, by run_id and overtrain, that need no more work although units are gone.

    So a sweep goes on from committed records, as results/ has them: a run is done again only where
    its row lacks a measure that is asked for, or has it by other settings or an older version of
    the stage. Where one unit of a run is left, the others are missing, and are done again.

    Args:
        workdir: folder of the records.
        runs: those of the plan.
        measures: what is to be measured.
    """
    rows: dict[tuple, dict[str, Any]] = {}
    for path in record_files(workdir):
        for row in read_rows(path):
            if row.get("meta.schema") == SCHEMA and row.get("transform") == "none":
                rows[row.get("run_id"), row.get("overtrain")] = row
    store, found = Store(workdir), {}
    for run in runs:
        place = run.run_id, run.overtrain
        if (known := rows.get(place)) is None or not _has_all(run, known, measures):
            continue
        units = [run.training, *(measure.unit(*run.network) for measure in measures.values())]
        if not any(store.path(unit).exists() for unit in units):
            found[place] = known
    return found


def _has_all(run: Run, row: Mapping[str, Any], measures: Measures) -> bool:
    # Rows that were written before this entry are of the first version.
    trained_by = row.get(_TRAINED_BY, TRAIN._replace(version=1).label(_TRAINING))
    return trained_by == TRAIN.label(_TRAINING) and all(
        row.get(f"{SETTINGS}{name}") == measure.label
        for name, measure in measures.items()
        if measure.is_of(run)
    )
