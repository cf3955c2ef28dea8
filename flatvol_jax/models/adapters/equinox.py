"""An Equinox network as functions."""

import inspect
import math
import operator
import re
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from flatvol_jax.models.functions import Functions, printed, source

_CUSTOM = re.compile(
    r"tree_at|initializers|(random|jr|jrandom)\.(normal|uniform|truncated_normal|orthogonal|glorot)"
)


def equinox_functions(network: Any, init: Callable | None) -> Functions:
    """Return the functions of a network, by eqx.partition and eqx.combine, in inference mode.

    It is called as network(x) on one input, as Equinox's layers are, and mapped over a batch; as
    network(x, state) where a state came. Parameters are the network with None in place of what
    is no array of real numbers.

    Args:
        network: an `eqx.Module`, or (module, state) as `eqx.nn.make_with_state` gives them.
        init: key -> a fresh one; left out, Equinox's own layers are drawn by their initialisers.

    Raises:
        ValueError: no `init`, where arrays belong to no layer of Equinox's, or a source that
            draws arrays of its own.
    """
    network, state = network if isinstance(network, tuple) else (network, None)
    evaluated = eqx.nn.inference_mode(network)
    params, static = eqx.partition(evaluated, eqx.is_inexact_array)

    def apply(values, x, state):
        whole = eqx.combine(values, static)
        keyed = _takes_key(type(network))
        more = {"key": None} if keyed else {}
        if not jax.tree.leaves(state):
            return jax.vmap(lambda one: whole(one, **more), axis_name="batch")(x)
        mapped = jax.vmap(lambda one: whole(one, state, **more)[0], axis_name="batch")
        return mapped(x)

    build: Any = init

    def fresh(key):
        built = build(key)
        built, start = built if isinstance(built, tuple) else (built, None)
        return eqx.filter(eqx.nn.inference_mode(built), eqx.is_inexact_array), start

    def drawn(key, input_shape):
        return fresh(key)[0] if init is not None else _redrawn(params, evaluated, key)

    def init_state(input_shape):
        if state is None:
            return {}
        if init is None:
            raise ValueError(
                f"init: {type(network).__name__} has a state, and does not say with what it "
                "started. Pass what builds both: init=lambda key: "
                f"eqx.nn.make_with_state({type(network).__name__})(..., key=key)."
            )
        return fresh(jax.random.key(0))[1]

    if init is None:
        _check_default(evaluated)
    return Functions(
        init=drawn,
        init_state=init_state,
        apply=apply,
        train_apply=None,
        name=type(network).__name__,
        framework="Equinox",
        drawn_by="init" if init is not None else "the initialisers of Equinox's layers",
        description={
            "source": source(type(network)),
            "fields": printed(eqx.tree_pformat(network)),
            "init": "" if init is None else source(init),
        },
        params=params,
        state={} if state is None else state,
    )


def _takes_key(network: type) -> bool:
    return "key" in inspect.signature(network.__call__).parameters


def _is_layer(part: Any) -> bool:
    return isinstance(part, (*_UNIFORM, eqx.nn.Embedding, *_CONSTANT))


_UNIFORM = (eqx.nn.Linear, eqx.nn.Conv, eqx.nn.ConvTranspose)
_CONSTANT = (eqx.nn.LayerNorm, eqx.nn.GroupNorm, eqx.nn.RMSNorm, eqx.nn.BatchNorm)


def _redrawn(params: Any, network: Any, key: jax.Array) -> Any:
    """Return the parameters with each layer of Equinox's drawn anew."""
    layers, tree = jax.tree.flatten(network, is_leaf=_is_layer)
    drawn = [
        _drawn(layer, jax.random.fold_in(key, index)) if _is_layer(layer) else layer
        for index, layer in enumerate(layers)
    ]
    return eqx.filter(jax.tree.unflatten(tree, drawn), eqx.is_inexact_array)


def _drawn(layer: Any, key: jax.Array) -> Any:
    weight_key, bias_key = jax.random.split(key)
    weight, bias = layer.weight, getattr(layer, "bias", None)
    if isinstance(layer, _CONSTANT):
        new = None if weight is None else jnp.ones_like(weight)
        new_bias = None if bias is None else jnp.zeros_like(bias)
    elif isinstance(layer, eqx.nn.Embedding):
        new, new_bias = jax.random.normal(weight_key, weight.shape, weight.dtype), None
    else:
        limit = 1 / math.sqrt(max(_fan_in(layer), 1))
        new = jax.random.uniform(weight_key, weight.shape, weight.dtype, -limit, limit)
        new_bias = None
        if bias is not None:
            new_bias = jax.random.uniform(bias_key, bias.shape, bias.dtype, -limit, limit)
    found = layer
    for name, value in (("weight", new), ("bias", new_bias)):
        if value is not None:
            found = eqx.tree_at(operator.attrgetter(name), found, value)
    return found


def _fan_in(layer: Any) -> int:
    if isinstance(layer, eqx.nn.Linear):
        return layer.weight.shape[1]
    channels = layer.in_channels
    if isinstance(layer, eqx.nn.Conv):
        channels //= layer.groups
    return channels * math.prod(layer.kernel_size)


def _check_default(network: Any) -> None:
    """Refuse to guess initialisers."""
    reason = None
    for part in jax.tree.leaves(network, is_leaf=_is_layer):
        if not _is_layer(part) and eqx.is_inexact_array(part):
            reason = f"an array of shape {part.shape} is of no layer that is known"
    own = {type(network)} - {eqx.nn.MLP, eqx.nn.Sequential}
    for cls in own:
        if not cls.__module__.startswith("equinox.") and _CUSTOM.search(source(cls)):
            reason = f"{cls.__name__} draws arrays of its own"
    if reason is not None:
        raise ValueError(
            f"init: {type(network).__name__} does not say how it was initialised ({reason}). Pass "
            f"what builds a fresh one: init=lambda key: {type(network).__name__}(..., key=key)."
        )
