"""Measures of one network that rescalings leave alone, one of each kind: what a table shows."""

import jax

from flatvol_jax import flatness
from flatvol_jax.runtime.randomness import named_key
from flatvol_jax.study.measures.flatness import weight_paths
from flatvol_jax.study.measures.problem import Problem
from flatvol_jax.study.measures.trained import Trained, train_loss, train_losses

DEFAULTS = {"rho": 1e-3, "average_rho": 0.05, "samples": 64}


def measure_invariants(problem: Problem, trained: Trained, key: jax.Array, settings) -> dict:
    """Return adaptive sharpness, worst and average, the Fisher-Rao norm, and two of the layers.

    Normalised sharpness is of all layers, relative flatness of the one before the readout; both
    are left out where the network does not know its layers. `measure_scale_invariant` has other
    norms and every layer; columns and numbers are its own.
    """
    loss, params = train_loss(problem, trained.state), trained.params
    worst = flatness.adaptive_sharpness(loss, params, settings["rho"], "inf")
    average = flatness.average_sharpness(
        named_key(key, "adaptive"),
        loss,
        params,
        settings["average_rho"],
        adaptive=True,
        samples=settings["samples"],
    )
    row = {
        "measure.adaptive_sharpness.inf": worst.value,
        "is.adaptive_sharpness_converged.inf": bool(worst.converged),
        "measure.average_sharpness.adaptive": average.value,
        "measure.average_sharpness.adaptive.se": average.standard_error,
        "measure.fisher_rao": flatness.fisher_rao_norm(
            train_losses(problem, trained.state), params
        ).norm,
    }
    if problem.spec.rectified_layers():
        row |= _of_layers(problem, trained, key)
    return row


def _of_layers(problem: Problem, trained: Trained, key: jax.Array) -> dict:
    loss, params = train_loss(problem, trained.state), trained.params
    layers = weight_paths(problem.spec)
    last = len(layers) - 1  # from 1: the layer before the readout
    relative = flatness.relative_flatness(
        named_key(key, "relative", last), loss, params, layers[last - 1], operator="gauss_newton"
    )
    diagonal = flatness.gauss_newton_diagonal(loss, params)
    normalized = flatness.normalized_sharpness(diagonal, params, layers)
    return {
        "measure.relative_flatness": relative.value,
        "measure.normalized_sharpness": normalized.value,
        "is.normalized_sharpness_converged": bool(normalized.converged),
    }
