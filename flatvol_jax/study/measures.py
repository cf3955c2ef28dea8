"""What is measured on a trained network: one function a measure, settings in, columns out.

Each measure is a unit of its own, so one that is added to a finished sweep trains nothing
again. To add one: write a function of (problem, trained, key, settings), name it in MEASURES,
give it a version in plan.STAGE_VERSIONS, settings in the config.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy.linalg import cho_solve

from flatvol_jax import flatness
from flatvol_jax.runtime import checks
from flatvol_jax.runtime.randomness import named_key
from flatvol_jax.study.problem import Problem
from flatvol_jax.volume import (
    CERTIFIED,
    LINK_VARIANCE,
    LogVolume,
    log_volume,
    prior_bound,
)
from flatvol_jax.volume import METHODS as ESTIMATORS

DELTA = 0.05  # probability with which the bound of eq. 4 may fail


class Trained(NamedTuple):
    """A trained network: its parameters and what it answers.

    Attributes:
        params: as `spec.apply` takes them.
        train_output, test_output: logits on S and on E1.
        epochs: epochs to zero error on S and A.
    """

    params: Any
    train_output: np.ndarray
    test_output: np.ndarray
    epochs: int

    @property
    def labels(self) -> np.ndarray:
        """f on S+E1: +1 where the output is above 0, else -1."""
        output = np.concatenate([self.train_output, self.test_output])
        return np.where(output > 0, 1, -1)


@functools.cache
def _cross_entropy(spec) -> Callable:
    """Mean cross-entropy of a spec, loss(x, y, params); one object a spec, so compiled once."""

    def mean_loss(x, y, params):
        return optax.sigmoid_binary_cross_entropy(spec.apply(params, x), (y + 1) / 2).mean()

    return mean_loss


def train_loss(problem: Problem) -> Callable:
    """L(params), the mean cross-entropy over clean S, float64, with S as leaves, not constants."""
    with jax.enable_x64(True):
        x, y = (
            jnp.asarray(problem.train_x, jnp.float64),
            jnp.asarray(problem.train_y, jnp.float64),
        )
    return jax.tree_util.Partial(_cross_entropy(problem.spec), x, y)


def measure_log_volume(problem: Problem, trained: Trained, key: jax.Array, settings) -> dict:
    """log V(f) on S+E1 for each link, by EP and what the estimator adds, side by side.

    The bounds of eq. 4 are EP's; the kernel's condition stands beside them.
    """
    row, converged = {}, True
    for link in settings["links"]:
        result = log_volume(
            problem.kernel,
            trained.labels,
            link,
            settings["estimator"],
            named_key(key, link),
            start=problem.true_cavities(link),
            particles=settings["particles"],
            replicates=settings["replicates"],
        )
        name = f"measure.log_volume.{link}"
        row[name] = float(result.ep)
        row[f"{name}.residual"] = float(result.residual)
        row[f"{name}.iterations"] = int(result.iterations)
        row |= _beyond_ep(link, result)
        converged = converged and bool(result.converged)
    row["is.ep_converged"] = converged
    value = row.get("measure.log_volume.heaviside")
    if value is not None and np.isfinite(value):
        train, test = len(problem.train_y), len(problem.test_y)
        row["measure.bound.printed"] = float(prior_bound(value, train, DELTA))
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
        row[f"is.certified.{link}"] = str(result.estimate.status) == CERTIFIED
    return row


def measure_log_volume_null(problem: Problem, trained: Trained, key: jax.Array, settings) -> dict:
    """log V of a function as wrong as f on E1, its errors at random places (Heaviside)."""
    wrong = np.where(trained.test_output > 0, 1, -1) != problem.test_y
    moved = np.asarray(jax.random.permutation(key, wrong))
    labels = np.concatenate([problem.train_y, np.where(moved, -problem.test_y, problem.test_y)])
    result = log_volume(problem.kernel, labels, start=problem.true_cavities("heaviside"))
    return {
        "measure.log_volume_null.heaviside": float(result.log_volume),
        "measure.log_volume_null.heaviside.residual": float(result.residual),
        "is.null_converged": bool(result.converged),
    }


def measure_sharpness(problem: Problem, trained: Trained, key: jax.Array, settings) -> dict:
    """Box sharpness (def. 2.1, eq. 7), the best found."""
    result = flatness.sharpness(
        train_loss(problem), trained.params, settings["epsilon"], method=settings["method"]
    )
    name = "measure.sharpness.best"
    return {
        name: result.value,
        f"{name}.first_order": result.first_order,
        f"{name}.second_order": result.second_order,
        f"{name}.remainder": result.remainder,
        "measure.loss.train": result.loss,
        "is.sharpness_converged": bool(result.converged),
    }


def measure_sgd_sharpness(problem: Problem, trained: Trained, key: jax.Array, settings) -> dict:
    """The paper's procedure (table 1): projected SGD ascent, read from minibatch losses."""
    result = flatness.sgd_sharpness(
        key,
        _batch_loss(problem.spec),
        trained.params,
        (problem.train_x, problem.train_y),
        settings["epsilon"],
        batch_size=settings["batch_size"],
        learning_rate=settings["learning_rate"],
        epochs=settings["epochs"],
    )
    return {
        "measure.sharpness.sgd": result.value,
        "measure.sharpness.sgd.full_batch": result.full_batch_value,
        "is.sgd_sharpness_converged": bool(result.converged),
    }


