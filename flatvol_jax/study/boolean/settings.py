"""The config of the Boolean experiment, checked and typed once; all layers below read this."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from flatvol_jax.runtime import checks
from flatvol_jax.study.engine.settings import (
    each,
    entry,
    group,
    natural,
    or_none,
    plain,
    settings,
    settings_class,
)
from flatvol_jax.study.measures.registry import MEASURES
from flatvol_jax.study.measures.study_config import check_entries, train_settings
from flatvol_jax.training import TrainSettings

MEASURED = ("sharpness", "sgd_sharpness", "hessian")  # at each minimum


def _width(name: str, value: Any) -> tuple[int | None, int]:
    """Return a width, None for the Gaussian process, and samples."""
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise ValueError(f"{name}: got {value!r:.80}, wanted pairs: width or None, samples.")
    return or_none(checks.count)(name, value[0]), checks.count(name, value[1])


def _epochs(name: str, value: Any) -> tuple[int, ...]:
    """Return epochs after zero error, ascending, each once."""
    return tuple(sorted(set(each(natural)(name, value))))


def _measure(stage: str) -> Any:
    return lambda name, value: settings(MEASURES[stage].settings, value, name)


def _optimizers(name: str, value: Any) -> dict[str, Any]:
    """Return the settings of training by name of the optimizer."""
    return {key: train_settings(entries, f"{name}.{key}") for key, entries in value.items()}


MeasureSettings = settings_class("MeasureSettings", **{s: _measure(s) for s in MEASURED})


@dataclasses.dataclass(frozen=True)
class SamplingSettings:
    """The direct sample.

    Attributes:
        samples: functions drawn.
        chunk_size: samples of a chunk, which determines them.
        readouts: functions that share the hidden layers of a network.
        functions: so many of the most frequent ones go into the records.
    """

    samples: int = entry(checks.count)
    chunk_size: int = entry(checks.count)
    readouts: int = entry(checks.count)
    functions: int = entry(checks.count)


@dataclasses.dataclass(frozen=True)
class WidthSettings:
    """Count functions at other widths: their number, samples of each width, None is infinite."""

    functions: int = entry(checks.count)
    samples: tuple[tuple[int | None, int], ...] = entry(each(_width))


@dataclasses.dataclass(frozen=True)
class MinimaSettings:
    """Networks that are trained to a function of all inputs.

    Attributes:
        functions: of the most frequent ones, so many.
        networks: of each function.
        overtrain: epochs after zero error at which to measure, 0 for zero error itself.
        train: how they are trained.
        measures: settings of each of `MEASURED`.
    """

    functions: int = entry(checks.count)
    networks: int = entry(checks.count)
    overtrain: tuple[int, ...] = entry(_epochs)
    train: TrainSettings = entry(lambda name, value: train_settings(value, name))
    measures: Any = entry(lambda name, value: settings(MeasureSettings, value, name))


@dataclasses.dataclass(frozen=True)
class ComparisonSettings:
    """Optimizers that see a part S against P_B(f|S).

    Attributes:
        on: whether they are compared.
        optimizers: names in `train`.
        train: settings of each optimizer by its name.
        train_size: |S|.
        seeds: networks that an optimizer trains.
    """

    on: bool = entry(checks.boolean)
    optimizers: tuple[str, ...] = entry(each(plain))
    train: dict[str, TrainSettings] = entry(_optimizers)
    train_size: int = entry(checks.count)
    seeds: int = entry(checks.count)


@dataclasses.dataclass(frozen=True)
class PosteriorSettings(ComparisonSettings):
    """The comparison on the Boolean system.

    Attributes:
        targets: names of what S is labelled by.
        functions: rows of functions.
        least_probability: of S.
        least_matching: direct samples that fit S.
    """

    targets: tuple[str, ...] = entry(each(plain))
    functions: int = entry(checks.count)
    least_probability: float = entry(checks.non_negative)
    least_matching: int = entry(checks.count)


@dataclasses.dataclass(frozen=True)
class MnistSettings(ComparisonSettings):
    """The comparison on MNIST; `test_size` is |E|."""

    test_size: int = entry(checks.count)


_GROUPS: dict[str, type[Any]] = {
    "sampling": SamplingSettings,
    "widths": WidthSettings,
    "minima": MinimaSettings,
    "posterior": PosteriorSettings,
    "posterior_mnist": MnistSettings,
}


@dataclasses.dataclass(frozen=True)
class BooleanConfig:
    """The config of the experiment.

    Attributes:
        plain: as it came, for files and hashes.
        seed: of all keys.
        ensemble: seeds trained as one program.
        sampling: the direct sample, and how many of its functions go into the records.
        widths: networks of other widths, None for the Gaussian process, with their samples.
        minima: networks trained to each function, and what is measured at them.
        posterior: optimizers on a part S of a target against P_B(f|S).
        posterior_mnist: the same on MNIST.
    """

    plain: Mapping[str, Any]
    seed: int
    ensemble: int
    sampling: SamplingSettings
    widths: WidthSettings
    minima: MinimaSettings
    posterior: PosteriorSettings
    posterior_mnist: MnistSettings


def boolean_config(config: Mapping[str, Any], inputs: int) -> BooleanConfig:
    """Return the config, checked and typed: what would end the work later is refused now.

    Args:
        config: plain data, as configs/boolean.py makes it.
        inputs: of the system.

    Raises:
        ValueError: names the entry.
    """
    check_entries(config, *_GROUPS)
    plain("config", group(config, "", "hp", "sweep", "ensemble", *_GROUPS))
    found = BooleanConfig(
        config,
        natural("sweep.seed", group(config, "sweep", "seed")["seed"]),
        checks.count("ensemble", config["ensemble"]),
        **{name: settings(kind, config[name], name) for name, kind in _GROUPS.items()},
    )
    for name in ("posterior", "posterior_mnist"):
        comparison = getattr(found, name)
        for optimizer in comparison.optimizers if comparison.on else ():
            checks.one_of(f"{name}.optimizers", optimizer, comparison.train)
    batch = found.minima.measures.sgd_sharpness.batch_size
    checks.count("minima.measures.sgd_sharpness.batch_size", batch, most=inputs)
    if found.posterior.on and found.sampling.readouts > 1:
        raise ValueError(
            f"sampling.readouts: got {found.sampling.readouts} with posterior.on, wanted 1: the "
            "posterior's errors are those of independent samples. Set posterior.on to False."
        )
    return found
