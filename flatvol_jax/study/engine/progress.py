"""How far the work of an experiment is, said to whoever draws a progress bar."""

import threading
from collections.abc import Callable

from flatvol_jax.runtime.preemption import safe_point

Progress = Callable[[float, int, str], None]


class Bar:
    """Count finished pieces of work; several devices report from their threads.

    Attributes:
        done: pieces that are finished.
        total: pieces in all.
    """

    def __init__(self, progress: Progress | None, total: int = 0):
        self._progress, self._lock = progress, threading.Lock()
        self.begin(total)

    def begin(self, total: int) -> None:
        """Start a stage of so many pieces."""
        self.done, self.total = 0, total
        self._under_way: dict[str, float] = {}

    def say(self, text: str) -> None:
        """Show what is being done."""
        if self._progress is not None:
            with self._lock:
                self._progress(self.done + sum(self._under_way.values()), self.total, text)

    def within(self, name: str, text: str, amount: float) -> None:
        """Show how much of a piece of work under way is done."""
        self._under_way[name] = amount
        self.say(text)

    def finished(self, amount: int, text: str, name: str = "") -> None:
        """Count units that are on disk; a stop that was asked for takes place here."""
        self._under_way.pop(name, None)
        self.done += amount
        self.say(text)
        safe_point()
