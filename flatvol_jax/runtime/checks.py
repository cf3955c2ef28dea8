"""Checks at the public boundary: each error says what came, what was wanted, what to try."""

import difflib
from collections.abc import Iterable
from typing import Any

import jax
import numpy as np

from flatvol_jax.runtime.faults import NumericalFault


def concrete(name: str, value: Any) -> np.ndarray:
    """Return `value` as a NumPy array; a tracer gets an error that says where the boundary is."""
    if isinstance(value, jax.core.Tracer):
        raise ValueError(
            f"{name}: got a JAX tracer ({value.aval}), wanted a concrete array. This is a "
            "host-level call that runs its own jitted core: call it outside jit, vmap and grad."
        )
    return np.asarray(value)


def finite(name: str, value: Any, ndim: int | None = None) -> np.ndarray:
    """Return a float array all of whose entries are finite, of `ndim` dimensions if given."""
    array = concrete(name, value)
    floating = jax.numpy.issubdtype(array.dtype, jax.numpy.floating)  # bfloat16 is one, too
    if not floating and array.dtype.kind not in "iub":
        raise ValueError(f"{name}: got dtype {array.dtype}, wanted real numbers.")
    if ndim is not None and array.ndim != ndim:
        raise ValueError(f"{name}: got shape {array.shape}, wanted {ndim} dimension(s).")
    if floating and not np.isfinite(array).all():
        bad = np.argwhere(~np.isfinite(array))
        raise NumericalFault(
            f"{name}: got {len(bad)} NaN or infinite entries, the first at index "
            f"{tuple(int(i) for i in bad[0])}; wanted finite numbers only."
        )
    return array


def positive(name: str, value: float) -> float:
    """Return a finite number above zero as a float."""
    number = float(concrete(name, value))
    if not (np.isfinite(number) and number > 0):
        raise ValueError(f"{name}: got {value!r}, wanted a finite number above 0.")
    return number


def non_negative(name: str, value: float) -> float:
    """Return a finite number of at least zero as a float."""
    number = float(concrete(name, value))
    if not (np.isfinite(number) and number >= 0):
        raise ValueError(f"{name}: got {value!r}, wanted a finite number of at least 0.")
    return number


def count(name: str, value: int, least: int = 1) -> int:
    """Return a whole number of at least `least`."""
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or value < least:
        raise ValueError(f"{name}: got {value!r}, wanted a whole number of at least {least}.")
    return int(value)


def one_of(name: str, value: str, options: Iterable[str]) -> str:
    """Return `value` if it is one of `options`; the error suggests the closest one."""
    options = sorted(options)
    if value not in options:
        close = difflib.get_close_matches(str(value), options, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"{name}: got {value!r}, wanted one of {', '.join(options)}.{hint}")
    return value
