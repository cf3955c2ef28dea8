"""The parts that a network is measured in: one that fails is a word in the record, not the end."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from flatvol_jax.runtime.preemption import Stopped
from flatvol_jax.study.engine.progress import Bar
from flatvol_jax.study.measures.problem import Problem
from flatvol_jax.study.measures.trained import Trained, error_columns, network_outputs

_LONGEST = 300  # characters of a fault


def known_error_columns(problem: Problem, network: Trained) -> dict[str, Any]:
    """Return the shares of wrong labels on S, E1 and E2; None of an empty or unlabelled one."""
    outputs = {"train": network.train_output, "test": network.test_output}
    outputs["second_test"] = np.zeros(0)
    if len(problem.second_test_y):
        outputs |= network_outputs(problem, network.params, network.state, ("second_test",))
    row = error_columns(problem, outputs)
    if not getattr(problem, "test_labels_known", True):
        row["measure.error.test"] = None
    return {**row, "is.zero_error": row["measure.error.train"] == 0}


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
            row |= {column: _plain(value) for column, value in columns(name).items()}
        except Stopped:
            raise
        except Exception as error:  # whatever a network's own code raises
            row |= fault_columns(name, error)
        bar.finished(1, name)
    return row


def fault_columns(name: str, error: Exception) -> dict[str, Any]:
    """Return the columns of a part that failed."""
    return {f"is.fault.{name}": True, f"meta.fault.{name}": _sentence(error)}


def _plain(value: Any) -> Any:
    """Return Python's own number for one of NumPy's, anything else as it is."""
    one = isinstance(value, np.generic | np.ndarray) and np.ndim(value) == 0
    return value.item() if one else value


def _sentence(error: Exception) -> str:
    """Return what an error says, in one line."""
    text = " ".join(str(error).split())
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]} ..."
    return text if isinstance(error, ValueError) else f"{type(error).__name__}: {text}"
