"""Measures of one network that rescalings leave alone, one of each kind: what a table shows."""

import types

import jax

from flatvol_jax.study.measures.flatness import invariant_columns, layer_columns, weight_paths
from flatvol_jax.study.measures.problem import Problem
from flatvol_jax.study.measures.trained import Trained

DEFAULTS = {"rho": 1e-3, "average_rho": 0.05, "samples": 64}


def measure_invariants(problem: Problem, trained: Trained, key: jax.Array, settings) -> dict:
    """Return adaptive sharpness, worst and average, the Fisher-Rao norm, and two of the layers.

    Normalised sharpness is of all layers, relative flatness of the one before the readout; both
    are left out where the network does not know its layers. `measure_scale_invariant` has other
    norms and every layer; columns and numbers are its own.
    """
    options = types.SimpleNamespace(**settings)
    row = invariant_columns(problem, trained, key, options, ("inf",), ("adaptive",))
    if problem.spec.rectified_layers():
        before_readout = len(weight_paths(problem.spec)) - 1
        row |= layer_columns(problem, trained, key, (before_readout,), lambda_max=False)
    return {n: v for n, v in row.items() if ".layer_" not in n and not n.endswith("first_order")}
