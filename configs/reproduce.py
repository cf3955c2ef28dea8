"""Every study behind the report, by scale: what experiments/reproduce.py runs, or finds done.

python -m experiments.reproduce --scale=smoke --workdir=runs/smoke    small, everything anew
python -m experiments.reproduce --scale=cpu --workdir=results         the records that are here
python -m experiments.reproduce --scale=cpu --workdir=runs/cpu        the same anew, a day
python -m experiments.reproduce --scale=paper --workdir=runs/paper    the paper's sizes; wants a GPU
"""

import importlib.util
from typing import NamedTuple

import flatvol_jax as fv
from configs import base, sensitivity, ten_classes

SCALES = ("smoke", "cpu", "paper")
THROUGH_TIME = ("fig5", "S5", "S7", "S8", "S9", "draws", "alpha_sweep")


class Job(NamedTuple):
    """One study.

    Attributes:
        experiment: the main of experiments/ that runs it.
        config: file in configs/, without .py.
        variant: what stands after its colon, "" for none.
        folder: where its records go, below --workdir.
        data: the data set that it needs on disk, "" for none.
    """

    experiment: str
    config: str
    variant: str
    folder: str
    data: str = ""

    @property
    def command(self) -> str:
        """What runs it alone."""
        variant = f":{self.variant}" if self.variant else ""
        return f"python -m experiments.{self.experiment} --config=configs/{self.config}.py{variant}"


def jobs(scale: str) -> list[Job]:
    """The studies of a scale, cheap ones first."""
    if scale not in SCALES:
        raise ValueError(f"scale: got {scale!r}, wanted one of {', '.join(SCALES)}.")
    both = ("sgd", "adam")
    digits = "" if scale == "smoke" else "mnist"
    found = [_sweep("mnist_fcn", scale, optimizer, digits) for optimizer in fv.training.OPTIMIZERS]
    found += [_sweep("mnist_fcn_overtrain", scale, optimizer, digits) for optimizer in both]
    found += _temporal(scale)
    boolean = "smoke" if scale == "smoke" else "paper"
    found.append(Job("boolean", "boolean", boolean, "boolean"))
    found += _sensitivity(scale)
    for config, data in (("cifar_fcn", "cifar10"), ("cifar_resnet", "cifar10")):
        found += [_sweep(config, scale, optimizer, data) for optimizer in both]
    found += [_sweep("mnist_fcn_10k", scale, optimizer, digits) for optimizer in both]
    if scale == "cpu":
        # One draw at the paper's size, which leaves no E2.
        found += [_sweep("cifar_fcn", "single", optimizer, "cifar10") for optimizer in both]
    if scale != "smoke":
        ten = (("mnist_fcn", "mnist"), ("cifar_fcn", "cifar10"), ("cifar_resnet", "cifar10"))
        found += [_ten_classes(config, scale, data) for config, data in ten]
        # Figure S4 wants the course of every ascent, which only a small sweep keeps in results/.
        found.append(Job("attack_sweep", "mnist_fcn_ascent", "", "mnist_fcn_ascent"))
    # A study whose config is not there is skipped, as `paper.registry` skips its experiment.
    return [job for job in found if importlib.util.find_spec(f"configs.{job.config}")]


def _sweep(config: str, scale: str, optimizer: str, data: str = "") -> Job:
    words = [word for word in (scale, optimizer) if word not in ("paper", "sgd")]
    suffix = "" if optimizer == "sgd" else f"_{optimizer}"
    return Job("attack_sweep", config, ",".join(words), f"{config}_{scale}{suffix}", data)


def _ten_classes(config: str, scale: str, data: str) -> Job:
    words = f"{scale},{ten_classes.WORD}"
    folder = f"{config}_{ten_classes.WORD}_{scale}"
    return Job("attack_sweep", config, words, folder, data)


def _temporal(scale: str) -> list[Job]:
    if scale == "smoke":
        return [Job("temporal", "temporal", "smoke", "temporal_smoke")]
    changes = [name for name in base.CHANGES if name != "protocol"]
    return [
        Job("temporal", "temporal", "fig5,sum", "temporal_fig5"),
        *(
            Job("temporal", "temporal", v, f"temporal_{v}_mean", "mnist" if v == "draws" else "")
            for v in THROUGH_TIME
        ),
        *(
            Job("temporal", "temporal", f"draws,{name}", f"temporal_draws_mean_{name}", "mnist")
            for name in changes
        ),
    ]


def _sensitivity(scale: str) -> list[Job]:
    if scale == "smoke":
        changes, optimizers, word = ("protocol", "sigma_w_1"), ("sgd",), "smoke"
    else:
        changes, optimizers, word = sensitivity.CHANGES, ("sgd", "adam"), "cpu"
    return [
        _sensitivity_job(change, optimizer, word)
        for change in changes
        for optimizer in optimizers
        if optimizer == "sgd" or not change.startswith("rate_")
    ]


def _sensitivity_job(change: str, optimizer: str, scale: str) -> Job:
    words = [change, *(word for word in (scale, optimizer) if word not in ("cpu", "sgd"))]
    suffix = "" if optimizer == "sgd" else f"_{optimizer}"
    folder = f"sensitivity_{change}_{scale}{suffix}"
    data = "" if scale == "smoke" else "mnist"
    return Job("attack_sweep", "sensitivity", ",".join(words), folder, data)
