"""The attack-set sweep (section 5.2): train on S ∪ A over draws, |A| and seeds; measure each.

The work is a list of units (engine/store.py): training run by run in ensembles of a fixed shape,
then each measure of each run. What is on disk already is not done again, and what a run yields
depends on its own `hp` alone, so an interrupted sweep ends with the numbers of a whole one, and
so does one that is divided among processes (engine/shards.py) or dealt out to devices
(runtime/spread.py).
"""

import functools
from collections.abc import Mapping
from typing import Any

from etils import epath

from flatvol_jax.study.engine.plan import plan_runs
from flatvol_jax.study.engine.progress import Bar, Progress
from flatvol_jax.study.engine.run_records import merge_records, recorded_rows
from flatvol_jax.study.engine.shards import Shard
from flatvol_jax.study.engine.store import Store
from flatvol_jax.study.engine.workdir import open_workdir
from flatvol_jax.study.measures.registry import chosen_measures
from flatvol_jax.study.measures.run_units import (
    by_draw,
    finish_units,
    network_groups,
    problems_by_draw,
    unit_count,
    warn_of_faults,
)
from flatvol_jax.study.measures.study_config import check_entries, study_config


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
    ensembles = [runs for draw in by_draw(plan) for runs in network_groups(draw, typed.ensemble)]
    own = {run.run_id for runs in shard.share(ensembles) for run in runs}
    runs = [run for run in plan if run.run_id in own]
    recorded = recorded_rows(workdir, runs, measures)
    runs = [run for run in runs if (run.run_id, run.overtrain) not in recorded]
    cache = epath.Path(workdir) / "cache" if cache is None else epath.Path(cache)
    store = Store(workdir, Bar(progress, unit_count(runs, measures)))
    problem_of = problems_by_draw(store, typed, cache, data_dir)

    # Sizes that do not fit fail before the workdir is claimed, a missing package or a kernel that
    # is too large for memory before anything is trained.
    first = runs[0].draw if runs else 0
    problem_of(first)
    with open_workdir(workdir, config, shard.name):
        try:
            if runs:
                warn_of_faults(problem_of(first), first)
            for draw_runs in by_draw(runs):
                problem = functools.partial(problem_of, draw_runs[0].draw)
                finish_units(store, typed, problem, draw_runs, measures)
        finally:
            sweep = config.get("experiment"), config.get("scale")
            rows = merge_records(store, runs, measures, *sweep, shard=shard)
    return [*recorded.values(), *rows]
