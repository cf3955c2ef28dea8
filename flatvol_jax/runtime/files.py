"""Files that are either there whole or not there: written beside their name, then renamed."""

import contextlib
import errno
import io
import json
import os
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from etils import epath


class StorageError(OSError):
    """A file could not be written: the disk is full, or the place is forbidden."""

    def __str__(self) -> str:
        return str(self.args[0])  # also where errno and filename are set


_FULL = {errno.ENOSPC, errno.EDQUOT}
_FORBIDDEN = {errno.EROFS, errno.EACCES, errno.EPERM}
_STALE = 86_400.0  # seconds after which a part is no longer being written


def is_remote(path: epath.PathLike) -> bool:
    """Tell whether a path is in an object store (gs://, s3://), where a file appears whole."""
    return "://" in os.fspath(path)


def write_bytes(path: epath.PathLike, data: bytes) -> None:
    """Write a file atomically: a reader sees the old content or the new, never a part.

    It is written beside its name, synced to the disk and renamed; on an object store, uploaded.

    Raises:
        StorageError: a full disk or quota, or a place that must not be written.
    """
    path = epath.Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if is_remote(path):
            path.write_bytes(data)
        else:
            _write_beside(Path(path), data)
    except OSError as error:
        raise _storage_error(path, error) or error from error


def _write_beside(path: Path, data: bytes) -> None:
    # Hosts that share a folder may share a process id.
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with part.open("xb") as file:
            file.write(data)
            file.flush()
            _sync(file.fileno())
        part.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def _sync(descriptor: int) -> None:
    """Sync a file to the disk: a network file system reports a full disk no earlier.

    Some others cannot sync, which is no error.
    """
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP}:
            raise


def _storage_error(path: epath.Path, error: OSError) -> StorageError | None:
    if error.errno in _FULL:
        what, to_do = "no space is left", "Free some, or copy the folder to a larger disk"
    elif error.errno in _FORBIDDEN:
        what, to_do = "the place cannot be written", "Give yourself the right to write there"
    else:
        return None
    found = StorageError(
        f"{path}: not written, {what} ({os.strerror(error.errno)}). What was finished before is "
        f"whole. {to_do}: the same command resumes. Or name another folder."
    )
    found.errno, found.filename = error.errno, os.fspath(path)
    return found


def remove_stale_parts(folder: epath.PathLike) -> int:
    """Remove half-written files of killed processes, older than a day; return their number.

    The folder and all below it are searched. An object store has none.
    """
    removed = 0
    for parent, _, names in () if is_remote(folder) else os.walk(folder):
        for name in names:
            part = Path(parent, name)
            if name.startswith(".") and name.endswith(".part"):
                with contextlib.suppress(OSError):
                    if time.time() - part.stat().st_mtime > _STALE:
                        part.unlink()
                        removed += 1
    return removed


def write_text(path: epath.PathLike, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_bytes(path, text.encode())


def write_json(path: epath.PathLike, data: Any) -> None:
    """Write plain data as indented JSON, atomically; NaN is refused, null stands for it."""
    write_text(path, json.dumps(data, indent=1, sort_keys=True, allow_nan=False) + "\n")


def write_arrays(path: epath.PathLike, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays as one .npz, atomically; object arrays (pickles) are refused."""
    for name, array in arrays.items():
        if np.asarray(array).dtype.hasobject:
            raise ValueError(f"{name}: got an object array, wanted numbers: no pickle is written.")
    buffer = io.BytesIO()
    named: dict[str, Any] = dict(arrays)
    np.savez(buffer, **named)
    write_bytes(path, buffer.getvalue())


def read_arrays(path: epath.PathLike) -> dict[str, np.ndarray]:
    """Read an .npz; each member's stored CRC is checked, damage is a ValueError."""
    path = epath.Path(path)
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise
    except Exception as error:  # foreign bytes make zipfile and NumPy raise anything
        raise ValueError(
            f"{path}: not a whole .npz file ({error}). Delete it to have it computed again."
        ) from error
