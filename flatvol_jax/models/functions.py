"""A network as plain functions: what an adapter makes of the objects of a framework."""

import inspect
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from flatvol_jax.runtime import checks
from flatvol_jax.runtime.precision import jax_config

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


class Functions(NamedTuple):
    """A network of any framework.

    Attributes:
        init: (key, input_shape) -> parameters, drawn by the network's own initialisers.
        init_state: input_shape -> what training moves beside the parameters, {} for nothing.
        apply: (params, x, state) -> outputs in evaluation, (n,), (n, 1) or of C classes (n, C).
        train_apply: (params, state, x, mask) -> outputs in training mode and the state after it;
            None where the network is trained in its own framework only.
        name: of its class or function.
        framework: for the user to read.
        drawn_by: what draws it, for the user to read.
        description: plain data that determines the network, for hashes.
        params: its parameters as they came, or None.
        state: its state as it came, or None.
        draws: (places of leaves) -> parts of host arrays, draws of these leaves, a draw a row;
            None where `init` can be traced and is cheap.
    """

    init: Callable
    init_state: Callable
    apply: Callable
    train_apply: Callable | None
    name: str
    framework: str
    drawn_by: str
    description: dict[str, Any]
    params: Any = None
    state: Any = None
    draws: Callable | None = None


def numbers(x: Any) -> Array:
    """Return inputs as an array of numbers, of the type in which they came."""
    if isinstance(x, jax.Array):
        return x
    x = checks.concrete("x", x)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        checks.finite("x", x)  # names text, objects, complex numbers
        x = x if jax_config.jax_enable_x64 else checks.whole_numbers("x", x)
    return x


def checked_leaves(name: str, tree: Any) -> Any:
    """Return a pytree whose leaves are arrays of numbers.

    Raises:
        ValueError: another leaf, by its place: an object that is no pytree, text, a function.
    """
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        dtype = getattr(leaf, "dtype", None)
        if dtype is None or not (
            jnp.issubdtype(dtype, jnp.number) or jnp.issubdtype(dtype, jnp.bool_)
        ):
            raise ValueError(
                f"{name}: got a leaf of type {type(leaf).__name__} at "
                f"{jax.tree_util.keystr(path) or 'its root'}, wanted arrays of numbers only. Make "
                "its class a pytree (jax.tree_util.register_dataclass), or keep what is no array "
                "out of the parameters, in the function."
            )
    return tree


def source(thing: Any) -> str:
    """Return source text, or the name of what was typed at a prompt, with what it closes over."""
    try:
        text = inspect.getsource(thing)
    except (OSError, TypeError):
        text = getattr(thing, "__qualname__", type(thing).__qualname__)
    try:
        closed_over = inspect.getclosurevars(thing).nonlocals
    except (TypeError, ValueError):
        closed_over = {}
    return f"{text}{printed(closed_over)}" if closed_over else text


def printed(thing: Any) -> str:
    """Return what an object prints as, without addresses."""
    return without_addresses(repr(thing))


def without_addresses(text: str) -> str:
    """Return text without the places of objects in memory."""
    return _ADDRESS.sub("", text)


def zeros(input_shape: tuple[int, ...], dtype: Any) -> Array:
    """Return one input of zeros."""
    return jnp.zeros((1, *input_shape), dtype)


def first_shape(params: Any, apply: Callable, state: Any) -> tuple[int, ...] | None:
    """Return the shape of an input, (d,), where exactly one fits the network's matrices."""
    sizes = {size for leaf in jax.tree.leaves(params) if np.ndim(leaf) == 2 for size in leaf.shape}
    fitting = []
    for size in sorted(sizes):
        one = jax.ShapeDtypeStruct((2, size), np.float32)
        try:
            found = jax.eval_shape(apply, params, one, state)
        except Exception:  # whatever a network raises on inputs of another shape
            continue
        outputs = getattr(found, "shape", ())
        if outputs[:1] == (2,) and len(outputs) <= 2:
            fitting.append((size,))
    return fitting[0] if len(fitting) == 1 else None
