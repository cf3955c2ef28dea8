"""The attack-set sweep (section 5.2): train on S ∪ A over draws, |A| and seeds; measure each.

The work is a list of units (units.py): training run by run in ensembles of a fixed shape,
then each measure of each run. What is on disk already is not done again, and what a run yields
depends on its own `hp` alone, so an interrupted sweep ends with the numbers of a whole one.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from etils import epath

from flatvol_jax import data
from flatvol_jax.models import parameter_shapes
from flatvol_jax.runtime import checks
from flatvol_jax.runtime.randomness import named_key
from flatvol_jax.study.measures import MEASURES, chosen_measures
from flatvol_jax.study.parameters import STATE, arrays_to_parameters, parameters_to_arrays
from flatvol_jax.study.plan import Run, measure_unit, plan_runs, training_unit
from flatvol_jax.study.problem import Problem, make_problem
from flatvol_jax.study.records import merge_records
from flatvol_jax.study.trained import Trained
from flatvol_jax.study.units import read_row, read_unit_arrays, split_arrays, write_unit
from flatvol_jax.study.workdir import open_workdir
from flatvol_jax.training import TrainSettings, train_ensemble
from flatvol_jax.volume import checked_kernel

Progress = Callable[[float, int, str], None]


def run_attack_sweep(
    config: Mapping[str, Any],
    workdir: epath.PathLike,
    data_dir: str | None = None,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Do what is missing of the sweep in `workdir`, write records.jsonl, return its rows.

    Args:
        config: plain data, as configs/mnist_fcn.py makes it.
        workdir: folder of units, records and config; an earlier run's work is reused.
        data_dir: where TFDS data sets are prepared.
        progress: called as progress(units done, units in all, what is being done).

    Raises:
        ValueError: a config that does not fit the data or itself, or a workdir of another
            config; before any training.
    """
    runs, measures = plan_runs(config), chosen_measures(config)
    settings = train_settings(config)
    size = checks.count("ensemble", config["ensemble"])
    if size % settings.vmap_size:
        raise ValueError(
            f"ensemble: got {size} runs and hp.train.vmap_size = {settings.vmap_size}, wanted a "
            "multiple of it: a batch of another shape would round otherwise."
        )
    cache = epath.Path(workdir) / "cache"
    # Sizes that do not fit fail before the workdir is claimed, a missing package or a bad
    # kernel before anything is trained.
    problem = make_problem(config, 0, cache, data_dir)
    workdir = open_workdir(workdir, config)
    checked_kernel(problem.kernel)
    total = len(runs) * (1 + len(measures))
    done = 0

    def report(amount: float, text: str) -> None:
        if progress is not None:
            progress(amount, total, text)

    try:
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
            problem = make_problem(config, draw, cache, data_dir)
            for group in _groups(untrained, size):
                text = f"draw {draw}: training |A| = {_sizes(group)}"

                def within(fraction, done=done, group=group, text=text):
                    report(done + fraction * len(group), text)

                _train(workdir, config, problem, settings, group, size, within)
                done += len(group)
                report(done, text)
            for run, name in unmeasured:
                _measure(workdir, config, problem, run, name, measures[name])
                done += 1
                report(done, f"draw {draw}: {name} at |A| = {run.attack_size}")
    finally:
        rows = merge_records(workdir, runs, measures)
    return rows


def train_settings(config: Mapping[str, Any]) -> TrainSettings:
    """hp.train as the training loop takes it."""
    return TrainSettings(**config["hp"]["train"])


def _groups(runs: Sequence[Run], size: int) -> Iterator[Sequence[Run]]:
    """Runs of similar |A|, `size` at a time."""
    for first in range(0, len(runs), size):
        yield runs[first : first + size]


def _sizes(group: Sequence[Run]) -> str:
    sizes = sorted({run.attack_size for run in group})
    return f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]}..{sizes[-1]}"


def run_key(config: Mapping[str, Any], name: str, run: Run) -> jax.Array:
    """The key of one purpose of one run."""
    root = jax.random.key(config["sweep"]["seed"])
    return named_key(root, name, run.draw, run.attack_size, run.sample)


