"""What is measured along a trajectory: volume once a function, sharpness, Hessian."""

import functools
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from flatvol_jax import flatness
from flatvol_jax.models import Params
from flatvol_jax.runtime import checks
from flatvol_jax.runtime.hashing import array_hash
from flatvol_jax.runtime.randomness import named_key
from flatvol_jax.study.engine.settings import choice, each, settings, settings_class
from flatvol_jax.study.engine.store import Stage, Store, Unit
from flatvol_jax.study.measures.problem import Problem
from flatvol_jax.study.measures.registry import MEASURES, entries_turned_on
from flatvol_jax.study.measures.study_config import StudyConfig
from flatvol_jax.study.measures.trained import Trained, train_loss
from flatvol_jax.volume import LINK_VARIANCE, Cavities, log_volume

VOLUME = Stage("volume", 1)
SHARPNESS = ("value", "first_order", "second_order", "remainder", "on_face", "converged")


# The first box of `epsilons` is the main one; a measure is taken every so many epochs.
_SETTINGS = {
    "log_volume": settings_class("VolumeSettings", links=each(choice(LINK_VARIANCE))),
    "sharpness": settings_class(
        "SharpnessSettings",
        epsilons=each(checks.positive),
        method=choice(("best", "sign")),
        batch_size=checks.count,
        every=checks.count,
    ),
    "sgd_sharpness": settings_class(
        "AscentSettings",
        epsilon=checks.positive,
        batch_size=checks.count,
        learning_rate=checks.positive,
        epochs=checks.count,
        reading=choice(flatness.READINGS),
        every=checks.count,
    ),
    "hessian": settings_class("SpectrumSettings", k=checks.count, every=checks.count),
}


