"""The settings that determine training, beside the key and the data."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from flatvol_jax.runtime import checks
from flatvol_jax.training.augmentation import AUGMENTATIONS
from flatvol_jax.training.optimizers import optimizer


@dataclasses.dataclass(frozen=True)
class TrainSettings:
    """The settings of training.

    An epoch is one pass over the data for every optimizer, one gradient evaluation a minibatch.
    Entropy-SGD spends L of these on one step of its outer parameters, which may thus be the same
    after an epoch as before it.

    Attributes:
        optimizer: a name in `training.optimizers.OPTIMIZERS`.
        learning_rate: refers to the loss of a minibatch as `loss` says; None for the
            optimizer's default.
        batch_size: examples a step; the last step of an epoch takes what is left. None for the
            whole set, which "gd" requires.
        loss: "mean" or "sum" of the cross-entropy over the minibatch. All default rates refer to
            the mean, as in the code that the paper's authors published with it.
        stop: the error that must be zero for a member to be done: on "train", S alone, as in that
            code, or on "train_and_attack", S ∪ A.
        order: of the examples within an epoch: "shuffled" anew every epoch, or "fixed", S and then
            A, as that code visits them.
        max_epochs: a member that is not done by then is kept and marked.
        vmap_size: members that are batched into one operation; the others follow one after
            another. 1 is fastest on a CPU, where a small network's step is no faster batched
            and a member that is done would wait for the slowest; an accelerator wants many.
            A member's rounding depends on it.
        augmentation: a name in `training.augmentation.AUGMENTATIONS`, applied to the images of
            every minibatch; None for none. Evaluations see the images as they are.
        evaluation_batch_size: examples at a time when all rows are evaluated after an epoch,
            where their activations together exceed memory; None for all at once.
        options: further options of the optimizer by name, in place of its defaults; held as
            sorted pairs.
    """

    optimizer: str = "sgd"
    learning_rate: float | None = None
    batch_size: int | None = 32
    loss: str = "mean"
    stop: str = "train"
    order: str = "shuffled"
    max_epochs: int = 500
    vmap_size: int = 1
    augmentation: str | None = None
    evaluation_batch_size: int | None = None
    options: Mapping[str, Any] | tuple[tuple[str, Any], ...] = ()

    def __post_init__(self):
        try:
            options = dict(self.options)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"options: got {self.options!r:.80}, wanted the optimizer's options by name, as in "
                "{'b1': 0.5} of adam; {} for its defaults."
            ) from error
        object.__setattr__(self, "options", tuple(sorted(options.items())))
        self.transformation(key=None)
        checks.one_of("loss", self.loss, ("mean", "sum"))
        checks.one_of("stop", self.stop, ("train", "train_and_attack"))
        checks.one_of("order", self.order, ("shuffled", "fixed"))
        for name in ("max_epochs", "vmap_size"):
            checks.count(name, getattr(self, name))
        if self.augmentation is not None:
            checks.one_of("augmentation", self.augmentation, AUGMENTATIONS)
        if self.evaluation_batch_size is not None:
            checks.count("evaluation_batch_size", self.evaluation_batch_size)
        if self.batch_size is not None:
            checks.count("batch_size", self.batch_size)
            if self.optimizer == "gd":
                raise ValueError(
                    f"batch_size: got {self.batch_size} with optimizer 'gd', wanted None, the "
                    "whole set. Minibatches: optimizer 'sgd'."
                )

    def transformation(self, key):
        """Return the optimizer; `key` is that of a random one."""
        return optimizer(self.optimizer, self.learning_rate, dict(self.options), key)