def _train(workdir, config, problem: Problem, settings, group, size: int, progress) -> None:
    """Train a group as one ensemble of `size` members (the last ones repeated to fill it)."""
    members = [group[min(i, len(group) - 1)] for i in range(size)]
    m, pool = len(problem.train_y), len(problem.attack_y)
    use = np.zeros((size, m + pool), bool)
    use[:, :m] = True
    nested = config["hp"]["data"]["attack_nested"]
    for row, run in zip(use, members, strict=True):
        key = run_key(config, "attack", run)
        row[m + data.attack_indices(key, pool, run.attack_size, nested)] = True
    keys = jax.numpy.stack([run_key(config, "train", run) for run in members])
    x = np.concatenate([problem.train_x, problem.attack_x])
    y = np.concatenate([problem.train_y, problem.attack_y])
    began = time.perf_counter()
    ensemble = train_ensemble(
        keys, problem.spec, x, y, use, settings, train_size=m, progress=progress
    )
    seconds = (time.perf_counter() - began) / len(group)
    for i, run in enumerate(group):
        params = jax.tree.map(lambda leaf, i=i: leaf[i], ensemble.params)
        state = jax.tree.map(lambda leaf, i=i: leaf[i], ensemble.state)
        outputs = _outputs(problem, params, state)
        train_error = _error(outputs["train"], problem.train_y)
        last = int(ensemble.epochs[i])
        row = {
            "epoch": last,
            "measure.error.train": train_error,
            "measure.error.test": _error(outputs["test"], problem.test_y),
            "measure.error.second_test": _error(outputs["second_test"], problem.second_test_y),
            "measure.epochs.zero_error": last if ensemble.zero_error[i] else None,
            "measure.epochs.zero_error_train": int(ensemble.epochs_train[i]),
            "measure.loss.train_and_attack": float(ensemble.loss[i, last]),
            # Both the training program and the one that f is read from say so.
            "is.zero_error": bool(ensemble.zero_error[i]) and train_error == 0,
            "is.diverged": bool(ensemble.diverged[i]),
            "meta.train.seconds": seconds,
            "meta.function": "measured at the epoch of zero error on S and A",
        }
        curves = {
            "loss": ensemble.loss[i, : last + 1],
            "errors": ensemble.errors[i, : last + 1],
        }
        named = {f"output.{part}": output for part, output in outputs.items()}
        write_unit(
            workdir,
            training_unit(run),
            row,
            {
                **parameters_to_arrays(params),
                **parameters_to_arrays(state, STATE),
                **named,
                **curves,
            },
        )


def _outputs(problem: Problem, params, state) -> dict[str, np.ndarray]:
    apply = jax.jit(problem.spec.apply)
    parts = {
        "train": problem.train_x,
        "test": problem.test_x,
        "second_test": problem.second_test_x,
    }
    return {name: np.asarray(apply(params, x, state)) for name, x in parts.items()}


def _error(output: np.ndarray, y: np.ndarray) -> float | None:
    return float(np.mean(np.where(output > 0, 1, -1) != y)) if len(y) else None


def _measure(workdir, config, problem: Problem, run: Run, name: str, settings) -> None:
    began = time.perf_counter()
    trained = read_trained(workdir, problem, run)
    measured = {}
    if trained is not None:
        key = named_key(run_key(config, "measure", run), name)
        measured = MEASURES[name](problem, trained, key, settings)
    measured[f"meta.{name}.seconds"] = time.perf_counter() - began
    write_unit(workdir, measure_unit(run, name, settings), *split_arrays(measured))


def read_trained(workdir: epath.PathLike, problem: Problem, run: Run) -> Trained | None:
    """The network of a finished training unit; None where it diverged."""
    unit = training_unit(run)
    row, arrays = read_row(workdir, unit), read_unit_arrays(workdir, unit)
    if row["is.diverged"]:
        return None
    shape = problem.train_x.shape[1:]
    return Trained(
        arrays_to_parameters(arrays, parameter_shapes(problem.spec, shape)),
        arrays_to_parameters(arrays, problem.spec.init_state(shape), STATE),
        arrays["output.train"],
        arrays["output.test"],
        row["epoch"],
    )
