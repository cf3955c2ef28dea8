"""The config of the predictors experiment, checked and typed: hyperparameters and their levels."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from flatvol_jax.models import FCN, Spec
from flatvol_jax.runtime import checks
from flatvol_jax.study.engine.settings import entry, group, plain, settings
from flatvol_jax.study.measures.study_config import (
    StudyConfig,
    check_entries,
    study_config,
    train_settings,
)
from flatvol_jax.training import TrainSettings

MOST_SHAPES = 24  # a shape has programs of its own, which are compiled


@dataclasses.dataclass(frozen=True)
class Setting:
    """The hyperparameters of one network.

    Attributes:
        width: units of each hidden layer.
        depth: hidden layers.
        sigma_w, sigma_b: of the initialisation and of the kernel.
        train_size: |S|; each S begins with the smaller ones of its draw.
        optimizer: its name.
        rate: learning rate in units of the optimizer's own.
        batch_size: examples a step.
    """

    width: int = entry(checks.count)
    depth: int = entry(checks.count)
    sigma_w: float = entry(checks.positive)
    sigma_b: float = entry(checks.non_negative)
    train_size: int = entry(lambda name, value: checks.count(name, value, least=2))
    optimizer: str = entry(plain)
    rate: float = entry(checks.positive)
    batch_size: int = entry(checks.count)

    @property
    def shape(self) -> tuple:
        """Return what the programs of the measures are compiled for."""
        return self.width, self.depth, self.sigma_w, self.sigma_b, self.train_size


FACTORS = tuple(field.name for field in dataclasses.fields(Setting))


def _levels(name: str, value: Any) -> dict[str, tuple]:
    """Return the levels of each hyperparameter, in their order."""
    entries = group(value, "", *FACTORS, here=name)
    fields, found = {field.name: field for field in dataclasses.fields(Setting)}, {}
    for factor in entries:
        check = fields[checks.one_of(name, factor, FACTORS)].metadata["check"]
        place, levels = f"{name}.{factor}", entries[factor]
        if not isinstance(levels, (list, tuple)) or len(set(levels)) < max(len(levels), 1):
            raise ValueError(f"{place}: got {levels!r:.80}, wanted different levels in a list.")
        found[factor] = tuple(check(place, level) for level in levels)
    return {factor: found[factor] for factor in FACTORS}


def _centers(name: str, value: Any) -> dict[str, Setting]:
    entries = group(value, "", here=name)
    return {key: settings(Setting, entries[key], f"{name}.{key}") for key in entries}


def _optimizers(name: str, value: Any) -> dict[str, TrainSettings]:
    entries = group(value, "", here=name)
    return {key: train_settings(entries[key], f"{name}.{key}") for key in entries}


@dataclasses.dataclass(frozen=True)
class PredictorSettings:
    """Say which networks there are.

    Attributes:
        levels: of each hyperparameter.
        centers: settings by name; from each, every hyperparameter takes all of its levels in turn.
        optimizers: training by name of the optimizer; the setting has its rate and batch size.
    """

    levels: dict[str, tuple] = entry(_levels)
    centers: dict[str, Setting] = entry(_centers)
    optimizers: dict[str, TrainSettings] = entry(_optimizers)

    @property
    def settings(self) -> list[Setting]:
        """Return all settings, each once, by their shape."""
        found = []
        for center in self.centers.values():
            for factor, levels in self.levels.items():
                found += [dataclasses.replace(center, **{factor: level}) for level in levels]
        first = {setting.shape: place for place, setting in reversed(list(enumerate(found)))}
        return sorted(dict.fromkeys(found), key=lambda setting: first[setting.shape])


@dataclasses.dataclass(frozen=True)
class PredictorsConfig:
    """The config of the experiment, typed.

    Attributes:
        study: data, seed, draws, networks of each setting, epochs beyond zero error.
        predictors: which settings there are.
    """

    study: StudyConfig
    predictors: PredictorSettings

    def spec(self, setting: Setting) -> FCN:
        """Return the network of a setting."""
        base = self.study.hp.model
        assert isinstance(base, FCN)
        return dataclasses.replace(
            base,
            width=(setting.width,) * setting.depth,
            sigma_w=setting.sigma_w,
            sigma_b=setting.sigma_b,
        )

    def train(self, setting: Setting) -> TrainSettings:
        """Return the training of a setting."""
        own = self.predictors.optimizers[setting.optimizer]
        assert own.learning_rate is not None
        return dataclasses.replace(
            own, learning_rate=own.learning_rate * setting.rate, batch_size=setting.batch_size
        )

    def study_of(self, setting: Setting) -> StudyConfig:
        """Return the study of the networks of one setting."""
        spec: Spec = self.spec(setting)
        hp = dataclasses.replace(self.study.hp, model=spec, train=self.train(setting))
        return dataclasses.replace(self.study, hp=hp)


def predictors_config(config: Mapping[str, Any]) -> PredictorsConfig:
    """Return the config, checked and typed.

    Raises:
        ValueError: names the entry that is missing, unknown or does not fit.
    """
    check_entries(config, "predictors")
    plain("config", group(config, "", "hp", "sweep", "predictors"))
    study = study_config(config)
    found = settings(PredictorSettings, config["predictors"], "predictors")
    _check_study(study)
    _check_optimizers(found)
    _check_settings(found, study.hp.data.train_size)
    return PredictorsConfig(study, found)


def _check_study(study: StudyConfig) -> None:
    if not isinstance(study.hp.model, FCN):
        raise ValueError(
            f"hp.model.name: got {type(study.hp.model).__name__}, wanted 'fcn': widths and depths "
            "are those of fully connected networks."
        )
    if tuple(study.sweep.attack_sizes) != (0,):
        raise ValueError(
            f"sweep.attack_sizes: got {list(study.sweep.attack_sizes)}, wanted (0,): S is clean."
        )
    if not study.hp.data.second_test_size:
        raise ValueError(
            f"hp.data.second_test_size: got {study.hp.data.second_test_size}, wanted the number of "
            "inputs of E2: pairs of networks weigh by how surely their errors on it differ."
        )


def _check_optimizers(found: PredictorSettings) -> None:
    for name, train in found.optimizers.items():
        if train.optimizer != name or train.learning_rate is None or train.batch_size is None:
            raise ValueError(
                f"predictors.optimizers.{name}: got the optimizer {train.optimizer!r} with the "
                f"rate {train.learning_rate} and batches of {train.batch_size}, wanted {name!r}, "
                "a rate and a size, which the settings change."
            )
    for name in found.levels["optimizer"]:
        checks.one_of("predictors.levels.optimizer", name, found.optimizers)


def _check_settings(found: PredictorSettings, train_size: int) -> None:
    if not found.centers:
        raise ValueError("predictors.centers: got none, wanted at least one setting.")
    for name, center in found.centers.items():
        for factor, levels in found.levels.items():
            if getattr(center, factor) not in levels:
                raise ValueError(
                    f"predictors.centers.{name}.{factor}: got {getattr(center, factor)!r}, wanted "
                    f"one of its levels, {', '.join(map(str, levels))}."
                )
    largest = max(found.levels["train_size"])
    if largest > train_size:
        raise ValueError(
            f"predictors.levels.train_size: got {largest}, wanted at most hp.data.train_size = "
            f"{train_size}."
        )
    shapes = len({setting.shape for setting in found.settings})
    if shapes > MOST_SHAPES:
        raise ValueError(
            f"predictors: got {shapes} combinations of width, depth, sigmas and |S|, wanted at "
            f"most {MOST_SHAPES}: each has programs of its own. Let centers share them."
        )
