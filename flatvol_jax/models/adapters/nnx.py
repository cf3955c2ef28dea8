"""A flax.nnx module as functions."""

import re
from collections.abc import Callable
from typing import Any

import jax
from flax import nnx
from flax.nnx.nn.linear import default_bias_init, default_embed_init, default_kernel_init

from flatvol_jax.models.functions import Functions, printed, source
from flatvol_jax.models.modes import run_nnx

_CUSTOM = re.compile(r"\b(kernel|bias|scale|embedding|lora_[ab])_init\s*=")


def nnx_functions(module: nnx.Module, init: Callable | None) -> Functions:
    """Return the functions of a module, by nnx.split and nnx.merge; it stays as it is.

    Parameters are its `nnx.Param`s as nested dictionaries, the state its `nnx.BatchStat`s.

    Args:
        module: called as module(x), in evaluation.
        init: key -> a fresh module; left out, its layers are drawn by nnx's default initialisers.

    Raises:
        ValueError: no `init`, where the module has initialisers or parameters of its own.
    """
    parts: Any = nnx.split(module, nnx.Param, nnx.BatchStat, ...)
    graph, params, statistics, others = parts

    def merged(values, state):
        parts = [jax.tree.map(lambda leaf: leaf, part) for part in (params, statistics)]
        for part, new in zip(parts, (values, state), strict=True):
            nnx.replace_by_pure_dict(part, new)
        return nnx.merge(graph, *parts, jax.tree.map(lambda leaf: leaf, others))

    def apply(values, x, state):
        return run_nnx(None, False, None, False, merged(values, state), x)

    def train_apply(values, state, x, mask):
        trained = merged(values, state)
        outputs = run_nnx(None, True, mask, False, trained, x)
        return outputs, nnx.to_pure_dict(nnx.state(trained, nnx.BatchStat))

    def fresh(key):
        return init(key) if init is not None else _redrawn(merged(own, start), key)

    def drawn(key, input_shape):
        built = fresh(key)
        if not isinstance(built, nnx.Module):
            raise ValueError(
                f"init: got a {type(built).__name__} from init(key), wanted a fresh nnx module: "
                "init=lambda key: Net(rngs=nnx.Rngs(key))."
            )
        return nnx.to_pure_dict(nnx.state(built, nnx.Param))

    def init_state(input_shape):
        if init is not None and start:
            return nnx.to_pure_dict(nnx.state(init(jax.random.key(0)), nnx.BatchStat))
        return jax.tree.map_with_path(_at_start, start)

    own, start = nnx.to_pure_dict(params), nnx.to_pure_dict(statistics)
    if init is None:
        _check_default(module)
    return Functions(
        init=drawn,
        init_state=init_state,
        apply=apply,
        train_apply=train_apply,
        name=type(module).__name__,
        framework="Flax nnx",
        drawn_by="init" if init is not None else "the default initialisers of its layers",
        description={
            "source": source(type(module)),
            "graph": printed(graph),
            "init": "" if init is None else source(init),
        },
        params=own,
        state=start,
    )


_NORMALISES = {"scale": nnx.initializers.ones, "bias": nnx.initializers.zeros}
_DEFAULT = {
    nnx.Linear: {"kernel": default_kernel_init, "bias": default_bias_init},
    nnx.Conv: {"kernel": default_kernel_init, "bias": default_bias_init},
    nnx.Embed: {"embedding": default_embed_init},
    nnx.BatchNorm: _NORMALISES,
    nnx.LayerNorm: _NORMALISES,
    nnx.GroupNorm: _NORMALISES,
    nnx.RMSNorm: _NORMALISES,
}


def _redrawn(module: nnx.Module, key: jax.Array) -> nnx.Module:
    """Draw the parameters of the module's known layers anew, in the order of its graph."""
    for index, (_, part) in enumerate(nnx.iter_modules(module)):
        for place, (name, initializer) in enumerate(_DEFAULT.get(type(part), {}).items()):
            variable = getattr(part, name, None)
            if isinstance(variable, nnx.Param):
                own_key = jax.random.fold_in(jax.random.fold_in(key, index), place)
                value = variable.get_value()
                variable.set_value(initializer(own_key, value.shape, value.dtype))
    return module


def _check_default(module: nnx.Module) -> None:
    """Refuse to guess initialisers."""
    known, reason = 0, None
    for _, part in nnx.iter_modules(module):
        if not type(part).__module__.startswith("flax.") and _CUSTOM.search(source(type(part))):
            reason = f"{type(part).__name__} names initialisers of its own"
        names = _DEFAULT.get(type(part), {})
        known += sum(isinstance(getattr(part, name, None), nnx.Param) for name in names)
    held = len(jax.tree.leaves(nnx.state(module, nnx.Param)))
    if reason is None and known < held:
        reason = f"{held - known} of its {held} parameters are of no layer that is known"
    if reason is not None:
        raise ValueError(
            f"init: {type(module).__name__} does not say how it was initialised "
            f"({reason}). Pass what builds a fresh one: init=lambda key: "
            f"{type(module).__name__}(..., rngs=nnx.Rngs(key))."
        )


def _at_start(path: tuple, leaf: jax.Array) -> jax.Array:
    """Return running mean 0 and variance 1."""
    return jax.numpy.full_like(leaf, getattr(path[-1], "key", None) == "var")
