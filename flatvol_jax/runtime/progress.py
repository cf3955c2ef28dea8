"""A progress bar with an ETA for long work, drawn by a main and fed by the library."""

import contextlib
from collections.abc import Callable, Iterator

from tqdm import tqdm

from flatvol_jax.runtime import checks

Callback = Callable[[float, int, str], None]


@contextlib.contextmanager
def progress_bar(unit: str = "unit") -> Iterator[Callback]:
    """Give a callback progress(done, total, text) that draws a bar on stderr from its first call.

    Work that is done at the first call was done by an earlier run and does not count as speed. A
    new total, or fewer done than before, begins a new stage with its own bar and ETA.
    """
    bar = None

    def progress(done: float, total: int, text: str) -> None:
        nonlocal bar
        if bar is None or bar.total != total or int(done) < bar.n:
            if bar is not None:
                bar.close()
            bar = tqdm(
                total=total, initial=int(done), unit=unit, dynamic_ncols=True, smoothing=0.05
            )
        bar.set_description(text, refresh=False)
        bar.update(int(done) - bar.n)

    try:
        yield progress
    finally:
        if bar is not None:
            bar.close()


@contextlib.contextmanager
def asked_progress(progress: Callback | bool | None, unit: str) -> Iterator[Callback | None]:
    """Give the callback that a caller asked for: its own, a bar on stderr for True, or None.

    Raises:
        ValueError: what is neither.
    """
    if progress is True:
        with progress_bar(unit) as callback:
            yield callback
    else:
        yield checks.function("progress", None if progress is False else progress)
