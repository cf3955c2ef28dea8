"""What is measured on a trained network: the list of all measures and their settings.

A measure is a function of (problem, trained, key, settings) that gives columns; arrays among them
go to the unit's .npz. Each is a unit of its own, so one that is added to a finished sweep trains
nothing again. To add one: name it in MEASURES and _SETTINGS, give it a version in
plan.STAGE_VERSIONS and settings in the config.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax

from flatvol_jax import flatness
from flatvol_jax.runtime import checks
from flatvol_jax.study.engine.config_entries import Check, checked_settings, choice, each, group
from flatvol_jax.study.engine.plan import NETWORKS
from flatvol_jax.study.measures.baselines import measure_baselines
from flatvol_jax.study.measures.flatness import (
    ASCENT_MODES,
    measure_hessian,
    measure_scale_invariant,
    measure_sgd_sharpness,
    measure_sharpness,
    measure_spectral_density,
)
from flatvol_jax.study.measures.kernel_settings import kernel_settings
from flatvol_jax.study.measures.local_volume import (
    CRITERIA,
    PRECONDITIONERS,
    measure_basin_volume,
    measure_learning_coefficient,
)
from flatvol_jax.study.measures.problem import Problem
from flatvol_jax.study.measures.trained import Trained
from flatvol_jax.study.measures.volume import (
    measure_kernel_error,
    measure_log_volume,
    measure_log_volume_null,
)
from flatvol_jax.volume import LINK_VARIANCE
from flatvol_jax.volume import METHODS as ESTIMATORS

MEASURES: dict[str, Callable[[Problem, Trained, jax.Array, Mapping[str, Any]], dict]] = {
    "log_volume": measure_log_volume,
    "log_volume_null": measure_log_volume_null,
    "kernel_error": measure_kernel_error,
    "sharpness": measure_sharpness,
    "sgd_sharpness": measure_sgd_sharpness,
    "hessian": measure_hessian,
    "spectral_density": measure_spectral_density,
    "scale_invariant": measure_scale_invariant,
    "basin_volume": measure_basin_volume,
    "learning_coefficient": measure_learning_coefficient,
    "baselines": measure_baselines,
}


# What is computed from the kernel, and so depends on how the kernel is.
_FROM_KERNEL = ("log_volume", "log_volume_null", "kernel_error", "baselines")


def _count_or_none(name: str, value: Any) -> None:
    if value is not None:
        checks.count(name, value)


# Every setting of every measure, and what it must be.
_SETTINGS: dict[str, dict[str, Check]] = {
    "log_volume": {
        "links": each(choice(LINK_VARIANCE)),
        "estimator": choice(ESTIMATORS),
        "tolerance": checks.positive,
        "particles": checks.count,
        "replicates": checks.count,
    },
    "log_volume_null": {},
    "kernel_error": {},
    "sharpness": {"epsilon": checks.positive, "method": choice(flatness.METHODS)},
    "sgd_sharpness": {
        "epsilon": checks.positive,
        "batch_size": checks.count,
        "learning_rate": checks.positive,
        "epochs": checks.count,
        "reading": choice(flatness.READINGS),
        "mode": choice(ASCENT_MODES),
        "drop_incomplete": checks.boolean,
    },
    "hessian": {"k": checks.count},
    "spectral_density": {"probes": checks.count, "depth": checks.count},
    "scale_invariant": {
        "rho": checks.positive,
        "average_rho": checks.positive,
        "samples": checks.count,
    },
    "basin_volume": {
        "criterion": choice(CRITERIA),
        "cutoff": checks.positive,
        "directions": checks.count,
        "preconditioner": choice(PRECONDITIONERS),
    },
    "learning_coefficient": {
        "step_size": checks.positive,
        "localization": checks.non_negative,
        "batch_size": checks.count,
        "chains": checks.count,
        "steps": checks.count,
        "burn_in": checks.count,
        "thin": checks.count,
    },
    "baselines": {},
}


# What a setting was before configs had it, as in the config.json of older records.
_BEFORE = {
    "log_volume": {"tolerance": 1e-10},
    "sgd_sharpness": {"reading": "minibatch", "mode": "evaluation", "drop_incomplete": False},
}


def checked_measure(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a measure, all of them there and each what it must be.

    Raises:
        ValueError: a setting that is unknown, missing, or that its check refuses.
    """
    return checked_settings(f"measures.{name}", settings, _SETTINGS[name])


def chosen_measures(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The measures that the config turns on, with their settings, checked before any work.

    An estimated kernel is a setting of what is computed from it: `kernel`.
    """
    chosen, kernel = {}, kernel_settings(config)
    for name in group(config, "measures"):
        checks.one_of("measures", name, MEASURES)
        settings = _BEFORE.get(name, {}) | dict(group(config, f"measures.{name}", "on"))
        if not checks.boolean(f"measures.{name}.on", settings.pop("on")):
            continue
        checked_settings(f"measures.{name}", settings, _SETTINGS[name], {NETWORKS: _count_or_none})
        if name == "kernel_error" and not kernel:
            raise ValueError(
                "measures.kernel_error: got kernel.method 'analytic', which has no sampling error; "
                "wanted 'monte_carlo'. Turn the measure off."
            )
        if kernel and name in _FROM_KERNEL:
            settings["kernel"] = kernel
        chosen[name] = settings
    return chosen
