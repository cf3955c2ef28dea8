"""Who answers: frozen specs, read by the finite (Flax) and the infinite (NNGP) network."""

from flatvol_jax.models.fcn import FCN
from flatvol_jax.models.flax_model import FlaxModel
from flatvol_jax.models.spec import Params, Spec, parameter_shapes

__all__ = ["FCN", "FlaxModel", "Params", "Spec", "parameter_shapes"]
