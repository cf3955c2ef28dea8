"""What takes the place of log V and its baselines for a regression network: real outputs."""

from typing import Any

import jax
import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.spatial.distance import cdist

from flatvol_jax.runtime.faults import NumericalFault
from flatvol_jax.study.measures.own_problem import OwnProblem
from flatvol_jax.study.measures.trained import Trained
from flatvol_jax.volume import LogEvidence, log_evidence

_COLUMN = "measure.log_evidence"


def measure_log_evidence(problem: OwnProblem, trained: Trained, key: jax.Array, settings) -> dict:
    """Return the log marginal likelihood of the targets on S, and log p of the function on S+E1.

    The first is of the data and the architecture alone; the second, log N(f; 0, K + noise) of
    what the network answers, is the counterpart of log V(f). Leave-one-out terms are summed.
    """
    kernel = problem.kernel_estimate if problem.kernel_samples else problem.kernel
    size, noise = len(problem.train_y), problem.noise
    assert noise is not None, "real targets have a noise"
    function = np.concatenate([trained.train_output, trained.test_output]).astype(np.float64)
    found = {
        "targets": log_evidence(_on_train(kernel, size), problem.train_y, noise),
        "function": log_evidence(kernel, function, noise),
    }
    row: dict[str, Any] = {}
    for name, evidence in found.items():
        row |= _columns(f"{_COLUMN}.{name}", evidence)
    return row


def _columns(name: str, evidence: LogEvidence) -> dict:
    row = {
        name: float(evidence.log_evidence),
        f"{name}.leave_one_out": float(evidence.leave_one_out.sum()),
    }
    if np.isfinite(evidence.standard_error):
        row[f"{name}.se"] = float(evidence.standard_error)
        row[f"{name}.kernel_bias"] = float(evidence.kernel_bias)
    return row


def _on_train(kernel, size: int):
    """Return the part of a kernel, or of an estimate of it, that belongs to S."""
    if not hasattr(kernel, "group_kernels"):
        return kernel[:size, :size]
    return kernel._replace(
        kernel=kernel.kernel[:size, :size], group_kernels=kernel.group_kernels[:, :size, :size]
    )


def measure_regression_baselines(
    problem: OwnProblem, trained: Trained, key: jax.Array, settings
) -> dict:
    """Return root mean square differences on E1 to the GP's mean and 1-NN; y'(K + noise)^-1 y."""
    size, noise = len(problem.train_y), problem.noise
    assert noise is not None, "real targets have a noise"
    on_train = problem.kernel[:size, :size] + noise * np.eye(size)
    try:
        factor = cho_factor(on_train, lower=True)
    except np.linalg.LinAlgError as error:
        raise NumericalFault(
            f"kernel: K + noise is singular on x ({error}); wanted a noise above 0, or inputs that "
            "differ."
        ) from error
    weights = cho_solve(factor, problem.train_y)
    leaves = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(trained.params)]
    row = {
        "measure.baseline.target_norm": float(problem.train_y @ weights),
        "measure.baseline.parameter_norm": float(np.sqrt(sum((leaf**2).sum() for leaf in leaves))),
    }
    if len(problem.test_x):
        train, test = (x.reshape(len(x), -1) for x in (problem.train_x, problem.test_x))
        nearest = problem.train_y[cdist(test, train).argmin(axis=1)]
        mean = problem.kernel[size:, :size] @ weights
        row["measure.baseline.gp_difference"] = _root_mean_square(trained.test_output - mean)
        row["measure.baseline.nn_difference"] = _root_mean_square(trained.test_output - nearest)
        if problem.test_labels_known:
            row["measure.baseline.gp_error"] = _root_mean_square(problem.test_y - mean)
    return row


def _root_mean_square(differences: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.asarray(differences, np.float64) ** 2)))
