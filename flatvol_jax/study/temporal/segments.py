"""Segments of a trajectory as units: what the networks answer at every epoch, and the end state."""

import functools
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from etils import epath

from flatvol_jax.models import Params, Spec, apply_in_batches
from flatvol_jax.study.engine.parameters import arrays_to_parameters, parameters_to_arrays
from flatvol_jax.study.engine.source_commit import source_commit
from flatvol_jax.study.engine.units import read_row, read_unit_arrays, row_path, write_unit
from flatvol_jax.study.measures.problem import Problem
from flatvol_jax.study.measures.symmetries import alpha_scale
from flatvol_jax.study.measures.train_entries import train_settings
from flatvol_jax.study.measures.training_units import run_key
from flatvol_jax.study.temporal.plan import Segment
from flatvol_jax.training import (
    Trajectory,
    advance_trajectory,
    begin_trajectory,
)

END = "end"  # how the names of the arrays of the end state begin


class Answers(NamedTuple):
    """What the networks of a segment answer, an entry an epoch.

    Attributes:
        output: logits on S, then E1, (epochs, n) float32.
        second_test_error: share of wrong labels on E2, (epochs,); NaN where E2 is empty.
        seconds: of training, an epoch.
        commit: of the code that trained it; None where it is not known.
    """

    output: np.ndarray
    second_test_error: np.ndarray
    seconds: float
    commit: str | None = None

    @property
    def finite(self) -> np.ndarray:
        """Which epochs have finite outputs, and had them ever since the segment began."""
        return np.logical_and.accumulate(np.isfinite(self.output).all(axis=1))


class Segments:
    """The segments of one draw: each is trained once, and trained again from its stored start
    where a measure asks for its networks.

    Args:
        workdir: where units go.
        config: of the study.
        problem: of the draw; its network has no batch statistics.
        size: epochs of a whole segment.
    """

    def __init__(self, workdir: epath.Path, config: Mapping[str, Any], problem: Problem, size: int):
        self._workdir, self._config, self._problem, self._size = workdir, config, problem, size
        self._settings = train_settings(config["hp"]["train"])
        self._last = None, None
        if problem.spec.init_state(problem.train_x.shape[1:]):
            raise ValueError(
                f"hp.model: got {problem.spec.describe()['model']}, wanted a network without batch "
                "statistics, such as fcn or cnn."
            )

    def answers(self, segment: Segment) -> Answers:
        """The answers of a segment, which is trained where it is not on disk."""
        row = read_row(self._workdir, segment.unit)
        if row is None:
            self._train(segment)
            row = read_row(self._workdir, segment.unit)
        arrays = read_unit_arrays(self._workdir, segment.unit)
        return Answers(
            arrays["output"], arrays["error.second_test"], row["seconds"], row.get("commit")
        )

    def networks(self, segment: Segment) -> Params:
        """The parameters at the segment's epochs, one leading axis.

        Raises:
            ValueError: they do not lead to the stored end.
        """
        if self._last[0] == segment:
            return self._last[1]
        end, params = self._epochs(segment)
        stored = read_unit_arrays(self._workdir, segment.unit)
        for name, array in parameters_to_arrays(end, END).items():
            if not np.array_equal(stored[name], array, equal_nan=True):
                raise ValueError(
                    f"measures: epochs {segment.start} to {segment.end} were trained again, to be "
                    f"measured, and are not those of {row_path(self._workdir, segment.unit)}: "
                    "another machine or other versions round otherwise. Use a new --workdir."
                )
        self._last = segment, params
        return params

    def _train(self, segment: Segment) -> None:
        began = time.perf_counter()
        end, params = self._epochs(segment)
        seconds = (time.perf_counter() - began) / (segment.end - segment.start)
        problem = self._problem
        inputs = np.concatenate([problem.train_x, problem.test_x])
        second = np.full(len(segment.epochs), np.nan)
        if len(problem.second_test_y):
            wrong = (self._outputs(params, problem.second_test_x) > 0) != (
                problem.second_test_y > 0
            )
            second = wrong.mean(axis=1)
        arrays = {
            "output": self._outputs(params, inputs),
            "error.second_test": second,
            **parameters_to_arrays(end, END),
        }
        row = {"seconds": seconds, "commit": source_commit()}
        write_unit(self._workdir, segment.unit, row, arrays)
        self._last = segment, params

    def _epochs(self, segment: Segment) -> tuple[Trajectory, Params]:
        """The end, and the parameters at the segment's epochs."""
        start = self._start(segment)
        keys = run_key(self._config, "train", segment.run)[None]
        problem = self._problem
        data = (problem.spec, problem.train_x, problem.train_y, self._settings)
        end, passed = advance_trajectory(keys, *data, start, segment.end - segment.start)
        parts = ([start.params] if segment.first else []) + [
            jax.tree.map(lambda leaf: leaf[0], passed.params)
        ]
        return end, jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)

    def _start(self, segment: Segment) -> Trajectory:
        """The network at the segment's start, scaled where its branch begins."""
        keys = run_key(self._config, "train", segment.run)[None]
        problem = self._problem
        data = (problem.spec, problem.train_x, problem.train_y, self._settings)
        start = begin_trajectory(keys, *data)
        if segment.before is None:
            return start
        arrays = read_unit_arrays(self._workdir, segment.before)
        start = arrays_to_parameters(arrays, start, END)
        if not segment.first:
            return start
        params = jax.tree.map(lambda leaf: leaf[0], start.params)
        scaled = alpha_scale(problem.spec, params, segment.transform.layer, segment.transform.alpha)
        return start._replace(params=jax.tree.map(lambda leaf: np.asarray(leaf)[None], scaled))

    def _outputs(self, params: Params, x: np.ndarray) -> np.ndarray:
        """Logits of each network, (epochs, m), filled up to one number of networks.

        One program of one shape evaluates the network before scaling and after it.
        """
        count = len(jax.tree.leaves(params)[0])
        filled = jax.tree.map(
            lambda leaf: np.concatenate([leaf, *[leaf[-1:]] * (self._size + 1 - count)]), params
        )
        rows = self._problem.batch_size
        return np.asarray(_all_outputs(self._problem.spec, filled, x, rows))[:count]


@functools.partial(jax.jit, static_argnums=(0, 3))
def _all_outputs(spec: Spec, params: Params, x: jax.Array, rows: int | None) -> jax.Array:
    return jax.lax.map(lambda member: apply_in_batches(spec, member, x, None, rows), params)
