"""A network that comes from outside: its data, its answers on S and E1."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from flatvol_jax.models import (
    Params,
    check_labels,
    network_inputs,
    output_count,
    parameter_shapes,
)
from flatvol_jax.runtime import checks
from flatvol_jax.study.measures.checkpoint_trees import shapes, shown
from flatvol_jax.study.measures.problem import Problem
from flatvol_jax.study.measures.trained import Trained, network_outputs

ARRAYS = ("train_x", "train_y", "test_x", "test_y")
SECOND = ("second_test_x", "second_test_y")


def answered(problem: Problem, params: Params, state: Any, epochs: int | None) -> Trained:
    """Return the network with what it answers on S and E1.

    Raises:
        ValueError: parameters or a state that are not finite or not of the network's shapes, or
            outputs that are not finite.
    """
    _check_fits(problem, params)
    for leaf in jax.tree.leaves((params, state)):
        checks.finite("network", np.asarray(leaf))
    outputs = network_outputs(problem, params, state, ("train", "test"))
    for output in outputs.values():
        checks.finite("outputs of the network", output)
    return Trained(params, state, outputs["train"], outputs["test"], epochs)


def _check_fits(problem: Problem, params: Params) -> None:
    input_shape = problem.train_x.shape[1:]
    got, wanted = shapes(params), shapes(parameter_shapes(problem.spec, input_shape))
    if got != wanted:
        raise ValueError(
            f"network: got parameters {shown(got)}; wanted {shown(wanted)} for inputs of shape "
            f"{input_shape}. Is hp.model the network that was saved?"
        )


def own_data(problem: Problem, arrays: Mapping[str, np.ndarray]) -> Problem:
    """Return the problem with a user's S, E1 and, where given, E2."""
    missing = [name for name in ARRAYS if name not in arrays]
    if missing:
        raise ValueError(
            f"data: got the arrays {', '.join(arrays) or 'none'}; wanted {', '.join(ARRAYS)}, and "
            f"{', '.join(SECOND)} for a second test set."
        )
    parts: dict[str, Any] = {}
    outputs = output_count(problem.spec)
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
