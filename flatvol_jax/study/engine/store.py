"""The finished units of a workdir: each is computed once, becomes durable whole, and is read back.

A unit is a JSON row `WORKDIR/units/STAGE/DIGEST.json`, with its arrays in the .npz beside it.
The arrays are written first, so a row that is there has its arrays. A damaged unit is set
aside under the name `*.damaged` with a warning, and counts as not done.
"""

import hashlib
import json
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from flatvol_jax.runtime import files
from flatvol_jax.runtime.hashing import content_hash
from flatvol_jax.study.engine.progress import Bar


class Unit(NamedTuple):
    """A piece of work: its stage ("train" or a measure) and the hash of all that determines it."""

    stage: str
    digest: str


class Stage(NamedTuple):
    """A kind of unit, declared once, beside what computes it.

    Attributes:
        name: the folder of its units.
        version: raise it when the meaning of a result changes: old units are then computed anew.
    """

    name: str
    version: int

    def unit(self, *determined_by: Any) -> Unit:
        """Return the unit that these plain data and the version determine."""
        return Unit(self.name, content_hash([*determined_by, self.version]))

    def label(self, settings: Any) -> str:
        """Return what a result was computed by, in short: the version, the hash of settings."""
        return f"{self.version}:{content_hash(settings)[:8]}"


class Store:
    """The units of one workdir.

    Args:
        workdir: the folder.
        bar: says what is being computed.
    """

    def __init__(self, workdir: epath.PathLike, bar: Bar | None = None):
        self.workdir = epath.Path(workdir)
        self.bar = bar or Bar(None)

    def get(
        self, unit: Unit, compute: Callable[[], Mapping[str, Any]], text: str = ""
    ) -> dict[str, Any]:
        """Return the row of a unit, which is computed and written where it is not there.

        Args:
            unit: its name.
            compute: gives its columns; arrays among them go to the .npz, lists stay in the row.
            text: what the progress bar says meanwhile.
        """
        row = self.row(unit)
        if row is None:
            if text:
                self.bar.say(text)
            self.write(unit, *split_arrays(compute()))
            row = self.row(unit)
            assert row is not None, "it was written in the line before"
        return row

    def path(self, unit: Unit) -> epath.Path:
        """Return where the unit's row lies."""
        return self.workdir / "units" / unit.stage / f"{unit.digest}.json"

    def write(
        self,
        unit: Unit,
        row: Mapping[str, Any],
        arrays: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """Make a finished unit durable; NaN and infinities become null."""
        path = self.path(unit)
        stored = {"stage": unit.stage, "digest": unit.digest, "row": jsonable(row)}
        if arrays is not None:
            files.write_arrays(path.with_suffix(".npz"), arrays)
            stored["arrays_sha256"] = _sha256(path.with_suffix(".npz"))
        files.write_json(path, stored)

    def row(self, unit: Unit) -> dict[str, Any] | None:
        """Return the row of a finished unit, or None where it is missing or damaged."""
        path = self.path(unit)
        try:
            stored = json.loads(path.read_text())
            whole = (stored["stage"], stored["digest"]) == tuple(unit)
            if "arrays_sha256" in stored:
                whole = whole and stored["arrays_sha256"] == _sha256(path.with_suffix(".npz"))
            if whole:
                return dict(stored["row"])
        except FileNotFoundError:
            if not path.exists():
                return None
        except (ValueError, KeyError, TypeError):
            pass
        for damaged in (path, path.with_suffix(".npz")):
            if damaged.exists():
                damaged.replace(damaged.with_name(damaged.name + ".damaged"))
        warnings.warn(
            f"{path} was damaged: set aside as {path.name}.damaged, and computed again.",
            stacklevel=2,
        )
        return None

    def arrays(self, unit: Unit) -> dict[str, np.ndarray]:
        """Return the arrays of a finished unit."""
        return files.read_arrays(self.path(unit).with_suffix(".npz"))

    def arrays_path(self, unit: Unit) -> str | None:
        """Return where a unit's arrays lie, from the workdir on; None where it has none."""
        path = self.path(unit).with_suffix(".npz")
        return f"units/{unit.stage}/{path.name}" if path.exists() else None


def split_arrays(
    columns: Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, np.ndarray] | None]:
    """Return numbers, words and lists for the row, and the arrays, None where there are none."""
    arrays = {
        name: value
        for name, value in columns.items()
        if np.ndim(value) and not isinstance(value, list)
    }
    rest = {name: python_number(v) for name, v in columns.items() if name not in arrays}
    return rest, arrays or None


def python_number(value: Any) -> Any:
    """Return a number of NumPy's as one of Python's; anything else as it is."""
    return value.item() if isinstance(value, (np.ndarray, np.generic)) and not value.ndim else value


def jsonable(value: Any) -> Any:
    """Return plain JSON data from NumPy scalars, arrays and nested containers; NaN is None."""
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
