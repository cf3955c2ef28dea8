"""Arrays that cost time, computed once and kept under the hash of what determines them."""

import contextlib
import os
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from etils import epath

from flatvol_jax.runtime import files
from flatvol_jax.runtime.hashing import content_hash


def user_cache() -> epath.Path:
    """Return the folder for decoded data: `FLATVOL_CACHE`, else `XDG_CACHE_HOME`/flatvol_jax."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return epath.Path(os.environ.get("FLATVOL_CACHE") or os.path.join(base, "flatvol_jax"))


def cached_arrays(
    folder: epath.PathLike,
    key: Any,
    compute: Callable[[], Mapping[str, np.ndarray]],
) -> dict[str, np.ndarray]:
    """Return `compute()`, read from `folder` when an intact file for `key` is there.

    A damaged file is computed again and replaced; a folder that cannot be written only costs
    the time of computing again. Both are said in a warning.

    Args:
        folder: where the .npz files lie; made when missing.
        key: plain data that determines the arrays; its hash names the file.
        compute: makes the arrays, name to array.
    """
    path = epath.Path(folder) / f"{content_hash(key)}.npz"
    with contextlib.suppress(FileNotFoundError):
        try:
            return files.read_arrays(path)
        except ValueError:
            warn_damaged(path)
    arrays = {name: np.asarray(array) for name, array in compute().items()}
    try:
        files.write_arrays(path, arrays)
    except OSError as error:
        warn_not_kept(path.parent, error)
    return arrays


def warn_damaged(path: epath.PathLike) -> None:
    """Warn that a file is damaged and its content computed again."""
    warnings.warn(f"{path}: damaged, computed again.", stacklevel=3)


def warn_not_kept(folder: epath.PathLike, error: OSError) -> None:
    """Warn that results are computed without a cache; the same words each time are shown once."""
    reason = os.strerror(error.errno) if error.errno else error
    warnings.warn(
        f"{folder}: cannot be written ({reason}); what is computed is not kept there.",
        stacklevel=3,
    )
