"""The training units of a sweep: networks trained as one ensemble, each written when it is done."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from etils import epath

from flatvol_jax import data
from flatvol_jax.models import output_labels, parameter_shapes, tied_outputs
from flatvol_jax.runtime.checkpoints import Checkpoint
from flatvol_jax.runtime.hashing import content_hash
from flatvol_jax.study.engine.parameters import STATE, arrays_to_parameters, parameters_to_arrays
from flatvol_jax.study.engine.plan import Run
from flatvol_jax.study.engine.source_commit import source_commit
from flatvol_jax.study.engine.store import Store
from flatvol_jax.study.engine.workdir import open_workdir
from flatvol_jax.study.measures.problem import Problem
from flatvol_jax.study.measures.study_config import StudyConfig
from flatvol_jax.study.measures.trained import (
    Trained,
    error_columns,
    function_state,
    network_outputs,
)
from flatvol_jax.training import TrainedEnsemble, train_ensemble


def train_group(
    store: Store,
    config: StudyConfig,
    problem: Problem,
    networks: Sequence[Run],
    units: Sequence[Run],
    progress: Callable[[float], None],
) -> None:
    """Train a group as one ensemble of `config.ensemble` members, the last repeated to fill it.

    Args:
        store: of the sweep.
        config: of the sweep.
        problem: of the draw.
        networks: what the ensemble trains.
        units: what is to be written of them, each at zero error or some epochs later.
        progress: called with the share that is done.

    Raises:
        ValueError: a network that is stored at zero error and came out otherwise this time.
        Stopped: a stop was asked for; training goes on from a checkpoint.
    """
    members = [networks[min(i, len(networks) - 1)] for i in range(config.ensemble)]
    m, pool = len(problem.train_y), len(problem.attack_y)
    use = np.zeros((len(members), m + pool), bool)
    use[:, :m] = True
    for used, run in zip(use, members, strict=True):
        key, nested = config.run_key("attack", run), config.hp.data.attack_nested
        used[m + data.attack_indices(key, pool, run.attack_size, nested)] = True
    overtrain = tuple(sorted({run.overtrain for run in units} - {0}))
    named = content_hash([run.training.digest for run in (*members, *units)])
    checkpoint = Checkpoint(store.workdir / "checkpoints" / named)
    began = time.perf_counter()
    ensemble = train_ensemble(
        jax.numpy.stack([config.run_key("train", run) for run in members]),
        problem.spec,
        np.concatenate([problem.train_x, problem.attack_x]),
        np.concatenate([problem.train_y, problem.attack_y]),
        use,
        config.hp.train,
        train_size=m,
        progress=progress,
        overtrain=overtrain,
        checkpoint=checkpoint,
    )
    seconds = (time.perf_counter() - began) / len(units)
    about = {"meta.train.seconds": seconds, "meta.commit": source_commit()}
    places = {run.run_id: i for i, run in enumerate(networks)}
    for run in units:
        i = places[run.run_id]
        if run.overtrain:
            _check_same(store, run._replace(overtrain=0), _member(ensemble.params, i))
            row, arrays = _row_beyond_zero_error(
                problem, ensemble, i, overtrain.index(run.overtrain)
            )
        else:
            row, arrays = _row_at_zero_error(problem, ensemble, i)
        store.write(run.training, row | about, arrays)
    checkpoint.drop()


def train_alone(workdir: epath.PathLike, config: StudyConfig, problem: Problem, run: Run) -> Store:
    """Train one network as a sweep of this config would, where its unit is not there yet.

    Raises:
        ValueError: settings that cannot be, before the workdir is touched; a workdir in use.
    """
    store, _ = Store(workdir), config.ensemble
    with open_workdir(workdir, config.plain):
        if store.row(run.training) is None:
            train_group(store, config, problem, [run], [run], lambda _: None)
    return store


def read_trained(store: Store, problem: Problem, run: Run) -> Trained | None:
    """Return the network of a finished training unit; None where it diverged or there is none."""
    row = store.row(run.training)
    assert row is not None, "the unit is finished"
    if row["is.diverged"] or row["epoch"] is None:
        return None
    arrays, shape = store.arrays(run.training), problem.train_x.shape[1:]
    return Trained(
        arrays_to_parameters(arrays, parameter_shapes(problem.spec, shape)),
        arrays_to_parameters(arrays, problem.spec.init_state(shape), STATE),
        arrays["output.train"],
        arrays["output.test"],
        row["epoch"] - run.overtrain,
    )


def _row_at_zero_error(problem: Problem, ensemble: TrainedEnsemble, i: int) -> tuple[dict, dict]:
    """Return row and arrays of member i at zero error, or where training stopped without it."""
    row, arrays, _ = _measured(problem, ensemble, i)
    last, zero_error = int(ensemble.epochs[i]), bool(ensemble.zero_error[i])
    row |= {
        "epoch": last,
        "measure.epochs.zero_error": last if zero_error else None,
        "measure.epochs.zero_error_train": _epoch_or_none(ensemble.epochs_train[i]),
        "measure.epochs.zero_error_train_and_attack": _epoch_or_none(
            ensemble.epochs_train_and_attack[i]
        ),
        "measure.loss.train_and_attack": float(ensemble.loss[i, last]),
        # Both the training program and the one that f is read from say so.
        "is.zero_error": zero_error and row["is.zero_error"],
        "is.diverged": bool(ensemble.diverged[i]),
        "meta.function": "measured at the first epoch without error on what hp.train.stop names",
    }
    curves = {name: getattr(ensemble, name)[i, : last + 1] for name in ("loss", "errors")}
    return row, arrays | curves


def _row_beyond_zero_error(
    problem: Problem, ensemble: TrainedEnsemble, i: int, snapshot: int
) -> tuple[dict, dict | None]:
    """Return row and arrays of member i at a snapshot beyond zero error; no arrays of none.

    `measure.function.changed` counts the labels of S+E1 that differ from those at zero error.
    """
    epoch = int(ensemble.snapshots.epochs[i, snapshot])
    if epoch < 0:
        return {
            "epoch": None,
            "is.zero_error": False,
            "is.diverged": bool(ensemble.zero_error[i]),
            "meta.function": "none: zero error was not reached, or training beyond it diverged",
        }, None
    row, arrays, outputs = _measured(problem, ensemble.snapshots, (i, snapshot))
    *_, before = _measured(problem, ensemble, i)
    now, old = (np.concatenate([o["train"], o["test"]]) for o in (outputs, before))
    loss = float(ensemble.loss[i, epoch])
    row |= {
        "epoch": epoch,
        "measure.epochs.zero_error": int(ensemble.epochs[i]),
        "measure.loss.train_and_attack": loss,
        "measure.function.changed": np.sum(output_labels(now) != output_labels(old)),
        "is.diverged": not np.isfinite(loss),
        "meta.function": "measured some epochs (overtrain) after zero error",
    }
    return row, arrays


def _measured(problem: Problem, networks: Any, i: int | tuple[int, int]) -> tuple[dict, dict, dict]:
    """Return errors of network i, its arrays as the function f, and its logits by part."""
    params = _member(networks.params, i)
    state = function_state(problem, params, _member(networks.state, i))
    outputs = network_outputs(problem, params, state)
    row = error_columns(problem, outputs, halves=True)
    row["is.zero_error"] = row["measure.error.train"] == 0
    if problem.classes is not None:  # inputs of S+E1 whose largest output two classes share
        ties = [np.sum(tied_outputs(outputs[part])) for part in ("train", "test")]
        row["measure.function.ties"] = sum(ties)
    named = {f"output.{part}": output for part, output in outputs.items()}
    return row, parameters_to_arrays(params) | parameters_to_arrays(state, STATE) | named, outputs


def _check_same(store: Store, run: Run, params: Any) -> None:
    """Check that what is measured beyond zero error continues the network that is stored there."""
    if store.row(run.training) is None:
        return
    stored = store.arrays(run.training)
    for name, array in parameters_to_arrays(params).items():
        if not np.array_equal(stored[name], array):
            raise ValueError(
                f"sweep.overtrain: run {run.run_id} was trained again, to go beyond zero error, "
                f"and is not the network of {store.path(run.training)}: another machine or other "
                "versions round otherwise. Use a new --workdir."
            )


def _epoch_or_none(epoch: np.ndarray) -> int | None:
    """Return the epoch; None for -1, which says that there was none."""
    return int(epoch) if epoch >= 0 else None


def _member(tree: Any, i: int | tuple[int, int]) -> Any:
    return jax.tree.map(lambda leaf: leaf[i], tree)
