"""Measures of the minimum: sharpness, Hessian, and what is invariant under rescaling."""

import jax
import numpy as np

from flatvol_jax import flatness
from flatvol_jax.models.spec import Path, Spec
from flatvol_jax.runtime.randomness import named_key
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

ASCENT_MODES = ("evaluation", "training")


def measure_sharpness(problem: Problem, trained: Trained, key: jax.Array, settings) -> dict:
    """Box sharpness (def. 2.1, eq. 7), the best found."""
    result = flatness.sharpness(
        train_loss(problem, trained.state),
        trained.params,
        settings["epsilon"],
        method=settings["method"],
    )
    name = "measure.sharpness.best"
    return {
        name: result.value,
        f"{name}.first_order": result.first_order,
        f"{name}.second_order": result.second_order,
        f"{name}.remainder": result.remainder,
        f"{name}.on_face": result.on_face,
        f"{name}.trace": result.history,
        "measure.loss.train": result.loss,
        "is.sharpness_converged": bool(result.converged),
    }


def measure_sgd_sharpness(problem: Problem, trained: Trained, key: jax.Array, settings) -> dict:
    """Sharpness by the paper's procedure (table 1): projected SGD ascent on minibatches of S.

    `mode` "evaluation" climbs the loss that L is; "training", the ResNet's, climbs that of
    training mode, with the running statistics in the box beside the parameters.
    """
    own = ("epsilon", "batch_size", "learning_rate", "epochs", "reading", "drop_incomplete")
    options = {name: settings[name] for name in own}
    if settings["mode"] == "training":
        loss = training_mode_loss(problem)
        options["state"] = host_float64(trained.state)
        options["center_loss"] = evaluation_mode_loss(problem)
    else:
        loss = batch_loss(problem, trained.state, problem.batch_size)
    data = problem.train_x, problem.train_y
    result = flatness.sgd_sharpness(key, loss, trained.params, data, **options)
    name = "measure.sharpness.sgd"
    return {
        name: result.value,
        f"{name}.full_batch": result.full_batch_value,
        f"{name}.first_order": result.first_order,
        f"{name}.on_face": result.on_face,
        f"{name}.history": result.history,
        f"{name}.loss": result.loss,
        "is.sgd_sharpness_converged": bool(result.converged),
    }


def measure_hessian(problem: Problem, trained: Trained, key: jax.Array, settings) -> dict:
    """Spectrum of the Hessian of the mean loss over S, and the trace of its Gauss-Newton part.

    For a ReLU network both matrices have one trace, so the exact one checks the estimate.
    """
    loss = train_loss(problem, trained.state)
    result = flatness.hessian_measures(key, loss, trained.params, k=settings["k"])
    diagonal = flatness.gauss_newton_diagonal(loss, trained.params)
    return {
        "measure.hessian.spectral_norm": result.spectral_norm,
        "measure.hessian.lambda_max": result.lambda_max,
        "measure.hessian.lambda_min": result.lambda_min,
        "measure.hessian.log_product": result.log_product,
        "measure.hessian.log_product.count": result.log_product_count,
        "measure.hessian.trace": result.trace,
        "measure.hessian.trace.se": result.trace_se,
        "measure.hessian.trace.gauss_newton": sum(
            float(np.sum(leaf)) for leaf in jax.tree.leaves(diagonal)
        ),
        "measure.hessian.frobenius_norm": result.frobenius_norm,
        "measure.hessian.frobenius_norm.se": result.frobenius_norm_se,
        "measure.hessian.eigenvalues": result.eigenvalues,
        "is.hessian_converged": bool(np.all(result.converged)),
        "meta.hessian.log_product_status": result.log_product_status,
    }


def measure_spectral_density(problem: Problem, trained: Trained, key: jax.Array, settings) -> dict:
    """Quadratures of the Hessian's spectrum, and the shares of its eigenvalues away from zero.

    Away from zero is beyond 1e-3 of the largest |Ritz value|: a Hessian of rank far below P has
    most of its mass at zero, which a quadrature of few nodes sees as one node close to it.
    """
    result = flatness.spectral_density(
        key,
        train_loss(problem, trained.state),
        trained.params,
        settings["probes"],
        settings["depth"],
    )
    zero = 1e-3 * np.abs(result.nodes).max()
    (negative, positive), errors = result.mean(
        lambda nodes: np.stack([nodes < -zero, nodes > zero])
    )
    return {
        "measure.spectral_density.negative_share": float(negative),
        "measure.spectral_density.negative_share.se": float(errors[0]),
        "measure.spectral_density.positive_share": float(positive),
        "measure.spectral_density.positive_share.se": float(errors[1]),
        "measure.spectral_density.size": result.size,
        "measure.spectral_density.nodes": result.nodes,
        "measure.spectral_density.weights": result.weights,
    }


def measure_scale_invariant(problem: Problem, trained: Trained, key: jax.Array, settings) -> dict:
    """Relative flatness, normalised and adaptive sharpness, Fisher-Rao norm, on S."""
    loss, params = train_loss(problem, trained.state), trained.params
    row = {}
    for norm in ("inf", "2"):
        worst = flatness.adaptive_sharpness(loss, params, settings["rho"], norm)
        name = f"measure.adaptive_sharpness.{norm}"
        row |= {name: worst.value, f"{name}.first_order": worst.first_order}
        row[f"is.adaptive_sharpness_converged.{norm}"] = bool(worst.converged)
    for kind in ("adaptive", "plain"):
        average = flatness.average_sharpness(
            named_key(key, kind),
            loss,
            params,
            settings["average_rho"],
            adaptive=kind == "adaptive",
            samples=settings["samples"],
        )
        name = f"measure.average_sharpness.{kind}"
        row |= {name: average.value, f"{name}.se": average.standard_error}
    layers = weight_paths(problem.spec)
    for number, layer in enumerate(layers, start=1):
        relative = flatness.relative_flatness(
            named_key(key, "relative", number), loss, params, layer, operator="gauss_newton"
        )
        name = f"measure.relative_flatness.layer_{number}"
        row |= {
            name: relative.value,
            f"{name}.norm_trace": relative.norm_trace,
            f"{name}.norm_lambda_max": relative.norm_lambda_max,
        }
    # Of the layer before the readout, as its authors measure it.
    row["measure.relative_flatness"] = row[f"measure.relative_flatness.layer_{len(layers) - 1}"]
    normalized = flatness.normalized_sharpness(
        flatness.gauss_newton_diagonal(loss, params), params, layers
    )
    row["measure.normalized_sharpness"] = normalized.value
    row["is.normalized_sharpness_converged"] = bool(normalized.converged)
    fisher = flatness.fisher_rao_norm(train_losses(problem, trained.state), params)
    row["measure.fisher_rao"] = fisher.norm
    return row


def weight_paths(spec: Spec) -> list[Path]:
    """The paths of all weight matrices, from the input on."""
    layers = spec.rectified_layers()
    if layers is None:
        raise ValueError(
            f"spec: got {type(spec).__name__}, which does not know its layers. Name their paths: "
            "fv.flatness.relative_flatness(key, loss, params, layer)."
        )
    return [layer.incoming[0] for layer in layers] + list(layers[-1].outgoing)
