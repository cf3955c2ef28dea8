"""Optimizers, the loop that trains an ensemble to zero error, and networks epoch by epoch."""

from flatvol_jax.training._entropy_sgd import entropy_sgd, entropy_sgd_eval_params
from flatvol_jax.training.ensemble import Snapshots, TrainedEnsemble, train_ensemble
from flatvol_jax.training.loop import minibatch_order
from flatvol_jax.training.optimizers import OPTIMIZERS, optimizer
from flatvol_jax.training.settings import TrainSettings
from flatvol_jax.training.trajectory import (
    Epochs,
    Trajectory,
    advance_trajectory,
    begin_trajectory,
)

__all__ = [
    "OPTIMIZERS",
    "Epochs",
    "Snapshots",
    "TrainSettings",
    "TrainedEnsemble",
    "Trajectory",
    "advance_trajectory",
    "begin_trajectory",
    "entropy_sgd",
    "entropy_sgd_eval_params",
    "minibatch_order",
    "optimizer",
    "train_ensemble",
]


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)
