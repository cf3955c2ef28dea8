"""Measures of the minimum: sharpness, Hessian, and what is invariant under rescaling."""

from collections.abc import Iterable
from typing import Any

import jax
import numpy as np

from flatvol_jax import flatness
from flatvol_jax.models.spec import Path, Spec
from flatvol_jax.runtime import checks
from flatvol_jax.runtime.randomness import named_key
from flatvol_jax.study.engine.settings import choice
from flatvol_jax.study.measures.declared import measure, result_columns, setting
from flatvol_jax.study.measures.problem import Problem
from flatvol_jax.study.measures.trained import (
    Trained,
    batch_loss,
    evaluation_mode_loss,
    host_float64,
    train_loss,
    train_losses,
    training_mode_loss,
)


@measure(
    "sharpness",
    4,
    epsilon=setting(checks.positive, 1e-4),
    method=setting(choice(flatness.METHODS), "best"),
)
def measure_sharpness(problem: Problem, trained: Trained, key: jax.Array, settings) -> dict:
    """Return box sharpness (def. 2.1, eq. 7), the best found."""
    loss = train_loss(problem, trained.state)
    result = flatness.sharpness(loss, trained.params, settings.epsilon, method=settings.method)
    name = "measure.sharpness.best"
    return {
        **result_columns(name, result, "first_order", "second_order", "remainder", "on_face"),
        f"{name}.trace": result.history,
        "measure.loss.train": result.loss,
        "is.sharpness_converged": result.converged,
    }


@measure(
    "sgd_sharpness",
    3,
    # Table 1 of the paper, second line; the learning rate is that of the mean loss of a batch.
    epsilon=setting(checks.positive, 1e-4),
    batch_size=setting(checks.count, 32),
    learning_rate=setting(checks.positive, 1e-3),
    epochs=setting(checks.count, 100),
    reading=setting(choice(flatness.READINGS), "full", before="minibatch"),
    # "training" is that of a network with BatchNorm.
    mode=setting(choice(("evaluation", "training")), "evaluation", before="evaluation"),
    drop_incomplete=setting(checks.boolean, False, before=False),
)
def measure_sgd_sharpness(problem: Problem, trained: Trained, key: jax.Array, settings) -> dict:
    """Return sharpness by the paper's procedure (table 1): projected SGD ascent on minibatches.

    `mode` "evaluation" climbs the loss that L is; "training", the ResNet's, climbs that of
    training mode, with the running statistics in the box beside the parameters.
    """
    options = dict(vars(settings))
    if options.pop("mode") == "training":
        loss = training_mode_loss(problem)
        options["state"] = host_float64(trained.state)
        options["center_loss"] = evaluation_mode_loss(problem)
    else:
        loss = batch_loss(problem, trained.state, problem.batch_size)
    data = problem.train_x, problem.train_y
    result = flatness.sgd_sharpness(key, loss, trained.params, data, **options)
    name = "measure.sharpness.sgd"
    return {
        **result_columns(name, result, "first_order", "on_face", "history", "loss"),
        f"{name}.full_batch": result.full_batch_value,
        "is.sgd_sharpness_converged": result.converged,
    }


@measure("hessian", 3, k=setting(checks.count, 50))
def measure_hessian(problem: Problem, trained: Trained, key: jax.Array, settings) -> dict:
    """Return the spectrum of the Hessian of L on S, and the trace of its Gauss-Newton part.

    For a ReLU network both matrices have one trace, so the exact one checks the estimate.
    """
    loss, name = train_loss(problem, trained.state), "measure.hessian"
    result = flatness.hessian_measures(key, loss, trained.params, k=settings.k)
    diagonal = flatness.gauss_newton_diagonal(loss, trained.params)
    fields = (
        *("spectral_norm", "lambda_max", "lambda_min", "log_product", "trace", "trace_se"),
        *("frobenius_norm", "frobenius_norm_se", "eigenvalues"),
    )
    return {
        **result_columns(name, result, *fields, value=None),
        f"{name}.log_product.count": result.log_product_count,
        f"{name}.trace.gauss_newton": sum(map(np.sum, jax.tree.leaves(diagonal))),
        "is.hessian_converged": bool(np.all(result.converged)),
        "meta.hessian.log_product_status": result.log_product_status,
    }


