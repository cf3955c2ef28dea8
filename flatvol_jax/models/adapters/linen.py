"""A flax.linen module as functions."""

from typing import Any

import flax.linen as nn

from flatvol_jax.models.flax_model import FlaxModel
from flatvol_jax.models.functions import Functions, checked_leaves


def linen_functions(module: nn.Module, variables: Any) -> Functions:
    """Return the functions of a module; `variables` as `module.init` gives them, or None.

    Args:
        module: any that `fv.FlaxModel` takes.
        variables: the collections, or "params" alone.
    """
    spec = FlaxModel(module, features=lambda params, x: None, sigma_w=1.0, sigma_b=0.0)
    params, state = None, None
    if variables is not None:
        collections = dict(variables)
        held = "params" in collections and not hasattr(collections["params"], "shape")
        params = collections.pop("params") if held else collections
        state = {n: v for n, v in collections.items() if n != "intermediates"} if held else {}
        params, state = checked_leaves("params", (params, state))
    description = spec.describe()
    return Functions(
        init=spec.init,
        init_state=spec.init_state,
        apply=lambda params, x, state: spec._evaluated(spec._with_state(params, x, state), x),
        train_apply=spec.train_apply,
        name=type(module).__name__,
        framework="Flax linen",
        drawn_by="its own initialisers",
        description={name: description[name] for name in ("source", "fields")},
        params=params,
        state=state,
    )
