"""Score one network that was trained elsewhere, as a sweep scores its own."""

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
from etils import epath

from flatvol_jax.models import check_evaluation
from flatvol_jax.runtime.hashing import array_hash, content_hash
from flatvol_jax.runtime.randomness import named_key
from flatvol_jax.study.engine.plan import plan_runs
from flatvol_jax.study.engine.progress import Bar, Progress
from flatvol_jax.study.engine.records import write_records
from flatvol_jax.study.engine.source_commit import source_commit
from flatvol_jax.study.engine.store import Store, jsonable
from flatvol_jax.study.engine.workdir import open_workdir
from flatvol_jax.study.measures.given_network import answered, own_data
from flatvol_jax.study.measures.measured_parts import known_error_columns, measured_parts
from flatvol_jax.study.measures.network_files import read_network
from flatvol_jax.study.measures.problem import make_problem
from flatvol_jax.study.measures.registry import chosen_measures, measured_columns
from flatvol_jax.study.measures.study_config import check_entries, study_config
from flatvol_jax.study.single.table import notes, table_lines


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

    A measure that fails is named in the record, `meta.fault.NAME`, and tried again by another
    call.

    Raises:
        ValueError: a config, data or a checkpoint that do not fit.
    """
    check_entries(config)
    typed, measures, (run,) = study_config(config), chosen_measures(config), plan_runs(config)
    problem = make_problem(typed, run.draw, epath.Path(workdir) / "cache", data_dir)
    if arrays is not None:
        problem = own_data(problem, arrays)
    params, state = read_network(checkpoint, problem.spec, problem.train_x.shape[1:], step)
    check_evaluation(problem.spec, problem.train_x)
    network = answered(problem, params, state, None)
    data = array_hash(problem.train_x, problem.train_y, problem.test_x, problem.test_y)
    named = [array_hash(*map(np.asarray, jax.tree.leaves((params, state)))), data, run.hp]
    key = typed.run_key("measure", run)
    row = {
        "run_id": content_hash(named),
        "epoch": None,
        "transform": "none",
        **run.hp_columns,
        **known_error_columns(problem, network),
        "meta.experiment": "measure",
        "meta.scale": config.get("scale"),
        "meta.checkpoint": epath.Path(checkpoint).name,
        "meta.commit": source_commit(),  # nothing is trained: of the code that measures
    }
    store = Store(workdir, Bar(progress, len(measures)))

    def columns(name: str) -> Mapping[str, Any]:
        measure, own = measures[name], named_key(key, name)
        compute = functools.partial(measured_columns, measure, problem, network, own)
        return store.get(measure.unit(*named), compute)

    with open_workdir(workdir, config):
        row |= measured_parts(measures, columns, store.bar)
        store.bar.say("done")
        (row,) = write_records(workdir, [jsonable(row)])
    return row


def network_summary(row: Mapping[str, Any]) -> Iterator[str]:
    """Give the record as lines: a measure, its value, its standard error, what is known of it."""
    yield from notes(row)
    yield from table_lines(row)
