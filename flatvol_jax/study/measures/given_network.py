"""A network that comes from outside: its answers on S and E1, and measures of it as units."""

import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from flatvol_jax.models import Params, apply_in_batches
from flatvol_jax.study.engine.units import Unit, read_row, split_arrays, write_unit
from flatvol_jax.study.measures.problem import Problem
from flatvol_jax.study.measures.registry import MEASURES
from flatvol_jax.study.measures.trained import Trained


def answered(problem: Problem, params: Params, state: Any, epochs: int | None) -> Trained:
    """The network with what it answers on S and E1."""
    apply = jax.jit(apply_in_batches, static_argnums=(0, 4))
    train, test = (
        np.asarray(apply(problem.spec, params, x, state, problem.batch_size))
        for x in (problem.train_x, problem.test_x)
    )
    return Trained(params, state, train, test, epochs)


def measured_columns(
    workdir, unit: Unit, problem: Problem, network: Trained, key, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """The columns of a measure of the network, computed where the unit is not there yet."""
    if read_row(workdir, unit) is None:
        began = time.perf_counter()
        measured = MEASURES[unit.stage](problem, network, key, settings)
        measured[f"meta.{unit.stage}.seconds"] = time.perf_counter() - began
        write_unit(workdir, unit, *split_arrays(measured))
    return read_row(workdir, unit)
