"""WORKDIR/records.jsonl: the merged view of all units, a row a network, and reading it."""

import json
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

import pandas as pd
from etils import epath

from flatvol_jax.runtime import files
from flatvol_jax.study.plan import Run, measure_unit, training_unit
from flatvol_jax.study.record_files import FILE, read_rows, record_files, records_name
from flatvol_jax.study.row_table import table_of
from flatvol_jax.study.shards import Shard
from flatvol_jax.study.units import arrays_path, read_row


def merge_records(
    workdir: epath.PathLike,
    runs: Iterable[Run],
    measures: Mapping[str, Mapping[str, Any]],
    experiment: str | None = None,
    scale: str | None = None,
    shard: Shard = Shard(),
) -> list[dict[str, Any]]:
    """Join each trained run with its measures, write records.jsonl, return the rows.

    The keys of a row are `run_id`, `epoch` (with `overtrain`, the epochs since zero error) and
    `transform`; `meta.experiment` and `meta.scale` say which sweep it belongs to.

    A measure that is not done yet leaves its columns out of the row; `meta.arrays.STAGE` names the
    .npz of a unit that has one.
    """
    rows = []
    for run in runs:
        row = read_row(workdir, training_unit(run))
        if row is None:
            continue
        hp = {f"hp.{name}": value for name, value in run.hp.items()}
        keys = {"run_id": run.run_id, "overtrain": run.overtrain, "transform": "none"}
        sweep = {"meta.experiment": experiment, "meta.scale": scale}
        row = {**keys, **hp, **row, **sweep}
        units = [measure_unit(run, name, settings) for name, settings in measures.items()]
        for unit in units:
            row.update(read_row(workdir, unit) or {})
        for unit in (training_unit(run), *units):
            if path := arrays_path(workdir, unit):
                row[f"meta.arrays.{unit.stage}"] = path
        rows.append(row)
    write_records(workdir, rows, shard)
    return rows


def write_records(
    workdir: epath.PathLike, rows: Iterable[Mapping[str, Any]], shard: Shard = Shard()
) -> None:
    """Write records.jsonl, or the file of a shard, a row a line."""
    lines = (json.dumps(row, allow_nan=False) + "\n" for row in rows)
    files.write_text(epath.Path(workdir) / records_name(shard), "".join(lines))


def merge_shards(workdir: epath.PathLike) -> None:
    """Bring the records of all shards into records.jsonl; only then their files go."""
    paths = record_files(workdir)
    shards = [path for path in paths if not path.name.startswith(FILE)]
    if shards:
        write_records(workdir, list(_each_once(chain.from_iterable(map(read_rows, paths)))))
    for path in shards:
        path.unlink()


def load_records(workdir: epath.PathLike) -> pd.DataFrame:
    """The records of a sweep as a table, a row a network.

    They may be compressed, records.jsonl.gz, and in shards beside it, records-I-of-N.jsonl: a row
    that several files have is taken once, where most columns are filled. Rows without a `run_id`
    are all taken. A line that is no record is left out with a warning that names it.

    Raises:
        ValueError: the folder has no records, no line of them is one, or a .gz is damaged.
    """
    paths = record_files(workdir)
    path = epath.Path(workdir) / FILE
    if not paths:
        raise ValueError(f"{path}: no records there; run the experiment with this --workdir first.")
    rows = chain.from_iterable(map(read_rows, paths))
    frame = table_of(rows if len(paths) == 1 else _each_once(rows))
    if frame.empty:
        raise ValueError(f"{path}: no records in it; run the experiment with this --workdir again.")
    return frame


def _each_once(rows: Iterable[Mapping[str, Any]]) -> Iterable[Mapping[str, Any]]:
    """The rows in the order in which they first come, the fullest of those with the same name."""
    best: dict[Any, tuple[int, Mapping[str, Any]]] = {}
    for number, row in enumerate(rows):
        filled = sum(value is not None for value in row.values())
        name = _identity(row) or number
        if name not in best or filled > best[name][0]:
            best[name] = filled, row
    return (row for _, row in best.values())


def _identity(row: Mapping[str, Any]) -> tuple | None:
    """What names a row: its run, transform, and epoch, counted from zero error if it was reached.

    Before zero error, the rows of a temporal study have no `overtrain`.
    """
    if row.get("run_id") is None:
        return None
    beyond, epoch = row.get("overtrain"), row.get("epoch")
    when = ("epoch", epoch) if beyond is None else ("overtrain", beyond)
    return (str(row["run_id"]), str(row.get("transform")), *map(str, when))


def load_sweeps(root: epath.PathLike) -> pd.DataFrame:
    """The records of every sweep under `root`: its own, or those of its folders, one level down.

    `meta.workdir` names the folder of each row, for `load_arrays`.

    Raises:
        ValueError: no records there.
    """
    root = epath.Path(root)
    folders = [root] if record_files(root) else []
    if not folders and root.is_dir():
        folders = sorted(folder for folder in root.iterdir() if record_files(folder))
    if not folders:
        raise ValueError(
            f"{root}: no {FILE} in it or in a folder of it. Run an experiment first, or name "
            "another --workdir."
        )
    frames = [load_records(folder).assign(**{"meta.workdir": str(folder)}) for folder in folders]
    return pd.concat(frames, ignore_index=True)


def at_zero_error(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows at zero error, without those of later epochs: one row a network."""
    return frame[frame["overtrain"].fillna(0) == 0] if "overtrain" in frame else frame


def load_arrays(workdir: epath.PathLike, row: Mapping[str, Any], stage: str) -> dict:
    """The arrays of one row's stage, name to array; none where the row names none."""
    path = row.get(f"meta.arrays.{stage}")
    return files.read_arrays(epath.Path(workdir) / path) if isinstance(path, str) else {}
