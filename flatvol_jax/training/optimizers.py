"""Optimizers by name, as optax transformations.

To add one: a function of the learning rate here, and its name in OPTIMIZERS.
"""

from collections.abc import Callable

import optax

from flatvol_jax.runtime import checks

OPTIMIZERS: dict[str, Callable[[float], optax.GradientTransformation]] = {
    "sgd": optax.sgd,
}


def optimizer(name: str, learning_rate: float) -> optax.GradientTransformation:
    """The transformation of that name."""
    make = OPTIMIZERS[checks.one_of("optimizer", name, OPTIMIZERS)]
    return make(checks.positive("learning_rate", learning_rate))
