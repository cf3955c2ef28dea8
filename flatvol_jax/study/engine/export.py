"""The records of a workdir as one table for other programs: CSV or Parquet."""

import io
import json

import pandas as pd
from etils import epath

from flatvol_jax.runtime import files
from flatvol_jax.study.engine.records import load_sweeps

SUFFIXES = (".csv", ".parquet")


def export_records(workdir: epath.PathLike, path: epath.PathLike) -> pd.DataFrame:
    """Write the records below `workdir` (its own, or those of its folders) to `path`.

    Parquet keeps whole numbers, flags, nulls and lists as what they are; CSV has lists as JSON,
    flags as True and False, nulls as nothing.

    Args:
        workdir: folder of records, or of folders of records.
        path: ends in .csv or .parquet (extra `parquet`).

    Returns:
        The table that was written.

    Raises:
        ValueError: no records, another suffix, no pyarrow.
    """
    path = epath.Path(path)
    if path.suffix not in SUFFIXES:
        raise ValueError(f"path: got {path}, wanted a name that ends in {' or '.join(SUFFIXES)}.")
    frame = load_sweeps(workdir).convert_dtypes()
    if path.suffix == ".csv":
        files.write_text(path, frame.map(_json_list).to_csv(index=False))
        return frame
    buffer = io.BytesIO()
    try:
        frame.to_parquet(buffer, index=False)
    except ImportError as error:
        raise ValueError(
            f"path: got {path}, which needs pyarrow: pip install flatvol-jax[parquet], or write "
            ".csv."
        ) from error
    files.write_bytes(path, buffer.getvalue())
    return frame


def _json_list(value):
    return json.dumps(value) if isinstance(value, list) else value
