"""The experiments that the paper draws on; one whose folder is not there is skipped."""

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any


def is_there(experiment: str) -> bool:
    """Say whether `flatvol_jax.study` has the experiment's folder."""
    return importlib.util.find_spec(f"flatvol_jax.study.{experiment}") is not None


def part_of(experiment: str, name: str) -> Callable[..., Any]:
    """Return a public function of an experiment's folder, by its module and name.

    Args:
        experiment: a folder of `flatvol_jax.study`.
        name: as "figures.volume_norm_figure".

    Raises:
        ValueError: the folder is not there.
    """
    if not is_there(experiment):
        raise ValueError(
            f"experiment: got {experiment!r}, wanted a folder of flatvol_jax.study that is there."
        )
    module, function = name.split(".")
    found = importlib.import_module(f"flatvol_jax.study.{experiment}.{module}")
    return getattr(found, function)
