"""The config of the posterior experiment, checked and typed before any work."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from flatvol_jax.models import FCN, output_count
from flatvol_jax.runtime import checks
from flatvol_jax.study.engine.settings import each, entry, group, plain, settings, settings_class
from flatvol_jax.study.measures.study_config import (
    StudyConfig,
    check_entries,
    study_config,
    train_settings,
)
from flatvol_jax.training import TrainSettings


def _optimizers(name: str, value: Any) -> dict[str, TrainSettings]:
    """Return the settings of training by name of the optimizer."""
    entries = group(value, "", here=name)
    return {key: train_settings(entries[key], f"{name}.{key}") for key in entries}


def _network(name: str, value: Any) -> tuple[int, float]:
    """Return the depth and the width, in units of the base widths, of a network."""
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise ValueError(f"{name}: got {value!r:.80}, wanted pairs (hidden layers, width factor).")
    return checks.count(name, value[0]), checks.positive(name, value[1])


def _size(name: str, value: Any) -> int:
    return checks.count(name, value, least=2)


InputSettings = settings_class("InputSettings", pool=checks.count, balanced=checks.boolean)
SamplerSettings = settings_class("SamplerSettings", particles=_size, replicates=_size)
GuessSettings = settings_class(
    "GuessSettings",
    sizes=each(_size),
    fitting=checks.count,
    most=checks.count,
    batch=checks.count,
)
MarginSettings = settings_class("MarginSettings", sizes=each(_size), after=each(checks.count))


@dataclasses.dataclass(frozen=True)
class PosteriorSettings:
    """The networks and sizes that are compared.

    Attributes:
        sizes: |S|; each S begins with the smaller ones of its draw.
        networks: (hidden layers, factor of the base widths); the first is the base network.
        delta: chance with which the PAC-Bayes bound may fail.
        sampler: particles and replicates of `posterior_accuracy`.
        guess: |S| for guess and check, networks that are to fit, most that are drawn, a batch.
        margins: |S| where networks of equal margin are compared, among those of guess and check;
            `after`, increasing epochs beyond zero error at which margins are taken, too.
        others: settings of further optimizers by name, which train the base network.
    """

    sizes: tuple[int, ...] = entry(each(_size))
    networks: tuple[tuple[int, float], ...] = entry(each(_network))
    delta: float = entry(checks.chance)
    sampler: Any = entry(lambda name, value: settings(SamplerSettings, value, name))
    guess: Any = entry(lambda name, value: settings(GuessSettings, value, name))
    margins: Any = entry(lambda name, value: settings(MarginSettings, value, name))
    others: dict[str, TrainSettings] = entry(_optimizers)


@dataclasses.dataclass(frozen=True)
class PosteriorConfig:
    """The config of the experiment, typed.

    Attributes:
        study: data, base network, SGD's training, seed, draws, networks trained on each S.
        inputs: `pool`, the side of the squares whose largest pixel is kept; `balanced`, whether
            the classes of S alternate.
        posterior: what is compared.
    """

    study: StudyConfig
    inputs: Any
    posterior: PosteriorSettings

    @property
    def classes(self) -> int | None:
        """Return C of a network with C outputs; None for labels ±1."""
        outputs = output_count(self.study.hp.model)
        return None if outputs == 1 else outputs

    @property
    def optimizers(self) -> dict[str, TrainSettings]:
        """Return all optimizers by name, that of `hp.train` first."""
        train = self.study.hp.train
        return {train.optimizer: train, **self.posterior.others}

    def spec(self, depth: int, factor: float = 1.0) -> FCN:
        """Return the network with the first `depth` base widths times the factor."""
        base = self.study.hp.model
        assert isinstance(base, FCN)
        widths = tuple(max(1, round(factor * units)) for units in base.width[:depth])
        return dataclasses.replace(base, width=widths)


def posterior_config(config: Mapping[str, Any]) -> PosteriorConfig:
    """Return the config, checked and typed.

    Raises:
        ValueError: names the entry that is missing, unknown or does not fit.
    """
    check_entries(config, "posterior")
    plain("config", group(config, "", "hp", "sweep", "posterior"))
    hp = dict(group(config, "hp", "inputs"))
    inputs = settings(InputSettings, hp.pop("inputs"), "hp.inputs")
    study = study_config({**config, "hp": hp})
    found = settings(PosteriorSettings, config["posterior"], "posterior")
    if not isinstance(study.hp.model, FCN):
        raise ValueError(
            f"hp.model.name: got {hp['model']['name']!r}, wanted 'fcn': widths and depths are "
            "those of fully connected networks."
        )
    if tuple(study.sweep.attack_sizes) != (0,):
        raise ValueError(
            f"sweep.attack_sizes: got {list(study.sweep.attack_sizes)}, wanted (0,): networks that "
            "fit S alone are compared."
        )
    if not found.sizes or max(found.sizes) > study.hp.data.train_size:
        raise ValueError(
            f"posterior.sizes: got {list(found.sizes)}, wanted at least one, each at most "
            f"hp.data.train_size = {study.hp.data.train_size}."
        )
    base = len(study.hp.model.width)
    if not found.networks or max(depth for depth, _ in found.networks) > base:
        raise ValueError(
            f"posterior.networks: got {[list(pair) for pair in found.networks]}, wanted at least "
            f"one, each of at most {base} hidden layers, as hp.model.width has."
        )
    if not set(found.margins.sizes) <= set(found.guess.sizes):
        raise ValueError(
            f"posterior.margins.sizes: got {list(found.margins.sizes)}, wanted sizes of "
            f"posterior.guess.sizes = {list(found.guess.sizes)}."
        )
    if list(found.margins.after) != sorted(set(found.margins.after)):
        raise ValueError(
            f"posterior.margins.after: got {list(found.margins.after)}, wanted increasing numbers "
            "of epochs."
        )
    for name, train in found.others.items():
        if train.optimizer != name or name == study.hp.train.optimizer:
            raise ValueError(
                f"posterior.others.{name}: got the optimizer {train.optimizer!r}, wanted {name!r}, "
                f"and another than hp.train's, {study.hp.train.optimizer!r}."
            )
    return PosteriorConfig(study, inputs, found)
