"""Rows of a temporal study: what is known of one epoch of one branch."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from flatvol_jax.study.measures.problem import Problem
from flatvol_jax.study.temporal.measures import SHARPNESS, Part
from flatvol_jax.study.temporal.plan import Segment


class Past(NamedTuple):
    """What a branch knows of the epochs before.

    Attributes:
        zero_error: the first epoch without error on S; None until then.
        event: the epoch of the event; None as long as zero error is.
        measured: logits (n,) on S+E1 at the last epoch that was measured; None before any.
        at_event: those at the event, before scaling; None until then.
    """

    zero_error: int | None = None
    event: int | None = None
    measured: np.ndarray | None = None
    at_event: np.ndarray | None = None


def labels(output: np.ndarray) -> np.ndarray:
    """Return f: +1 where the output is above 0, else -1."""
    return np.where(output > 0, 1, -1)


def key_columns(segment: Segment, epoch: int, past: Past) -> dict[str, Any]:
    """Return which network it is, at which epoch of which branch."""
    zero, event = past.zero_error, past.event
    sides = {True: "after", False: "before"}
    return {
        "run_id": segment.run.run_id,
        "epoch": epoch,
        "overtrain": None if zero is None else epoch - zero,
        **segment.transform.columns,
        **segment.run.hp_columns,
        "measure.epochs.zero_error": zero,
        "measure.epochs.event": event,
        "meta.event": sides[segment.event is not None] if epoch == event else None,
    }


def answer_columns(problem: Problem, output: np.ndarray, past: Past) -> dict[str, Any]:
    """Return errors, loss and how the function moved, of logits (n,) on S+E1.

    The loss is the mean cross-entropy over S, in float64 from the float32 logits. Labels that
    changed are counted since the last epoch that was measured; those that differ, from f at the
    event.
    """
    m = len(problem.train_y)
    wrong = (output > 0) != (problem.true_labels > 0)
    signed = problem.train_y * output[:m].astype(np.float64)
    row = {
        "measure.error.train": float(wrong[:m].mean()),
        "measure.error.test": float(wrong[m:].mean()),
        "measure.loss.train": float(np.logaddexp(0.0, -signed).mean()),
        "measure.output.least": float(np.abs(output).min()),
        "measure.function.changed": _labels_changed(output, past.measured),
        "measure.function.differs": _labels_changed(output, past.at_event),
        "is.diverged": False,
    }
    return row | {"is.zero_error": row["measure.error.train"] == 0}


def scaling_columns(output: np.ndarray, past: Past) -> dict[str, Any]:
    """Return whether scaling left the function as it was, and how far it moved the outputs."""
    assert past.at_event is not None, "a branch is scaled at the event"
    return {
        "is.function_unchanged": bool(np.array_equal(labels(output), labels(past.at_event))),
        "is.output_identical": bool(np.array_equal(output, past.at_event)),
        "measure.output.largest_change": float(np.abs(output - past.at_event).max()),
    }


def diverged_columns() -> dict[str, Any]:
    """Return the columns of the first epoch whose outputs are not finite; the branch ends there."""
    return {"is.diverged": True, "is.zero_error": False}


def part_columns(
    part: Part, arrays: Mapping[str, np.ndarray], place: int, path: str | None
) -> dict[str, Any]:
    """Return one network's columns of a measure of flatness.

    Args:
        part: the measure.
        arrays: of its unit.
        place: of the network in them.
        path: where they lie; eigenvalues and the history of an ascent stay there.
    """
    stage = part.stage.name
    if stage != "sharpness":
        numbers = {name: a[place].item() for name, a in arrays.items() if a.ndim == 1}
        return numbers | {f"meta.arrays.{stage}": path, f"meta.arrays.{stage}.row": place}
    name, row = f"measure.sharpness.best{part.suffix}", {}
    for field in SHARPNESS[:-1]:
        row[name if field == "value" else f"{name}.{field}"] = float(arrays[field][place])
    return row | {f"is.sharpness_converged{part.suffix}": bool(arrays["converged"][place])}


def _labels_changed(output: np.ndarray, before: np.ndarray | None) -> int | None:
    return None if before is None else int(np.sum((output > 0) != (before > 0)))