@measure("spectral_density", 1, probes=setting(checks.count, 4), depth=setting(checks.count, 80))
def measure_spectral_density(problem: Problem, trained: Trained, key: jax.Array, settings) -> dict:
    """Return quadratures of the Hessian's spectrum, the shares of its eigenvalues away from zero.

    Away from zero is beyond 1e-3 of the largest |Ritz value|: a Hessian of rank far below P has
    most of its mass at zero, which a quadrature of few nodes sees as one node close to it.
    """
    loss, name = train_loss(problem, trained.state), "measure.spectral_density"
    result = flatness.spectral_density(key, loss, trained.params, settings.probes, settings.depth)
    zero = 1e-3 * np.abs(result.nodes).max()
    shares, errors = result.mean(lambda nodes: np.stack([nodes < -zero, nodes > zero]))
    row = result_columns(name, result, "size", "nodes", "weights", value=None)
    for place, sign in enumerate(("negative", "positive")):
        row |= {f"{name}.{sign}_share": shares[place], f"{name}.{sign}_share.se": errors[place]}
    return row


@measure(
    "scale_invariant",
    2,
    rho=setting(checks.positive, 1e-3),
    average_rho=setting(checks.positive, 0.05),
    samples=setting(checks.count, 64),
)
def measure_scale_invariant(problem: Problem, trained: Trained, key: jax.Array, settings) -> dict:
    """Return relative flatness, normalised and adaptive sharpness, the Fisher-Rao norm, on S."""
    layers = range(1, len(weight_paths(problem.spec)) + 1)
    row = invariant_columns(problem, trained, key, settings, ("inf", "2"), ("adaptive", "plain"))
    return row | layer_columns(problem, trained, key, layers)


def invariant_columns(
    problem: Problem, trained: Trained, key: jax.Array, settings, norms: tuple, kinds: tuple
) -> dict:
    """Return adaptive sharpness in some norms, average sharpness of some kinds, Fisher-Rao norm."""
    loss, params = train_loss(problem, trained.state), trained.params
    row: dict[str, Any] = {}
    for norm in norms:
        worst = flatness.adaptive_sharpness(loss, params, settings.rho, norm)
        row |= result_columns(f"measure.adaptive_sharpness.{norm}", worst, "first_order")
        row[f"is.adaptive_sharpness_converged.{norm}"] = worst.converged
    for kind in kinds:
        options = {"adaptive": kind == "adaptive", "samples": settings.samples}
        own_key, rho = named_key(key, kind), settings.average_rho
        average = flatness.average_sharpness(own_key, loss, params, rho, **options)
        row |= result_columns(f"measure.average_sharpness.{kind}", average, "standard_error")
    fisher = flatness.fisher_rao_norm(train_losses(problem, trained.state), params)
    return row | {"measure.fisher_rao": fisher.norm}


def layer_columns(
    problem: Problem,
    trained: Trained,
    key: jax.Array,
    numbers: Iterable[int],
    lambda_max: bool = True,
) -> dict:
    """Return normalised sharpness, and relative flatness of some layers, counted from 1."""
    loss, params = train_loss(problem, trained.state), trained.params
    row: dict[str, Any] = {}
    layers, name = weight_paths(problem.spec), "measure.relative_flatness"
    for number in numbers:
        own_key, layer = named_key(key, "relative", number), layers[number - 1]
        relative = flatness.relative_flatness(
            own_key, loss, params, layer, operator="gauss_newton", lambda_max=lambda_max
        )
        fields = ("norm_trace", "norm_lambda_max")
        row |= result_columns(f"{name}.layer_{number}", relative, *fields)
    # Of the layer before the readout, as its authors measure it.
    row[name] = row[f"{name}.layer_{len(layers) - 1}"]
    diagonal = flatness.gauss_newton_diagonal(loss, params)
    normalized = flatness.normalized_sharpness(diagonal, params, layers)
    row["measure.normalized_sharpness"] = normalized.value
    return row | {"is.normalized_sharpness_converged": normalized.converged}


def weight_paths(spec: Spec) -> list[Path]:
    """Return the paths of all weight matrices, from the input on."""
    layers = spec.rectified_layers()
    if layers is None:
        raise ValueError(
            f"spec: got {type(spec).__name__}, which does not know its layers. Name their paths: "
            "fv.flatness.relative_flatness(key, loss, params, layer)."
        )
    return [layer.incoming[0] for layer in layers] + list(layers[-1].outgoing)
