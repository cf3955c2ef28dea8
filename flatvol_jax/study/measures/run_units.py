"""The units of a draw's networks: what is not on disk is trained, then measured, over devices."""

import functools
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from etils import epath

from flatvol_jax.runtime.compiled_programs import release_programs
from flatvol_jax.runtime.faults import NumericalFault
from flatvol_jax.runtime.randomness import named_key
from flatvol_jax.runtime.spread import spread
from flatvol_jax.study.engine.plan import Measures, Run, units_of
from flatvol_jax.study.engine.store import Store
from flatvol_jax.study.measures.problem import Problem, make_problem
from flatvol_jax.study.measures.registry import measured_columns
from flatvol_jax.study.measures.study_config import StudyConfig
from flatvol_jax.study.measures.training_units import read_trained, train_group
from flatvol_jax.volume import checked_kernel


def unit_count(runs: Sequence[Run], measures: Measures) -> int:
    """Return the number of units of these runs: training, and the measures of each."""
    return len(runs) + sum(len(units_of(run, measures)) for run in runs)


def by_draw(runs: Sequence[Run]) -> list[list[Run]]:
    """Return the runs of each draw, in the order of the plan."""
    draws: dict[int, list[Run]] = {}
    for run in runs:
        draws.setdefault(run.draw, []).append(run)
    return list(draws.values())


def network_groups(runs: Sequence[Run], size: int) -> Iterator[Sequence[Run]]:
    """Yield networks of similar |A|, `size` at a time, each once."""
    networks = list({run.run_id: run for run in runs}.values())
    for first in range(0, len(networks), size):
        yield networks[first : first + size]


def problems_by_draw(
    store: Store,
    config: StudyConfig,
    cache: epath.PathLike | None,
    data_dir: str | None = None,
) -> Callable[[int], Problem]:
    """Return what gives the problem of a draw, and keeps the last one: a kernel takes memory.

    Args:
        store: of the study; its bar says how far a kernel is.
        config: of the study.
        cache: folder of kernels; None keeps none.
        data_dir: where TFDS data sets are prepared.
    """

    @functools.lru_cache(maxsize=1)
    def problem_of(draw: int) -> Problem:
        def kernel_progress(part: int, whole: int) -> None:
            store.bar.say(f"draw {draw}: kernel {part}/{whole}")

        return make_problem(config, draw, cache, data_dir, kernel_progress)

    return problem_of


def warn_of_faults(problem: Problem, draw: int) -> None:
    """Warn where the kernel of a draw is of no use, before anything is trained."""
    try:
        checked_kernel(problem.kernel)
    except NumericalFault as fault:
        warnings.warn(
            f"draw {draw}: {fault} What needs this kernel is recorded as a fault.", stacklevel=3
        )


def finish_units(
    store: Store,
    config: StudyConfig,
    problem: Callable[[], Problem],
    runs: Sequence[Run],
    measures: Measures,
) -> None:
    """Train and measure what is missing of runs of one draw and one `hp.train`.

    A numerical fault is recorded at the network that has it.

    Args:
        store: of the study; its bar counts the units.
        config: whose training the runs have.
        problem: gives the problem of the draw; asked where something is missing.
        runs: of one draw.
        measures: what is measured on each.

    Raises:
        Stopped: a stop was asked for (`runtime.preemption`); what is finished is on disk.
    """
    untrained = [run for run in runs if store.row(run.training) is None]
    unmeasured = [
        (run, name)
        for run in runs
        for name, unit in units_of(run, measures).items()
        if run in untrained or store.row(unit) is None
    ]
    missing = len(untrained) + len(unmeasured)
    store.bar.finished(unit_count(runs, measures) - missing, f"draw {runs[0].draw}")
    if missing:
        own = problem()
        _train(store, config, own, untrained)
        _measure(store, config, own, unmeasured, measures)
        release_programs()


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

    groups = network_groups(untrained, config.ensemble)
    tasks = [functools.partial(task, group) for group in groups]
    spread(tasks, lambda found: store.bar.finished(*found))


def _measure(
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
