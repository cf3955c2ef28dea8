"""A network that does not know its layers, with the layers that its user names."""

import dataclasses
from typing import Any

from jax import Array

from flatvol_jax.flatness.paths import leaf_paths, weight_at
from flatvol_jax.models import (
    NormalisedLayer,
    Params,
    RectifiedLayer,
    Spec,
    State,
    output_count,
)


@dataclasses.dataclass(frozen=True)
class LayeredSpec:
    """A spec that answers as another one, but for its rectified layers.

    Attributes:
        spec: the other one.
        layers: its rectified layers, from the input on.
    """

    spec: Spec
    layers: tuple[RectifiedLayer, ...]

    @property
    def sigma_w(self) -> float:
        """Return that of the readout's weights."""
        return self.spec.sigma_w

    @property
    def sigma_b(self) -> float:
        """Return that of the readout's bias."""
        return self.spec.sigma_b

    @property
    def outputs(self) -> int:
        """Return how many outputs the network has."""
        return output_count(self.spec)

    def init(self, key: Array, input_shape: tuple[int, ...]) -> Params:
        """Draw parameters from the prior."""
        return self.spec.init(key, input_shape)

    def init_state(self, input_shape: tuple[int, ...]) -> State:
        """Return what training moves beside the parameters."""
        return self.spec.init_state(input_shape)

    def apply(self, params: Params, x: Array, state: State | None = None) -> Array:
        """Return the outputs."""
        return self.spec.apply(params, x, state)

    def train_apply(
        self, params: Params, state: State, x: Array, mask: Array | None = None
    ) -> tuple[Array, State]:
        """Return the outputs in training mode and the state after it."""
        return self.spec.train_apply(params, state, x, mask)

    def features(self, params: Params, x: Array, state: State | None = None) -> Array:
        """Return what the readout multiplies."""
        return self.spec.features(params, x, state)

    def kernel_layers(self) -> tuple[tuple, ...] | None:
        """Return the infinitely wide network, or None."""
        return self.spec.kernel_layers()

    def normalised_layers(self) -> tuple[NormalisedLayer, ...] | None:
        """Return the layers that a BatchNorm follows, or None."""
        return self.spec.normalised_layers()

    def prior_std(self, input_shape: tuple[int, ...]) -> Params | None:
        """Return the standard deviation of each parameter in the prior, or None."""
        return self.spec.prior_std(input_shape)

    def describe(self) -> dict[str, Any]:
        """Return plain data that determines the network; layers do not change it."""
        return self.spec.describe()

    def rectified_layers(self) -> tuple[RectifiedLayer, ...]:
        """Return the layers that a ReLU follows."""
        return self.layers

    def __repr__(self) -> str:
        return repr(self.spec)


def with_layers(spec: Spec, params: Any, layers: Any) -> Spec:
    """Return the spec, knowing the layers that are given; without any, as it is.

    Args:
        spec: the network.
        params: its parameters, in which the layers are looked up.
        layers: for each layer that a ReLU follows, from the input on, (incoming, outgoing) as
            `fv.flatness.rescale` takes them: paths of what makes its units, weights (..., fan_in,
            units) first, then the bias; and paths of the weights that read them.

    Raises:
        ValueError: a path that leads to no array, or layers of another form.
    """
    if layers is None:
        return spec
    try:
        found = tuple(
            RectifiedLayer(*(tuple(tuple(path) for path in paths) for paths in layer))
            for layer in layers
        )
        weights = [layer.incoming[0] for layer in found]
        weights += [path for layer in found for path in layer.outgoing]
    except (TypeError, IndexError) as error:
        raise ValueError(
            f"layers: got {layers!r:.200}, wanted one ([paths of weights and bias], [paths of the "
            f"weights that read them]) for each layer, of the paths {leaf_paths(params)[:6]} ..."
        ) from error
    if not found:
        raise ValueError("layers: got none, wanted one at least, or None.")
    for path in weights:
        weight_at(params, path, "layers")
    return LayeredSpec(spec, found)
