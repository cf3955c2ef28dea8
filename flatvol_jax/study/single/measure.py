"""Score one network that was trained elsewhere, as a sweep scores its own."""

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
from etils import epath

from flatvol_jax.models import apply_in_batches, check_evaluation, wrong_labels
from flatvol_jax.runtime.hashing import array_hash, content_hash
from flatvol_jax.runtime.randomness import named_key
from flatvol_jax.study.analysis.columns import (
    ASCENT,
    FROBENIUS_NORM,
    LOG_PRODUCT,
    LOG_VOLUME,
    PROBIT,
    SHARPNESS,
    SPECTRAL_NORM,
)
from flatvol_jax.study.engine.plan import STAGE_VERSIONS, plan_runs
from flatvol_jax.study.engine.progress import Bar, Progress
from flatvol_jax.study.engine.records import write_records
from flatvol_jax.study.engine.source_commit import source_commit
from flatvol_jax.study.engine.units import Unit, jsonable
from flatvol_jax.study.engine.workdir import open_workdir
from flatvol_jax.study.measures.given_network import answered, measured_columns, own_data
from flatvol_jax.study.measures.network_files import read_network
from flatvol_jax.study.measures.problem import Problem, make_problem
from flatvol_jax.study.measures.registry import chosen_measures
from flatvol_jax.study.measures.training_units import run_key

FITTED_ONLY = ("measure.bound.", "measure.log_volume_null.")  # of functions that fit S
ROWS = (
    ("measure.error.train", "error on S", ""),
    ("measure.error.test", "error on E1", ""),
    ("measure.error.second_test", "error on E2", ""),
    ("measure.loss.train", "loss on S", "nats"),
    ("measure.log_volume.heaviside.estimate", "log V, Heaviside, sampled", "nats"),
    (LOG_VOLUME.column, "log V, Heaviside, EP", "nats"),
    ("measure.log_volume.probit.estimate", "log V, probit, sampled", "nats"),
    (PROBIT.column, "log V, probit, EP", "nats"),
    ("measure.log_volume_null.heaviside", "log V, as many errors at random, EP", "nats"),
    ("measure.bound.printed", "bound on the error, as printed (eq. 4)", ""),
    ("measure.bound.random_split", "bound on the error, random split", ""),
    (SHARPNESS.column, "sharpness, best found", ""),
    ("measure.sharpness.best.first_order", "  its first-order part", ""),
    (ASCENT.column, "sharpness, the paper's procedure", ""),
    (SPECTRAL_NORM.column, "spectral norm of the Hessian", ""),
    (FROBENIUS_NORM.column, "Frobenius norm", ""),
    ("measure.hessian.trace", "trace", ""),
    (LOG_PRODUCT.column, "log product of its top eigenvalues", ""),
    ("measure.baseline.gp_disagreement", "disagreement with the GP mean on E1", ""),
    ("measure.baseline.nn_disagreement", "disagreement with 1-NN on E1", ""),
)


def measure_network(
    config: Mapping[str, Any],
    checkpoint: epath.PathLike,
    workdir: epath.PathLike,
    data_dir: str | None = None,
    arrays: Mapping[str, np.ndarray] | None = None,
    step: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure the network, write its record, return it.

    The record has a sweep's names. `run_id` is the hash of parameters and `hp`; keys are those of
    the config's one run, so that a network of a sweep gets the sweep's numbers.

    Args:
        config: plain data, as configs/measure.py makes it.
        checkpoint: as `network_files.read_network` takes it.
        workdir: folder of units, record and config; an earlier run's work is reused.
        data_dir: where TFDS data sets are prepared.
        arrays: S and E1 of one's own, in place of the config's draw: train_x, train_y, test_x,
            test_y, and second_test_x, second_test_y for E2; inputs as the network sees them,
            labels ±1.
        step: of a checkpoint folder with several.
        progress: called as progress(measures done, measures in all, what is being done).

    Raises:
        ValueError: a config, data or a checkpoint that do not fit.
    """
    measures, (run,) = chosen_measures(config), plan_runs(config)
    cache = epath.Path(workdir) / "cache"
    problem = make_problem(config, run.draw, cache, data_dir)
    if arrays is not None:
        problem = own_data(problem, arrays)
    params, state = read_network(checkpoint, problem.spec, problem.train_x.shape[1:], step)
    check_evaluation(problem.spec, problem.train_x)
    network = answered(problem, params, state, None)
    data = array_hash(problem.train_x, problem.train_y, problem.test_x, problem.test_y)
    named = [array_hash(*map(np.asarray, jax.tree.leaves((params, state)))), data, run.hp]
    key = run_key(config, "measure", run)
    row = {
        "run_id": content_hash(named),
        "epoch": None,
        "transform": "none",
        **{f"hp.{name}": value for name, value in run.hp.items()},
        **_errors(problem, network),
        "meta.experiment": "measure",
        "meta.scale": config.get("scale"),
        "meta.checkpoint": epath.Path(checkpoint).name,
        "meta.commit": source_commit(),  # nothing is trained: of the code that measures
    }
    with open_workdir(workdir, config) as workdir:
        bar = Bar(progress, len(measures))
        for name, settings in measures.items():
            bar.say(name)
            determined = [*named, name, dict(settings), STAGE_VERSIONS[name]]
            unit = Unit(name, content_hash(determined))
            own = named_key(key, name)
            row |= measured_columns(workdir, unit, problem, network, own, settings)
            bar.finished(1, name)
        bar.say("done")
        (row,) = write_records(workdir, [jsonable(row)])
    return row


def network_summary(row: Mapping[str, Any]) -> Iterator[str]:
    """The record as lines: a measure, its value, its standard error where it has one."""
    if not row["is.zero_error"]:
        yield "The network makes errors on S: the bounds and the null say nothing, left out."
    for column, label, unit in ROWS:
        if column.startswith(FITTED_ONLY) and not row["is.zero_error"]:
            continue
        value, error = row.get(column), row.get(f"{column}.se")
        if value is not None:
            text = f"{value:.5g}" + (f" ± {error:.2g}" if error is not None else "")
            yield f"  {label:40}{text} {unit}".rstrip()
    for link in ("heaviside", "probit"):
        if (certified := row.get(f"is.certified.{link}")) is not None:
            word = "certified" if certified else "an estimate, not certified"
            yield f"  The sampled log V ({link}) is {word}."


def _errors(problem: Problem, network) -> dict[str, Any]:
    def share(output: np.ndarray, y: np.ndarray) -> float | None:
        return float(np.mean(wrong_labels(output, y))) if len(y) else None

    apply = jax.jit(apply_in_batches, static_argnums=(0, 4))
    second = (
        np.asarray(
            apply(
                problem.spec,
                network.params,
                problem.second_test_x,
                network.state,
                problem.batch_size,
            )
        )
        if len(problem.second_test_y)
        else np.zeros(0)
    )
    train = share(network.train_output, problem.train_y)
    return {
        "measure.error.train": train,
        "measure.error.test": share(network.test_output, problem.test_y),
        "measure.error.second_test": share(second, problem.second_test_y),
        "is.zero_error": train == 0,
    }
