"""Networks as frozen specs, read by the finite (Flax) and the infinite (NNGP) network."""

from flatvol_jax.models._as_model import as_model
from flatvol_jax.models.batch_statistics import batch_state, check_running_statistics
from flatvol_jax.models.cnn import CNN
from flatvol_jax.models.evaluation_check import check_evaluation, check_statistics_move
from flatvol_jax.models.fcn import FCN
from flatvol_jax.models.flax_model import FlaxModel
from flatvol_jax.models.inputs import float64_inputs, network_inputs
from flatvol_jax.models.labels import (
    check_labels,
    cross_entropy,
    output_count,
    output_labels,
    tied_outputs,
    wrong_labels,
)
from flatvol_jax.models.model import Model
from flatvol_jax.models.resnet import ResNet
from flatvol_jax.models.spec import (
    NormalisedLayer,
    Params,
    RectifiedLayer,
    Spec,
    State,
    apply_in_batches,
    checked_spec,
    parameter_shapes,
)
from flatvol_jax.models.stax_model import StaxModel

__all__ = [
    "CNN",
    "FCN",
    "FlaxModel",
    "Model",
    "NormalisedLayer",
    "Params",
    "RectifiedLayer",
    "ResNet",
    "Spec",
    "State",
    "StaxModel",
    "apply_in_batches",
    "as_model",
    "batch_state",
    "check_evaluation",
    "check_labels",
    "check_running_statistics",
    "check_statistics_move",
    "checked_spec",
    "cross_entropy",
    "float64_inputs",
    "network_inputs",
    "output_count",
    "output_labels",
    "parameter_shapes",
    "tied_outputs",
    "wrong_labels",
]


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)
