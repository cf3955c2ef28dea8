"""The networks of the experiment: each seed belongs to one cell, a batch size and a rate."""

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any, NamedTuple

from flatvol_jax.runtime import checks
from flatvol_jax.study.engine.plan import Run, plan_runs
from flatvol_jax.study.engine.settings import each, entry, group, settings
from flatvol_jax.study.measures.study_config import StudyConfig, check_entries, study_config


@dataclasses.dataclass(frozen=True)
class Confounders:
    """Name what differs between networks beside the seed, by name of an entry of hp.train."""

    batch_size: tuple[int, ...] = entry(each(checks.count))
    learning_rate: tuple[float, ...] = entry(each(checks.positive))


class Cell(NamedTuple):
    """The networks of one recipe.

    Attributes:
        config: the study with the cell's batch size and rate in `hp.train`.
        runs: its networks, of all draws.
    """

    config: StudyConfig
    runs: list[Run]

    def of_draw(self, draw: int) -> list[Run]:
        """Return its networks of one draw."""
        return [run for run in self.runs if run.draw == draw]


def plan_cells(config: Mapping[str, Any]) -> list[Cell]:
    """Return every batch size with every rate, and of each draw its share of the seeds.

    Seed i, `hp.sample`, fixes initialisation and the order of examples; it belongs to cell i
    modulo the number of cells, so that no two networks of a draw have a seed in common.

    Raises:
        ValueError: an attack set, epochs beyond zero error, a batch size or rate that stands in
            hp.train, a value twice, a batch larger than S, fewer seeds than cells.
    """
    check_entries(config, "confounders")
    entries = group(config, "confounders")
    found = settings(Confounders, entries, "confounders")
    hp, plain = group(config, "hp", "train", "data"), {**config}
    del plain["confounders"]
    for name, values in vars(found).items():
        if not values or len(set(values)) != len(values):
            raise ValueError(
                f"confounders.{name}: got {list(values)}, wanted different values, at least one."
            )
        if hp["train"].get(name) is not None:
            raise ValueError(
                f"hp.train.{name}: got {hp['train'][name]!r}, wanted None: confounders.{name} "
                f"names the values that there are, {list(values)}."
            )
    grid = list(itertools.product(found.batch_size, found.learning_rate))
    cells = []
    for number, (batch_size, learning_rate) in enumerate(grid):
        train = {**hp["train"], "batch_size": batch_size, "learning_rate": learning_rate}
        own = {**plain, "hp": {**hp, "train": train}}
        study = study_config(own)
        _check_sweep(study, found, len(grid))
        runs = [run for run in plan_runs(own) if run.sample % len(grid) == number]
        cells.append(Cell(study, runs))
    return cells


def _check_sweep(study: StudyConfig, confounders: Confounders, cells: int) -> None:
    sweep, size = study.sweep, study.hp.data.train_size
    if tuple(sweep.attack_sizes) != (0,) or sweep.overtrain:
        raise ValueError(
            f"sweep: got attack_sizes = {list(sweep.attack_sizes)} and overtrain = "
            f"{list(sweep.overtrain)}, wanted (0,) and none: networks that differ by their seed "
            "are compared at the first epoch without error on S."
        )
    if sweep.samples < 2 * cells:
        raise ValueError(
            f"sweep.samples: got {sweep.samples} seeds for {cells} cells of confounders, wanted at "
            f"least {2 * cells}: networks of one cell are compared."
        )
    if max(confounders.batch_size) > size:
        raise ValueError(
            f"confounders.batch_size: got {max(confounders.batch_size)}, wanted at most "
            f"hp.data.train_size = {size}."
        )
