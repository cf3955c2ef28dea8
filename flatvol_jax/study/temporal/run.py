"""Sharpness and volume at every epoch, to zero error, on to an alpha-scaling, and beyond it.

One network is trained to the event, some epochs after zero error; there branches begin, each with
the network in another parametrisation of its function, and go on under the same minibatches. The
work is cut into segments of epochs, trained and measured as units (engine/store.py), so an
interrupted study ends with the numbers of a whole one.
"""

import functools
import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from etils import epath

from flatvol_jax.runtime.preemption import safe_point
from flatvol_jax.study.engine.plan import Run
from flatvol_jax.study.engine.progress import Bar, Progress
from flatvol_jax.study.engine.records import write_records
from flatvol_jax.study.engine.shards import Shard
from flatvol_jax.study.engine.store import Store, Unit, jsonable
from flatvol_jax.study.engine.workdir import open_workdir
from flatvol_jax.study.measures.problem import Problem, make_problem
from flatvol_jax.study.measures.study_config import (
    StudyConfig,
    check_entries,
    check_one_output,
    study_config,
)
from flatvol_jax.study.measures.transforms import Transform
from flatvol_jax.study.temporal import rows as columns
from flatvol_jax.study.temporal.measures import Part, Volumes, chosen_measures, flatness_parts
from flatvol_jax.study.temporal.plan import NONE, Schedule, Segment, make_schedule, temporal_runs
from flatvol_jax.study.temporal.rows import Past, labels
from flatvol_jax.study.temporal.segments import Answers, Segments
from flatvol_jax.volume import checked_kernel

Row = dict[str, Any]


def run_temporal(
    config: Mapping[str, Any],
    workdir: epath.PathLike,
    data_dir: str | None = None,
    progress: Progress | None = None,
    shard: Shard = Shard(),
) -> list[dict[str, Any]]:
    """Do what is missing, write the records, a row a measured epoch of a branch; return the rows.

    The rows up to the event have the transform "none", as those of the branch that goes on
    unscaled. At the event there are that row (`meta.event` "before") and one for each scaled branch
    ("after").

    Args:
        config: plain data, as configs/temporal.py makes it.
        workdir: folder of units, records and config; an earlier run's work is reused.
        data_dir: where TFDS data sets are prepared.
        progress: called as progress(epochs done, epochs in all, what is being done); zero error
            before the cap brings it forward at once.
        shard: of several processes, this one: it follows its share of the networks.

    Raises:
        ValueError: a config that does not fit; a folder of another config, or in use.
        Stopped: a stop was asked for (`runtime.preemption`); what is finished is on disk.
    """
    check_entries(config, "trajectory", "event")
    typed, runs = study_config(config), shard.share(temporal_runs(config))
    measures, cache = chosen_measures(config), epath.Path(workdir) / "cache"
    problem = make_problem(typed, 0, cache, data_dir)
    check_one_output(problem.spec, "the temporal study")
    schedule, cap = make_schedule(config, problem.spec), typed.hp.train.max_epochs
    each = cap + schedule.after + len(schedule.branches) * schedule.epochs
    store = Store(workdir, Bar(progress, len(runs) * each))
    boxes = measures["sharpness"].epsilons if "sharpness" in measures else ()
    common = {
        "meta.experiment": config["experiment"],
        "meta.scale": config["scale"],
        "meta.epsilon": next(iter(boxes), None),
    }
    with open_workdir(workdir, config, shard.name):
        rows: list[Row] = []
        finished = 0
        try:
            checked_kernel(problem.kernel)
            for draw in sorted({run.draw for run in runs}):
                problem = make_problem(typed, draw, cache, data_dir) if draw else problem
                followed = _Draw(store, typed, problem, draw, schedule, measures)
                for run in (run for run in runs if run.draw == draw):
                    began = store.bar.done
                    followed.follow(run, rows)
                    finished, store.bar.done = len(rows), began + each
            store.bar.say("done")
        finally:
            whole = [place < finished for place in range(len(rows))]
            rows = [jsonable(row | common) for row in rows]
            rows = write_records(store.workdir, rows, shard, whole)
    return rows


