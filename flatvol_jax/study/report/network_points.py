"""Where each network stands in a picture, and what is known of it, for a page that answers."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from flatvol_jax.study.analysis import columns as col
from flatvol_jax.study.analysis import selection
from flatvol_jax.study.analysis.names import OPTIMIZERS
from flatvol_jax.study.report import formatting

PARTS = 10_000  # of a picture's width and height
NAMED = (
    ("draw", col.DRAW),
    ("|A|", col.ATTACK_SIZE),
    ("sample", col.SAMPLE),
    ("epoch of zero error", col.EPOCH),
    ("run", col.RUN),
)
ERRORS = (("error on E1", col.TEST_ERROR), ("error on E2", col.SECOND_TEST_ERROR))
SHORT = ("optimizer", "draw", "|A|", "sample", "error on E1", "error on E2")
NOTE = (
    "log V by EP unless it says otherwise; ± is one standard error of the sampling, given the "
    "kernel. The network's arrays are in the sweep's folder under its run's name; python -m "
    "experiments.certify makes, of labels and inputs, a certificate of log V that others can check."
)
_NOT_SHOWN = (col.CEILING.name,)


def network_cards(frame: pd.DataFrame) -> dict[str, Any]:
    """Return what is known of each network: labels, and a row of texts each.

    Numbers whose own status says that they are not to be trusted say so.

    Args:
        frame: records, one row a network.

    Returns:
        `labels`; `rows`, a text a label, "" where nothing is known; `short`, places of the labels
        that name a network; `note`, how to read them.
    """
    columns = {label: texts for label, texts in _columns(frame) if any(texts)}
    labels = list(columns)
    short = [labels.index(label) for label in (*SHORT, *_short_measures()) if label in columns]
    rows = [list(texts) for texts in zip(*columns.values(), strict=True)]
    return {"labels": labels, "rows": rows, "short": short, "note": NOTE}


def network_places(
    figure: Figure, frame: pd.DataFrame, runs: pd.DataFrame, x: col.Column
) -> list[list[int]]:
    """Return the place of each point of the first panel of a figure that was drawn.

    Args:
        figure: of `scatter.panel_figure(runs, x)`, saved once, so that its layout is settled.
        frame: records whose rows are the cards of `network_cards`; `runs` are some of them.
        runs: the rows that the panel was drawn from.
        x: what stands on its x axis.

    Returns:
        Of each point [across, down, row of `frame`], in parts of 10,000 of the picture.
    """
    kept = selection.usable(runs, x.name, selection.error_column(runs)[0])[0].index
    rows = pd.Series(np.arange(len(frame)), frame.index).loc[kept]
    axis = figure.axes[0]
    points: np.ndarray = np.ma.filled(
        np.ma.asarray(axis.collections[0].get_offsets(), float), np.nan
    )
    across, up = (axis.transData.transform(points) / figure.bbox.size).T
    places = zip(PARTS * across, PARTS * (1 - up), rows, strict=True)
    return [[round(a), round(b), int(row)] for a, b, row in places if np.isfinite(a + b)]


def _columns(frame: pd.DataFrame) -> Iterator[tuple[str, list[str]]]:
    if col.OPTIMIZER in frame:
        yield "optimizer", [OPTIMIZERS.get(name, str(name)) for name in frame[col.OPTIMIZER]]
    for label, name in NAMED:
        if name in frame:
            yield label, _texts(formatting.cell(value) for value in frame[name])
    for label, name in ERRORS:
        yield label, _texts(map(formatting.percent, col.numbers(frame, name)))
    for measure in col.MEASURES:
        if measure.name in frame and measure.name not in _NOT_SHOWN:
            values, errors = (col.numbers(frame, f"{measure.name}{end}") for end in ("", ".se"))
            unit = f" {measure.unit}" if measure.unit else ""
            numbers = _texts(map(formatting.measured, values, errors))
            doubts = _doubts(frame, measure.name)
            texts = zip(numbers, doubts, strict=True)
            yield measure.label, [f"{text}{unit}{doubt}" if text else "" for text, doubt in texts]


def _doubts(frame: pd.DataFrame, name: str) -> list[str]:
    """Say of each row which status of a measure failed."""
    found = [""] * len(frame)
    for status in col.STATUSES:
        if name.startswith(status.measures):
            failed = col.flagged(frame, status.flag, False)
            found = [
                f"{text} ({status.failure})" if no else text
                for text, no in zip(found, failed, strict=True)
            ]
    return found


def _texts(values) -> list[str]:
    return ["" if value == formatting.DASH else value for value in values]


def _short_measures() -> tuple[str, str]:
    return col.LOG_VOLUME.label, col.SHARPNESS.label
