"""What the stages of the Boolean experiment share: its units, keys, the progress bar."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax

from flatvol_jax.runtime.randomness import named_key
from flatvol_jax.study.boolean.settings import BooleanConfig
from flatvol_jax.study.boolean.system import BooleanSystem
from flatvol_jax.study.engine.source_commit import source_commit
from flatvol_jax.study.engine.store import Stage, Store


@dataclasses.dataclass
class Work:
    """A run of the experiment under way.

    Attributes:
        config: checked and typed.
        store: where units go, and how far the stage under way is.
        system: inputs and network.
    """

    config: BooleanConfig
    store: Store
    system: BooleanSystem

    def key(self, name: str, *indices: int) -> jax.Array:
        """Return the key of a part of the work."""
        return named_key(jax.random.key(self.config.seed), name, *indices)

    def unit(
        self, stage: Stage, determined_by: Any, text: str, compute: Callable[[], Mapping[str, Any]]
    ) -> dict[str, Any]:
        """Return row and arrays of a unit, computed where there are none.

        The row says by which commit, `meta.commit`, and by which version and settings of the
        stage, `meta.settings`.

        Args:
            stage: what kind of unit.
            determined_by: plain data that determines the result, beside hp and the seed.
            text: what the progress bar says.
            compute: gives the columns, arrays among them.
        """
        self.say(text)
        config, store = self.config, self.store
        unit = stage.unit(config.plain["hp"], config.seed, stage.name, determined_by)
        row = store.get(unit, lambda: {**compute(), "meta.commit": source_commit()})
        store.bar.finished(1, text)
        row["meta.settings"] = f"{stage.version}:{unit.digest[:8]}"
        return row if store.arrays_path(unit) is None else row | store.arrays(unit)

    @staticmethod
    def origin(row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the columns that say by which code and settings a unit was computed."""
        return {name: row.get(name) for name in ("meta.commit", "meta.settings")}

    def say(self, text: str, share: float = 0) -> None:
        """Show what is being done, and the share of the piece under way that is done."""
        self.store.bar.within("", text, share)
