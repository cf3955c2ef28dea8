"""WORKDIR/records.jsonl: the merged view of all units, a row a network, and reading it."""

import json
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
from etils import epath

from flatvol_jax.runtime import files
from flatvol_jax.study.engine.record_files import FILE, read_rows, record_files, records_name
from flatvol_jax.study.engine.record_merge import SCHEMA, merge_rows, numbered, row_key
from flatvol_jax.study.engine.shards import Shard

SETTINGS = "meta.settings."


def write_records(
    workdir: epath.PathLike,
    rows: Iterable[Mapping[str, Any]],
    shard: Shard = Shard(),
    finished: Sequence[bool] | None = None,
) -> list[dict[str, Any]]:
    """Bring rows into records.jsonl, or into the file of a shard, a row a line; return them.

    Rows that are there stay unless these replace them (`record_merge`). The file is written whole,
    beside its name; then what it has taken in goes: a compressed file, and the files of shards. It
    is left alone where nothing is new.

    Args:
        workdir: the folder.
        rows: of this run; they get the number of the schema.
        shard: of several processes, this one.
        finished: which rows have all that was asked for; left out, all of them.
    """
    folder = epath.Path(workdir)
    path = folder / records_name(shard)
    new = [{**row, "meta.schema": SCHEMA} for row in rows]
    finished = [True] * len(new) if finished is None else finished
    own = [file for file in record_files(folder) if file.name.removesuffix(".gz") == path.name]
    if shard.name is None:
        own = record_files(folder)
    old = list(_each_once(own, _read_aside))
    known = old if shard.name is None else old + _of_others(folder, own, old, new)
    merged = merge_rows(known, new, finished)
    if len(own) != 1 or merged != old:
        lines = (json.dumps(row, allow_nan=False) + "\n" for row in merged)
        files.write_text(path, "".join(lines))
        for file in own:
            if file.name != path.name:
                file.unlink(missing_ok=True)
    return new


def merge_shards(workdir: epath.PathLike) -> None:
    """Bring the records of all shards into records.jsonl; only then their files go."""
    if any(not path.name.startswith(FILE) for path in record_files(workdir)):
        write_records(workdir, [])


def _of_others(folder: epath.Path, own: list[epath.Path], old: list, rows: list) -> list:
    """Return the rows of other files that have the keys of these, and are not among the old."""
    keys = {row_key(row) for row in rows} - {row_key(row) for row in old} - {None}
    others = [file for file in record_files(folder) if file not in own]
    return [row for row in _each_once(others, read_rows) if row_key(row) in keys]


def _read_aside(path: epath.Path) -> list[dict[str, Any]]:
    """Read a file that is to be written anew; what of it cannot be read stays in a copy."""
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            rows = list(read_rows(path))
        for warning in caught:
            warnings.warn(warning.message, stacklevel=3)
        damaged = bool(caught)
    except ValueError as error:
        warnings.warn(f"{error} It is kept as {path.name}.damaged.", stacklevel=3)
        rows, damaged = [], True
    if damaged:
        copy = path.with_name(f"{path.name}.damaged")
        while copy.exists():
            copy = copy.with_name(f"{copy.name}.damaged")
        files.write_bytes(copy, path.read_bytes())
    return rows


def load_records(workdir: epath.PathLike) -> pd.DataFrame:
    """Return the records of a sweep as a table, a row a network.

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
    frame = pd.DataFrame(list(read_rows(paths[0]) if len(paths) == 1 else _each_once(paths)))
    if frame.empty:
        raise ValueError(f"{path}: no records in it; run the experiment with this --workdir again.")
    _warn_of_mixed_settings(path, frame)
    return frame


def _warn_of_mixed_settings(path: epath.Path, frame: pd.DataFrame) -> None:
    """Say where a measure was computed in some rows by other settings than in others."""
    for column in frame.columns[frame.columns.str.startswith(SETTINGS)]:
        measure = column.removeprefix(SETTINGS)
        seconds = f"meta.{measure}.seconds"
        measured = (frame[seconds] if seconds in frame else frame[column]).notna()
        labels = frame.loc[measured, column].fillna("unknown")
        if labels.nunique() > 1:
            counts = ", ".join(f"{n} rows {label}" for label, n in labels.value_counts().items())
            warnings.warn(
                f"{path}: {measure} is not of the same version and settings in all rows "
                f"({counts}). Run the experiment with this --workdir to its end.",
                stacklevel=3,
            )


def _each_once(
    paths: Sequence[epath.Path], read: Callable[[epath.Path], Iterable] = read_rows
) -> Iterable[Mapping[str, Any]]:
    """Return the rows in the order in which they first come, the fullest of those with a name.

    Of two as full, that of a shard counts, which is written after it has seen the other.
    """
    best: dict[Any, tuple[tuple, Mapping[str, Any]]] = {}
    for path in paths:
        for name, row in numbered(read(path)):
            filled = sum(value is not None for value in row.values())
            rank = filled, not path.name.startswith(FILE)
            if name not in best or rank > best[name][0]:
                best[name] = rank, row
    return (row for _, row in best.values())


def load_sweeps(root: epath.PathLike) -> pd.DataFrame:
    """Return the records of every sweep under `root`: its own, or those of its folders.

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
    """Return the rows at zero error, without those of later epochs: one row a network."""
    return frame[frame["overtrain"].fillna(0) == 0] if "overtrain" in frame else frame


def load_arrays(workdir: epath.PathLike, row: Mapping[str, Any], stage: str) -> dict:
    """Return the arrays of one row's stage, name to array; none where the row names none."""
    path = row.get(f"meta.arrays.{stage}")
    return files.read_arrays(epath.Path(workdir) / path) if isinstance(path, str) else {}
