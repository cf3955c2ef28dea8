"""Score one network that was trained elsewhere, as a sweep scores its own."""

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
from etils import epath

from flatvol_jax.models import check_evaluation
from flatvol_jax.runtime.hashing import array_hash, content_hash
from flatvol_jax.runtime.randomness import named_key
from flatvol_jax.study.engine.plan import STAGE_VERSIONS, plan_runs
from flatvol_jax.study.engine.progress import Bar, Progress
from flatvol_jax.study.engine.records import write_records
from flatvol_jax.study.engine.source_commit import source_commit
from flatvol_jax.study.engine.units import Unit, jsonable
from flatvol_jax.study.engine.workdir import open_workdir
from flatvol_jax.study.measures.given_network import answered, measured_columns, own_data
from flatvol_jax.study.measures.measured_parts import error_columns, measured_parts
from flatvol_jax.study.measures.network_files import read_network
from flatvol_jax.study.measures.problem import make_problem
from flatvol_jax.study.measures.registry import chosen_measures
from flatvol_jax.study.measures.training_units import run_key
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
        **error_columns(problem, network),
        "meta.experiment": "measure",
        "meta.scale": config.get("scale"),
        "meta.checkpoint": epath.Path(checkpoint).name,
        "meta.commit": source_commit(),  # nothing is trained: of the code that measures
    }
    with open_workdir(workdir, config) as workdir:
        bar = Bar(progress, len(measures))

        def columns(name: str) -> Mapping[str, Any]:
            settings = measures[name]
            unit = Unit(name, content_hash([*named, name, dict(settings), STAGE_VERSIONS[name]]))
            own = named_key(key, name)
            return measured_columns(workdir, unit, problem, network, own, settings)

        row |= measured_parts(measures, columns, bar)
        bar.say("done")
        (row,) = write_records(workdir, [jsonable(row)])
    return row


def network_summary(row: Mapping[str, Any]) -> Iterator[str]:
    """Give the record as lines: a measure, its value, its standard error, what is known of it."""
    yield from notes(row)
    yield from table_lines(row)
