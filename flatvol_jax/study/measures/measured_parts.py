"""The parts that a network is measured in: one that fails is a word in the record, not the end."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from flatvol_jax.models import wrong_labels
from flatvol_jax.runtime.preemption import Stopped
from flatvol_jax.study.engine.progress import Bar
from flatvol_jax.study.measures.own_problem import outputs_of
from flatvol_jax.study.measures.problem import Problem
from flatvol_jax.study.measures.trained import Trained

_LONGEST = 300  # characters of a fault


def error_columns(problem: Problem, network: Trained) -> dict[str, Any]:
    """Return the shares of wrong labels on S, E1 and E2, None of an empty one."""
    second = outputs_of(problem, network, problem.second_test_x)
    known = getattr(problem, "test_labels_known", True)
    train = _wrong(network.train_output, problem.train_y)
    return {
        "measure.error.train": train,
        "measure.error.test": _wrong(network.test_output, problem.test_y) if known else None,
        "measure.error.second_test": _wrong(second, problem.second_test_y),
        "is.zero_error": train == 0,
    }


def measured_parts(
    names: Mapping[str, Any], columns: Callable[[str], Mapping[str, Any]], bar: Bar
) -> dict[str, Any]:
    """Return the columns of all parts; of one that fails `is.fault.NAME` and `meta.fault.NAME`.

    Args:
        names: of the parts, in their order.
        columns: measures a part, by its name.
        bar: counts them.
    """
    row: dict[str, Any] = {}
    for name in names:
        bar.say(name)
        try:
            row |= columns(name)
        except Stopped:
            raise
        except Exception as error:  # whatever a network's own code raises
            row |= fault_columns(name, error)
        bar.finished(1, name)
    return row


def fault_columns(name: str, error: Exception) -> dict[str, Any]:
    """Return the columns of a part that failed."""
    return {f"is.fault.{name}": True, f"meta.fault.{name}": _sentence(error)}


def _wrong(output: np.ndarray, y: np.ndarray) -> float | None:
    return float(np.mean(wrong_labels(output, y))) if len(y) else None


def _sentence(error: Exception) -> str:
    """What an error says, in one line."""
    text = " ".join(str(error).split())
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]} ..."
    return text if isinstance(error, ValueError) else f"{type(error).__name__}: {text}"
