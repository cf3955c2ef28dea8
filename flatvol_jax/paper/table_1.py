"""The paper's table 1, the hyperparameters of sharpness, with what the studies here used."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from flatvol_jax.study.analysis.columns import ASCENT, SHARPNESS, flagged, numbers


class Row(NamedTuple):
    """A line of the table: the paper's numbers, ours, and how far that ascent got.

    Attributes:
        system: data set and architecture.
        paper: box size, batch size, learning rate, epochs.
        ours: the same of the study's config; None where it was not measured.
        procedure: which loss is climbed and read; "" where it was not measured.
        converged: ascents that settled, of how many; None where it was not measured.
        ratio: median of its full-batch value over the best that was found.
    """

    system: str
    paper: tuple[float, int, float, int]
    ours: tuple[float, int, float, int] | None
    procedure: str
    converged: tuple[int, int] | None
    ratio: float


PAPER = {
    "boolean": ("Boolean, FCN", (1e-4, 16, 1e-3, 10)),
    "mnist_fcn": ("MNIST, FCN", (1e-4, 32, 1e-3, 100)),
    "cifar_fcn": ("CIFAR-10, FCN", (1e-5, 128, 5e-5, 100)),
    "cifar_resnet": ("CIFAR-10, ResNet", (1e-5, 128, 1.0, 100)),
}
_ENTRIES = ("epsilon", "batch_size", "learning_rate", "epochs")
FULL = f"{ASCENT.name}.full_batch"


def table_1(studies: Iterable[tuple[Mapping[str, Any], pd.DataFrame]]) -> list[Row]:
    """Return the table's four lines.

    Args:
        studies: the config and the records of each folder.
    """
    studies = list(studies)
    return [_row(name, *PAPER[name], studies) for name in PAPER]


def _row(name: str, system: str, paper, studies) -> Row:
    for config, frame in studies:
        settings = _settings(config) if config.get("experiment") == name else None
        if settings is None or not np.isfinite(ASCENT.values(frame)).any():
            continue
        ours = tuple(settings[entry] for entry in _ENTRIES)
        yes, no = (flagged(frame, "is.sgd_sharpness_converged", v).sum() for v in (True, False))
        full = settings.get("reading") == "full" or FULL not in frame
        found, best = numbers(frame, ASCENT.name if full else FULL), SHARPNESS.values(frame)
        known = np.isfinite(found) & (best > 0)
        ratio = float(np.median(found[known] / best[known])) if known.any() else np.nan
        converged = (int(yes), int(yes + no)) if yes + no else None
        return Row(system, paper, ours, _procedure(settings), converged, ratio)
    return Row(system, paper, None, "", None, np.nan)


def _procedure(settings: Mapping[str, Any]) -> str:
    """Name the loss; settings without a reading are of records that climbed the summed loss."""
    if "reading" not in settings:
        return "summed loss, minibatches read"
    read = {"full": "all of S read", "minibatch": "minibatches read"}[settings["reading"]]
    mode = " in training mode" if settings["mode"] == "training" else ""
    return f"mean loss, {read}{mode}"


def _settings(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    measures = config.get("measures") or config.get("minima", {}).get("measures", {})
    return measures.get("sgd_sharpness")
