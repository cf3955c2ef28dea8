"""How a measure of a trained network is declared: its name, version and settings in one place."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from flatvol_jax.study.engine.settings import Check, settings_class
from flatvol_jax.study.engine.store import Stage, python_number
from flatvol_jax.study.measures.problem import Problem
from flatvol_jax.study.measures.trained import Trained

Columns = Mapping[str, Any]


class Measure(NamedTuple):
    """A measure of a trained network.

    Attributes:
        stage: of its units.
        function: (problem, trained, key, settings) -> columns; arrays among them go to the .npz.
        settings: the frozen dataclass of its settings.
        from_kernel: whether it depends on how the kernel is computed.
    """

    stage: Stage
    function: Callable[[Problem, Trained, jax.Array, Any], Columns]
    settings: type[Any]
    from_kernel: bool

    def measured(
        self, problem: Problem, trained: Trained, key: jax.Array, entries: Mapping[str, Any]
    ) -> Columns:
        """Return the columns of a network, by settings whose entries are checked already."""
        return self.function(problem, trained, key, self.settings(**entries))


MEASURES: dict[str, Measure] = {}


def setting(check: Check, usual: Any, before: Any = dataclasses.MISSING) -> Any:
    """Declare a setting of a measure.

    Args:
        check: what it must be.
        usual: its value where nothing else is said, in the configs and in `fv.measure`.
        before: what a config means that is older than the setting.
    """
    return dataclasses.field(default=before, metadata={"check": check, "usual": usual})


def measure(name: str, version: int, *, from_kernel: bool = False, **entries: Any) -> Callable:
    """Declare the function that it decorates as the measure `name`.

    Args:
        name: in configs, of the stage of its units and of their `meta` columns.
        version: raise it when the meaning of a column changes: old units are then computed anew.
        from_kernel: whether it depends on how the kernel is computed.
        entries: its settings, each a `setting`.
    """

    def declared(function: Callable) -> Callable:
        @functools.wraps(function)
        def measured(problem: Problem, trained: Trained, key: jax.Array, settings: Any) -> Columns:
            columns = function(problem, trained, key, settings)
            return {column: python_number(value) for column, value in columns.items()}

        kind = settings_class(name, **entries)
        MEASURES[name] = Measure(Stage(name, version), measured, kind, from_kernel)
        return measured

    return declared


def result_columns(name: str, result: Any, *fields: str, value: str | None = "value") -> dict:
    """Return fields of a result: `value` as the column `name`, each other FIELD as `name.FIELD`.

    A standard error is an `se` of what it belongs to: `standard_error` is `name.se`, `trace_se` is
    `name.trace.se`.

    Args:
        name: such as "measure.hessian".
        result: has the fields as attributes; numbers and arrays.
        fields: which of them.
        value: the field that the result is about; None where there is no such field.
    """
    columns = {} if value is None else {name: getattr(result, value)}
    for field in fields:
        column = field.replace("standard_error", "se").replace("_se", ".se")
        columns[f"{name}.{column}"] = getattr(result, field)
    return columns
