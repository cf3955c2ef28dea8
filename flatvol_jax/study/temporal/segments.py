"""Segments of a trajectory as units: what the networks answer at every epoch, and the end state."""

import functools
import time
from typing import Any, NamedTuple

import jax
import numpy as np

from flatvol_jax.models import Params, Spec, apply_in_batches
from flatvol_jax.study.engine.parameters import arrays_to_parameters, parameters_to_arrays
from flatvol_jax.study.engine.source_commit import source_commit
from flatvol_jax.study.engine.store import Store
from flatvol_jax.study.measures.problem import Problem
from flatvol_jax.study.measures.study_config import StudyConfig
from flatvol_jax.study.measures.symmetries import alpha_scale
from flatvol_jax.study.temporal.plan import Segment
from flatvol_jax.training import Trajectory, advance_trajectory, begin_trajectory

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
        """Return which epochs have finite outputs, and had them ever since the segment began."""
        return np.logical_and.accumulate(np.isfinite(self.output).all(axis=1))


class Segments:
    """The segments of one draw: each is trained once, and trained again from its stored start
    where a measure asks for its networks.

    Args:
        store: where units go.
        config: of the study.
        problem: of the draw; its network has no batch statistics.
        size: epochs of a whole segment.
    """

    def __init__(self, store: Store, config: StudyConfig, problem: Problem, size: int):
        self._store, self._config, self._problem, self._size = store, config, problem, size
        self._data = problem.spec, problem.train_x, problem.train_y, config.hp.train
        self._last: tuple[Segment | None, Params] = (None, None)
        if problem.spec.init_state(problem.train_x.shape[1:]):
            raise ValueError(
                f"hp.model: got {problem.spec.describe()['model']}, wanted a network without batch "
                "statistics, such as fcn or cnn."
            )

    def answers(self, segment: Segment) -> Answers:
        """Return the answers of a segment, which is trained where it is not on disk."""
        row = self._store.get(segment.unit, functools.partial(self._trained, segment))
        arrays = self._store.arrays(segment.unit)
        output, error = arrays["output"], arrays["error.second_test"]
        return Answers(output, error, row["seconds"], row.get("commit"))

    def networks(self, segment: Segment) -> Params:
        """Return the parameters at the segment's epochs, one leading axis.

        Raises:
            ValueError: they do not lead to the stored end.
        """
        if self._last[0] == segment:
            return self._last[1]
        end, params = self._epochs(segment)
        stored = self._store.arrays(segment.unit)
        for name, array in parameters_to_arrays(end, END).items():
            if not np.array_equal(stored[name], array, equal_nan=True):
                raise ValueError(
                    f"measures: epochs {segment.start} to {segment.end} were trained again, to be "
                    f"measured, and are not those of {self._store.path(segment.unit)}: "
                    "another machine or other versions round otherwise. Use a new --workdir."
                )
        self._last = segment, params
        return params

    def _trained(self, segment: Segment) -> dict[str, Any]:
        """Train a segment; return what is kept of it."""
        began, problem = time.perf_counter(), self._problem
        end, params = self._epochs(segment)
        self._last = segment, params
        seconds = (time.perf_counter() - began) / (segment.end - segment.start)
        inputs, second = np.concatenate([problem.train_x, problem.test_x]), problem.second_test_y
        error = np.full(len(segment.epochs), np.nan)
        if len(second):
            outputs = self._outputs(params, problem.second_test_x)
            error = ((outputs > 0) != (second > 0)).mean(axis=1)
        return {
            "output": self._outputs(params, inputs),
            "error.second_test": error,
            **parameters_to_arrays(end, END),
            "seconds": seconds,
            "commit": source_commit(),
        }

    def _epochs(self, segment: Segment) -> tuple[Trajectory, Params]:
        """Return the end, and the parameters at the segment's epochs."""
        keys = self._config.run_key("train", segment.run)[None]
        start = self._start(segment, begin_trajectory(keys, *self._data))
        length = segment.end - segment.start
        end, passed = advance_trajectory(keys, *self._data, start, length)
        parts = ([start.params] if segment.first else []) + [
            jax.tree.map(lambda leaf: leaf[0], passed.params)
        ]
        return end, jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)

    def _start(self, segment: Segment, begin: Trajectory) -> Trajectory:
        """Return the network at the segment's start, scaled where its branch begins."""
        if segment.before is None:
            return begin
        start = arrays_to_parameters(self._store.arrays(segment.before), begin, END)
        if not segment.first:
            return start
        params = jax.tree.map(lambda leaf: leaf[0], start.params)
        layer, alpha = segment.transform.layer, segment.transform.alpha
        assert layer is not None, "a branch that goes on from a unit is scaled"
        assert alpha is not None, "a branch that goes on from a unit is scaled"
        scaled = alpha_scale(self._problem.spec, params, layer, alpha)
        return start._replace(params=jax.tree.map(lambda leaf: np.asarray(leaf)[None], scaled))

    def _outputs(self, params: Params, x: np.ndarray) -> np.ndarray:
        """Return logits of each network, (epochs, m), filled up to one number of networks.

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
