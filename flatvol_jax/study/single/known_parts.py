"""The parts of fv.measure: which there are, which the data allow, and how much work each is."""

from collections.abc import Callable, Mapping
from typing import Any

import jax

from flatvol_jax.runtime.randomness import named_key
from flatvol_jax.study.measures.declared import Columns
from flatvol_jax.study.measures.invariants import measure_invariants
from flatvol_jax.study.measures.measured_parts import fault_columns
from flatvol_jax.study.measures.own_problem import OwnProblem
from flatvol_jax.study.measures.registry import MEASURES
from flatvol_jax.study.measures.regression import (
    measure_log_evidence,
    measure_regression_baselines,
)
from flatvol_jax.study.measures.trained import Trained
from flatvol_jax.volume import log_volume

CLASSIFICATION = (
    "log_volume",
    "log_volume_null",
    "sharpness",
    "hessian",
    "invariants",
    "baselines",
)
"""What is measured where nothing else is said."""
REGRESSION = ("log_evidence", "sharpness", "hessian", "invariants", "baselines")
"""The same of a regression network."""
_SAMPLED_UP_TO, _CORRECTED_UP_TO = 5_000, 12_000  # outputs that are compared; beyond EP alone


def measure_kernel_error(problem: OwnProblem, network: Trained, key: jax.Array, settings) -> dict:
    """Return what the sampled kernel's error does to log V by EP, for each link, by a jackknife."""
    row = {}
    for link in settings.get("links", ("heaviside",)):
        found = log_volume(
            problem.kernel_estimate,
            network.labels,
            link,
            start=problem.true_cavities(link),
            classes=problem.classes,
        )
        name = f"measure.log_volume.{link}"
        row[f"{name}.kernel_se"] = float(found.kernel_error)
        row[f"{name}.kernel_bias"] = float(found.kernel_bias)
    return row | {"measure.kernel.relative_error": problem.kernel_estimate.relative_error}


_Part = Callable[[OwnProblem, Trained, jax.Array, Any], Columns]
_OF_FLATNESS = ("sharpness", "hessian", "scale_invariant", "spectral_density")
OF_CLASSIFICATION: Mapping[str, _Part] = {
    **{name: declared.measured for name, declared in MEASURES.items()},
    "invariants": measure_invariants,
    "kernel_error": measure_kernel_error,
}
"""Every part of a classifier, by its name."""
OF_REGRESSION: Mapping[str, _Part] = {
    **{name: MEASURES[name].measured for name in _OF_FLATNESS},
    "invariants": measure_invariants,
    "log_evidence": measure_log_evidence,
    "baselines": measure_regression_baselines,
}
"""Every part of a regression network, by its name."""


def part_columns(
    name: str, problem: OwnProblem, network: Trained, key: jax.Array, settings: Mapping[str, Any]
) -> Columns:
    """Return the columns of a part; of a log V that cannot be sampled those by EP, and why."""
    known = OF_CLASSIFICATION if problem.noise is None else OF_REGRESSION
    function, own_key = known[name], named_key(key, name)
    try:
        return function(problem, network, own_key, settings)
    except ValueError as error:
        if name != "log_volume" or settings["estimator"] != "certified":
            raise
        by_ep = function(problem, network, own_key, {**settings, "estimator": "ep"})
        return {**by_ep, **fault_columns("log_volume_sampling", error)}


def parts_that_apply(
    problem: OwnProblem, settings: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, Mapping[str, Any]], dict[str, str]]:
    """Return the parts that the data allow, with settings by size, and what is left out, why."""
    parts, said = dict(settings), {}
    null = "log_volume_null"
    if null in parts and not (len(problem.test_y) and problem.test_labels_known):
        del parts[null]
        said[f"meta.left_out.{null}"] = "left out, it needs x_test and y_test."
    if problem.spec.rectified_layers() is None and "invariants" in parts:
        said["meta.left_out.normalized_sharpness, relative_flatness"] = (
            "left out, the network does not know its layers; layers= names them."
        )
    if problem.noise is None and "log_volume" in parts:
        size = (len(problem.train_x) + len(problem.test_x)) * ((problem.classes or 2) - 1)
        chosen = parts["log_volume"]
        if chosen["estimator"] == "certified" and size > _SAMPLED_UP_TO:
            estimator = "ep_corrected" if size <= _CORRECTED_UP_TO else "ep"
            parts["log_volume"] = {**chosen, "estimator": estimator}
        if problem.kernel_samples and parts["log_volume"]["estimator"] != "certified":
            parts = _with_part_after(
                "log_volume", "kernel_error", {"links": chosen["links"]}, parts
            )
    return parts, said


def _with_part_after(
    place: str, name: str, own: Mapping[str, Any], settings: Mapping[str, Mapping[str, Any]]
) -> dict[str, Mapping[str, Any]]:
    """Return the parts with another one, `name`, after that at `place`."""
    found = {}
    for part, of_part in settings.items():
        found[part] = of_part
        if part == place:
            found[name] = own
    return found
