"""Measures that stand between flatness and log V: basin volume and learning coefficient."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from flatvol_jax import flatness
from flatvol_jax.flatness.paths import leaf_at
from flatvol_jax.models import Spec, float64_inputs, output_labels
from flatvol_jax.runtime import checks
from flatvol_jax.runtime.precision import float64_scope, to_float64
from flatvol_jax.study.engine.settings import choice
from flatvol_jax.study.measures.declared import measure, result_columns, setting
from flatvol_jax.study.measures.problem import Problem
from flatvol_jax.study.measures.trained import Trained, batch_loss, host_float64, train_loss


@measure(
    "basin_volume",
    1,
    criterion=setting(choice(("function", "loss", "kl")), "function"),
    cutoff=setting(checks.positive, 0.01),  # of "loss" and "kl", nats
    directions=setting(checks.count, 64),
    preconditioner=setting(choice(("none", "curvature")), "curvature"),
)
def measure_basin_volume(problem: Problem, trained: Trained, key: jax.Array, settings) -> dict:
    """Return the prior probability of what rays from w reach before the criterion fails.

    "function": the labels on S+E1 stay. "loss": L on S rises by at most `cutoff`. "kl": the mean
    divergence of the predicted probabilities on S+E1 is at most `cutoff`. "curvature" directions
    have the covariance (1/prior variance + |S| diag H)^-1, H on S.
    """
    spec, params = problem.spec, trained.params
    std = spec.prior_std(problem.train_x.shape[1:])
    if std is None:
        raise ValueError(
            f"spec: got {type(spec).__name__}, whose prior is not known. Give it yourself: "
            "fv.flatness.basin_volume(key, inside, params, prior_std)."
        )
    layers = spec.rectified_layers()
    if layers is None:
        raise ValueError(
            f"spec: got {type(spec).__name__}, which does not know its rectified layers, whose "
            "permutations are counted. Name them by layers=, or call "
            "fv.flatness.basin_volume(key, inside, params, prior_std) yourself."
        )
    preconditioner = None
    if settings.preconditioner == "curvature":
        diagonal = flatness.gauss_newton_diagonal(train_loss(problem, trained.state), params)
        size = len(problem.train_y)
        preconditioner = flatness.Preconditioner(
            jax.tree.map(lambda s, h: 1.0 / (1.0 / s**2 + size * np.asarray(h)), std, diagonal)
        )
    inside = _criterion_check(problem, trained, settings.criterion, settings.cutoff)
    options = {"directions": settings.directions, "preconditioner": preconditioner}
    found = flatness.basin_volume(key, inside, params, std, **options)
    widths = [leaf_at(params, layer.incoming[0]).shape[-1] for layer in layers]
    name, fields = "measure.basin_volume", ("standard_error", "effective_directions", "unbounded")
    return {
        **result_columns(name, found, *fields, value="log_volume"),
        f"{name}.permutations": flatness.log_permutations(*widths),
        f"{name}.median_radius": np.median(found.radii),
        "is.basin_volume_ok": found.status == "ok",
    }


@float64_scope
def _criterion_check(problem: Problem, trained: Trained, criterion: str, cutoff: float) -> Partial:
    """Return params -> whether the criterion holds; data bound to it are NumPy float64."""
    start, state = to_float64(trained.params), host_float64(trained.state)
    if criterion == "loss":
        loss = train_loss(problem, state)
        return Partial(_loss_below, loss, float(loss(start)) + cutoff)
    x = float64_inputs(np.concatenate([problem.train_x, problem.test_x]))
    logits = np.asarray(_outputs(problem.spec, start, x, state))
    if criterion == "function":
        return Partial(_same_labels(problem.spec), x, state, output_labels(logits))
    return Partial(_divergence_below(problem.spec), x, state, logits, cutoff)


@functools.partial(jax.jit, static_argnums=0)
def _outputs(spec: Spec, params, x, state) -> jax.Array:
    return spec.apply(params, x, state)


def _loss_below(loss: Callable, limit: jax.Array, params) -> jax.Array:
    return loss(params) <= limit


@functools.cache
def _same_labels(spec: Spec) -> Callable:
    return lambda x, state, labels, params: jnp.all(
        output_labels(spec.apply(params, x, state)) == labels
    )


@functools.cache
def _divergence_below(spec: Spec) -> Callable:
    """Return whether the mean of KL(p || q), of the labels at w and at w', is below a limit."""

    def below(x, state, logits, limit, params):
        moved = spec.apply(params, x, state)
        if moved.ndim == 2:
            log_p, log_q = jax.nn.log_softmax(logits), jax.nn.log_softmax(moved)
            return jnp.mean(jnp.sum(jnp.exp(log_p) * (log_p - log_q), axis=-1)) <= limit
        p = jax.nn.sigmoid(logits)
        divergence = p * (jax.nn.log_sigmoid(logits) - jax.nn.log_sigmoid(moved)) + (1 - p) * (
            jax.nn.log_sigmoid(-logits) - jax.nn.log_sigmoid(-moved)
        )
        return jnp.mean(divergence) <= limit

    return below


@measure(
    "learning_coefficient",
    1,
    step_size=setting(checks.positive, 1e-4),
    localization=setting(checks.non_negative, 100.0),
    batch_size=setting(checks.count, 128),
    chains=setting(checks.count, 8),
    steps=setting(checks.count, 1000),
    burn_in=setting(checks.count, 500),
    thin=setting(checks.count, 10),
)
def measure_learning_coefficient(
    problem: Problem, trained: Trained, key: jax.Array, settings
) -> dict:
    """Return the local learning coefficient on S by SGLD."""
    loss, data = batch_loss(problem, trained.state), (problem.train_x, problem.train_y)
    found = flatness.learning_coefficient(key, loss, trained.params, data, **vars(settings))
    fields = ("standard_error", "step_bias", "gradient_norm")
    return {
        **result_columns("measure.learning_coefficient", found, *fields),
        "is.learning_coefficient_ok": found.status == "ok",
        "meta.learning_coefficient.status": found.status,
    }
