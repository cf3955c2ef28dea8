"""What the sweeps' configs share: how a variant is spelled, the optimizers, the measures.

A variant is a scale and an optimizer in any order, `cpu,adam`; what is left out is the paper's
scale and SGD. Scales: "paper" is the paper's size, "cpu" a size for two cores, "smoke" some
minutes; each file says what it makes of them.
"""

import functools
import operator

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

import flatvol_jax as fv
from flatvol_jax import study

# What the paper leaves open or others do otherwise, for sensitivity runs.
CHANGES = {
    "protocol": {},
    "sigma_w_1": {"hp.model.sigma_w": 1.0},
    "sigma_w_2": {"hp.model.sigma_w": 2.0},
    "sigma_b_0": {"hp.model.sigma_b": 0.0},
    "sigma_b_01": {"hp.model.sigma_b": 0.1},
    "depth_1": {"hp.model.width": (40,)},
    "depth_3": {"hp.model.width": (40, 40, 40)},
    "standardise": {"hp.data.preprocessing": "standardise"},
}


def change(config: ConfigDict, changes: dict) -> None:
    """Set entries by their dotted names, also those that have a default elsewhere."""
    for name, value in changes.items():
        *groups, entry = name.split(".")
        functools.reduce(operator.getitem, groups, config)[entry] = value


def words(variant: str, scales: tuple[str, ...]) -> tuple[str, str]:
    """The scale and the optimizer that a variant names."""
    optimizers = fv.training.OPTIMIZERS
    found = {"scale": scales[0], "optimizer": "sgd"}
    for word in filter(None, variant.split(",")):
        if word not in scales and word not in optimizers:
            raise ValueError(
                f"variant: got {variant!r}, wanted a scale ({', '.join(scales)}), an optimizer "
                f"({', '.join(optimizers)}), or both with a comma between them."
            )
        found["scale" if word in scales else "optimizer"] = word
    return found["scale"], found["optimizer"]


def sweep_config(experiment: str, scale: str, optimizer: str) -> ConfigDict:
    """Name, training and measures of one sweep; the data, the network and its sizes are to add."""
    config = ConfigDict()
    suffix = "" if optimizer == "sgd" else f"_{optimizer}"
    config.name = f"{experiment}_{scale}{suffix}"
    config.experiment = experiment
    # "cpu" and "paper" allow a verdict, from ten draws on (flatvol_jax/study/VERDICTS.md).
    config.scale = scale
    config.note = ""  # stands at the top of the report
    config.hp = {"train": training(optimizer)}
    config.ensemble = 5  # runs trained together, a multiple of vmap_size; changes no result
    config.kernel = {"method": "analytic"}
    config.measures = measures()
    return config


def training(optimizer: str) -> dict:
    """Return every entry of hp.train, by the paper's protocol: the mean loss, stop on S alone."""
    options = dict(fv.training.OPTIMIZERS[optimizer].defaults)
    return {
        "optimizer": optimizer,
        "learning_rate": options.pop("learning_rate"),  # of the mean loss of a minibatch
        "batch_size": placeholder(int) if optimizer == "gd" else 32,  # None: the whole set
        "loss": "mean",  # or "sum"
        "stop": "train",  # zero error on S; or "train_and_attack"
        "order": "shuffled",  # every epoch; or "fixed", S and then A
        "max_epochs": 50_000,
        "vmap_size": 1,  # members batched into one operation: many on an accelerator
        "augmentation": placeholder(str),  # or "flip_and_crop"
        "evaluation_batch_size": placeholder(int),  # inputs at a time; memory, not results
        "options": options,
    }


def measures() -> dict:
    """Every measure and its settings; `on` says whether it is measured.

    They stand at the measures in flatvol_jax/study/measures. Each takes `networks`, too: the first
    so many of each draw and |A| are measured; all without.
    """
    registry = study.measures.registry
    settings = registry.default_settings()
    return {name: {"on": name in registry.ON, **values} for name, values in settings.items()}
