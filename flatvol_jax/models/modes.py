"""Training and evaluation mode of a Flax module, whatever its author calls them."""

import contextvars
import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any

import flax.linen as nn
from flax import nnx
from flax.nnx.bridge import ToLinen
from flax.nnx.nn.normalization import _canonicalize_axes, _compute_stats
from jax import Array

FLAGS = {
    "train": True,
    "training": True,
    "is_training": True,
    "deterministic": False,
    "use_running_average": False,
}
"""Names of a flag, and whether True means training."""

_rows_that_count = contextvars.ContextVar("rows_that_count", default=None)


def mode_arguments(method: Callable, train: bool, module: nn.Module | None = None) -> dict:
    """Return the flags among a method's parameters, with the values that mean this mode.

    A flag that is also a field of the module with a value is set there: where the parameter is
    None by default, the module merges the two and takes one of them only.
    """
    found = {}
    for name, parameter in inspect.signature(method).parameters.items():
        if name not in FLAGS:
            continue
        field = isinstance(getattr(module, name, None), bool)
        if not (field and parameter.default is None):
            found[name] = train is FLAGS[name]
    return found


def in_mode(module: nn.Module, train: bool, copies: dict | None = None) -> nn.Module:
    """Return the module with the flags among its fields set, and so the modules among them."""
    copies = {} if copies is None else copies  # a module that occurs twice stays one

    def changed(value):
        if isinstance(value, nn.Module):
            if id(value) not in copies:
                copies[id(value)] = in_mode(value, train, copies)
            return copies[id(value)]
        if type(value) in (tuple, list):
            return type(value)(changed(part) for part in value)
        if type(value) is dict:
            return {name: changed(part) for name, part in value.items()}
        return value

    changes: dict[str, Any] = {}
    for field in dataclasses.fields(module):
        if not field.init or field.name in ("parent", "name"):
            continue
        before = getattr(module, field.name, None)
        if field.name in FLAGS and isinstance(before, bool):
            changes[field.name] = train is FLAGS[field.name]
        elif (after := changed(before)) != before:
            changes[field.name] = after
    return module.clone(**changes) if changes else module


def interceptor(train: bool, mask: Array | None = None, random: bool = False) -> Callable:
    """Return what sets the mode of nnx modules inside and gives each BatchNorm the mask.

    For `flax.linen.intercept_methods`. `mask` (n,) says which rows count in training. Without
    `random` an nnx module that draws random numbers is a ValueError: `nnx.bridge.to_linen` gives
    it a constant key where it gets none.
    """

    def intercept(call, args, kwargs, context):
        module = context.module
        if isinstance(module, ToLinen) and context.method_name == "__call__":
            method = kwargs.pop("nnx_method", None)
            run = functools.partial(run_nnx, method, train, mask, random)
            return call(*args, nnx_method=run, **kwargs)
        if mask is None or not isinstance(module, nn.BatchNorm) or kwargs.get("mask") is not None:
            return call(*args, **kwargs)
        x = args[0] if args else kwargs["x"]
        return call(*args, **kwargs | {"mask": _broadcast_mask(mask, x, repr(module.name))})

    return intercept


def run_nnx(method, train: bool, mask, random: bool, module: nnx.Module, *args, **kwargs) -> Any:
    """Call a method of an nnx module in a mode."""
    module.train() if train else module.eval()
    for _, part in nnx.iter_modules(module):
        for name in FLAGS.keys() & vars(part).keys():
            if isinstance(getattr(part, name), bool):
                setattr(part, name, train is FLAGS[name])
        if train and type(part) is nnx.BatchNorm:
            object.__setattr__(part, "__class__", _BatchNorm)
    method = getattr(type(module), method or "__call__") if not callable(method) else method
    flags = mode_arguments(method, train)
    if train and "mask" in inspect.signature(method).parameters:
        flags["mask"] = mask
    before = _random_counts(module)
    token = _rows_that_count.set(mask)
    try:
        output = method(module, *args, **flags | kwargs)
    finally:
        _rows_that_count.reset(token)
    drawn = any(now is not then for now, then in zip(_random_counts(module), before, strict=True))
    if drawn and not random:
        raise ValueError(draws_random_numbers(module, train))
    return output


def draws_random_numbers(module: Any, train: bool) -> str:
    """Return the message for a module that asks for a key."""
    if train:
        return (
            f"module: {type(module).__name__} draws random numbers in training mode, and training "
            "has none to give it. Set its dropout rate to 0."
        )
    return (
        f"module: {type(module).__name__} draws random numbers in evaluation, where an output is a "
        f"function of its input alone. Switch them off by a flag, one of {', '.join(FLAGS)}, "
        "that __call__ takes or that is a field of the module, or set its dropout rate to 0."
    )


def changes_its_state(module: Any) -> str:
    """Return the message for a module that stays in training mode."""
    return (
        f"module: {type(module).__name__} changes its statistics in evaluation, so it is in "
        "training mode there, where an output depends on the whole batch. Switch its BatchNorms "
        f"by a flag, one of {', '.join(FLAGS)}, that __call__ takes or that is a field of the "
        "module."
    )


def _random_counts(module: nnx.Module) -> list:
    """Return the count of each random stream of a module; another object once it was used."""
    counts = nnx.to_flat_state(nnx.state(module, nnx.RngCount))
    return [count.get_value() for _, count in counts]


class _BatchNorm(nnx.BatchNorm):
    """nnx's own, as linen's is: it takes the rows that count from the call around it, and its new
    running statistics have derivatives, which nnx stops and `batch_state` needs.
    """

    def __call__(self, x, use_running_average=None, *, mask=None):
        if mask is None and (rows := _rows_that_count.get()) is not None:
            mask = _broadcast_mask(rows, x, "")
        before = self.mean[...], self.var[...]
        output = super().__call__(x, use_running_average, mask=mask)
        running = self.use_running_average if use_running_average is None else use_running_average
        if not running:
            values, *_ = self.promote_dtype((x, *before), dtype=self.dtype)
            axes = _canonicalize_axes(x.ndim, self.axis)
            statistics = _compute_stats(
                values,
                tuple(axis for axis in range(x.ndim) if axis not in axes),
                dtype=self.dtype,
                axis_name=self.axis_name,
                axis_index_groups=self.axis_index_groups,
                use_fast_variance=self.use_fast_variance,
                mask=mask,
            )
            for moved, old, new in zip((self.mean, self.var), before, statistics, strict=True):
                moved[...] = self.momentum * old + (1 - self.momentum) * new
        return output


def _broadcast_mask(mask: Array, x: Array, name: str) -> Array:
    """Return the mask with the axes of x."""
    if len(x) != len(mask):
        raise ValueError(
            f"module: the BatchNorm {name} gets activations of shape {x.shape} for {len(mask)} "
            "inputs, so it cannot be told which of them fill the batch up. Let the module's "
            "__call__ take `mask` (n,) and pass it on."
        )
    return mask.reshape(-1, *[1] * (x.ndim - 1))
