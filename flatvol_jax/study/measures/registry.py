"""The measures that a config turns on, and how one of them is taken.

A measure is a unit of its own, so one that is added to a finished sweep trains nothing again. To
add one: a function under `declared.measure` in one of the modules below, an entry in the config.
"""

import dataclasses
import time
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np

from flatvol_jax.runtime import checks
from flatvol_jax.runtime.faults import NumericalFault
from flatvol_jax.study.engine.plan import ChosenMeasure
from flatvol_jax.study.engine.settings import group, or_none, settings
from flatvol_jax.study.measures import baselines, flatness, local_volume, volume  # noqa: F401
from flatvol_jax.study.measures.declared import MEASURES
from flatvol_jax.study.measures.problem import Problem
from flatvol_jax.study.measures.study_config import kernel_settings
from flatvol_jax.study.measures.trained import Trained


def chosen_measures(config: Mapping[str, Any]) -> dict[str, ChosenMeasure]:
    """Return the measures that the config turns on, with their settings checked before any work.

    An estimated kernel is a setting of what is computed from it: `kernel`. Each takes `networks`,
    too: of each draw and |A| the first so many are measured.
    """
    chosen, kernel = {}, kernel_settings(config)
    for name, entries in entries_turned_on(config, MEASURES).items():
        measure, place = MEASURES[name], f"measures.{name}"
        networks = or_none(checks.count)(f"{place}.networks", entries.pop("networks", None))
        options = settings(measure.settings, entries, place)
        if name == "kernel_error" and not kernel:
            raise ValueError(
                "measures.kernel_error: got kernel.method 'analytic', which has no sampling error; "
                "wanted 'monte_carlo'. Turn the measure off."
            )
        named = {**vars(options), **entries}  # as they came: names of units depend on it
        if kernel and measure.from_kernel:
            named["kernel"] = kernel
        chosen[name] = ChosenMeasure(measure.stage, named, options, networks)
    return chosen


ON = ("log_volume", "log_volume_null", "sharpness", "sgd_sharpness", "hessian", "baselines")
"""The measures of a sweep; --config.measures.NAME.on=True adds one to a finished sweep."""


def default_settings() -> dict[str, dict[str, Any]]:
    """Return every measure with its usual settings, but those of one kind of kernel alone."""
    return {
        name: {f.name: f.metadata["usual"] for f in dataclasses.fields(MEASURES[name].settings)}
        for name in dict.fromkeys((*ON, *MEASURES))
        if name != "kernel_error"
    }


def checked_measure(name: str, entries: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of a measure, all of them there and each what it must be.

    Raises:
        ValueError: an entry that is unknown, missing, or that its check refuses.
    """
    return dict(vars(settings(MEASURES[name].settings, entries, f"measures.{name}")))


def entries_turned_on(config: Mapping[str, Any], known: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the entries of the measures that are on, without `on`; one not known is an error."""
    found = {}
    for name in group(config, "measures"):
        checks.one_of("measures", name, known)
        entries = dict(group(config, f"measures.{name}", "on"))
        if checks.boolean(f"measures.{name}.on", entries.pop("on")):
            found[name] = entries
    return found


def measured_columns(
    measure: ChosenMeasure,
    problem: Problem,
    trained: Trained | None,
    key: jax.Array,
    record_faults: bool = False,
) -> dict[str, Any]:
    """Return the columns of a measure of a network, and the seconds that it took.

    Args:
        measure: what is measured.
        problem: of the network's draw.
        trained: the network; None where training diverged, which leaves the seconds alone.
        key: of this measure of this network.
        record_faults: whether a numerical fault becomes the columns `is.fault.MEASURE` and
            `meta.fault.MEASURE`; otherwise it is raised.
    """
    began, name = time.perf_counter(), measure.stage.name
    columns: Mapping[str, Any] = {}
    try:
        if trained is not None:
            columns = MEASURES[name].function(problem, trained, key, measure.options)
    except (NumericalFault, np.linalg.LinAlgError) as fault:
        if not record_faults:
            raise
        columns = {f"is.fault.{name}": True, f"meta.fault.{name}": str(fault)}
    return {**columns, f"meta.{name}.seconds": time.perf_counter() - began}
