"""Results print in a line or a small table, never as their arrays."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np

T = TypeVar("T")
_SHOWN = 4  # numbers of a small array
_MOST_DECIMALS = 9


def prints_as(line: Callable[[Any], str]) -> Callable[[type[T]], type[T]]:
    """Give a class of results the text that it prints as.

    Args:
        line: a result -> its text; where that fails, as for a result of an unusual kind, each
            field is printed by its shape.
    """

    def decorated(cls: Any) -> Any:
        def text(self):
            try:
                return line(self)
            except Exception:  # a repr must never fail
                return fields(self)

        cls.__repr__ = text
        return cls

    return decorated


def prints_its_fields(cls: type[T]) -> type[T]:
    """Let a NamedTuple print its fields, numbers as such and arrays by their shape."""
    vars_of_class: Any = cls
    vars_of_class.__repr__ = fields
    return cls


def fields(result: Any) -> str:
    """Return `Name(field=..., ...)` of a NamedTuple, with long arrays as their shapes."""
    parts = (f"{name}={shape_or_number(getattr(result, name))}" for name in result._fields)
    return f"{type(result).__name__}({', '.join(parts)})"


def shape_or_number(value: Any) -> str:
    """Return a number or a few of them with six digits, of a larger array its shape and dtype."""
    if isinstance(value, (bool, str, np.str_, np.bool_, int, np.integer)) or value is None:
        return str(value)
    if isinstance(value, (float, np.floating)):
        return f"{value:.6g}"
    if isinstance(value, jax.core.Tracer):
        return str(value.aval)
    if isinstance(value, (np.ndarray, jax.Array)):
        return _array(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return repr(value)
    if isinstance(value, (dict, list, tuple)):
        return f"{type(value).__name__} of {len(value)}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def with_error(value: Any, error: Any) -> str:
    """Return `-228.189 ± 0.012`, the value to the digits of its error; of an array its range.

    At most nine decimals are printed: `-1.386294361 ± 2e-16` where the error is rounding alone.
    """
    value, error = np.asarray(value, float), np.asarray(error, float)
    if value.size != 1:
        return value_or_range(value)
    value, error = float(value.reshape(())), float(error.reshape(()))
    if not np.isfinite(error) or error <= 0 or not np.isfinite(value):
        return f"{value:.6g}"
    digits = int(max(1 - np.floor(np.log10(error)), 0))  # two digits of the error
    if digits > _MOST_DECIMALS:
        return f"{value:.{_MOST_DECIMALS}f} ± {error:.0e}"
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def value_or_range(values: Any) -> str:
    """Return the number, or of several the least and the largest."""
    values = np.asarray(values, float)
    if values.size == 1:
        return f"{float(values.reshape(())):.6g}"
    return f"{values.min():.6g} to {values.max():.6g}" if values.size else "none"


def value_or_counts(words: Any) -> str:
    """Return the word, or of several how often the most frequent ones occur."""
    found, counts = np.unique(np.asarray(words), return_counts=True)
    if np.size(words) == 1:
        return str(found[0])
    order = np.argsort(-counts, kind="stable")
    parts = [f"{counts[place]} {found[place]}" for place in order[:_SHOWN]]
    others = counts[order[_SHOWN:]].sum()
    return ", ".join(parts + ([f"{others} others"] if others else []))


def _array(value: Any) -> str:
    if jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key) or value.size > _SHOWN:
        return f"{'×'.join(map(str, value.shape))} {value.dtype}"
    if value.ndim == 0:
        return shape_or_number(np.asarray(value)[()].item())
    return f"[{', '.join(shape_or_number(v.item()) for v in np.asarray(value).ravel())}]"
