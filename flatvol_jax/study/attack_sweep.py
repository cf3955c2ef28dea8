"""The attack-set sweep (section 5.2): train on S ∪ A over draws, |A| and seeds; measure each.

The work is a list of units (units.py): training run by run in ensembles of a fixed shape,
then each measure of each run. What is on disk already is not done again, and what a run yields
depends on its own `hp` alone, so an interrupted sweep ends with the numbers of a whole one.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from etils import epath

from flatvol_jax.runtime import checks
from flatvol_jax.runtime.randomness import named_key
from flatvol_jax.study.measures import MEASURES, chosen_measures
from flatvol_jax.study.plan import Run, measure_unit, plan_runs, training_unit
from flatvol_jax.study.problem import Problem, make_problem
from flatvol_jax.study.records import merge_records
from flatvol_jax.study.training_units import read_trained, run_key, train_group
from flatvol_jax.study.units import read_row, split_arrays, write_unit
from flatvol_jax.study.workdir import open_workdir
from flatvol_jax.training import TrainSettings
from flatvol_jax.volume import checked_kernel

Progress = Callable[[float, int, str], None]


def run_attack_sweep(
    config: Mapping[str, Any],
    workdir: epath.PathLike,
    data_dir: str | None = None,
    progress: Progress | None = None,
    cache: epath.PathLike | None = None,
) -> list[dict[str, Any]]:
    """Do what is missing of the sweep in `workdir`, write records.jsonl, return its rows.

    Args:
        config: plain data, as configs/mnist_fcn.py makes it.
        workdir: folder of units, records and config; an earlier run's work is reused.
        data_dir: where TFDS data sets are prepared.
        progress: called as progress(units done, units in all, what is being done).
        cache: folder of kernels, which several sweeps may share; `workdir`/cache if left out.

    Raises:
        ValueError: a config that does not fit the data or itself, or a workdir of another
            config; before any training.
    """
    runs, measures = plan_runs(config), chosen_measures(config)
    settings = TrainSettings(**config["hp"]["train"])
    size = checks.count("ensemble", config["ensemble"])
    if size % settings.vmap_size:
        raise ValueError(
            f"ensemble: got {size} runs and hp.train.vmap_size = {settings.vmap_size}, wanted a "
            "multiple of it: a batch of another shape would round otherwise."
        )
    cache = epath.Path(workdir) / "cache" if cache is None else epath.Path(cache)
    total = len(runs) * (1 + len(measures))
    done = 0

    def report(amount: float, text: str) -> None:
        if progress is not None:
            progress(amount, total, text)

    def problem_of(draw: int) -> Problem:
        def kernel_progress(part: int, whole: int) -> None:
            report(done, f"draw {draw}: kernel {part}/{whole}")

        return make_problem(config, draw, cache, data_dir, kernel_progress)

    # Sizes that do not fit fail before the workdir is claimed, a missing package, a bad kernel or
    # one that is too large for memory before anything is trained.
    problem = problem_of(0)
    workdir = open_workdir(workdir, config)
    try:
        checked_kernel(problem.kernel)
        for draw in range(config["sweep"]["draws"]):
            of_draw = [run for run in runs if run.draw == draw]
            untrained = [r for r in of_draw if read_row(workdir, training_unit(r)) is None]
            unmeasured = [
                (run, name)
                for run in of_draw
                for name in measures
                if run in untrained
                or read_row(workdir, measure_unit(run, name, measures[name])) is None
            ]
            done += len(of_draw) * (1 + len(measures)) - len(untrained) - len(unmeasured)
            report(done, f"draw {draw}")
            if not untrained and not unmeasured:
                continue
            problem = problem_of(draw) if draw else problem
            for group in _groups(untrained, size):
                text = f"draw {draw}: training |A| = {_sizes(group)}"
                units = [run for run in untrained if run.run_id in {r.run_id for r in group}]

                def within(fraction, done=done, units=units, text=text):
                    report(done + fraction * len(units), text)

                train_group(workdir, config, problem, settings, group, size, units, within)
                done += len(units)
                report(done, text)
            for run, name in unmeasured:
                _measure(workdir, config, problem, run, name, measures[name])
                done += 1
                report(done, f"draw {draw}: {name} at |A| = {run.attack_size}")
    finally:
        rows = merge_records(workdir, runs, measures, config.get("experiment"), config.get("scale"))
    return rows


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
        measured = MEASURES[name](problem, trained, key, settings)
    measured[f"meta.{name}.seconds"] = time.perf_counter() - began
    write_unit(workdir, measure_unit(run, name, settings), *split_arrays(measured))
