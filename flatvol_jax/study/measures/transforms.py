"""A network in another parametrisation of the same function: which, and its parameters."""

from typing import Any, NamedTuple

import jax
import numpy as np

from flatvol_jax.models.spec import Params, Spec
from flatvol_jax.runtime.randomness import named_key
from flatvol_jax.study.measures.symmetries import alpha_scale, permute_units, rectified_layer


class Transform(NamedTuple):
    """A reparametrisation.

    Attributes:
        symmetry: "none"; "layer", all units of the layer by α; "unit", each unit by α^z, z
            uniform in [-1, 1], drawn once for each layer; "permutation" of the layer's units.
        layer: from 1; None for "none".
        alpha: None for "none" and "permutation".
    """

    symmetry: str
    layer: int | None = None
    alpha: float | None = None

    @property
    def name(self) -> str:
        """Return the name of the transform, such as "layer 1, alpha 4"."""
        if self.symmetry == "none":
            return "none"
        alpha = "" if self.alpha is None else f", alpha {self.alpha:.6g}"
        return f"{self.symmetry} {self.layer}{alpha}"

    @property
    def columns(self) -> dict[str, Any]:
        """Return the columns of a row that say which transform it is of."""
        parts = {f"transform.{part}": value for part, value in self._asdict().items()}
        return {"transform": self.name, **parts}


def transformed(key: jax.Array, spec: Spec, params: Params, transform: Transform) -> Params:
    """Return the transformed parameters; `key` draws the units' exponents and orders."""
    if transform.symmetry == "none":
        return params
    layer, alpha = transform.layer, transform.alpha
    assert layer is not None, "only 'none' is of no layer"
    units = np.shape(_leaf(params, rectified_layer(spec, layer).incoming[0]))[-1]
    key = named_key(key, transform.symmetry, layer)
    if transform.symmetry == "permutation":
        order = np.asarray(jax.random.permutation(key, units))
        return permute_units(spec, params, layer, order)
    assert alpha is not None, "only permutations do without"
    if transform.symmetry == "unit":
        exponents = np.asarray(jax.random.uniform(key, (units,), minval=-1.0, maxval=1.0))
        return alpha_scale(spec, params, layer, alpha ** exponents.astype(np.float64))
    return alpha_scale(spec, params, layer, alpha)


def _leaf(params: Params, path: tuple[str, ...]) -> Any:
    for name in path:
        params = params[name]
    return params
