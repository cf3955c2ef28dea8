"""Import torchax 0.0.13 under a PyTorch without named tensors, leaving global settings as they are.

torchax lists overloads of operators that PyTorch 2.13 has no more, all of named dimensions, which
no network here uses; a placeholder takes the place of each while torchax is imported. Importing it
sets an environment variable, an option of JAX's client and PyTorch's fast path of attention; they
are set back, and the fast path is off only while a network is traced.
"""

import contextlib
import functools
import os
import types
from collections.abc import Iterator
from typing import Any

import jax

_INSTALL = 'pip install "torchax==0.0.13"'
_VARIABLE = "ENABLE_RUNTIME_UPTIME_TELEMETRY"
_OPTION = "jax_pjrt_client_create_options"


@functools.cache
def torchax() -> types.ModuleType:
    """Return the torchax package; its environment is made at the first call.

    Raises:
        ImportError: it is not installed; the message gives the command.
    """
    import torch

    variable, option = os.environ.get(_VARIABLE), getattr(jax.config, _OPTION, None)
    fast_path = torch.backends.mha.get_fastpath_enabled()
    try:
        with _placeholders(type(torch.ops.aten.prod)):
            import torchax

            torchax.default_env()
    except ImportError as error:
        raise ImportError(
            f"A PyTorch network is measured through torchax ({error}). Install it: {_INSTALL}"
        ) from error
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
        if variable is None:
            os.environ.pop(_VARIABLE, None)
        if getattr(jax.config, _OPTION, None) != option:
            jax.config.update(_OPTION, option)
    return torchax


@contextlib.contextmanager
def traced() -> Iterator[Any]:
    """Let PyTorch's operations on JAX arrays be those of JAX; gives torchax's environment."""
    import torch

    environment = torchax().default_env()
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with environment:
            yield environment
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)


class _NoOverload:
    """Stands for an overload that PyTorch has no more."""


@contextlib.contextmanager
def _placeholders(packet: Any) -> Iterator[None]:
    """Give an operator's missing overload a placeholder, instead of an AttributeError."""
    own = packet.__getattr__

    def overload(self, name):
        try:
            return own(self, name)
        except AttributeError:
            if name.startswith("_"):
                raise
            return _NoOverload()

    packet.__getattr__ = overload
    try:
        yield
    finally:
        packet.__getattr__ = own
