"""The attack-set sweep (section 5.2): train on S ∪ A over draws, |A| and seeds; measure each.

The work is a list of units (engine/units.py): training run by run in ensembles of a fixed shape,
then each measure of each run. What is on disk already is not done again, and what a run yields
depends on its own `hp` alone, so an interrupted sweep ends with the numbers of a whole one, and
so does one that is divided among processes (engine/shards.py) or dealt out to devices
(runtime/spread.py).
"""

import functools
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from flatvol_jax.runtime.faults import NumericalFault
from flatvol_jax.runtime.randomness import named_key
from flatvol_jax.runtime.spread import spread
from flatvol_jax.study.engine.config_entries import check_plain, group
from flatvol_jax.study.engine.plan import Run, is_measured, measure_unit, plan_runs, training_unit
from flatvol_jax.study.engine.progress import Bar, Progress
from flatvol_jax.study.engine.recorded_runs import recorded_rows
from flatvol_jax.study.engine.records import merge_records
from flatvol_jax.study.engine.shards import Shard
from flatvol_jax.study.engine.units import read_row, split_arrays, write_unit
from flatvol_jax.study.engine.workdir import open_workdir
from flatvol_jax.study.measures.problem import Problem, make_problem
from flatvol_jax.study.measures.registry import MEASURES, chosen_measures
from flatvol_jax.study.measures.train_entries import train_settings
from flatvol_jax.study.measures.training_units import (
    ensemble_size,
    read_trained,
    run_key,
    train_group,
)
from flatvol_jax.volume import checked_kernel


def run_attack_sweep(
    config: Mapping[str, Any],
    workdir: epath.PathLike,
    data_dir: str | None = None,
    progress: Progress | None = None,
    cache: epath.PathLike | None = None,
    shard: Shard = Shard(),
) -> list[dict[str, Any]]:
    """Do what is missing of the sweep in `workdir`, write its records, return their rows.

    Ensembles and measures are dealt out to the local devices, one after another on each. A
    numerical fault (a loss that is not finite, a kernel that is indefinite) is recorded at the
    network that has it, `is.fault.MEASURE`, and the sweep goes on.

    Args:
        config: plain data, as configs/mnist_fcn.py makes it.
        workdir: folder of units, records and config; an earlier run's work is reused, that of
            finished records without units, too.
        data_dir: where TFDS data sets are prepared.
        progress: called as progress(units done, units in all, what is being done).
        cache: folder of kernels, which several sweeps may share; `workdir`/cache if left out.
        shard: of several processes, this one: it does its share of the networks and writes
            records of its own, which reading merges.

    Raises:
        ValueError: a config that does not fit the data or itself, a workdir of another config
            or in use; before any training.
        Stopped: a stop was asked for (`runtime.preemption`); what is finished is on disk.
    """
    check_plain(config)
    measures = chosen_measures(config)
    settings = train_settings(group(config, "hp.train"))
    size = ensemble_size(config, settings)
    plan = plan_runs(config)
    ensembles = [runs for draw in _by_draw(plan) for runs in _groups(draw, size)]
    own = {run.run_id for runs in shard.of(ensembles) for run in runs}
    runs = [run for run in plan if run.run_id in own]
    recorded = recorded_rows(workdir, runs, measures)
    runs = [run for run in runs if (run.run_id, run.overtrain) not in recorded]
    cache = epath.Path(workdir) / "cache" if cache is None else epath.Path(cache)
    bar = Bar(progress, _units(runs, measures))

    def problem_of(draw: int) -> Problem:
        def kernel_progress(part: int, whole: int) -> None:
            bar.say(f"draw {draw}: kernel {part}/{whole}")

        return make_problem(config, draw, cache, data_dir, kernel_progress)

    # Sizes that do not fit fail before the workdir is claimed, a missing package or a kernel that
    # is too large for memory before anything is trained.
    first = runs[0].draw if runs else 0
    problem = problem_of(first)
    with open_workdir(workdir, config, shard.name) as workdir:
        try:
            if runs:
                _warn_of_faults(problem, first)
            for of_draw in _by_draw(runs):
                draw = of_draw[0].draw
                untrained = [r for r in of_draw if read_row(workdir, training_unit(r)) is None]
                unmeasured = [
                    (run, name)
                    for run in of_draw
                    for name in measures
                    if is_measured(run, measures[name])
                    and (
                        run in untrained
                        or read_row(workdir, measure_unit(run, name, measures[name])) is None
                    )
                ]
                whole = _units(of_draw, measures)
                bar.finished(whole - len(untrained) - len(unmeasured), f"draw {draw}")
                if not untrained and not unmeasured:
                    continue
                problem = problem if draw == first else problem_of(draw)
                _train(workdir, config, problem, settings, untrained, size, bar)
                _measure_all(workdir, config, problem, unmeasured, measures, bar)
        finally:
            sweep = config.get("experiment"), config.get("scale")
            rows = merge_records(workdir, runs, measures, *sweep, shard=shard)
    return [*recorded.values(), *rows]