class _Draw:
    """The networks of one draw, followed one after another."""

    def __init__(
        self,
        store: Store,
        config: StudyConfig,
        problem: Problem,
        draw: int,
        schedule: Schedule,
        measures: Mapping[str, Any],
    ):
        self._store, self._config, self._problem = store, config, problem
        self._schedule, self._cap = schedule, config.hp.train.max_epochs
        self._segments = Segments(store, config, problem, schedule.segment)
        self._parts = flatness_parts(measures)
        links = measures["log_volume"].links if "log_volume" in measures else ()
        self._volumes = Volumes(store, config, problem, draw, links) if links else None

    def follow(self, run: Run, rows: list[Row]) -> None:
        """Follow one network: the base to the event, then every branch; add their rows."""
        bar, schedule = self._store.bar, self._schedule
        done = bar.done + self._cap + schedule.after
        past, last, alive = self._follow(run, NONE, Past(), None, rows)
        past = past._replace(at_event=past.measured)
        for transform in schedule.branches if alive and past.event is not None else ():
            bar.done, done = done, done + schedule.epochs
            self._follow(run, transform, past, last, rows)

    def _follow(
        self, run: Run, transform: Transform, past: Past, before: Unit | None, rows: list[Row]
    ) -> tuple[Past, Unit | None, bool]:
        """Go from initialisation to the event, or from there on with the network transformed.

        Returns:
            The past, the unit of the last segment, and whether the network is still finite.
        """
        start, alive = past.event or 0, True
        end = start + self._schedule.epochs if start else self._cap
        event = None if transform == NONE else past.event
        while start < end and alive:
            until = min(start + self._schedule.segment, end)
            segment = Segment(run, transform, event, start, until, before)
            self._store.bar.say(f"{transform.name}: epochs {start} to {until}")
            answers = self._segments.answers(segment)
            safe_point()
            if past.zero_error is None:
                past = self._with_zero_error(past, segment, answers)
                end = self._cap if past.event is None else past.event
                if end < until:
                    continue  # the event lies within: the segment is to end there
            past, alive = self._measure(segment, answers, past, rows)
            before, start = segment.unit, until
        return past, before, alive

    def _with_zero_error(self, past: Past, segment: Segment, answers: Answers) -> Past:
        train_y = self._problem.train_y
        right = ((answers.output[:, : len(train_y)] > 0) == (train_y > 0)).all(axis=1)
        found = np.flatnonzero(right & answers.finite)
        if not len(found):
            return past
        epoch = segment.epochs[found[0]]
        return past._replace(zero_error=epoch, event=epoch + self._schedule.after)

    def _measure(
        self, segment: Segment, answers: Answers, past: Past, rows: list[Row]
    ) -> tuple[Past, bool]:
        """Measure a segment, add its rows; return the past of the next, whether there is one."""
        finite = answers.finite
        places = {
            epoch: place
            for place, epoch in enumerate(segment.epochs)
            if finite[place] and self._schedule.measured(epoch, past.zero_error, past.event)
        }
        flat = self._flatness(segment, places, past)
        for epoch, place in places.items():
            output = answers.output[place]
            row = columns.key_columns(segment, epoch, past)
            row |= columns.answer_columns(self._problem, output, past)
            row["measure.error.second_test"] = float(answers.second_test_error[place])
            if segment.event == epoch:
                row |= columns.scaling_columns(output, past)
            if self._volumes is not None:
                previous = None if past.measured is None else labels(past.measured)
                row |= self._volumes.columns(labels(output), previous)
            row |= {"meta.trajectory.seconds": answers.seconds, "meta.commit": answers.commit}
            rows.append(row | flat[epoch])
            past = past._replace(measured=output)
        if not finite.all():
            epoch = segment.epochs[int(np.argmin(finite))]
            row = columns.key_columns(segment, epoch, past) | columns.diverged_columns()
            rows.append(row | {"meta.commit": answers.commit})
        self._store.bar.done += segment.end - segment.start
        return past, bool(finite.all())

    def _flatness(self, segment: Segment, places: Mapping[int, int], past: Past) -> dict[int, Row]:
        """Return the columns of sharpness and Hessian by epoch."""
        found: dict[int, Row] = {epoch: {} for epoch in places}
        for part in self._parts:
            dense = self._schedule.dense if part.dense else 0
            schedule = self._schedule._replace(every=part.every, dense=dense)
            epochs = [e for e in places if schedule.measured(e, past.zero_error, past.event)]
            if not epochs:
                continue
            name, text = part.stage.name, f"epochs {epochs[0]} to {epochs[-1]}"
            unit = part.stage.unit(name, segment.unit.digest, epochs, part.settings)
            compute = functools.partial(self._measured, segment, part, [places[e] for e in epochs])
            row = self._store.get(unit, compute, f"{segment.transform.name}: {name}, {text}")
            safe_point()
            arrays, path = self._store.arrays(unit), self._store.arrays_path(unit)
            for place, epoch in enumerate(epochs):
                found[epoch] |= columns.part_columns(part, arrays, place, path)
                found[epoch][f"meta.{name}{part.suffix}.seconds"] = row["seconds"]
        return found

    def _measured(self, segment: Segment, part: Part, places: list[int]) -> Row:
        """Measure the networks at some places of a segment."""
        networks = self._segments.networks(segment)
        key = self._config.run_key("measure", segment.run)
        began, params = time.perf_counter(), jax.tree.map(lambda leaf: leaf[places], networks)
        arrays = part.measure(self._problem, params, key)
        return arrays | {"seconds": (time.perf_counter() - began) / len(places)}
