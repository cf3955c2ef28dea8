"""Measures of the function: log V(f) on S+E1 by every method, and its null."""

import jax
import numpy as np

from flatvol_jax.kernels import jackknife
from flatvol_jax.models import wrong_labels
from flatvol_jax.runtime.randomness import named_key
from flatvol_jax.study.measures.problem import Problem
from flatvol_jax.study.measures.trained import Trained
from flatvol_jax.volume import (
    CERTIFIED,
    CERTIFIED_GIVEN_KERNEL,
    LogVolume,
    log_volume,
    prior_bound,
)

DELTA = 0.05  # probability with which the bound of eq. 4 may fail


def measure_log_volume(problem: Problem, trained: Trained, key: jax.Array, settings) -> dict:
    """log V(f) on S+E1 for each link, by EP and what the estimator adds, side by side.

    The bounds of eq. 4 are EP's; the kernel's condition stands beside them. The estimate has a
    standard error, so where the kernel was sampled its error and bias are in it.
    """
    row, converged, kernel = {}, True, problem.kernel
    if problem.kernel_samples and settings["estimator"] == "certified":
        kernel = problem.kernel_estimate
    for link in settings["links"]:
        result = log_volume(
            kernel,
            trained.labels,
            link,
            settings["estimator"],
            named_key(key, link),
            start=problem.true_cavities(link),
            tolerance=settings["tolerance"],
            particles=settings["particles"],
            replicates=settings["replicates"],
            classes=problem.classes,
        )
        name = f"measure.log_volume.{link}"
        row[name] = float(result.ep)
        row[f"{name}.residual"] = float(result.residual)
        row[f"{name}.iterations"] = int(result.iterations)
        row[f"meta.log_volume.{link}.status"] = str(result.status)
        row |= _beyond_ep(link, result)
        converged = converged and bool(result.converged)
    row["is.ep_converged"] = converged
    value = row.get("measure.log_volume.heaviside")
    if value is not None and np.isfinite(value):
        train, test = len(problem.train_y), len(problem.test_y)
        row["measure.bound.printed"] = float(prior_bound(value, train, DELTA))
        if test:
            row["measure.bound.random_split"] = float(prior_bound(value, train, DELTA, test))
    row["measure.kernel.condition_number"] = problem.conditioning.condition_number
    row["measure.kernel.effective_rank"] = problem.conditioning.effective_rank
    return row


def _beyond_ep(link: str, result: LogVolume) -> dict:
    """The columns of EP's correction and of the sampling estimate, where there are any."""
    name, row = f"measure.log_volume.{link}", {}
    if result.correction is not None:
        row[f"{name}.corrected"] = float(result.corrected)
        row[f"{name}.correction.fourth"] = float(result.correction.fourth)
        row[f"is.correction_reliable.{link}"] = bool(result.correction.reliable)
    if result.estimate is not None:
        row[f"{name}.estimate"] = float(result.estimate.log_volume)
        row[f"{name}.estimate.se"] = float(result.estimate.standard_error)
        row[f"{name}.estimate.effective_sample_size"] = float(result.estimate.effective_sample_size)
        row[f"{name}.estimate.sampling_se"] = float(result.sampling_error)
        if np.isfinite(result.kernel_error):
            row[f"{name}.estimate.kernel_se"] = float(result.kernel_error)
            row[f"{name}.estimate.kernel_bias"] = float(result.kernel_bias)
        # A matrix is the exact kernel here: a sampled one has come as its estimate.
        row[f"is.certified.{link}"] = str(result.status) in (CERTIFIED, CERTIFIED_GIVEN_KERNEL)
    return row


def measure_log_volume_null(problem: Problem, trained: Trained, key: jax.Array, settings) -> dict:
    """log V of a function as wrong as f on E1, its errors at random places (Heaviside).

    Of C classes a wrong label is one of the C-1 others, drawn uniformly.
    """
    wrong = wrong_labels(trained.test_output, problem.test_y)
    moved = np.asarray(jax.random.permutation(key, wrong))
    others, classes = -problem.test_y, problem.classes
    if classes is not None:
        step = jax.random.randint(jax.random.fold_in(key, 1), moved.shape, 1, classes, "int32")
        others = (problem.test_y + np.asarray(step)) % classes
    labels = np.concatenate([problem.train_y, np.where(moved, others, problem.test_y)])
    start = problem.true_cavities("heaviside")
    result = log_volume(problem.kernel, labels, start=start, classes=classes)
    return {
        "measure.log_volume_null.heaviside": float(result.log_volume),
        "measure.log_volume_null.heaviside.residual": float(result.residual),
        "is.null_converged": bool(result.converged),
    }


def measure_kernel_error(problem: Problem, trained: Trained, key: jax.Array, settings) -> dict:
    """What the error of the Monte Carlo kernel does to log V(f) (Heaviside, EP), by a jackknife."""

    def value(kernel):
        start = problem.true_cavities("heaviside")
        found = log_volume(kernel, trained.labels, start=start, classes=problem.classes)
        return found.log_volume

    found = jackknife(problem.kernel_estimate, value)
    return {
        "measure.kernel.relative_error": problem.kernel_estimate.relative_error,
        "measure.log_volume.heaviside.kernel_se": float(found.standard_error),
        "measure.log_volume.heaviside.kernel_bias": float(found.bias),
    }
