"""A stax network, of JAX's example library or of neural-tangents, as functions."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from flatvol_jax.models.functions import Functions, checked_leaves, source


def stax_functions(network: tuple[Callable, ...], params: Any) -> Functions:
    """Return the functions of (init_fn, apply_fn), with or without a kernel_fn.

    Args:
        network: init_fn(key, (n, ...)) -> (shape, parameters), apply_fn(parameters, x).
        params: as init_fn gives them, or None.
    """
    init_fn, apply_fn = network[:2]

    def init(key, input_shape):
        _, drawn = init_fn(key, (1, *input_shape))
        return jax.tree.map(lambda leaf: leaf.astype(jnp.float32), drawn)

    return Functions(
        init=init,
        init_state=lambda input_shape: {},
        apply=lambda params, x, state: apply_fn(params, x),
        train_apply=None,
        name="stax network",
        framework="stax",
        drawn_by="init_fn",
        description={"init": source(init_fn), "apply": source(apply_fn)},
        params=checked_leaves("params", params),
    )