@functools.cache
def _batch_loss(spec) -> Callable:
    mean_loss = _cross_entropy(spec)
    return lambda params, batch: mean_loss(*batch, params)


def measure_hessian(problem: Problem, trained: Trained, key: jax.Array, settings) -> dict:
    """Spectrum of the Hessian of the mean loss over S."""
    result = flatness.hessian_measures(key, train_loss(problem), trained.params, k=settings["k"])
    return {
        "measure.hessian.spectral_norm": result.spectral_norm,
        "measure.hessian.lambda_max": result.lambda_max,
        "measure.hessian.lambda_min": result.lambda_min,
        "measure.hessian.log_product": result.log_product,
        "measure.hessian.log_product.count": result.log_product_count,
        "measure.hessian.trace": result.trace,
        "measure.hessian.trace.se": result.trace_se,
        "measure.hessian.frobenius_norm": result.frobenius_norm,
        "measure.hessian.frobenius_norm.se": result.frobenius_norm_se,
        "is.hessian_converged": bool(np.all(result.converged)),
    }


def measure_baselines(problem: Problem, trained: Trained, key: jax.Array, settings) -> dict:
    """What a simpler quantity would have said: GP and 1-NN disagreement, norms, margins.

    The margin is the least y f(x) over S divided by its mean absolute output, so that it does
    not only count how long training went on.
    """
    test_labels = np.where(trained.test_output > 0, 1, -1)
    labels = trained.labels.astype(np.float64)
    signed = problem.train_y * trained.train_output.astype(np.float64)
    leaves = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(trained.params)]
    return {
        "measure.baseline.gp_disagreement": float(np.mean(test_labels != problem.gp_prediction)),
        "measure.baseline.nn_disagreement": float(
            np.mean(test_labels != problem.neighbour_prediction)
        ),
        "measure.baseline.label_norm": float(labels @ cho_solve(problem.kernel_factor, labels)),
        "measure.baseline.margin": float(signed.min() / np.abs(signed).mean()),
        "measure.baseline.mean_output": float(np.abs(signed).mean()),
        "measure.baseline.parameter_norm": float(np.sqrt(sum((leaf**2).sum() for leaf in leaves))),
        "measure.baseline.epochs": int(trained.epochs),
    }


MEASURES: dict[str, Callable[[Problem, Trained, jax.Array, Mapping[str, Any]], dict]] = {
    "log_volume": measure_log_volume,
    "log_volume_null": measure_log_volume_null,
    "sharpness": measure_sharpness,
    "sgd_sharpness": measure_sgd_sharpness,
    "hessian": measure_hessian,
    "baselines": measure_baselines,
}


# Every setting of every measure, and what it must be.
_SETTINGS: dict[str, dict[str, Callable[[str, Any], Any]]] = {
    "log_volume": {
        "links": lambda name, links: [checks.one_of(name, link, LINK_VARIANCE) for link in links],
        "estimator": lambda name, method: checks.one_of(name, method, ESTIMATORS),
        "particles": checks.count,
        "replicates": checks.count,
    },
    "log_volume_null": {},
    "sharpness": {
        "epsilon": checks.positive,
        "method": lambda name, method: checks.one_of(name, method, flatness.METHODS),
    },
    "sgd_sharpness": {
        "epsilon": checks.positive,
        "batch_size": checks.count,
        "learning_rate": checks.positive,
        "epochs": checks.count,
    },
    "hessian": {"k": checks.count},
    "baselines": {},
}


def chosen_measures(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The measures that the config turns on, with their settings, checked before any work."""
    chosen = {}
    for name, settings in config["measures"].items():
        checks.one_of("measures", name, MEASURES)
        settings = dict(settings)
        if not settings.pop("on"):
            continue
        wanted = _SETTINGS[name]
        for setting, value in settings.items():
            checks.one_of(f"measures.{name}", setting, wanted)
            wanted[setting](f"measures.{name}.{setting}", value)
        missing = wanted.keys() - settings.keys()
        if missing:
            raise ValueError(
                f"measures.{name}: got no {', '.join(sorted(missing))}; wanted each of "
                f"{', '.join(wanted)}. configs/mnist_fcn.py has them all."
            )
        chosen[name] = settings
    return chosen
