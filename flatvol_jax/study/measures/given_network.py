"""A network that comes from outside: its data, answers on S and E1, measures of it as units."""

import dataclasses
import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from flatvol_jax.models import (
    Params,
    apply_in_batches,
    check_labels,
    network_inputs,
    output_count,
    parameter_shapes,
)
from flatvol_jax.runtime import checks
from flatvol_jax.study.engine.units import Unit, read_row, split_arrays, write_unit
from flatvol_jax.study.measures.checkpoint_trees import shapes, shown
from flatvol_jax.study.measures.problem import Problem
from flatvol_jax.study.measures.registry import MEASURES
from flatvol_jax.study.measures.trained import Trained

ARRAYS = ("train_x", "train_y", "test_x", "test_y")
SECOND = ("second_test_x", "second_test_y")


def answered(problem: Problem, params: Params, state: Any, epochs: int | None) -> Trained:
    """The network with what it answers on S and E1.

    Raises:
        ValueError: parameters or a state that are not finite or not of the network's shapes, or
            outputs that are not finite.
    """
    _check_fits(problem, params)
    for leaf in jax.tree.leaves((params, state)):
        checks.finite("network", np.asarray(leaf))
    apply = jax.jit(apply_in_batches, static_argnums=(0, 4))
    train, test = (
        np.asarray(apply(problem.spec, params, x, state, problem.batch_size))
        for x in (problem.train_x, problem.test_x)
    )
    for outputs in (train, test):
        checks.finite("outputs of the network", outputs)
    return Trained(params, state, train, test, epochs)


def _check_fits(problem: Problem, params: Params) -> None:
    input_shape = problem.train_x.shape[1:]
    got, wanted = shapes(params), shapes(parameter_shapes(problem.spec, input_shape))
    if got != wanted:
        raise ValueError(
            f"network: got parameters {shown(got)}; wanted {shown(wanted)} for inputs of shape "
            f"{input_shape}. Is hp.model the network that was saved?"
        )


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


def own_data(problem: Problem, arrays: Mapping[str, np.ndarray]) -> Problem:
    """Return the problem with a user's S, E1 and, where given, E2."""
    missing = [name for name in ARRAYS if name not in arrays]
    if missing:
        raise ValueError(
            f"data: got the arrays {', '.join(arrays) or 'none'}; wanted {', '.join(ARRAYS)}, and "
            f"{', '.join(SECOND)} for a second test set."
        )
    parts, outputs = {}, output_count(problem.spec)
    for part in ("train", "test", "second_test"):
        x, y = arrays.get(f"{part}_x"), arrays.get(f"{part}_y")
        if x is None or y is None:
            x, y = parts["train_x"][:0], np.zeros(0)
        x, y = network_inputs(problem.spec, f"{part}_x", x), checks.finite(f"{part}_y", y)
        if y.shape != (len(x),):
            raise ValueError(
                f"{part}_x, {part}_y: got shapes {x.shape} and {y.shape}, wanted (n, ...) and (n,)."
            )
        check_labels(f"{part}_y", y, outputs)
        parts |= {f"{part}_x": x, f"{part}_y": y.astype(np.int8 if outputs == 1 else np.int32)}
    return dataclasses.replace(
        problem,
        **parts,
        attack_x=parts["train_x"][:0],
        attack_y=parts["train_y"][:0],
    )
