"""Checks at the public boundary: each error says what came, what was wanted, what to try."""

import contextlib
import difflib
import math
import numbers
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from scipy import sparse

from flatvol_jax.runtime.faults import NumericalFault

_LARGEST = 2**63 - 1  # what an array can count


def concrete(name: str, value: Any) -> np.ndarray:
    """Return `value` as a NumPy array of the machine's byte order.

    Raises:
        ValueError: a tracer, which gets told where the boundary is; masked entries; a sparse
            matrix; what NumPy makes no array of.
    """
    if isinstance(value, jax.core.Tracer):
        raise ValueError(
            f"{name}: got a JAX tracer ({value.aval}), wanted a concrete array. This is a "
            "host-level call that runs its own jitted core: call it outside jit, vmap and grad."
        )
    if np.ma.is_masked(value):
        raise ValueError(
            f"{name}: got an array with {np.ma.count_masked(value)} masked entries, wanted every "
            "entry. Leave them out, or fill them: x.filled(0)."
        )
    if sparse.issparse(value):
        raise ValueError(
            f"{name}: got a sparse {type(value).__name__} of shape {value.shape}, wanted a dense "
            "array: x.toarray()."
        )
    try:
        array = np.asarray(value)
    except Exception as error:  # whatever __array__ raises
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"{name}: got {shown(value)}, wanted an array or nested lists of equal lengths "
            f"({reason})."
        ) from error
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def finite(name: str, value: Any, ndim: int | None = None) -> np.ndarray:
    """Return an array of real numbers, all finite, of `ndim` dimensions if given."""
    array = concrete(name, value)
    floating = jnp.issubdtype(array.dtype, jnp.floating)  # bfloat16 is one, too
    if not floating and array.dtype.kind not in "iub":
        raise ValueError(
            f"{name}: got dtype {array.dtype}, wanted real numbers.{_hint(array.dtype.kind)}"
        )
    if ndim is not None and array.ndim != ndim:
        raise ValueError(f"{name}: got shape {array.shape}, wanted {ndim} dimension(s).")
    if array.dtype == np.longdouble != np.float64:  # which JAX has not
        with np.errstate(over="ignore"):
            array = array.astype(np.float64)
    if floating and not np.isfinite(array).all():
        bad = np.argwhere(~np.isfinite(array))
        raise NumericalFault(
            f"{name}: got {len(bad)} NaN or infinite entries, the first at index "
            f"{tuple(int(i) for i in bad[0])}; wanted finite numbers only."
        )
    return array


def float32(name: str, value: Any, ndim: int | None = None) -> np.ndarray:
    """Return finite real numbers as float32, in which they must be finite, too."""
    array = finite(name, value, ndim)
    with np.errstate(over="ignore"):
        rounded = array.astype(np.float32, copy=False)
    if not np.isfinite(rounded).all():
        raise ValueError(
            f"{name}: got numbers up to {np.abs(array.astype(np.float64)).max():.3g}, which "
            "overflow float32, in which networks compute. Scale them down."
        )
    return rounded


def whole_numbers(name: str, array: np.ndarray) -> np.ndarray:
    """Return integers or bool as they are, those of 64 bits as int32, which must hold them."""
    if array.dtype.itemsize < 8:
        return array
    limits = np.iinfo(np.int32)
    if array.size and not limits.min <= array.min() <= array.max() <= limits.max:
        raise ValueError(
            f"{name}: got integers from {array.min()} to {array.max()}, wanted at most 32 bits, "
            f"{limits.min} to {limits.max}, which is what JAX holds. Number tokens from 0."
        )
    return array.astype(np.int32)


def number(name: str, value: Any, wanted: str = "a finite number") -> float:
    """Return one finite real number as a float; `wanted` ends the error."""
    try:
        if isinstance(value, numbers.Real) and not isinstance(value, bool):
            found = float(value)
        else:
            found = float(finite(name, value, ndim=0)) if _is_array(value) else np.nan
    except (ValueError, OverflowError):
        found = np.nan
    if isinstance(value, jax.core.Tracer):
        concrete(name, value)  # says what a tracer is
    if not np.isfinite(found):
        raise ValueError(f"{name}: got {shown(value)}, wanted {wanted}.")
    return found


