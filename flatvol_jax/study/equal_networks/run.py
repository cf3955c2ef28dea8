"""A hundred networks of one S that differ by their seed, trained and measured: the run.

The units are those of a sweep (`measures/run_units.py`), of every cell of confounders; a unit a
draw is added for what the networks are measured on together.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

from etils import epath

from flatvol_jax.study.engine.plan import Measures, Run
from flatvol_jax.study.engine.progress import Bar, Progress
from flatvol_jax.study.engine.records import SETTINGS
from flatvol_jax.study.engine.run_records import merge_records, recorded_rows
from flatvol_jax.study.engine.shards import Shard
from flatvol_jax.study.engine.store import Store
from flatvol_jax.study.engine.workdir import open_workdir
from flatvol_jax.study.equal_networks.peers import (
    PEERS,
    measured_together,
    peers_rows,
    peers_unit,
)
from flatvol_jax.study.equal_networks.plan import Cell, plan_cells
from flatvol_jax.study.measures.problem import Problem
from flatvol_jax.study.measures.registry import chosen_measures
from flatvol_jax.study.measures.run_units import (
    finish_units,
    problems_by_draw,
    unit_count,
    warn_of_faults,
)


def run_equal_networks(
    config: Mapping[str, Any],
    workdir: epath.PathLike,
    data_dir: str | None = None,
    progress: Progress | None = None,
    cache: epath.PathLike | None = None,
    shard: Shard = Shard(),
) -> list[dict[str, Any]]:
    """Do what is missing, write records.jsonl, a row a network, and return the rows.

    A draw whose rows are all there is not done again where its units are gone; of another one all
    networks are, because each is compared with the others.

    Args:
        config: plain data, as configs/equal_networks.py makes it.
        workdir: folder of units, records and config; an earlier run's work is reused.
        data_dir: where TFDS data sets are prepared.
        progress: called as progress(units done, units in all, what is being done).
        cache: folder of kernels; `workdir`/cache if left out.
        shard: of several processes, this one: it does whole draws.

    Raises:
        ValueError: a config that does not fit the data or itself, a workdir of another config
            or in use; before any training.
        Stopped: a stop was asked for (`runtime.preemption`); what is finished is on disk.
    """
    cells, measures = plan_cells(config), chosen_measures(config)
    study, label = cells[0].config, _peers_label(config, cells)
    recorded: list[dict[str, Any]] = []
    draws: list[int] = []
    for draw in shard.share(range(study.sweep.draws)):
        known = _recorded_draw(workdir, _runs_of(cells, draw), measures, label)
        recorded += known
        draws += [] if known else [draw]
    cache = epath.Path(workdir) / "cache" if cache is None else epath.Path(cache)
    total = sum(unit_count(_runs_of(cells, draw), measures) + 1 for draw in draws)
    store = Store(workdir, Bar(progress, total))
    together: dict[str, dict[str, Any]] = {}
    problem_of = problems_by_draw(store, study, cache, data_dir)
    first = draws[0] if draws else 0
    problem_of(first)  # what does not fit fails before the folder is made
    with open_workdir(workdir, config, shard.name):
        try:
            if draws:
                warn_of_faults(problem_of(first), first)
            for draw in draws:
                problem = functools.partial(problem_of, draw)
                for cell in cells:
                    finish_units(store, cell.config, problem, cell.of_draw(draw), measures)
                runs = _runs_of(cells, draw)
                compute = functools.partial(_together, store, problem, runs)
                text = f"draw {draw}: its networks beside each other"
                found = store.get(peers_unit(runs, study.kernel), compute, text)
                volume = measures.get("log_volume")
                together |= peers_rows(store, runs, found, volume, label)
                store.bar.finished(1, text)
        finally:
            runs = [run for draw in draws for run in _runs_of(cells, draw)]
            study_names = config.get("experiment"), config.get("scale")
            rows = merge_records(store, runs, measures, *study_names, shard, together)
    return [*recorded, *rows]


def _together(store: Store, problem: Callable[[], Problem], runs: list[Run]) -> dict[str, Any]:
    return measured_together(store, problem(), runs)


def _runs_of(cells: list[Cell], draw: int) -> list[Run]:
    """Return the networks of a draw, cell after cell."""
    return [run for cell in cells for run in cell.of_draw(draw)]


def _peers_label(config: Mapping[str, Any], cells: list[Cell]) -> str:
    """Return by what the columns of networks that are compared were computed: who they are."""
    confounders = {name: list(values) for name, values in config["confounders"].items()}
    study = cells[0].config
    return PEERS.label([study.sweep.samples, confounders, dict(study.kernel)])


def _recorded_draw(
    workdir: epath.PathLike, runs: list[Run], measures: Measures, label: str
) -> list[dict[str, Any]]:
    """Return the rows of a draw that needs no more work although units are gone; none otherwise."""
    found = list(recorded_rows(workdir, runs, measures).values())
    done = all(row.get(f"{SETTINGS}{PEERS.name}") == label for row in found)
    return found if done and len(found) == len(runs) else []
