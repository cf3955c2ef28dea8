"""A long computation's state on disk, by Orbax: kept once a minute, read where it was killed."""

import dataclasses
import time
import warnings
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from flatvol_jax.runtime import preemption

_VERSION = 1  # of what is stored: raise it when a state of the same structure means another thing


@dataclasses.dataclass
class Checkpoint:
    """The last state of one computation, in a folder of its own.

    Each process of a distributed run keeps its own, and waits for no other.

    Attributes:
        folder: named by what determines the computation; made when missing.
        seconds: between two writes.
    """

    folder: epath.PathLike
    seconds: float = 60.0
    _written: float = dataclasses.field(default_factory=time.monotonic)

    def __post_init__(self):
        self.folder = epath.Path(self.folder)

    def read(self, like: Any) -> tuple[int, Any] | None:
        """Return (step, state) as kept last, or None; `like` has the state's structure and shapes.

        A checkpoint that is damaged or of another version of the program is named in a warning
        and set aside.
        """
        if not self.folder.exists():
            return None
        try:
            with self._manager() as manager:
                step = manager.latest_step()
                if step is None:
                    return None
                wanted = {"version": np.array(0), "state": _plain(like)}
                found = manager.restore(step, args=ocp.args.StandardRestore(wanted))
            problem = None
            if found["version"] != _VERSION:
                problem = f"it is of version {found['version']}, this program's is {_VERSION}"
            elif _shapes(found["state"]) != _shapes(wanted["state"]):
                problem = "its arrays have other shapes"
        except Exception as error:  # Orbax raises whatever its storage does
            problem = f"{type(error).__name__}: {error}".splitlines()[0]
        if problem is None:
            return step, _typed(found["state"], like)
        aside = self.folder.with_name(f"{self.folder.name}.damaged")
        if aside.exists():
            aside.rmtree()
        self.folder.rename(aside)
        warnings.warn(
            f"checkpoint {self.folder} cannot be used ({problem}): set aside as {aside.name}, "
            "its computation begins anew.",
            stacklevel=2,
        )
        return None

    def keep(self, step: int, state: Any) -> None:
        """Keep the state if the last time is long ago; at once where a stop was asked for.

        Raises:
            Stopped: a stop was asked for, and the state is on disk.
        """
        asked = preemption.stop_asked()
        if asked or time.monotonic() - self._written > self.seconds:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._manager() as manager:
                stored = {"version": np.array(_VERSION), "state": _plain(state)}
                manager.save(step, args=ocp.args.StandardSave(stored))
            self._written = time.monotonic()
        preemption.safe_point()

    def drop(self) -> None:
        """Remove the checkpoint: its computation is finished."""
        if self.folder.exists():
            self.folder.rmtree()

    def _manager(self) -> ocp.CheckpointManager:
        process = jax.process_index()
        alone = ocp.options.MultiprocessingOptions(
            primary_host=process,
            active_processes={process},
            barrier_sync_key_prefix=f"process_{process}",
        )
        options = ocp.CheckpointManagerOptions(
            max_to_keep=1,
            create=False,
            enable_async_checkpointing=False,
            multiprocessing_options=alone,
        )
        return ocp.CheckpointManager(self.folder.absolute(), options=options)


def _plain(tree: Any) -> Any:
    """Return the leaves as NumPy arrays, keys as their data."""
    data = jax.tree.map(lambda leaf: jax.random.key_data(leaf) if _is_key(leaf) else leaf, tree)
    return jax.tree.map(np.asarray, jax.device_get(data))


def _typed(tree: Any, like: Any) -> Any:
    """Return the tree with keys made from their data, where `like` has keys."""
    return jax.tree.map(
        lambda leaf, as_in: (
            jax.random.wrap_key_data(leaf, impl=jax.random.key_impl(as_in))
            if _is_key(as_in)
            else leaf
        ),
        tree,
        like,
    )


def _is_key(leaf: Any) -> bool:
    return jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _shapes(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: (np.shape(leaf), np.asarray(leaf).dtype), tree)
