"""The attack-set sweep (section 5.2): train on S ∪ A over draws, |A| and seeds; measure each.

The work is a list of units (engine/store.py): training run by run in ensembles of a fixed shape,
then each measure of each run. What is on disk already is not done again, and what a run yields
depends on its own `hp` alone, so an interrupted sweep ends with the numbers of a whole one, and
so does one that is divided among processes (engine/shards.py) or dealt out to devices
(runtime/spread.py).
"""

import functools
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from etils import epath

from flatvol_jax.runtime.faults import NumericalFault
from flatvol_jax.runtime.randomness import named_key
from flatvol_jax.runtime.spread import spread
from flatvol_jax.study.engine.plan import Measures, Run, plan_runs, units_of
from flatvol_jax.study.engine.progress import Bar, Progress
from flatvol_jax.study.engine.run_records import merge_records, recorded_rows
from flatvol_jax.study.engine.shards import Shard
from flatvol_jax.study.engine.store import Store
from flatvol_jax.study.engine.workdir import open_workdir
from flatvol_jax.study.measures.problem import Problem, make_problem
from flatvol_jax.study.measures.registry import chosen_measures, measured_columns
from flatvol_jax.study.measures.study_config import StudyConfig, check_entries, study_config
from flatvol_jax.study.measures.training_units import read_trained, train_group
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
    check_entries(config)
    typed = study_config(config)
    measures, plan = chosen_measures(config), plan_runs(config)
    ensembles = [runs for draw in _by_draw(plan) for runs in _groups(draw, typed.ensemble)]
    own = {run.run_id for runs in shard.share(ensembles) for run in runs}
    runs = [run for run in plan if run.run_id in own]
    recorded = recorded_rows(workdir, runs, measures)
    runs = [run for run in runs if (run.run_id, run.overtrain) not in recorded]
    cache = epath.Path(workdir) / "cache" if cache is None else epath.Path(cache)
    store = Store(workdir, Bar(progress, _count(runs, measures)))

    def problem_of(draw: int) -> Problem:
        def kernel_progress(part: int, whole: int) -> None:
            store.bar.say(f"draw {draw}: kernel {part}/{whole}")

        return make_problem(typed, draw, cache, data_dir, kernel_progress)

    # Sizes that do not fit fail before the workdir is claimed, a missing package or a kernel that
    # is too large for memory before anything is trained.
    first = runs[0].draw if runs else 0
    problem = problem_of(first)
    with open_workdir(workdir, config, shard.name):
        try:
            if runs:
                _warn_of_faults(problem, first)
            for draw_runs in _by_draw(runs):
                draw = draw_runs[0].draw
                untrained = [run for run in draw_runs if store.row(run.training) is None]
                unmeasured = [
                    (run, name)
                    for run in draw_runs
                    for name, unit in units_of(run, measures).items()
                    if run in untrained or store.row(unit) is None
                ]
                missing = len(untrained) + len(unmeasured)
                store.bar.finished(_count(draw_runs, measures) - missing, f"draw {draw}")
                if missing:
                    problem = problem if draw == first else problem_of(draw)
                    _train(store, typed, problem, untrained)
                    _measure_all(store, typed, problem, unmeasured, measures)
        finally:
            sweep = config.get("experiment"), config.get("scale")
            rows = merge_records(store, runs, measures, *sweep, shard=shard)
    return [*recorded.values(), *rows]


def _count(runs: Sequence[Run], measures: Measures) -> int:
    """Return the number of units of these runs: training, and the measures of each."""
    return len(runs) + sum(len(units_of(run, measures)) for run in runs)


def _warn_of_faults(problem: Problem, draw: int) -> None:
    try:
        checked_kernel(problem.kernel)
    except NumericalFault as fault:
        warnings.warn(
            f"draw {draw}: {fault} What needs this kernel is recorded as a fault.", stacklevel=3
        )


def _train(store: Store, config: StudyConfig, problem: Problem, untrained: Sequence[Run]) -> None:
    """Train runs of one draw in ensembles, each on one device."""

    def task(group: Sequence[Run]):
        ids = {run.run_id for run in group}
        sizes = sorted({run.attack_size for run in group})
        name, units = group[0].run_id, [run for run in untrained if run.run_id in ids]
        text = f"draw {group[0].draw}: training |A| = {sizes[0]}"
        text += f"..{sizes[-1]}" if len(sizes) > 1 else ""

        def within(fraction: float) -> None:
            store.bar.within(name, text, fraction * len(units))

        train_group(store, config, problem, group, units, within)
        return len(units), text, name

    groups = _groups(untrained, config.ensemble)
    tasks = [functools.partial(task, group) for group in groups]
    spread(tasks, lambda found: store.bar.finished(*found))


def _measure_all(
    store: Store,
    config: StudyConfig,
    problem: Problem,
    unmeasured: Sequence[tuple[Run, str]],
    measures: Measures,
) -> None:
    """Measure runs of one draw, each measure of each on one device."""

    def task(run: Run, name: str):
        def compute() -> dict[str, Any]:
            key = named_key(config.run_key("measure", run), name)
            trained = read_trained(store, problem, run)
            return measured_columns(measures[name], problem, trained, key, record_faults=True)

        store.get(measures[name].unit(*run.network), compute)
        return 1, f"draw {run.draw}: {name} at |A| = {run.attack_size}"

    tasks = [functools.partial(task, run, name) for run, name in unmeasured]
    spread(tasks, lambda found: store.bar.finished(*found))


def _by_draw(runs: Sequence[Run]) -> list[list[Run]]:
    """Return the runs of each draw, in the order of the plan."""
    draws: dict[int, list[Run]] = {}
    for run in runs:
        draws.setdefault(run.draw, []).append(run)
    return list(draws.values())


def _groups(runs: Sequence[Run], size: int) -> Iterator[Sequence[Run]]:
    """Yield networks of similar |A|, `size` at a time, each once."""
    networks = list({run.run_id: run for run in runs}.values())
    for first in range(0, len(networks), size):
        yield networks[first : first + size]
