"""The protocol of a network: what the finite and the infinite version are both read from."""

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np
from jax import Array

from flatvol_jax.runtime import checks

Params = Any
"""A pytree of arrays."""
State = Any
"""A pytree of arrays: what training moves beside the parameters."""
Path = tuple[str, ...]  # keys that lead to an array of params or of the state


LARGEST_WIDTH = 2**31 - 1
_LARGEST_SCALE = 1e100  # its square is finite


class RectifiedLayer(NamedTuple):
    """A layer that a ReLU follows, by the paths of its arrays.

    Attributes:
        incoming: what makes its units, weights (..., fan_in, units) first, then the bias.
        outgoing: the weights (..., fan_in, fan_out) that read them.
    """

    incoming: tuple[Path, ...]
    outgoing: tuple[Path, ...]


class NormalisedLayer(NamedTuple):
    """A layer that a BatchNorm follows: the arguments of fv.flatness.rescale_normalised.

    Attributes:
        incoming: paths in params of what makes the units, weights (..., fan_in, units) first.
        mean: path in the state of their running mean.
        variance: path in the state of their running variance.
        epsilon: what the BatchNorm adds to the variance.
    """

    incoming: tuple[Path, ...]
    mean: Path
    variance: Path
    epsilon: float


@runtime_checkable
class Spec(Hashable, Protocol):
    """A frozen, hashable description of a network.

    A spec is a static argument of jitted programs; `describe` names it in hashes. The label
    that a network gives to x is +1 if and only if its output is above 0 (def. 2.2), in
    inference mode: BatchNorm then normalises with the running statistics in the state, so that
    the output of an input depends on no other input.

    A network of C classes says so by an attribute `outputs` of C; its outputs are then (n, C)
    wherever (n,) stands below, the label is the largest of them, 0..C-1 (`labels.py`), and in the
    prior they are independent draws of one distribution.

    Attributes:
        sigma_w: a weight of the readout has variance sigma_w² / fan-in at initialisation.
        sigma_b: standard deviation of the readout's bias.
    """

    @property
    def sigma_w(self) -> float:
        """Return the standard deviation of a readout weight times √fan-in."""

    @property
    def sigma_b(self) -> float:
        """Return the standard deviation of the readout's bias."""

    def init(self, key: Array, input_shape: tuple[int, ...]) -> Params:
        """Draw float32 parameters from the prior; `input_shape` is that of one input."""

    def init_state(self, input_shape: tuple[int, ...]) -> State:
        """Return what training moves beside the parameters; {} for a network without BatchNorm."""

    def apply(self, params: Params, x: Array, state: State | None = None) -> Array:
        """Return the outputs (logits) (n,) for inputs (n, ...); no state: that of `init_state`."""

    def train_apply(
        self, params: Params, state: State, x: Array, mask: Array | None = None
    ) -> tuple[Array, State]:
        """Return the outputs (n,) in training mode, normalised by the batch, and the new state.

        `mask` (n,), bool: the rows that count, at least one, all by default. The others, which
        fill a batch up, enter no statistics; their outputs mean nothing.
        """

    def features(self, params: Params, x: Array, state: State | None = None) -> Array:
        """Return the last hidden layer's activations, (n, N_L): what the readout multiplies."""

    def kernel_layers(self) -> tuple[tuple, ...] | None:
        """Return the infinitely wide network, a tuple a layer; None without an analytic kernel.

        - ("dense", sigma_w, sigma_b); as the first layer it flattens the inputs.
        - ("images", image_shape), first: inputs are images, see `cnn.as_images`.
        - ("conv", filter, stride, padding, sigma_w, sigma_b).
        - ("relu",), ("global_average_pool",), ("flatten",).
        - ("stax", init_fn, apply_fn, kernel_fn): any neural_tangents.stax network.
        """

    def rectified_layers(self) -> tuple[RectifiedLayer, ...] | None:
        """Return the layers that a ReLU follows, from the input on; None where not known."""

    def normalised_layers(self) -> tuple[NormalisedLayer, ...] | None:
        """Return the layers that a BatchNorm follows, from the input on; None where not known."""

    def prior_std(self, input_shape: tuple[int, ...]) -> Params | None:
        """Return each parameter's standard deviation in the prior, a number a leaf; or None."""

    def describe(self) -> dict[str, Any]:
        """Return plain data that determines the network."""


