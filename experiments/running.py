"""What the mains of long experiments share: how they run, end, and say what was run."""

import contextlib
import shlex
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from absl import app, logging
from etils import epath

from flatvol_jax.figures import save_figure
from flatvol_jax.figures.sweep import Picture
from flatvol_jax.runtime.progress import progress_bar
from flatvol_jax.study.workdir import environment

BEGAN = time.perf_counter()


@contextlib.contextmanager
def long_work(workdir: epath.PathLike, unit: str = "unit") -> Iterator[Callable]:
    """Give the callback of a progress bar; what stops the work ends the program with a sentence.

    SIGTERM ends like Ctrl-C. Warnings are a line each.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"
    logging.set_verbosity(logging.WARNING)
    try:
        with progress_bar(unit) as progress:
            yield progress
    except KeyboardInterrupt:
        sys.exit(f"Interrupted; what is finished is in {workdir}. The same command resumes.")
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"error: {error}")


def report_context(experiment: str, title: str, scale: str) -> dict[str, Any]:
    """What a report says of its run: environment, title, command, scale, wall time so far."""
    return {
        **environment(),
        "title": title,
        "command": shlex.join(["python", "-m", f"experiments.{experiment}", *sys.argv[1:]]),
        "scale": scale,
        "wall_seconds": time.perf_counter() - BEGAN,
    }


def save_pictures(pictures: Iterable[Picture], workdir: epath.Path) -> list[str]:
    """Write WORKDIR/figures/NAME.png and .svg of each; a line of text for each."""
    lines = []
    for picture in pictures:
        save_figure(picture.figure, workdir / "figures" / picture.name)
        stem = workdir / "figures" / picture.name
        lines.append(f"figure:  {stem}.png, .svg: {picture.shows}")
    return lines


def parse_flags(arguments: list[str]) -> list[str]:
    """As absl does; a mistyped --config.key ends with the suggestion alone."""
    try:
        return app.parse_flags_with_usage(arguments)
    except (AttributeError, KeyError) as error:
        sys.exit(f"error: {error}")