def positive(name: str, value: float, most: float = math.inf) -> float:
    """Return a finite number above zero, and of at most `most`, as a float."""
    wanted = "a finite number above 0" + ("" if most == math.inf else f", at most {most:g}")
    found = number(name, value, wanted)
    if not 0 < found <= most:
        raise ValueError(f"{name}: got {shown(value)}, wanted {wanted}.")
    return found


def non_negative(name: str, value: float, most: float = math.inf) -> float:
    """Return a finite number of at least zero, and of at most `most`, as a float."""
    wanted = "a finite number of at least 0" + ("" if most == math.inf else f", at most {most:g}")
    found = number(name, value, wanted)
    if not 0 <= found <= most:
        raise ValueError(f"{name}: got {shown(value)}, wanted {wanted}.")
    return found


def chance(name: str, value: float) -> float:
    """Return a probability strictly between 0 and 1 as a float."""
    wanted = "a probability strictly between 0 and 1"
    found = number(name, value, wanted)
    if not 0 < found < 1:
        raise ValueError(f"{name}: got {shown(value)}, wanted {wanted}.")
    return found


def count(name: str, value: int, least: int = 1, most: int = _LARGEST) -> int:
    """Return a whole number of at least `least`."""
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or value < least:
        raise ValueError(f"{name}: got {shown(value)}, wanted a whole number of at least {least}.")
    if value > most:
        raise ValueError(f"{name}: got {shown(value)}, wanted at most {most}.")
    return int(value)


def boolean(name: str, value: bool) -> bool:
    """Return True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{name}: got {shown(value)}, wanted True or False.")
    return bool(value)


def one_of(name: str, value: str, options: Iterable[str]) -> str:
    """Return `value` if it is one of `options`; the error suggests the closest one."""
    options = sorted(options)
    if not isinstance(value, str) or value not in options:
        close = isinstance(value, str) and difflib.get_close_matches(value[:80], options, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"{name}: got {shown(value)}, wanted one of {', '.join(options)}.{hint}")
    return value


def random_key(name: str, value: Any) -> jax.Array:
    """Return one JAX random key, made of its data where they came (`jax.random.PRNGKey`)."""
    if isinstance(value, jax.core.Tracer):
        concrete(name, value)
    try:
        typed = jnp.issubdtype(value.dtype, jax.dtypes.prng_key)
        key = value if typed else jax.random.wrap_key_data(jnp.asarray(value))
        if key.shape == ():
            return key
        came = f"{shown(key.shape)} keys"
    except (AttributeError, TypeError, ValueError, OverflowError):
        came = shown(value)
    raise ValueError(f"{name}: got {came}, wanted one JAX random key. Try jax.random.key(0).")


def leaves(name: str, tree: Any) -> list:
    """Return the leaves of a pytree."""
    try:
        return jax.tree.leaves(tree)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name}: got {shown(tree)}, wanted a pytree of arrays; the keys of a dictionary must "
            "be of one type, to have an order."
        ) from error


def function(name: str, value: Callable | None) -> Callable | None:
    """Return a function or None."""
    if value is not None and not callable(value):
        raise ValueError(f"{name}: got {shown(value)}, wanted a function, or None.")
    return value


def folder(name: str, value: epath.PathLike | None) -> epath.Path | None:
    """Return the path of a folder, or None."""
    with contextlib.suppress(TypeError, ValueError, AttributeError):
        if value is None or "\0" not in str(epath.Path(value)):
            return None if value is None else epath.Path(value)
    raise ValueError(f"{name}: got {shown(value)}, wanted a path, or None.")


def _hint(kind: str) -> str:
    """Say what to do about entries of a kind that are no numbers."""
    return {
        "U": " Turn text into numbers first, as a tokeniser does.",
        "S": " Turn text into numbers first, as a tokeniser does.",
        "O": " Give one array of numbers, rows of equal length (pad sequences to one length).",
        "M": " Turn dates into numbers first.",
    }.get(kind, "")


def _is_array(value: Any) -> bool:
    return isinstance(value, (np.ndarray, np.generic, jax.Array))


def shown(value: Any) -> str:
    """Return a value as text for a message, cut where it is long."""
    try:
        text = repr(value)
    except Exception:
        text = f"a {type(value).__name__}"
    if isinstance(value, (np.ndarray, jax.Array)) and np.size(value) > 4:
        text = f"an array of shape {np.shape(value)} and dtype {value.dtype}"
    return text if len(text) <= 80 else f"{text[:77]}..."
