"""What is measured along a trajectory: volume once a function, sharpness, Hessian."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from etils import epath

from flatvol_jax import flatness
from flatvol_jax.models import Params
from flatvol_jax.runtime.hashing import array_hash, content_hash
from flatvol_jax.runtime.randomness import named_key
from flatvol_jax.study.engine.units import Unit, read_row, read_unit_arrays, write_unit
from flatvol_jax.study.measures.flatness import measure_hessian, measure_sgd_sharpness
from flatvol_jax.study.measures.kernel_settings import kernel_settings
from flatvol_jax.study.measures.problem import Problem
from flatvol_jax.study.measures.trained import Trained, train_loss
from flatvol_jax.study.temporal.plan import STAGE_VERSIONS
from flatvol_jax.volume import Cavities, log_volume

SHARPNESS = ("value", "first_order", "second_order", "remainder", "on_face", "converged")


class Volumes:
    """log V of the functions of one draw, by EP: each string and link is computed once.

    It starts from the cavities of the function before it in time; where there is none, or EP did
    not converge there, from those of the true labels. The start moves the value within EP's
    residual, and the first trajectory that meets a function, in the order of the plan, gives it.

    Args:
        workdir: where units go.
        config: of the study.
        problem: of the draw.
        draw: its number.
        links: which likelihoods.
    """

    def __init__(
        self,
        workdir: epath.Path,
        config: Mapping[str, Any],
        problem: Problem,
        draw: int,
        links: list[str],
    ):
        self._workdir, self._problem, self._links = workdir, problem, links
        hp, seed = config["hp"], config["sweep"]["seed"]
        self._named = [hp["data"], hp["model"], seed, draw, kernel_settings(config)]
        self._rows: dict[Unit, dict[str, Any]] = {}

    def columns(self, labels: np.ndarray) -> dict[str, Any] | None:
        """The columns of a function f on S+E1; None where it is not computed yet."""
        rows = {link: self._row(self._unit(labels, link)) for link in self._links}
        if None in rows.values():
            return None
        columns: dict[str, Any] = {}
        for link, row in rows.items():
            name = f"measure.log_volume.{link}"
            columns |= {name: row["log_volume"]}
            columns |= {f"{name}.{part}": row[part] for part in ("residual", "iterations")}
            columns[f"is.ep_converged.{link}"] = row["converged"]
        columns["is.ep_converged"] = all(row["converged"] for row in rows.values())
        columns["meta.log_volume.seconds"] = sum(row["seconds"] for row in rows.values())
        return columns

    def compute(self, labels: np.ndarray, previous: np.ndarray | None) -> None:
        """Compute what is missing of a function, from the one before it."""
        for link in self._links:
            unit = self._unit(labels, link)
            if self._row(unit) is not None:
                continue
            began = time.perf_counter()
            found = log_volume(
                self._problem.kernel, labels, link, start=self._start(previous, link)
            )
            row = {
                "log_volume": float(found.log_volume),
                "residual": float(found.residual),
                "iterations": int(found.iterations),
                "converged": bool(found.converged),
                "seconds": time.perf_counter() - began,
            }
            write_unit(self._workdir, unit, row, found.cavities._asdict())

    def _start(self, previous: np.ndarray | None, link: str) -> Cavities:
        if previous is not None:
            unit = self._unit(previous, link)
            if self._row(unit)["converged"]:
                return Cavities(**read_unit_arrays(self._workdir, unit))
        return self._problem.true_cavities(link)

    def _unit(self, labels: np.ndarray, link: str) -> Unit:
        function = array_hash(np.asarray(labels, np.int8))
        named = [self._named, function, link, STAGE_VERSIONS["volume"]]
        return Unit("volume", content_hash(named))

    def _row(self, unit: Unit) -> dict[str, Any] | None:
        if unit not in self._rows:
            row = read_row(self._workdir, unit)
            if row is None:
                return None
            self._rows[unit] = row
        return self._rows[unit]


def sharpness_arrays(
    problem: Problem, params: Params, epsilon: float, settings: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Box sharpness (def. 2.1) of many networks, an array (networks,) for each of `SHARPNESS`.

    "sign": by sign iteration, `batch_size` networks at a time, the last batch filled up, so that
    one program serves all. "best": one after another, a climb on top.
    """
    loss = train_loss(problem, {})
    if settings["method"] == "sign":
        size = settings["batch_size"]
        found = flatness.ensemble_sharpness(loss, params, epsilon, batch_size=size)
        return {name: getattr(found, name) for name in SHARPNESS}
    each = []
    for place in range(len(jax.tree.leaves(params)[0])):
        single = jax.tree.map(lambda leaf, place=place: leaf[place], params)
        each.append(flatness.sharpness(loss, single, epsilon, method="best"))
    return {name: np.stack([getattr(found, name) for found in each]) for name in SHARPNESS}


def hessian_arrays(
    problem: Problem, params: Params, key: jax.Array, settings: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Return the columns of `measure_hessian`, each an array with the networks' leading axis."""
    return _measured(measure_hessian, problem, params, named_key(key, "hessian"), settings)


def sgd_sharpness_arrays(
    problem: Problem, params: Params, key: jax.Array, settings: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Return the same of `measure_sgd_sharpness`; all networks see one order of minibatches."""
    settings = {**settings, "mode": "evaluation", "drop_incomplete": False}
    key = named_key(key, "sgd_sharpness")
    return _measured(measure_sgd_sharpness, problem, params, key, settings)


def _measured(
    measure: Callable, problem: Problem, params: Params, key: jax.Array, settings: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Measure one network after another."""
    rows = []
    for place in range(len(jax.tree.leaves(params)[0])):
        single = jax.tree.map(lambda leaf, place=place: leaf[place], params)
        nothing = np.zeros(0)
        trained = Trained(single, {}, nothing, nothing, None)
        rows.append(measure(problem, trained, key, settings))
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}
