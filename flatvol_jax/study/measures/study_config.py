"""The config of a study of networks, checked and typed once; all layers below read this."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax

from flatvol_jax import data
from flatvol_jax.data.sources import checked_source
from flatvol_jax.models import CNN, FCN, ResNet, Spec, output_count
from flatvol_jax.runtime import checks
from flatvol_jax.runtime.randomness import named_key
from flatvol_jax.study.engine.plan import Run, SweepSettings
from flatvol_jax.study.engine.settings import (
    built,
    choice,
    entry,
    group,
    natural,
    or_none,
    plain,
    settings,
)
from flatvol_jax.study.measures.user_model import own_model, user_model
from flatvol_jax.training import TrainSettings

MODELS: dict[str, Callable[..., Spec]] = {
    **{"cnn": CNN, "fcn": FCN, "resnet": ResNet},
    **{"flax": user_model, "own": own_model},
}
_KERNELS = {"analytic": {}, "monte_carlo": {"samples": 1, "groups": 2}}  # least value of each
_ENTRIES = ("name", "experiment", "scale", "note", "hp", "sweep", "ensemble", "kernel", "measures")


def model_spec(entries: Mapping[str, Any]) -> Spec:
    """Return the spec that hp.model describes."""
    options: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in group({"hp": {"model": entries}}, "hp.model", "name").items()
    }
    model = MODELS[checks.one_of("hp.model.name", options.pop("name"), MODELS)]
    return built("hp.model", model, options)


def check_one_output(spec: Spec, study: str) -> None:
    """Refuse a network of C classes where a study counts labels ±1."""
    if output_count(spec) > 1:
        raise ValueError(
            f"hp.model.outputs: got {output_count(spec)}, wanted 1: {study} is of two classes."
        )


def train_settings(entries: Mapping[str, Any], name: str = "hp.train") -> TrainSettings:
    """Return the settings that the entries name.

    A config without `stop` is older than that entry: it means "train_and_attack".

    Raises:
        ValueError: an entry that training does not have, or a value that it cannot take.
    """
    entries = group(entries, "", here=name)
    return built(name, TrainSettings, {"stop": "train_and_attack", **entries})


@dataclasses.dataclass(frozen=True)
class DataSettings:
    """hp.data: which data set, how it is divided; `data.draw` says what the sizes are.

    Attributes:
        groups: two groups of classes, "all" for each class by itself; None where labels are ±1.
        content: hash of an .npz of one's own (`problem.with_content`), whose data must be those.
        leave_out: a data set whose inputs no draw has.
        draws: whether draws share no example; in older configs they may.
    """

    name: str = entry(checked_source)
    groups: str | None = entry(or_none(choice((*data.GROUPS, data.ALL_CLASSES))))
    preprocessing: str = entry(plain)
    train_size: int = entry(checks.count)
    attack_pool_size: int = entry(natural)
    test_size: int = entry(natural)
    second_test_size: int | None = entry(or_none(natural))
    attack_nested: bool = entry(checks.boolean)
    leave_out: str | None = entry(or_none(checked_source), None)
    content: str | None = entry(or_none(plain), None)
    draws: str = entry(choice(("disjoint", "independent")), "independent")

    @property
    def sizes(self) -> dict[str, int | None]:
        """Return the sizes that `data.draw` takes."""
        names = ("train_size", "attack_pool_size", "test_size", "second_test_size")
        return {name: getattr(self, name) for name in names}


@dataclasses.dataclass(frozen=True)
class Hyperparameters:
    """hp: what determines a trained network, beside the seed.

    Attributes:
        batch_norm: which network BatchNorm makes, docs/batch_norm.md.
    """

    data: DataSettings = entry(lambda name, value: settings(DataSettings, value, name))
    model: Spec = entry(lambda _, value: model_spec(value))
    train: TrainSettings = entry(lambda name, value: train_settings(value, name))
    batch_norm: str = entry(choice(("running", "batch")), "running")


@dataclasses.dataclass(frozen=True)
class StudyConfig:
    """A config of networks on data.

    Attributes:
        plain: as it came, for files and hashes.
        hp: what determines a network.
        sweep: which networks there are.
        kernel: samples and groups of a Monte Carlo kernel; nothing of the analytic one.
    """

    plain: Mapping[str, Any]
    hp: Hyperparameters
    sweep: SweepSettings
    kernel: Mapping[str, int]

    def key(self, name: str, *indices: int) -> jax.Array:
        """Return the key of one purpose."""
        return named_key(jax.random.key(self.sweep.seed), name, *indices)

    def run_key(self, name: str, run: Run) -> jax.Array:
        """Return the key of one purpose of one run; the same for every optimizer and epoch."""
        return self.key(name, run.draw, run.attack_size, run.sample)

    @property
    def ensemble(self) -> int:
        """Return how many networks are trained as one ensemble.

        Raises:
            ValueError: a number that is no count, or no multiple of hp.train.vmap_size.
        """
        size = checks.count("ensemble", group(self.plain, "", "ensemble")["ensemble"])
        if size % self.hp.train.vmap_size:
            raise ValueError(
                f"ensemble: got {size} runs and hp.train.vmap_size = {self.hp.train.vmap_size}, "
                "wanted a multiple of it: a batch of another shape would round otherwise."
            )
        return size


def study_config(config: Mapping[str, Any] | StudyConfig) -> StudyConfig:
    """Return the config, checked and typed; one that is typed already, as it is.

    Raises:
        ValueError: names what is missing, unknown or of another kind.
    """
    if isinstance(config, StudyConfig):
        return config
    plain("config", group(config, "", "hp", "sweep"))
    return StudyConfig(
        config,
        settings(Hyperparameters, config["hp"], "hp"),
        settings(SweepSettings, config["sweep"], "sweep"),
        kernel_settings(config),
    )


def check_entries(config: Mapping[str, Any], *own: str) -> None:
    """Refuse an entry that is neither of all studies nor of the experiment's `own`."""
    for name in group(config, ""):
        checks.one_of("config", name, (*_ENTRIES, *own))


def kernel_settings(config: Mapping[str, Any]) -> dict[str, int]:
    """Return samples and groups of a Monte Carlo kernel; nothing for the analytic one.

    Raises:
        ValueError: an unknown method, a setting that is missing or not a count.
    """
    config = {"kernel": {"method": "analytic"}, **group(config, "")}
    entries = dict(group(config, "kernel", "method"))
    method = checks.one_of("kernel.method", entries.pop("method"), _KERNELS)
    wanted = _KERNELS[method]
    if entries.keys() != wanted.keys():
        raise ValueError(
            f"kernel: got {', '.join(entries) or 'nothing'} beside method = {method!r}, wanted "
            f"{', '.join(wanted) or 'nothing'}."
        )
    return {name: checks.count(f"kernel.{name}", entries[name], wanted[name]) for name in wanted}
