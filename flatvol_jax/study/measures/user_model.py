"""A network of a user, named in a config."""

import functools
import importlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from flatvol_jax.models import FlaxModel, Spec, as_model


def user_model(
    module: str,
    features: str,
    sigma_w: float,
    sigma_b: float,
    arguments: Mapping[str, Any] | None = None,
    outputs: int = 1,
) -> FlaxModel:
    """Return the spec of a `flax.linen` module, for `hp.model.name = "flax"`.

    Args:
        module: where it is, "package.module:Name".
        features: as `FlaxModel` takes them, by name.
        sigma_w: of the readout at initialisation.
        sigma_b: the same.
        arguments: of the module's constructor; lists become tuples.
        outputs: 1, or C of a network with C classes.

    Raises:
        ValueError: nothing there.
    """
    instance = built("hp.model.module", module, arguments)
    return FlaxModel(instance, features, sigma_w, sigma_b, outputs)


def own_model(
    module: str,
    arguments: Mapping[str, Any] | None = None,
    input_shape: tuple[int, ...] | None = None,
) -> Spec:
    """Return the spec of a network of any framework, for `hp.model.name = "own"`.

    The same entries give the same object, so that its programs are compiled once.

    Args:
        module: where it is, "package.module:Name": what is called to build the network, a class
            or a function.
        arguments: of that call.
        input_shape: of one input, where it cannot be told from the parameters, as of images.

    Raises:
        ValueError: nothing there, or a network that `fv.as_model` refuses.
    """
    shape = None if input_shape is None else tuple(input_shape)
    return _model(str(module), json.dumps(dict(arguments or {}), sort_keys=True), shape)


@functools.lru_cache(maxsize=16)
def _model(module: str, arguments: str, input_shape: tuple[int, ...] | None) -> Spec:
    example = None if input_shape is None else np.zeros((2, *input_shape), np.float32)
    return as_model(built("hp.model.module", module, json.loads(arguments)), example)


def built(name: str, module: str, arguments: Mapping[str, Any] | None) -> Any:
    """Return what "package.module:Name" makes of the arguments; lists become tuples.

    Raises:
        ValueError: nothing there, or a call that fails; `name` is what the message begins with.
    """
    where, _, attribute = str(module).partition(":")
    try:
        build = getattr(importlib.import_module(where), attribute)
        options = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in dict(arguments or {}).items()
        }
        return build(**options)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"{name}: got {module!r}, which gives no module ({error}); wanted "
            '"package.module:Name", importable from where you are, and its arguments.'
        ) from error
