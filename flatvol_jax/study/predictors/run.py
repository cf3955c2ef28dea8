"""Networks whose hyperparameters vary about some centers, trained on clean S, with every measure.

For each draw, the networks of one shape (width, depth, sigmas, |S|) follow one another: they share
S, E1, E2 and the kernel of their own architecture.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from etils import epath

from flatvol_jax.runtime.hashing import content_hash
from flatvol_jax.study.engine.plan import Measures, Run, flatten
from flatvol_jax.study.engine.progress import Bar, Progress
from flatvol_jax.study.engine.run_records import merge_records, recorded_rows
from flatvol_jax.study.engine.shards import Shard
from flatvol_jax.study.engine.store import Store
from flatvol_jax.study.engine.workdir import open_workdir
from flatvol_jax.study.measures.problem import Problem
from flatvol_jax.study.measures.registry import chosen_measures
from flatvol_jax.study.measures.run_units import finish_units, problems_by_draw, unit_count
from flatvol_jax.study.predictors.settings import (
    PredictorsConfig,
    Setting,
    predictors_config,
)


class Network(NamedTuple):
    """One trained network, at zero error and some epochs later.

    Attributes:
        setting: its hyperparameters.
        runs: one of each epoch; the first is at zero error.
    """

    setting: Setting
    runs: tuple[Run, ...]


def plan_networks(config: PredictorsConfig) -> list[Network]:
    """Return all networks, by draw, then shape, then setting and sample."""
    sweep, hp = config.study.sweep, config.study.plain["hp"]
    beyond = (0, *sorted(set(sweep.overtrain)))
    found = []
    for draw in range(sweep.draws):
        for setting in config.predictors.settings:
            train = config.train(setting)
            own = {
                "data": hp["data"],
                "model": config.spec(setting).describe(),
                "train": {**dataclasses.asdict(train), "options": dict(train.options)},
                "factor": dataclasses.asdict(setting),
                "seed": sweep.seed,
                "draw": draw,
                "attack_size": 0,
            }
            for sample in range(sweep.samples):
                flat = dict(flatten({**own, "sample": sample}))
                name = content_hash(flat)
                runs = tuple(Run(name, draw, 0, sample, flat, epochs) for epochs in beyond)
                found.append(Network(setting, runs))
    return found


def run_predictors(
    config: Mapping[str, Any],
    workdir: epath.PathLike,
    data_dir: str | None = None,
    progress: Progress | None = None,
    shard: Shard = Shard(),
) -> list[dict[str, Any]]:
    """Do what is missing, write records.jsonl, a row a network and epoch, and return the rows.

    `hp.factor.NAME` are the hyperparameters that vary; `overtrain`, the epochs since zero error, is
    one more.

    Args:
        config: plain data, as configs/predictors.py makes it.
        workdir: folder of units, records and config; an earlier run's work is reused.
        data_dir: where TFDS data sets are prepared.
        progress: called as progress(units done, units in all, what is being done).
        shard: of several processes, this one.

    Raises:
        ValueError: a config that does not fit; a folder of another config, or in use.
        Stopped: a stop was asked for (`runtime.preemption`); what is finished is on disk.
    """
    typed, measures = predictors_config(config), chosen_measures(config)
    groups = shard.share(_by_shape(plan_networks(typed)))
    planned = [run for networks in groups for network in networks for run in network.runs]
    recorded = recorded_rows(workdir, planned, measures)
    runs = [run for run in planned if _place(run) not in recorded]
    store = Store(workdir, Bar(progress, unit_count(runs, measures)))
    problem_of_draw = problems_by_draw(store, typed.study, None, data_dir)
    if runs:
        problem_of_draw(runs[0].draw)  # data that do not fit fail before the workdir is claimed
    with open_workdir(workdir, config, shard.name):
        try:
            for networks in groups:
                own = [
                    Network(network.setting, missing)
                    for network in networks
                    if (
                        missing := tuple(run for run in network.runs if _place(run) not in recorded)
                    )
                ]
                if own:
                    _finish_group(store, typed, own, measures, problem_of_draw)
            store.bar.say("done")
        finally:
            experiment = config.get("experiment"), config.get("scale")
            rows = merge_records(store, runs, measures, *experiment, shard=shard)
    return [*recorded.values(), *rows]


def shape_problem(problem: Problem, config: PredictorsConfig, setting: Setting) -> Problem:
    """Return the problem of a shape: the first |S| examples of the draw, its own network."""
    size = setting.train_size
    return dataclasses.replace(
        problem,
        spec=config.spec(setting),
        train_x=problem.train_x[:size],
        train_y=problem.train_y[:size],
    )


def _finish_group(
    store: Store,
    config: PredictorsConfig,
    networks: Sequence[Network],
    measures: Measures,
    problem_of_draw: Callable[[int], Problem],
) -> None:
    """Train and measure networks of one draw and shape, which share a problem."""
    setting, draw = networks[0].setting, networks[0].runs[0].draw

    @functools.cache
    def problem() -> Problem:
        return shape_problem(problem_of_draw(draw), config, setting)

    for own in networks:
        finish_units(store, config.study_of(own.setting), problem, own.runs, measures)


def _place(run: Run) -> tuple[str, int]:
    """Return what names a row."""
    return run.run_id, run.overtrain


def _by_shape(networks: Sequence[Network]) -> list[list[Network]]:
    """Return the networks of each draw and shape, in the order of the plan."""
    groups: dict[Any, list[Network]] = {}
    for network in networks:
        groups.setdefault((network.runs[0].draw, network.setting.shape), []).append(network)
    return list(groups.values())
