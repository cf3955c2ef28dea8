"""A Haiku transformed function as functions."""

import inspect
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp

from flatvol_jax.models.functions import Functions, checked_leaves, printed, zeros
from flatvol_jax.models.modes import FLAGS


def haiku_functions(transformed: Any, params: Any, state: Any, dtype: Any) -> Functions:
    """Return the functions of hk.transform(f) or hk.transform_with_state(f).

    f is called as f(x), with a flag of evaluation where it takes one (`is_training`, ...).

    Args:
        transformed: the pair.
        params: as its init gives them, or None; (params, state) with a state.
        state: as its init gives it, or None.
        dtype: of the inputs that initialise it.
    """
    stateful = isinstance(transformed, hk.TransformedWithState)
    if stateful and isinstance(params, tuple) and len(params) == 2:
        params, state = params
    params, state = checked_leaves("params", (params, state))
    flags = {
        name: not training
        for name, training in FLAGS.items()
        if name in inspect.signature(transformed.init).parameters
    }
    keyed = "rng" in inspect.signature(transformed.apply).parameters

    training = {name: not value for name, value in flags.items()}

    def initialised(key, input_shape):
        # In training mode, the only one in which a BatchNorm of Haiku's makes its state.
        found = transformed.init(key, zeros(input_shape, dtype), **training)
        return (found[0], _at_start(found[1])) if stateful else (found, {})

    def called(flags, params, state, *arguments):
        leading = (params, state) if stateful else (params,)
        key = (None,) if keyed else ()
        found = transformed.apply(*leading, *key, *arguments, **flags)
        return found if stateful else (found, state)

    def train_apply(params, state, x, mask):
        if mask is not None:
            raise ValueError(
                "spec: a Haiku network takes no mask, so every row of a batch counts. Take a batch "
                "size that divides the number of inputs."
            )
        return called(training, params, state, x)

    function = inspect.unwrap(transformed.init)
    return Functions(
        init=lambda key, input_shape: initialised(key, input_shape)[0],
        init_state=lambda input_shape: initialised(jax.random.key(0), input_shape)[1],
        apply=lambda params, x, state: called(flags, params, state, x)[0],
        train_apply=train_apply if stateful else None,
        name=getattr(function, "__qualname__", "transformed").split(".")[0],
        framework="Haiku",
        drawn_by="its own initialisers",
        description={"function": printed(transformed)},
        params=params,
        state=jax.tree.map(jnp.asarray, state) if state else {},
    )


def _at_start(state: Any) -> Any:
    """Return running mean 0 and variance 1 in place of the statistics of an input of zeros."""

    def value(path, leaf):
        module, part = path[0].key.split("/")[-1], path[-1].key
        if module not in ("mean_ema", "var_ema"):
            return leaf
        return jnp.full_like(leaf, part == "average" and module == "var_ema")

    return jax.tree.map_with_path(value, state)
