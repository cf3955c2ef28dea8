"""The fully connected ReLU network of the paper: d - width[0] - ... - 1, or - C."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.nn.initializers import normal

from flatvol_jax.models.labels import checked_outputs
from flatvol_jax.models.spec import (
    LARGEST_WIDTH,
    Params,
    RectifiedLayer,
    State,
    Stateless,
    checked_scales,
    dense_rectified_layers,
    scaled_prior_std,
    without_one_output,
)
from flatvol_jax.runtime import checks


class _Network(nn.Module):
    """Dense and ReLU layers; returns the outputs and the last hidden activations."""

    width: tuple[int, ...]
    sigma_w: float
    sigma_b: float
    outputs: int

    @nn.compact
    def __call__(self, x):
        def dense(features, name):
            weight = normal(self.sigma_w / np.sqrt(x.shape[-1]))
            return nn.Dense(features, kernel_init=weight, bias_init=normal(self.sigma_b), name=name)

        for layer, features in enumerate(self.width, start=1):
            x = nn.relu(dense(features, f"layer_{layer}")(x))
        found = dense(self.outputs, f"layer_{len(self.width) + 1}")(x)
        return found[:, 0] if self.outputs == 1 else found, x


@dataclasses.dataclass(frozen=True)
class FCN(Stateless):
    """A fully connected ReLU network with one output, or one for each of C classes.

    Weights are drawn from N(0, sigma_w²/fan-in), biases from N(0, sigma_b²), at initialisation
    and in the kernel alike. Inputs of more than one axis are flattened. The layers are
    `layer_1` to `layer_L`, with `kernel` (fan-in, fan-out) and `bias`.

    Attributes:
        width: units of each hidden layer.
        sigma_w: standard deviation of a weight times √fan-in.
        sigma_b: standard deviation of a bias.
        outputs: 1, whose sign is the label ±1, or C, whose largest is the label 0..C-1.

    Raises:
        ValueError: no hidden layer, one without units, sigma_w not above 0, sigma_b below 0, no
            output.
    """

    width: tuple[int, ...] = (40, 40)
    sigma_w: float = 2**0.5
    sigma_b: float = 1.0
    outputs: int = 1

    def __post_init__(self):
        whole = isinstance(self.width, (int, np.integer))
        try:
            given: tuple[Any, ...] = (self.width,) if whole else tuple(self.width)
        except TypeError:
            given = ()
        if not given:
            raise ValueError(
                f"width: got {checks.shown(self.width)}, wanted at least one hidden layer, as "
                "(40, 40)."
            )
        width = tuple(checks.count("width", units, most=LARGEST_WIDTH) for units in given)
        object.__setattr__(self, "width", width)
        object.__setattr__(self, "outputs", checked_outputs(self.outputs))
        checked_scales(self)

    def init(self, key: Array, input_shape: tuple[int, ...]) -> Params:
        """Draw float32 parameters from the prior."""
        inputs = jnp.zeros((1, int(np.prod(input_shape))), jnp.float32)
        return self._network.init(key, inputs)["params"]

    def apply(self, params: Params, x: Array, state: State | None = None) -> Array:
        """Return the outputs, (n,) or (n, C)."""
        outputs, _ = self._answers(params, x)
        return outputs

    def features(self, params: Params, x: Array, state: State | None = None) -> Array:
        """Return the activations of the last hidden layer, (n, width[-1])."""
        _, features = self._answers(params, x)
        return features

    def kernel_layers(self) -> tuple[tuple, ...]:
        """Return dense and ReLU for each hidden layer, then the readout."""
        dense = ("dense", self.sigma_w, self.sigma_b)
        return (dense, ("relu",)) * len(self.width) + (dense,)

    def rectified_layers(self) -> tuple[RectifiedLayer, ...]:
        """Return all layers but the readout."""
        return dense_rectified_layers(len(self.width) + 1)

    def prior_std(self, input_shape: tuple[int, ...]) -> Params:
        """Return sigma_w / √fan-in for each kernel, sigma_b for each bias."""
        return scaled_prior_std(self, input_shape)

    def describe(self) -> dict[str, Any]:
        """Return plain data that determines the network."""
        fields = without_one_output(dataclasses.asdict(self))
        return {"model": "fcn", **fields, "width": list(self.width)}

    def params_from_arrays(self, *arrays: np.ndarray) -> Params:
        """Return parameters from W1, b1, W2, b2, ... in the convention x @ W + b.

        W_i is (fan-in, fan-out), the last one (width[-1], outputs); b_i is (fan-out,).
        """
        wanted = 2 * (len(self.width) + 1)
        if len(arrays) != wanted:
            raise ValueError(
                f"arrays: got {len(arrays)}, wanted {wanted}: W1, b1, ..., "
                f"W{wanted // 2}, b{wanted // 2} for width {self.width}."
            )
        params, fan_in = {}, None
        for layer, fan_out in enumerate((*self.width, self.outputs), start=1):
            weight = checks.finite(f"W{layer}", arrays[2 * layer - 2], ndim=2)
            bias = checks.finite(f"b{layer}", arrays[2 * layer - 1], ndim=1)
            fan_in = weight.shape[0] if fan_in is None else fan_in
            if weight.shape != (fan_in, fan_out) or bias.shape != (fan_out,):
                raise ValueError(
                    f"layer {layer}: got W{layer} {weight.shape} and b{layer} {bias.shape}, "
                    f"wanted ({fan_in}, {fan_out}) and ({fan_out},): outputs are x @ W + b "
                    "(a PyTorch Linear stores the transpose of W)."
                )
            params[f"layer_{layer}"] = {
                "kernel": jnp.asarray(weight),
                "bias": jnp.asarray(bias),
            }
            fan_in = fan_out
        return params

    def params_to_arrays(self, params: Params) -> tuple[np.ndarray, ...]:
        """Return W1, b1, W2, b2, ...: the inverse of `params_from_arrays`."""
        layers = [params[f"layer_{layer}"] for layer in range(1, len(self.width) + 2)]
        return tuple(np.asarray(layer[part]) for layer in layers for part in ("kernel", "bias"))

    def _answers(self, params: Params, x: Array) -> Any:
        """Return the outputs and the last hidden activations."""
        return self._network.apply({"params": params}, _flat(x))

    @property
    def _network(self) -> _Network:
        return _Network(self.width, self.sigma_w, self.sigma_b, self.outputs)


def _flat(x: Array) -> Array:
    return jnp.reshape(x, (len(x), int(np.prod(x.shape[1:]))))  # -1 fails for no inputs
