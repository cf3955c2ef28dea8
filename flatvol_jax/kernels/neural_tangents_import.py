"""Import neural-tangents 0.6.5 under a newer JAX than it was written for.

It imports names that JAX has moved or dropped, and a subpackage that wants TensorFlow. They
are supplied while it imports and taken away again; nothing of them is used by the NNGP and
Monte Carlo kernels, which are right to rounding (tests/kernels).
"""

import contextlib
import functools
import importlib
import sys
import types
from collections.abc import Iterator
from typing import Any

import jax.core
import jax.extend.core
import jax.interpreters.ad

_INSTALL = "pip install --no-deps neural-tangents==0.6.5"


@contextlib.contextmanager
def _supplied(module: types.ModuleType, **names: object) -> Iterator[None]:
    """Give a module the names that it lacks, and take exactly those away at the end."""
    missing = [name for name in names if not hasattr(module, name)]
    for name in missing:
        setattr(module, name, names[name])
    try:
        yield
    finally:
        for name in missing:
            delattr(module, name)


def _strict_map(function, *sequences):
    return [function(*items) for items in zip(*sequences, strict=True)]


def _strict_zip(*sequences):
    return list(zip(*sequences, strict=True))


@functools.cache
def neural_tangents() -> types.ModuleType:
    """Return the neural_tangents package, imported at the first call.

    Raises:
        ImportError: it is not installed; the message gives the command, which leaves out its
            declared dependencies (2 GB of TensorFlow that nothing here needs).
    """
    extend = jax.extend.core
    moved = {
        name: getattr(extend, name) for name in ("Jaxpr", "JaxprEqn", "Literal", "Var", "Primitive")
    }
    util: Any = types.ModuleType("jax.util")
    util.safe_map, util.safe_zip = _strict_map, _strict_zip
    stand_ins = {
        "jax.util": util,
        "neural_tangents.experimental": types.ModuleType("neural_tangents.experimental"),
    }
    stand_ins = {name: module for name, module in stand_ins.items() if name not in sys.modules}
    sys.modules.update(stand_ins)
    try:
        with (
            _supplied(jax, util=util),
            _supplied(jax.core, Value=object, **moved),
            _supplied(jax.interpreters.ad, zeros_like_p=object()),
        ):
            return importlib.import_module("neural_tangents")
    except ImportError as error:
        raise ImportError(
            f"The kernels of other than dense ReLU networks need neural-tangents 0.6.5 ({error}). "
            f"Install it without its dependencies, which are not needed: {_INSTALL}"
        ) from error
    finally:
        for name in stand_ins:
            del sys.modules[name]
