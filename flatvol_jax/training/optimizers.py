"""Optimizers by name, as optax transformations, with the defaults of the paper's protocol.

To add one: an entry in OPTIMIZERS.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import optax
from jax import Array

from flatvol_jax.runtime import checks
from flatvol_jax.training._entropy_sgd import entropy_sgd


class Optimizer(NamedTuple):
    """The constructor of an optimizer and its options.

    Attributes:
        make: the transformation, given every option by name.
        defaults: all options and their defaults, `learning_rate` among them.
        random: whether `make` takes a `key`, too.
    """

    make: Callable[..., optax.GradientTransformation]
    defaults: Mapping[str, Any]
    random: bool = False


OPTIMIZERS: dict[str, Optimizer] = {
    "sgd": Optimizer(optax.sgd, {"learning_rate": 0.01}),
    # SGD on the whole set: a name of its own, so that a study compares it by name.
    "gd": Optimizer(optax.sgd, {"learning_rate": 0.1}),
    "momentum": Optimizer(optax.sgd, {"learning_rate": 0.01, "momentum": 0.9}),
    "adam": Optimizer(optax.adam, {"learning_rate": 1e-3, "b1": 0.9, "b2": 0.999, "eps": 1e-8}),
    "adagrad": Optimizer(
        optax.adagrad, {"learning_rate": 0.01, "initial_accumulator_value": 0.1, "eps": 0.0}
    ),
    "rmsprop": Optimizer(
        optax.rmsprop, {"learning_rate": 1e-3, "decay": 0.9, "eps": 1e-7, "eps_in_sqrt": False}
    ),
    "entropy_sgd": Optimizer(
        entropy_sgd,
        {
            "learning_rate": 1.0,
            "langevin_steps": 20,
            "langevin_learning_rate": 0.1,
            "noise": 1e-4,
            "gamma": 0.03,
            "scoping": 1e-3,
            "averaging": 0.75,
            "scale_by_gamma": False,
        },
        random=True,
    ),
}
"""The optimizers of the paper by name, with their defaults.

Every learning rate refers to the mean loss of a minibatch. SGD, momentum, Adagrad and Adam have
the settings of the code that the paper's authors published with it, those of TensorFlow 1.15's
optimizers; RMSProp, full-batch gradient descent and entropy-SGD are not in it, and are our choices.

TensorFlow 1.15 adds Adam's ε to the root of v before the bias of v is corrected, optax after: a
first step that is larger here by a relative 3e-7 / |g|, later ones by less. Its Adagrad has no ε.
RMSProp's ε stands outside of the root, g / (√v + ε), as in tf.keras up to TensorFlow 2.10.
"""


def optimizer(
    name: str,
    learning_rate: float | None = None,
    options: Mapping[str, Any] | None = None,
    key: Array | None = None,
) -> optax.GradientTransformation:
    """Return the transformation of that name.

    Args:
        name: one of OPTIMIZERS.
        learning_rate: None for the optimizer's default.
        options: in place of other defaults.
        key: of a random optimizer, one a network.

    Raises:
        ValueError: an unknown name or option, a rate that is not positive, an option that is
            not a number of at least 0.
    """
    make, defaults, random = OPTIMIZERS[checks.one_of("optimizer", name, OPTIMIZERS)]
    others = {option: value for option, value in defaults.items() if option != "learning_rate"}
    for option, value in (options or {}).items():
        if not others:
            raise ValueError(f"options: got {option!r}, but {name} has none.")
        checks.one_of(f"options of {name}", option, others)
        if not isinstance(others[option], bool):
            checks.non_negative(option, value)
        elif not isinstance(value, bool):
            raise ValueError(f"{option}: got {value!r:.80}, wanted True or False.")
        others[option] = value
    if learning_rate is None:
        learning_rate = defaults["learning_rate"]
    rate = checks.positive("learning_rate", learning_rate)
    return make(rate, **others, **({"key": key} if random else {}))
