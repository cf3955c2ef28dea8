"""A Flax module of a user, named in a config."""

import importlib
from collections.abc import Mapping
from typing import Any

from flatvol_jax.models import FlaxModel


def user_model(
    module: str,
    features: str,
    sigma_w: float,
    sigma_b: float,
    arguments: Mapping[str, Any] | None = None,
) -> FlaxModel:
    """The spec of a `flax.linen` module, for `hp.model.name = "flax"`.

    Args:
        module: where it is, "package.module:Name".
        features: as `FlaxModel` takes them, by name.
        sigma_w: of the readout at initialisation.
        sigma_b: the same.
        arguments: of the module's constructor; lists become tuples.

    Raises:
        ValueError: nothing there.
    """
    where, _, name = str(module).partition(":")
    try:
        built = getattr(importlib.import_module(where), name)
        options = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in (arguments or {}).items()
        }
        instance = built(**options)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"hp.model.module: got {module!r}, which gives no module ({error}); wanted "
            '"package.module:Name", importable from where you are, and its arguments.'
        ) from error
    return FlaxModel(instance, features, sigma_w, sigma_b)
