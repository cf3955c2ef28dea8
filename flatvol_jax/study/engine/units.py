"""Units of work on disk: each becomes durable whole, when it is finished, and is never redone.

A unit is a JSON row `WORKDIR/units/STAGE/DIGEST.json`, with its arrays in the .npz beside it.
The arrays are written first, so a row that is there has its arrays. A damaged unit is set
aside under the name `*.damaged` with a warning, and counts as not done.
"""

import hashlib
import json
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from flatvol_jax.runtime import files


class Unit(NamedTuple):
    """A piece of work: its stage ("train" or a measure) and the hash of all that determines it."""

    stage: str
    digest: str


def row_path(workdir: epath.PathLike, unit: Unit) -> epath.Path:
    """Where the unit's row lies."""
    return epath.Path(workdir) / "units" / unit.stage / f"{unit.digest}.json"


def write_unit(
    workdir: epath.PathLike,
    unit: Unit,
    row: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Make a finished unit durable; NaN and infinities become null."""
    path = row_path(workdir, unit)
    stored = {"stage": unit.stage, "digest": unit.digest, "row": jsonable(row)}
    if arrays is not None:
        files.write_arrays(path.with_suffix(".npz"), arrays)
        stored["arrays_sha256"] = _sha256(path.with_suffix(".npz"))
    files.write_json(path, stored)


def read_row(workdir: epath.PathLike, unit: Unit) -> dict[str, Any] | None:
    """The row of a finished unit, or None where it is missing or damaged."""
    path = row_path(workdir, unit)
    try:
        stored = json.loads(path.read_text())
        whole = (stored["stage"], stored["digest"]) == tuple(unit)
        if "arrays_sha256" in stored:
            whole = whole and stored["arrays_sha256"] == _sha256(path.with_suffix(".npz"))
        row = dict(stored["row"])
    except FileNotFoundError:
        if not path.exists():
            return None
        whole, row = False, {}
    except (ValueError, KeyError, TypeError):
        whole, row = False, {}
    if whole:
        return row
    for damaged in (path, path.with_suffix(".npz")):
        if damaged.exists():
            damaged.replace(damaged.with_name(damaged.name + ".damaged"))
    warnings.warn(
        f"{path} was damaged: set aside as {path.name}.damaged, and computed again.",
        stacklevel=2,
    )
    return None


def arrays_path(workdir: epath.PathLike, unit: Unit) -> str | None:
    """Where the arrays of a finished unit lie, from the workdir on; None where it has none."""
    path = row_path("", unit).with_suffix(".npz")
    return str(path) if (epath.Path(workdir) / path).exists() else None


def read_unit_arrays(workdir: epath.PathLike, unit: Unit) -> dict[str, np.ndarray]:
    """The arrays of a finished unit."""
    return files.read_arrays(row_path(workdir, unit).with_suffix(".npz"))


def split_arrays(row: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, np.ndarray] | None]:
    """Numbers for the row, and its arrays for the .npz, None where there are none."""
    arrays = {
        n: value for n, value in row.items() if np.ndim(value) and not isinstance(value, list)
    }
    return {n: value for n, value in row.items() if n not in arrays}, arrays or None


def jsonable(value: Any) -> Any:
    """Plain JSON data from NumPy scalars, arrays and nested containers; non-finite is None."""
    if isinstance(value, Mapping):
        return {str(name): jsonable(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(entry) for entry in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return jsonable(value.tolist())
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value


def _sha256(path: epath.Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
