"""config -> the runs of a sweep, each named by the hash of all that determines it."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from flatvol_jax.runtime import checks
from flatvol_jax.runtime.hashing import content_hash
from flatvol_jax.study.engine.config_entries import check_plain, entries, group
from flatvol_jax.study.engine.units import Unit

# Raise a number when the meaning of a stage's result changes: old units are then computed anew.
STAGE_VERSIONS = {
    "train": 1,
    "log_volume": 3,
    "log_volume_null": 1,
    "sharpness": 4,
    "sgd_sharpness": 3,
    "hessian": 3,
    "spectral_density": 1,
    "scale_invariant": 2,
    "basin_volume": 1,
    "learning_coefficient": 1,
    "kernel_error": 1,
    "baselines": 1,
}

_MOST_RUNS = 10**6
NETWORKS = "networks"  # a setting of every measure: of each draw and |A|, the first so many


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


def plan_runs(config: Mapping[str, Any]) -> list[Run]:
    """All runs of the sweep, by draw, then |A|, then sample, then epoch.

    Args:
        config: plain data with `hp` (data, model, train) and `sweep` (seed, draws,
            attack_sizes, samples, and overtrain if networks are measured beyond zero error).
    """
    sweep = group(config, "sweep", "seed", "draws", "samples", "attack_sizes")
    draws = checks.count("sweep.draws", sweep["draws"])
    samples = checks.count("sweep.samples", sweep["samples"])
    name = "sweep.attack_sizes"
    sizes = [checks.count(name, size, least=0) for size in entries(name, sweep["attack_sizes"])]
    pool = group(config, "hp.data", "attack_pool_size")["attack_pool_size"]
    checks.count("hp.data.attack_pool_size", pool, least=0)
    check_plain(config["hp"], "hp")
    checks.count("sweep.seed", sweep["seed"], least=0)
    if not sizes or max(sizes) > pool or len(set(sizes)) != len(sizes):
        raise ValueError(
            f"sweep.attack_sizes: got {sizes}, wanted different sizes of at most "
            f"hp.data.attack_pool_size = {pool}."
        )
    if draws * samples * len(sizes) > _MOST_RUNS:
        raise ValueError(
            f"sweep: got draws = {draws}, {len(sizes)} attack_sizes and samples = {samples}, "
            f"wanted at most {_MOST_RUNS} networks in all. Divide them among several sweeps."
        )
    shared = {**dict(flatten(config["hp"])), "seed": sweep["seed"]}
    return [
        _run({**shared, "draw": draw, "attack_size": size, "sample": sample}, beyond)
        for draw in range(draws)
        for size in sizes
        for sample in range(samples)
        for beyond in (0, *overtrain_epochs(config))
    ]


def _run(hp: dict[str, Any], overtrain: int) -> Run:
    return Run(content_hash(hp), hp["draw"], hp["attack_size"], hp["sample"], hp, overtrain)


def overtrain_epochs(config: Mapping[str, Any]) -> tuple[int, ...]:
    """Epochs after zero error at which networks are measured again, increasing."""
    epochs = entries("sweep.overtrain", config["sweep"].get("overtrain", ()))
    return tuple(sorted({checks.count("sweep.overtrain", epoch) for epoch in epochs}))


def training_unit(run: Run) -> Unit:
    """The unit that trains this run."""
    return Unit("train", content_hash([*_network(run), STAGE_VERSIONS["train"]]))


def measure_unit(run: Run, name: str, settings: Mapping[str, Any]) -> Unit:
    """The unit that measures this run, named by run, measure, settings and version."""
    named = [*_network(run), name, _determining(settings), STAGE_VERSIONS[name]]
    return Unit(name, content_hash(named))


def is_measured(run: Run, settings: Mapping[str, Any]) -> bool:
    """Return whether the run is one of the first `networks` of its draw and |A|; None for all."""
    networks = settings.get(NETWORKS)
    return networks is None or run.sample < networks


def _determining(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings without the one that says which runs they are for."""
    return {name: value for name, value in settings.items() if name != NETWORKS}


def settings_label(name: str, settings: Mapping[str, Any], version: int | None = None) -> str:
    """Return what a stage is computed by, in short: its version, the hash of its settings."""
    version = STAGE_VERSIONS[name] if version is None else version
    return f"{version}:{content_hash(_determining(settings))[:8]}"


def _network(run: Run) -> list:
    """What names the network: the run, and how far beyond zero error it is."""
    return [run.run_id, run.overtrain] if run.overtrain else [run.run_id]


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and values of nested plain data; tuples become lists, as JSON has them."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield prefix + name, list(value) if isinstance(value, tuple) else value
