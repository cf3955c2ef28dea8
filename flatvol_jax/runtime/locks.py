"""One process at a time for a folder, or several that share the work in it and know it."""

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from etils import epath

from flatvol_jax.runtime import files


@contextlib.contextmanager
def folder_lock(folder: epath.PathLike, shard: str | None = None) -> Iterator[None]:
    """Hold a folder: alone, or with the other shards of one division of the work.

    Locks are the operating system's (flock), and so end with their process, however it ends. A
    remote folder (gs://) has none: there atomic writes of the same content keep it whole.

    Args:
        folder: is there and can be written.
        shard: name of this process's share of the work; None for all of it.

    Raises:
        ValueError: another process holds the folder, or this shard of it; says which.
    """
    folder = epath.Path(folder)
    if files.is_remote(folder):
        yield
        return
    if shard is None:
        with _hold(folder, ".lock", fcntl.LOCK_EX):
            yield
    else:
        with (
            _hold(folder, ".lock", fcntl.LOCK_SH),
            _hold(folder, f".lock-{shard}", fcntl.LOCK_EX),
        ):
            yield


@contextlib.contextmanager
def _hold(folder: epath.Path, name: str, kind: int) -> Iterator[None]:
    with Path(folder / name).open("a+") as file:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise ValueError(
                f"workdir: {folder} is in use by another process ({file.read().strip()}). Wait for "
                "it, take another --workdir, or divide the work: --shard=0/2 here and --shard=1/2 "
                "there."
            ) from None
        except OSError:  # a file system without locks
            yield
            return
        holder = {"host": socket.gethostname(), "pid": os.getpid(), "since": time.ctime()}
        file.truncate(0)
        file.write(json.dumps(holder))
        file.flush()
        yield
