"""A sweep divided among processes: each does its own networks and keeps its own records."""

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Shard(NamedTuple):
    """One process of several.

    Attributes:
        index: its number, from 0.
        count: how many there are; 1 is all of the work.
    """

    # These hide a tuple's methods of the same names, which nobody calls here.
    index: int = 0  # type: ignore[assignment]
    count: int = 1  # type: ignore[assignment]

    @property
    def name(self) -> str | None:
        """Return what file names call it; None for all of the work."""
        return None if self.count == 1 else f"{self.index}-of-{self.count}"

    def share(self, pieces: Sequence[T]) -> Sequence[T]:
        """Return its share of pieces: neighbours, as many as the others' or one more.

        It depends on the list alone, so that no process need ask another; and neighbours belong to
        few draws, each of which costs a kernel.
        """
        first, last = (len(pieces) * i // self.count for i in (self.index, self.index + 1))
        return pieces[first:last]


def parse_shard(text: str) -> Shard:
    """Return the shard that "I/N" names, I from 0.

    Raises:
        ValueError: another text.
    """
    index, slash, count = text.partition("/")
    if slash and index.isdigit() and count.isdigit() and int(index) < int(count):
        return Shard(int(index), int(count))
    raise ValueError(
        f"shard: got {text!r}, wanted I/N with I from 0 to N - 1: 0/4, 1/4, 2/4 and 3/4 divide the "
        "work among four jobs."
    )
