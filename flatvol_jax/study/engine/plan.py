"""config -> the runs of a sweep, each named by the hash of all that determines it."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from flatvol_jax.runtime import checks
from flatvol_jax.runtime.hashing import content_hash
from flatvol_jax.study.engine.settings import each, entry, group, natural, plain, settings
from flatvol_jax.study.engine.store import Stage, Unit

TRAIN = Stage("train", 1)
_MOST_RUNS = 10**6


@dataclasses.dataclass(frozen=True)
class SweepSettings:
    """The networks of a sweep: samples of each draw and |A|, measured again after zero error."""

    seed: int = entry(natural)
    draws: int = entry(checks.count)
    samples: int = entry(checks.count)
    attack_sizes: tuple[int, ...] = entry(each(natural))
    overtrain: tuple[int, ...] = entry(each(checks.count), ())


class Run(NamedTuple):
    """One network of a sweep, at zero error or some epochs later.

    Attributes:
        run_id: hash of `hp`.
        draw: which draw of (S, pool of A, E1, E2).
        attack_size: |A|.
        sample: which of the networks at this draw and |A|.
        hp: all that determines the trained network, flat, the names without "hp.".
        overtrain: epochs after zero error; one run has a place in the plan for each.
    """

    run_id: str
    draw: int
    attack_size: int
    sample: int
    hp: dict[str, Any]
    overtrain: int = 0

    @property
    def network(self) -> list:
        """Return what names the network: the run, and how far beyond zero error it is."""
        return [self.run_id, self.overtrain] if self.overtrain else [self.run_id]

    @property
    def training(self) -> Unit:
        """Return the unit that trains it."""
        return TRAIN.unit(*self.network)

    @property
    def hp_columns(self) -> dict[str, Any]:
        """Return `hp` as columns of a record."""
        return {f"hp.{name}": value for name, value in self.hp.items()}


class ChosenMeasure(NamedTuple):
    """A measure that a config turns on.

    Attributes:
        stage: of its units.
        settings: what determines its result beside the network, plain data.
        options: the same as what computes it takes it.
        networks: of each draw and |A|, the first so many are measured; None for all.
    """

    stage: Stage
    settings: Mapping[str, Any]
    options: Any = None
    networks: int | None = None

    def unit(self, *network: Any) -> Unit:
        """Return the unit of the network that these plain data name."""
        return self.stage.unit(*network, self.stage.name, self.settings)

    @property
    def label(self) -> str:
        """Return what the result is computed by, in short: version and settings."""
        return self.stage.label(self.settings)

    def is_of(self, run: Run) -> bool:
        """Return whether the run is one of those that are measured."""
        return self.networks is None or run.sample < self.networks


Measures = Mapping[str, ChosenMeasure]


def units_of(run: Run, measures: Measures) -> dict[str, Unit]:
    """Return the units of the run's measures by name."""
    return {name: m.unit(*run.network) for name, m in measures.items() if m.is_of(run)}


def plan_runs(config: Mapping[str, Any]) -> list[Run]:
    """Return all runs of the sweep, by draw, then |A|, then sample, then epoch.

    Args:
        config: plain data with `hp` (data, model, train) and `sweep` (seed, draws,
            attack_sizes, samples, and overtrain if networks are measured beyond zero error).
    """
    sweep = settings(SweepSettings, group(config, "sweep"), "sweep")
    sizes = list(sweep.attack_sizes)
    pool = group(config, "hp.data", "attack_pool_size")["attack_pool_size"]
    natural("hp.data.attack_pool_size", pool)
    plain("hp", config["hp"])
    if not sizes or max(sizes) > pool or len(set(sizes)) != len(sizes):
        raise ValueError(
            f"sweep.attack_sizes: got {sizes}, wanted different sizes of at most "
            f"hp.data.attack_pool_size = {pool}."
        )
    if sweep.draws * sweep.samples * len(sizes) > _MOST_RUNS:
        raise ValueError(
            f"sweep: got draws = {sweep.draws}, {len(sizes)} attack_sizes and samples = "
            f"{sweep.samples}, wanted at most {_MOST_RUNS} networks in all. Divide them among "
            "several sweeps."
        )
    shared = {**dict(flatten(config["hp"])), "seed": sweep.seed}
    return [
        _run({**shared, "draw": draw, "attack_size": size, "sample": sample}, beyond)
        for draw in range(sweep.draws)
        for size in sizes
        for sample in range(sweep.samples)
        for beyond in (0, *sorted(set(sweep.overtrain)))
    ]


def _run(hp: dict[str, Any], overtrain: int) -> Run:
    return Run(content_hash(hp), hp["draw"], hp["attack_size"], hp["sample"], hp, overtrain)


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield dotted names and values of nested plain data; tuples become lists, as JSON has them."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield prefix + name, list(value) if isinstance(value, tuple) else value
