"""Sharpness and volume at every epoch, to zero error, on to an alpha-scaling, and beyond it.

One network is trained to the event, some epochs after zero error; there branches begin, each with
the network in another parametrisation of its function, and go on under the same minibatches. The
work is cut into segments of epochs, trained and measured as units (engine/units.py), so an
interrupted study ends with the numbers of a whole one.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from etils import epath

from flatvol_jax.models import Params
from flatvol_jax.runtime.preemption import safe_point
from flatvol_jax.study.engine.config_entries import check_plain, group
from flatvol_jax.study.engine.progress import Bar, Progress
from flatvol_jax.study.engine.records import write_records
from flatvol_jax.study.engine.shards import Shard
from flatvol_jax.study.engine.units import (
    arrays_path,
    jsonable,
    read_row,
    read_unit_arrays,
    write_unit,
)
from flatvol_jax.study.engine.workdir import open_workdir
from flatvol_jax.study.measures.problem import Problem, check_one_output, make_problem
from flatvol_jax.study.measures.train_entries import train_settings
from flatvol_jax.study.measures.training_units import run_key
from flatvol_jax.study.temporal.measures import (
    Volumes,
    hessian_arrays,
    sgd_sharpness_arrays,
    sharpness_arrays,
)
from flatvol_jax.study.temporal.plan import (
    NONE,
    Schedule,
    Segment,
    chosen_measures,
    cuts,
    make_schedule,
    measure_unit,
    temporal_runs,
)
from flatvol_jax.study.temporal.rows import (
    Past,
    answer_columns,
    diverged_columns,
    key_columns,
    labels,
    numbers_of,
    scaling_columns,
    sharpness_columns,
)
from flatvol_jax.study.temporal.segments import Answers, Segments
from flatvol_jax.volume import checked_kernel


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
    check_plain(config)
    train_settings(group(config, "hp.train"))
    runs, measures = shard.of(temporal_runs(config)), chosen_measures(config)
    cache = epath.Path(workdir) / "cache"
    problem = make_problem(config, 0, cache, data_dir)
    check_one_output(problem.spec, "the temporal study")
    schedule = make_schedule(config, problem.spec)
    with open_workdir(workdir, config, shard.name) as workdir:
        rows: list[dict[str, Any]] = []
        finished = 0
        try:
            checked_kernel(problem.kernel)
            study = _Study(config, workdir, schedule, measures, len(runs), progress)
            for draw in sorted({run.draw for run in runs}):
                problem = make_problem(config, draw, cache, data_dir) if draw else problem
                study.open_draw(problem, draw)
                for run in (run for run in runs if run.draw == draw):
                    study.follow(run, rows)
                    finished = len(rows)
            study.bar.say("done")
        finally:
            common = {
                "meta.experiment": config["experiment"],
                "meta.scale": config["scale"],
                "meta.epsilon": measures.get("sharpness", {}).get("epsilons", [None])[0],
            }
            rows = [jsonable(row | common) for row in rows]
            whole = [place < finished for place in range(len(rows))]
            rows = write_records(workdir, rows, shard, whole)
    return rows


class _Study:
    """A study under way: what its segments share, and how far it is."""

    def __init__(self, config, workdir, schedule: Schedule, measures, runs: int, progress):
        self._config, self._workdir, self._schedule = config, workdir, schedule
        self._measures = measures
        self._cap = config["hp"]["train"]["max_epochs"]
        self._each = self._cap + schedule.after + len(schedule.branches) * schedule.epochs
        self.bar = Bar(progress, runs * self._each)

    def open_draw(self, problem: Problem, draw: int) -> None:
        """Turn to the networks of a draw."""
        config, links = self._config, self._measures.get("log_volume", {}).get("links", [])
        self._problem = problem
        self._segments = Segments(self._workdir, config, problem, self._schedule.segment)
        self._volumes = Volumes(self._workdir, config, problem, draw, links) if links else None

    def follow(self, run, rows: list[dict[str, Any]]) -> None:
        """One network: the base to the event, then every branch; adds their rows."""
        began, schedule = self.bar.done, self._schedule
        past, last, alive = self._base(run, rows)
        self.bar.done = began + self._cap + schedule.after
        if alive and past.event is not None:
            for transform in schedule.branches:
                before = self.bar.done
                self._branch(run, transform, last, past, rows)
                self.bar.done = before + schedule.epochs
        self.bar.done = began + self._each

    def _base(self, run, rows) -> tuple[Past, Segment, bool]:
        """To zero error and on to the event; where it ended, and whether it is still finite."""
        past, unit, start, end, alive = Past(), None, 0, self._cap, True
        segment = None
        while start < end and alive:
            until = min(start + self._schedule.segment, end)
            segment = Segment(run, NONE, None, start, until, unit)
            answers = self._answers(segment)
            if past.zero_error is None:
                past = self._with_zero_error(past, segment, answers)
                end = self._cap if past.event is None else past.event
                if end < until:
                    continue  # the event lies within: the segment is to end there
            past, alive = self._measure(segment, answers, past, rows)
            unit, start = segment.unit, until
        if past.event is not None:
            past = past._replace(at_event=past.measured)
        return past, segment, alive

    def _branch(self, run, transform, last: Segment, past: Past, rows) -> None:
        """From the event on, with the network in the transform's form."""
        unit, event = last.unit, None if transform == NONE else past.event
        for start, end in cuts(
            past.event, past.event + self._schedule.epochs, self._schedule.segment
        ):
            segment = Segment(run, transform, event, start, end, unit)
            past, alive = self._measure(segment, self._answers(segment), past, rows)
            unit = segment.unit
            if not alive:
                return

    def _answers(self, segment: Segment) -> Answers:
        self.bar.say(f"{segment.transform.name}: epochs {segment.start} to {segment.end}")
        answers = self._segments.answers(segment)
        safe_point()
        return answers

    def _with_zero_error(self, past: Past, segment: Segment, answers: Answers) -> Past:
        train_y = self._problem.train_y
        right = ((answers.output[:, : len(train_y)] > 0) == (train_y > 0)).all(axis=1)
        found = np.flatnonzero(right & answers.finite)
        if not len(found):
            return past
        epoch = segment.epochs[found[0]]
        return past._replace(zero_error=epoch, event=epoch + self._schedule.after)

    def _measure(
        self, segment: Segment, answers: Answers, past: Past, rows: list
    ) -> tuple[Past, bool]:
        """Measure a segment and add its rows; the past of the next, and whether there is one."""
        finite = answers.finite
        places = {
            epoch: place
            for place, epoch in enumerate(segment.epochs)
            if finite[place] and self._schedule.measured(epoch, past.zero_error, past.event)
        }
        flat = self._flatness(segment, places, past)
        found = []
        for epoch, place in places.items():
            output = answers.output[place]
            row = key_columns(segment, epoch, past)
            row |= answer_columns(self._problem, output, past)
            row["measure.error.second_test"] = float(answers.second_test_error[place])
            if segment.event == epoch:
                row |= scaling_columns(output, past)
            if self._volumes is not None:
                row |= self._volume(output, past)
            row |= {"meta.trajectory.seconds": answers.seconds, "meta.commit": answers.commit}
            row |= flat.get(epoch, {})
            found.append(row)
            past = past._replace(measured=output)
        if not finite.all():
            epoch = segment.epochs[int(np.argmin(finite))]
            row = key_columns(segment, epoch, past) | diverged_columns()
            found.append(row | {"meta.commit": answers.commit})
        rows += found
        self.bar.done += segment.end - segment.start
        return past, bool(finite.all())

    def _volume(self, output: np.ndarray, past: Past) -> dict[str, Any]:
        """log V of f, computed where it is not known yet, from the function before it."""
        previous = None if past.measured is None else labels(past.measured)
        function = labels(output)
        if self._volumes.columns(function) is None:
            self.bar.say("log V")
            self._volumes.compute(function, previous)
        return self._volumes.columns(function)

    def _flatness(
        self, segment: Segment, places: Mapping[int, int], past: Past
    ) -> dict[int, dict[str, Any]]:
        """Columns of sharpness and Hessian by epoch."""
        columns: dict[int, dict[str, Any]] = {epoch: {} for epoch in places}
        problem = self._problem
        if settings := self._measures.get("sharpness"):
            own = {name: settings[name] for name in ("method", "batch_size")}
            for number, epsilon in enumerate(settings["epsilons"]):
                epochs = self._due(places, settings["every"], past, self._schedule.dense)
                arrays, seconds, _ = self._unit(
                    segment,
                    "sharpness",
                    epochs,
                    places,
                    {**own, "epsilon": epsilon},
                    lambda params, e=epsilon: sharpness_arrays(problem, params, e, settings),
                )
                suffix = f".{epsilon:g}" if number else ""
                for place, epoch in enumerate(epochs):
                    columns[epoch] |= sharpness_columns(arrays, place, suffix)
                    columns[epoch][f"meta.sharpness{suffix}.seconds"] = seconds
        # An ascent costs far more than a row: the epochs right after the event do not all have one.
        for stage, measure, dense in (
            ("hessian", hessian_arrays, self._schedule.dense),
            ("sgd_sharpness", sgd_sharpness_arrays, 0),
        ):
            if settings := self._measures.get(stage):
                epochs = self._due(places, settings["every"], past, dense)
                found = self._rows_of(segment, stage, epochs, places, settings, measure)
                for epoch, row in found.items():
                    columns[epoch] |= row
        return columns

    def _rows_of(
        self, segment: Segment, stage: str, epochs: list[int], places, settings, measure: Callable
    ) -> dict[int, dict[str, Any]]:
        """Return the columns of a measure of single networks by epoch, and where its arrays lie."""
        key = run_key(self._config, "measure", segment.run)
        arrays, seconds, path = self._unit(
            segment,
            stage,
            epochs,
            places,
            {name: value for name, value in settings.items() if name != "every"},
            lambda params: measure(self._problem, params, key, settings),
        )
        return {
            epoch: numbers_of(arrays, place)
            | {
                f"meta.{stage}.seconds": seconds,
                f"meta.arrays.{stage}": path,
                f"meta.arrays.{stage}.row": place,
            }
            for place, epoch in enumerate(epochs)
        }

    def _due(self, epochs: Mapping[int, int], every: int, past: Past, dense: int) -> list[int]:
        """Return the measured epochs at which a measure with a stride of its own is taken."""
        schedule = self._schedule._replace(every=every, dense=dense)
        return [e for e in epochs if schedule.measured(e, past.zero_error, past.event)]

    def _unit(
        self,
        segment: Segment,
        stage: str,
        epochs: list[int],
        places: Mapping[int, int],
        settings: Mapping[str, Any],
        compute: Callable[[Params], dict[str, np.ndarray]],
    ) -> tuple[dict[str, np.ndarray], float, str | None]:
        """Arrays of a measure at some epochs, its seconds an epoch, where the arrays lie."""
        if not epochs:
            return {}, 0.0, None
        unit = measure_unit(segment, stage, epochs, settings)
        if read_row(self._workdir, unit) is None:
            self.bar.say(f"{segment.transform.name}: {stage}, epochs {epochs[0]} to {epochs[-1]}")
            networks = self._segments.networks(segment)
            chosen = [places[epoch] for epoch in epochs]
            began = time.perf_counter()
            arrays = compute(jax.tree.map(lambda leaf: leaf[chosen], networks))
            seconds = (time.perf_counter() - began) / len(epochs)
            write_unit(self._workdir, unit, {"seconds": seconds}, arrays)
            safe_point()
        row = read_row(self._workdir, unit)
        arrays = read_unit_arrays(self._workdir, unit)
        return arrays, row["seconds"], arrays_path(self._workdir, unit)
