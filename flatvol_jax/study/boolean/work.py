"""What the stages of the Boolean experiment share: where results go, keys, the progress bar."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from etils import epath

from flatvol_jax.runtime.hashing import content_hash
from flatvol_jax.runtime.randomness import named_key
from flatvol_jax.study.boolean.system import BooleanSystem
from flatvol_jax.study.engine.progress import Bar
from flatvol_jax.study.engine.source_commit import source_commit
from flatvol_jax.study.engine.units import Unit, arrays_path, read_row, read_unit_arrays, write_unit

# Raise a number when the meaning of a stage's result changes: old units are then computed anew.
STAGE_VERSIONS = {
    "functions": 1,
    "nngp": 1,
    "width": 1,
    "minima": 2,
    "posterior": 1,
    "posterior_mnist": 1,
}


@dataclasses.dataclass
class Work:
    """A run of the experiment under way.

    Attributes:
        config: plain data.
        workdir: where units go.
        system: inputs and network.
        bar: how far the stage under way is.
    """

    config: Mapping[str, Any]
    workdir: epath.Path
    system: BooleanSystem
    bar: Bar

    def begin(self, pieces: int) -> None:
        """A stage of so many pieces, about equal in time, with a progress bar of its own."""
        self.bar.begin(pieces)

    def key(self, name: str, *indices: int) -> jax.Array:
        """The key of a part of the work."""
        return named_key(jax.random.key(self.config["sweep"]["seed"]), name, *indices)

    def unit(
        self,
        stage: str,
        determined_by: Any,
        text: str,
        compute: Callable[[], tuple[dict[str, Any], dict[str, np.ndarray] | None]],
    ) -> dict[str, Any]:
        """Row and arrays of a unit, computed where there are none.

        The row says by which commit, `meta.commit`, and by which version and settings of the
        stage, `meta.settings`.

        Args:
            stage: a name in `STAGE_VERSIONS`.
            determined_by: plain data that determines the result, beside hp and the seed.
            text: what the progress bar says.
            compute: makes the row, and arrays if there are any.
        """
        self.say(text)
        named = [self.config["hp"], self.config["sweep"]["seed"], stage, determined_by]
        unit = Unit(stage, content_hash([*named, STAGE_VERSIONS[stage]]))
        if read_row(self.workdir, unit) is None:
            row, arrays = compute()
            write_unit(self.workdir, unit, row | {"meta.commit": source_commit()}, arrays)
        self.bar.finished(1, text)
        row = read_row(self.workdir, unit)
        row["meta.settings"] = f"{STAGE_VERSIONS[stage]}:{unit.digest[:8]}"
        if arrays_path(self.workdir, unit) is not None:
            row |= read_unit_arrays(self.workdir, unit)
        return row

    @staticmethod
    def origin(row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the columns that say by which code and settings a unit was computed."""
        return {name: row.get(name) for name in ("meta.commit", "meta.settings")}

    def say(self, text: str, share: float = 0) -> None:
        """Show what is being done, and the share of the piece under way that is done."""
        self.bar.within("", text, share)