def _units(runs: Sequence[Run], measures: Mapping[str, Mapping[str, Any]]) -> int:
    """Return the number of units of these runs: training, and the measures of each."""
    measured = sum(is_measured(run, settings) for run in runs for settings in measures.values())
    return len(runs) + measured


def _warn_of_faults(problem: Problem, draw: int) -> None:
    try:
        checked_kernel(problem.kernel)
    except NumericalFault as fault:
        warnings.warn(
            f"draw {draw}: {fault} What needs this kernel is recorded as a fault.", stacklevel=3
        )


def _train(workdir, config, problem: Problem, settings, untrained, size: int, bar: Bar) -> None:
    """Train runs of one draw in ensembles, each on one device."""

    def task(group: Sequence[Run]):
        name, text = group[0].run_id, f"draw {group[0].draw}: training |A| = {_sizes(group)}"
        units = [run for run in untrained if run.run_id in {r.run_id for r in group}]

        def within(fraction: float) -> None:
            bar.within(name, text, fraction * len(units))

        train_group(workdir, config, problem, settings, group, size, units, within)
        return len(units), text, name

    groups = list(_groups(untrained, size))
    tasks = [functools.partial(task, group) for group in groups]
    spread(tasks, lambda found: bar.finished(*found))


def _measure_all(workdir, config, problem: Problem, unmeasured, measures, bar: Bar) -> None:
    """Measure runs of one draw, each measure of each on one device."""

    def task(run: Run, name: str):
        _measure(workdir, config, problem, run, name, measures[name])
        return 1, f"draw {run.draw}: {name} at |A| = {run.attack_size}"

    tasks = [functools.partial(task, run, name) for run, name in unmeasured]
    spread(tasks, lambda found: bar.finished(*found))


def _by_draw(runs: Sequence[Run]) -> list[list[Run]]:
    """The runs of each draw, in the order of the plan."""
    draws: dict[int, list[Run]] = {}
    for run in runs:
        draws.setdefault(run.draw, []).append(run)
    return list(draws.values())


def _groups(runs: Sequence[Run], size: int) -> Iterator[Sequence[Run]]:
    """Networks of similar |A|, `size` at a time, each once."""
    networks = list({run.run_id: run for run in runs}.values())
    for first in range(0, len(networks), size):
        yield networks[first : first + size]


def _sizes(group: Sequence[Run]) -> str:
    sizes = sorted({run.attack_size for run in group})
    return f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]}..{sizes[-1]}"


def _measure(workdir, config, problem: Problem, run: Run, name: str, settings) -> None:
    began = time.perf_counter()
    trained = read_trained(workdir, problem, run)
    measured = {}
    if trained is not None:
        key = named_key(run_key(config, "measure", run), name)
        try:
            measured = MEASURES[name](problem, trained, key, settings)
        except (NumericalFault, np.linalg.LinAlgError) as fault:
            measured = {f"is.fault.{name}": True, f"meta.fault.{name}": str(fault)}
    measured[f"meta.{name}.seconds"] = time.perf_counter() - began
    write_unit(workdir, measure_unit(run, name, settings), *split_arrays(measured))