class Stateless:
    """The methods of a spec whose training moves nothing but the parameters."""

    if TYPE_CHECKING:

        def apply(self, params: Params, x: Array, state: State | None = None) -> Array:
            """Return the outputs: each spec has its own."""
            raise NotImplementedError

    def init_state(self, input_shape: tuple[int, ...]) -> dict:
        """Return {}: there is no state."""
        return {}

    def train_apply(
        self, params: Params, state: State, x: Array, mask: Array | None = None
    ) -> tuple[Array, State]:
        """Return the outputs (n,), the same as in inference mode, and the state as it came."""
        return self.apply(params, x), state

    def normalised_layers(self) -> tuple[NormalisedLayer, ...]:
        """Return (): no layer is normalised."""
        return ()


class UnknownLayers:
    """The methods of a spec of a user's own network, whose layers nobody has named."""

    def rectified_layers(self) -> None:
        """Return None: not known; fv.flatness.rescale takes a layer's paths."""
        return None

    def normalised_layers(self) -> None:
        """Return None: not known; fv.flatness.rescale_normalised takes a layer's paths."""
        return None

    def prior_std(self, input_shape: tuple[int, ...]) -> None:
        """Return None: not known."""
        return None


def checked_scales(spec: Any) -> None:
    """Make sigma_w and sigma_b of a new frozen spec floats; above 0, and at least 0."""
    for name, check in {"sigma_w": checks.positive, "sigma_b": checks.non_negative}.items():
        object.__setattr__(spec, name, check(name, getattr(spec, name), most=_LARGEST_SCALE))


def checked_spec(spec: Spec) -> Spec:
    """Return the spec; what is none, or a class of specs, is a ValueError."""
    if isinstance(spec, type) or not isinstance(spec, Spec):
        unhashable = not isinstance(spec, (type, Hashable))
        hint = " It must be hashable: make its class a frozen dataclass." if unhashable else ""
        raise ValueError(
            f"spec: got {checks.shown(spec)}, wanted a network's spec, such as fv.FCN((40, 40))."
            f"{hint}"
        )
    return spec


def parameter_shapes(spec: Spec, input_shape: tuple[int, ...]) -> Params:
    """Return the pytree of shapes and dtypes of the parameters, without drawing any."""
    return jax.eval_shape(lambda key: spec.init(key, tuple(input_shape)), jax.random.key(0))


def without_one_output(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a spec without `outputs` where it is 1: its name from older times."""
    return {name: value for name, value in fields.items() if (name, value) != ("outputs", 1)}


def apply_in_batches(
    spec: Spec, params: Params, x: Array, state: State | None, batch_size: int | None
) -> Array:
    """Run `spec.apply` on a batch of inputs after another, (n,) or (n, C); None for all at once.

    Memory holds the activations of one batch, also where it is differentiated: they are
    computed again.
    """
    if batch_size is None:
        return spec.apply(params, x, state)
    one = jax.checkpoint(lambda row: spec.apply(params, row[None], state)[0])
    return jax.lax.map(one, x, batch_size=batch_size)


def dense_rectified_layers(layers: int) -> tuple[RectifiedLayer, ...]:
    """Return `layer_1` to `layer_{L-1}` of L dense layers, each with kernel and bias."""
    return tuple(
        RectifiedLayer(
            ((f"layer_{i}", "kernel"), (f"layer_{i}", "bias")), ((f"layer_{i + 1}", "kernel"),)
        )
        for i in range(1, layers)
    )


def scaled_prior_std(spec: Spec, input_shape: tuple[int, ...]) -> Params:
    """Return sigma_w / √fan-in for each kernel (..., fan_in, fan_out), sigma_b for each bias."""
    shapes = parameter_shapes(spec, input_shape)
    return {
        layer: {
            "kernel": spec.sigma_w / np.sqrt(np.prod(arrays["kernel"].shape[:-1])),
            "bias": spec.sigma_b,
        }
        for layer, arrays in shapes.items()
    }