def chosen_measures(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of the measures that are on, checked before any work."""
    chosen = {
        name: settings(_SETTINGS[name], entries, f"measures.{name}")
        for name, entries in entries_turned_on(config, _SETTINGS).items()
    }
    if ascent := chosen.get("sgd_sharpness"):
        most = config["hp"]["data"]["train_size"]
        checks.count("measures.sgd_sharpness.batch_size", ascent.batch_size, most=most)
    return chosen


class Part(NamedTuple):
    """A measure of flatness, taken of some networks of a segment.

    Attributes:
        stage: of its units.
        settings: what determines it, plain data.
        every: an epoch is measured where it is a multiple of this,
        dense: and right after the event where a row is.
        measure: called with the problem, networks of one leading axis and the key of the run;
            gives arrays with that axis.
        suffix: of its columns, where there is more than one box.
    """

    stage: Stage
    settings: Mapping[str, Any]
    every: int
    dense: bool
    measure: Callable[[Problem, Params, jax.Array], dict[str, np.ndarray]]
    suffix: str = ""


def flatness_parts(chosen: Mapping[str, Any]) -> list[Part]:
    """Return the measures of flatness: sharpness by box, the Hessian, the paper's ascent."""
    parts = []
    if sharpness := chosen.get("sharpness"):
        for number, epsilon in enumerate(sharpness.epsilons):
            own = {"method": sharpness.method, "batch_size": sharpness.batch_size}
            measure = functools.partial(sharpness_arrays, epsilon=epsilon, **own)
            suffix, named = f".{epsilon:g}" if number else "", own | {"epsilon": epsilon}
            stage = Stage("sharpness", 1)
            parts.append(Part(stage, named, sharpness.every, True, measure, suffix))
    # An ascent costs far more than a row: the epochs right after the event do not all have one.
    for stage, dense in ((Stage("hessian", 1), True), (Stage("sgd_sharpness", 1), False)):
        if found := chosen.get(stage.name):
            named = dict(vars(found))
            every = named.pop("every")
            measure = functools.partial(single_arrays, name=stage.name, named=named)
            parts.append(Part(stage, named, every, dense, measure))
    return parts


def sharpness_arrays(
    problem: Problem, params: Params, key: jax.Array, epsilon: float, method: str, batch_size: int
) -> dict[str, np.ndarray]:
    """Return box sharpness (def. 2.1) of many networks, an array for each of `SHARPNESS`.

    "sign": by sign iteration, `batch_size` networks at a time, the last batch filled up, so that
    one program serves all. "best": one after another, a climb on top.
    """
    loss = train_loss(problem, {})
    if method == "sign":
        found = flatness.ensemble_sharpness(loss, params, epsilon, batch_size=batch_size)
        return {name: getattr(found, name) for name in SHARPNESS}
    results = [
        flatness.sharpness(loss, one, epsilon, method="best")
        for one in _parameters_by_epoch(params)
    ]
    return {name: np.stack([getattr(found, name) for found in results]) for name in SHARPNESS}


def single_arrays(
    problem: Problem, params: Params, key: jax.Array, name: str, named: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Return the columns of a measure, each an array; all networks have the same key."""
    measure, nothing, key = MEASURES[name], np.zeros(0), named_key(key, name)
    networks = [Trained(one, {}, nothing, nothing, None) for one in _parameters_by_epoch(params)]
    rows = [measure.measured(problem, network, key, named) for network in networks]
    return {column: np.stack([row[column] for row in rows]) for column in rows[0]}


def _parameters_by_epoch(params: Params) -> list[Params]:
    count = len(jax.tree.leaves(params)[0])
    return [jax.tree.map(lambda leaf, i=i: leaf[i], params) for i in range(count)]


class Volumes:
    """log V of the functions of one draw, by EP: each string and link is computed once.

    It starts from the cavities of the function before it in time; where there is none, or EP did
    not converge there, from those of the true labels. The start moves the value within EP's
    residual, and the first trajectory that meets a function, in the order of the plan, gives it.

    Args:
        store: where units go.
        config: of the study.
        problem: of the draw.
        draw: its number.
        links: which likelihoods.
    """

    def __init__(
        self, store: Store, config: StudyConfig, problem: Problem, draw: int, links: tuple[str, ...]
    ):
        self._store, self._problem, self._links = store, problem, links
        hp = config.plain["hp"]
        self._named = [hp["data"], hp["model"], config.sweep.seed, draw, config.kernel]
        self._rows: dict[Unit, dict[str, Any]] = {}

    def columns(self, labels: np.ndarray, previous: np.ndarray | None) -> dict[str, Any]:
        """Return the columns of a function f on S+E1, computed from the one before it."""
        rows = {link: self._row(labels, link, previous) for link in self._links}
        columns = {
            "is.ep_converged": all(row["converged"] for row in rows.values()),
            "meta.log_volume.seconds": sum(row["seconds"] for row in rows.values()),
        }
        for link, row in rows.items():
            name = f"measure.log_volume.{link}"
            columns |= {name: row["log_volume"], f"is.ep_converged.{link}": row["converged"]}
            columns |= {f"{name}.{part}": row[part] for part in ("residual", "iterations")}
        return columns

    def _row(self, labels: np.ndarray, link: str, previous: np.ndarray | None) -> dict[str, Any]:
        def compute() -> dict[str, Any]:
            began, start = time.perf_counter(), self._start(previous, link)
            found = log_volume(self._problem.kernel, labels, link, start=start)
            names = ("log_volume", "residual", "iterations", "converged")
            row = {name: getattr(found, name) for name in names}
            return row | found.cavities._asdict() | {"seconds": time.perf_counter() - began}

        unit = self._unit(labels, link)
        if unit not in self._rows:
            self._rows[unit] = self._store.get(unit, compute, "log V")
        return self._rows[unit]

    def _start(self, previous: np.ndarray | None, link: str) -> Cavities:
        if previous is not None:
            unit = self._unit(previous, link)
            if self._rows[unit]["converged"]:
                return Cavities(**self._store.arrays(unit))
        return self._problem.true_cavities(link)

    def _unit(self, labels: np.ndarray, link: str) -> Unit:
        return VOLUME.unit(self._named, array_hash(np.asarray(labels, np.int8)), link)
