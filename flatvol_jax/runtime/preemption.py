"""A long program that is asked to stop: it ends at the next point from which it can resume."""

import contextlib
import signal
import threading
from collections.abc import Iterator

_asked = threading.Event()


class Stopped(Exception):
    """Work ended early because a stop was asked for; the same call goes on from what is on disk."""


@contextlib.contextmanager
def stop_on(number: int = signal.SIGTERM) -> Iterator[None]:
    """Let this signal ask for a stop within the block; a second one ends the program.

    Schedulers and clouds send SIGTERM some time before they take the machine away.
    """

    def ask(*_):
        _asked.set()
        signal.signal(number, before)

    before = signal.signal(number, ask)
    try:
        yield
    finally:
        signal.signal(number, before)
        _asked.clear()


def stop_asked() -> bool:
    """Tell whether a stop was asked for: long work should soon reach a safe point."""
    return _asked.is_set()


def safe_point() -> None:
    """Stop here if a stop was asked for: everything finished is on disk.

    Raises:
        Stopped: a stop was asked for.
    """
    if stop_asked():
        raise Stopped("stopped as asked; what is finished is on disk, the same call goes on.")
