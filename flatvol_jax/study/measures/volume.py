"""Measures of the function: log V(f) on S+E1 by every method, and its null."""

from typing import Any

import jax
import numpy as np

from flatvol_jax.kernels import MonteCarloKernel, jackknife
from flatvol_jax.models import wrong_labels
from flatvol_jax.runtime import checks
from flatvol_jax.runtime.randomness import named_key
from flatvol_jax.study.engine.settings import choice, each
from flatvol_jax.study.measures.declared import measure, result_columns, setting
from flatvol_jax.study.measures.problem import Problem
from flatvol_jax.study.measures.trained import Trained
from flatvol_jax.volume import (
    CERTIFIED,
    CERTIFIED_GIVEN_KERNEL,
    LINK_VARIANCE,
    METHODS,
    LogVolume,
    log_volume,
    marginal_likelihood_bound,
    prior_bound,
)

DELTA = 0.05  # probability with which the bound of eq. 4 may fail
_MEASURE = "measure.log_volume"


@measure(
    "log_volume",
    3,
    from_kernel=True,
    links=setting(each(choice(LINK_VARIANCE)), ("heaviside", "probit")),
    estimator=setting(choice(METHODS), "certified"),
    tolerance=setting(checks.positive, 1e-4, before=1e-10),  # nats, from EP's fixed point
    particles=setting(checks.count, 64),  # of one replicate
    replicates=setting(checks.count, 16),
)
def measure_log_volume(problem: Problem, trained: Trained, key: jax.Array, settings) -> dict:
    """Return log V(f) on S+E1 for each link, by EP and what the estimator adds, side by side.

    The bounds of eq. 4 are EP's; the kernel's condition stands beside them. The estimate has a
    standard error, so where the kernel was sampled its error and bias are in it.
    """
    row: dict[str, Any] = {"is.ep_converged": True}
    kernel: np.ndarray | MonteCarloKernel = problem.kernel
    if problem.kernel_samples and settings.estimator == "certified":
        kernel = problem.kernel_estimate
    options = {name: getattr(settings, name) for name in ("tolerance", "particles", "replicates")}
    for link in settings.links:
        result = log_volume(
            kernel,
            trained.labels,
            link,
            settings.estimator,
            named_key(key, link),
            start=problem.true_cavities(link),
            **options,
            classes=problem.classes,
        )
        fields = ("residual", "iterations")
        row |= result_columns(f"{_MEASURE}.{link}", result, *fields, value="ep")
        row[f"meta.log_volume.{link}.status"] = str(result.status)
        row |= _beyond_ep(link, result)
        row["is.ep_converged"] &= bool(result.converged)
    value = row.get(f"{_MEASURE}.heaviside")
    if value is not None and np.isfinite(value):
        train, test = len(problem.train_y), len(problem.test_y)
        row["measure.bound.printed"] = prior_bound(value, train, DELTA)
        if test:
            row["measure.bound.random_split"] = prior_bound(value, train, DELTA, test)
    fields = ("condition_number", "effective_rank")
    return row | result_columns("measure.kernel", problem.conditioning, *fields, value=None)


def _beyond_ep(link: str, result: LogVolume) -> dict:
    """Return columns of EP's correction and of the sampling estimate, where there are any."""
    name, row = f"{_MEASURE}.{link}", {}
    if result.correction is not None:
        row[f"{name}.corrected"] = float(result.corrected)
        row[f"{name}.correction.fourth"] = float(result.correction.fourth)
        row[f"is.correction_reliable.{link}"] = bool(result.correction.reliable)
    if result.estimate is not None:
        name, fields = f"{name}.estimate", ("standard_error", "effective_sample_size")
        row |= result_columns(name, result.estimate, *fields, value="log_volume")
        row[f"{name}.sampling_se"] = float(result.sampling_error)
        if np.isfinite(result.kernel_error):
            row[f"{name}.kernel_se"] = float(result.kernel_error)
            row[f"{name}.kernel_bias"] = float(result.kernel_bias)
        # A matrix is the exact kernel here: a sampled one has come as its estimate.
        row[f"is.certified.{link}"] = str(result.status) in (CERTIFIED, CERTIFIED_GIVEN_KERNEL)
    return row


@measure("log_volume_null", 1, from_kernel=True)
def measure_log_volume_null(problem: Problem, trained: Trained, key: jax.Array, settings) -> dict:
    """Return log V of a function as wrong as f on E1, its errors at random places (Heaviside).

    Of C classes a wrong label is one of the C-1 others, drawn uniformly.
    """
    wrong = wrong_labels(trained.test_output, problem.test_y)
    moved = np.asarray(jax.random.permutation(key, wrong))
    others, classes = -problem.test_y, problem.classes
    if classes is not None:
        step = jax.random.randint(jax.random.fold_in(key, 1), moved.shape, 1, classes, "int32")
        others = (problem.test_y + np.asarray(step)) % classes
    labels = np.concatenate([problem.train_y, np.where(moved, others, problem.test_y)])
    result = log_volume(
        problem.kernel,
        labels,
        start=problem.true_cavities("heaviside"),
        tolerance=problem.shared_tolerance,
        classes=classes,
    )
    name = "measure.log_volume_null.heaviside"
    columns = result_columns(name, result, "residual", value="log_volume")
    return columns | {"is.null_converged": bool(result.converged)}


@measure("log_volume_train", 1, from_kernel=True)
def measure_log_volume_train(problem: Problem, trained: Trained, key: jax.Array, settings) -> dict:
    """Return log P(f_S) of the labels on S alone (Heaviside, EP), and the PAC-Bayes bound of it.

    log V(f) on S+E1 minus it is log P(f_E | S). The two are to be told apart where the kernel or
    |S| differs between networks. The bound is the marginal-likelihood one, of S without errors.
    """
    size = len(problem.train_y)
    kernel = problem.kernel[:size, :size]
    result = log_volume(kernel, trained.labels[:size], classes=problem.classes)
    name = f"{_MEASURE}.heaviside.train"
    columns = result_columns(name, result, "residual", value="log_volume")
    columns["is.train_volume_converged"] = bool(result.converged)
    fits = not wrong_labels(trained.train_output, problem.train_y).any()
    if size > 1 and fits and np.isfinite(result.log_volume):
        log_evidence = min(float(result.log_volume), 0.0)  # EP's error may exceed a tiny surprise
        columns["measure.bound.architecture"] = float(
            marginal_likelihood_bound(log_evidence, size, DELTA)
        )
    return columns


@measure("kernel_error", 1, from_kernel=True)
def measure_kernel_error(problem: Problem, trained: Trained, key: jax.Array, settings) -> dict:
    """Return what the Monte Carlo kernel's error does to log V(f) (EP), by a jackknife."""

    def value(kernel):
        start = problem.true_cavities("heaviside")
        found = log_volume(kernel, trained.labels, start=start, classes=problem.classes)
        return found.log_volume

    found = jackknife(problem.kernel_estimate, value)
    return {
        "measure.kernel.relative_error": problem.kernel_estimate.relative_error,
        f"{_MEASURE}.heaviside.kernel_se": found.standard_error,
        f"{_MEASURE}.heaviside.kernel_bias": found.bias,
    }
