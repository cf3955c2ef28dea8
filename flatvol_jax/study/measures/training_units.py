"""The training units of a sweep: networks trained as one ensemble, each written when it is done."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from etils import epath

from flatvol_jax import data
from flatvol_jax.models import (
    apply_in_batches,
    output_labels,
    parameter_shapes,
    tied_outputs,
    wrong_labels,
)
from flatvol_jax.runtime import checks
from flatvol_jax.runtime.checkpoints import Checkpoint
from flatvol_jax.runtime.hashing import content_hash
from flatvol_jax.runtime.randomness import named_key
from flatvol_jax.study.engine.config_entries import check_plain, group
from flatvol_jax.study.engine.parameters import STATE, arrays_to_parameters, parameters_to_arrays
from flatvol_jax.study.engine.plan import Run, training_unit
from flatvol_jax.study.engine.source_commit import source_commit
from flatvol_jax.study.engine.units import read_row, read_unit_arrays, row_path, write_unit
from flatvol_jax.study.engine.workdir import open_workdir
from flatvol_jax.study.measures.problem import Problem
from flatvol_jax.study.measures.train_entries import train_settings
from flatvol_jax.study.measures.trained import Trained, function_state
from flatvol_jax.training import TrainedEnsemble, TrainSettings, train_ensemble

PARTS = ("train", "test", "second_test")


def run_key(config: Mapping[str, Any], name: str, run: Run) -> jax.Array:
    """The key of one purpose of one run; the same for every optimizer and epoch."""
    root = jax.random.key(config["sweep"]["seed"])
    return named_key(root, name, run.draw, run.attack_size, run.sample)


def train_group(
    workdir: epath.PathLike,
    config: Mapping[str, Any],
    problem: Problem,
    settings: TrainSettings,
    networks: Sequence[Run],
    size: int,
    units: Sequence[Run],
    progress: Callable[[float], None],
) -> None:
    """Train a group as one ensemble of `size` members (the last one repeated to fill it).

    Args:
        workdir: of the sweep.
        config: of the sweep.
        problem: of the draw.
        settings: hp.train.
        networks: what the ensemble trains, at most `size`.
        size: members; the program is compiled for this number.
        units: what is to be written of them, each at zero error or some epochs later.
        progress: called with the share that is done.

    Raises:
        ValueError: a network that is stored at zero error and came out otherwise this time.
        Stopped: a stop was asked for; training goes on from a checkpoint.
    """
    members = [networks[min(i, len(networks) - 1)] for i in range(size)]
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
    overtrain = tuple(sorted({run.overtrain for run in units} - {0}))
    named = content_hash([training_unit(run).digest for run in (*members, *units)])
    checkpoint = Checkpoint(epath.Path(workdir) / "checkpoints" / named)
    began = time.perf_counter()
    ensemble = train_ensemble(
        keys,
        problem.spec,
        x,
        y,
        use,
        settings,
        train_size=m,
        progress=progress,
        overtrain=overtrain,
        checkpoint=checkpoint,
    )
    seconds = {"meta.train.seconds": (time.perf_counter() - began) / len(units)}
    seconds |= {"meta.commit": source_commit()}
    places = {run.run_id: i for i, run in enumerate(networks)}
    for run in units:
        i = places[run.run_id]
        if run.overtrain:
            at_zero_error = run._replace(overtrain=0)
            _check_same(workdir, at_zero_error, _member(ensemble.params, i))
            row, arrays = _beyond(problem, ensemble, i, overtrain.index(run.overtrain))
        else:
            row, arrays = _at_zero_error(problem, ensemble, i)
        write_unit(workdir, training_unit(run), row | seconds, arrays)
    checkpoint.drop()


def ensemble_size(config: Mapping[str, Any], settings: TrainSettings) -> int:
    """Return how many networks the config trains as one ensemble.

    Raises:
        ValueError: a number that is no count, or no multiple of hp.train.vmap_size.
    """
    size = checks.count("ensemble", group(config, "", "ensemble")["ensemble"])
    if size % settings.vmap_size:
        raise ValueError(
            f"ensemble: got {size} runs and hp.train.vmap_size = {settings.vmap_size}, wanted a "
            "multiple of it: a batch of another shape would round otherwise."
        )
    return size


def train_alone(
    workdir: epath.PathLike, config: Mapping[str, Any], problem: Problem, run: Run
) -> None:
    """Train one network as a sweep of this config would, where its unit is not there yet.

    Raises:
        ValueError: settings that cannot be, before the workdir is touched; a workdir in use.
    """
    check_plain(config)
    settings = train_settings(group(config, "hp.train"))
    size = ensemble_size(config, settings)
    with open_workdir(workdir, config) as workdir:
        if read_row(workdir, training_unit(run)) is None:
            train_group(workdir, config, problem, settings, [run], size, [run], lambda _: None)


def read_trained(workdir: epath.PathLike, problem: Problem, run: Run) -> Trained | None:
    """The network of a finished training unit; None where it diverged or there is none."""
    unit = training_unit(run)
    row = read_row(workdir, unit)
    if row["is.diverged"] or row["epoch"] is None:
        return None
    arrays = read_unit_arrays(workdir, unit)
    shape = problem.train_x.shape[1:]
    return Trained(
        arrays_to_parameters(arrays, parameter_shapes(problem.spec, shape)),
        arrays_to_parameters(arrays, problem.spec.init_state(shape), STATE),
        arrays["output.train"],
        arrays["output.test"],
        row["epoch"] - run.overtrain,
    )


def _at_zero_error(problem: Problem, ensemble: TrainedEnsemble, i: int) -> tuple[dict, dict]:
    """Row and arrays of member i at zero error, or where training stopped without it."""
    params, state = _function(problem, ensemble, i)
    outputs, last = _outputs(problem, params, state), int(ensemble.epochs[i])
    row = {
        "epoch": last,
        **_errors(problem, outputs),
        **_ties(problem, outputs),
        "measure.epochs.zero_error": last if ensemble.zero_error[i] else None,
        "measure.epochs.zero_error_train": _reached(ensemble.epochs_train[i]),
        "measure.epochs.zero_error_train_and_attack": _reached(ensemble.epochs_train_and_attack[i]),
        "measure.loss.train_and_attack": float(ensemble.loss[i, last]),
        "is.zero_error": bool(ensemble.zero_error[i]),
        "is.diverged": bool(ensemble.diverged[i]),
        "meta.function": "measured at the first epoch without error on what hp.train.stop names",
    }
    # Both the training program and the one that f is read from say so.
    row["is.zero_error"] &= row["measure.error.train"] == 0
    curves = {
        "loss": ensemble.loss[i, : last + 1],
        "errors": ensemble.errors[i, : last + 1],
    }
    return row, _arrays(params, state, outputs) | curves


def _beyond(
    problem: Problem, ensemble: TrainedEnsemble, i: int, snapshot: int
) -> tuple[dict, dict | None]:
    """Row and arrays of member i at a snapshot beyond zero error; no arrays where there is none.

    `measure.function.changed` counts the labels of S+E1 that differ from those at zero error.
    """
    found = ensemble.snapshots
    epoch = int(found.epochs[i, snapshot])
    if epoch < 0:
        return {
            "epoch": None,
            "is.zero_error": False,
            "is.diverged": bool(ensemble.zero_error[i]),
            "meta.function": "none: zero error was not reached, or training beyond it diverged",
        }, None
    params, state = _function(problem, found, (i, snapshot))
    outputs = _outputs(problem, params, state)
    before = _outputs(problem, *_function(problem, ensemble, i))
    loss = float(ensemble.loss[i, epoch])
    row = {
        "epoch": epoch,
        **_errors(problem, outputs),
        **_ties(problem, outputs),
        "measure.epochs.zero_error": int(ensemble.epochs[i]),
        "measure.loss.train_and_attack": loss,
        "measure.function.changed": sum(
            int(np.sum(output_labels(outputs[part]) != output_labels(before[part])))
            for part in ("train", "test")
        ),
        "is.diverged": not np.isfinite(loss),
        "meta.function": "measured some epochs (overtrain) after zero error",
    }
    row["is.zero_error"] = row["measure.error.train"] == 0
    return row, _arrays(params, state, outputs)


def _check_same(workdir: epath.PathLike, run: Run, params: Any) -> None:
    """What is measured beyond zero error must continue the network that is stored there."""
    unit = training_unit(run)
    if read_row(workdir, unit) is None:
        return
    stored = read_unit_arrays(workdir, unit)
    for name, array in parameters_to_arrays(params).items():
        if not np.array_equal(stored[name], array):
            raise ValueError(
                f"sweep.overtrain: run {run.run_id} was trained again, to go beyond zero error, "
                f"and is not the network of {row_path(workdir, unit)}: another machine or other "
                "versions round otherwise. Use a new --workdir."
            )


def _reached(epoch: np.ndarray) -> int | None:
    """Return the epoch; None for -1, which says that there was none."""
    return int(epoch) if epoch >= 0 else None


def _function(problem: Problem, networks: Any, i: int | tuple[int, int]) -> tuple[Any, Any]:
    """Parameters of network i and the state with which they are the function f."""
    params = _member(networks.params, i)
    return params, function_state(problem, params, _member(networks.state, i))


def _member(tree: Any, i: int | tuple[int, int]) -> Any:
    return jax.tree.map(lambda leaf: leaf[i], tree)


def _arrays(params: Any, state: Any, outputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    named = {f"output.{part}": output for part, output in outputs.items()}
    return {**parameters_to_arrays(params), **parameters_to_arrays(state, STATE), **named}


def _outputs(problem: Problem, params: Any, state: Any) -> dict[str, np.ndarray]:
    """Logits on S, E1 and E2, (n,) or (n, C)."""
    apply = jax.jit(apply_in_batches, static_argnums=(0, 4))
    inputs = (problem.train_x, problem.test_x, problem.second_test_x)
    return {
        part: np.asarray(apply(problem.spec, params, x, state, problem.batch_size))
        for part, x in zip(PARTS, inputs, strict=True)
    }


def _errors(problem: Problem, outputs: Mapping[str, np.ndarray]) -> dict[str, float | None]:
    """Return the share of wrong labels on each part and on E2's halves; None of an empty one."""
    labels = (problem.train_y, problem.test_y, problem.second_test_y)
    wrong = {part: wrong_labels(outputs[part], y) for part, y in zip(PARTS, labels, strict=True)}
    for half in (1, 2):
        wrong[f"second_test.half_{half}"] = wrong["second_test"][half - 1 :: 2]
    return {
        f"measure.error.{part}": float(np.mean(errors)) if len(errors) else None
        for part, errors in wrong.items()
    }


def _ties(problem: Problem, outputs: Mapping[str, np.ndarray]) -> dict[str, int]:
    """Return, of C classes, the number of inputs of S+E1 whose largest output two classes share."""
    if problem.classes is None:
        return {}
    tied = [int(np.sum(tied_outputs(outputs[part]))) for part in ("train", "test")]
    return {"measure.function.ties": sum(tied)}
