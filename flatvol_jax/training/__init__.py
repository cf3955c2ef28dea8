"""Optimizers, and the loop that trains an ensemble to zero error."""

from flatvol_jax.training.ensemble import (
    TrainedEnsemble,
    TrainSettings,
    minibatch_order,
    train_ensemble,
)
from flatvol_jax.training.optimizers import OPTIMIZERS, optimizer

__all__ = [
    "OPTIMIZERS",
    "TrainSettings",
    "TrainedEnsemble",
    "minibatch_order",
    "optimizer",
    "train_ensemble",
]
