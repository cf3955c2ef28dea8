"""What an experiment shows: figures by name."""

from typing import NamedTuple

from matplotlib.figure import Figure


class Picture(NamedTuple):
    """A figure, the stem of its file, and what it shows."""

    name: str
    shows: str
    figure: Figure


def drawn_pictures(*candidates: tuple[str, str, Figure | None]) -> list[Picture]:
    """Return the pictures that the records allow: those whose figure is there."""
    return [
        Picture(name, shows, figure) for name, shows, figure in candidates if figure is not None
    ]
