"""A convolutional ReLU network: convolutions, then global average pooling or flattening."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.nn.initializers import normal

from flatvol_jax.models.labels import checked_outputs
from flatvol_jax.models.spec import (
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

PADDING = ("SAME", "VALID")


class _Network(nn.Module):
    """Convolutions and the readout; returns the outputs and what the readout multiplies."""

    spec: "CNN"

    @nn.compact
    def __call__(self, x):
        spec = self.spec
        bias = normal(spec.sigma_b)
        for layer, channels in enumerate(spec.channels, start=1):
            size = x.shape[1:3]
            if spec.padding == "VALID" and any(np.less(size, spec.filter)):
                raise ValueError(
                    f"x: layer {layer} gets images of {size[0]} x {size[1]} pixels, fewer than "
                    f"the filter {spec.filter} has. Try padding='SAME' or fewer layers."
                )
            # Filters at the border count in full: their fan-in includes the padding's zeros.
            weight = normal(spec.sigma_w / np.sqrt(np.prod(spec.filter) * x.shape[-1]))
            convolution = nn.Conv(
                channels,
                spec.filter,
                spec.stride,
                spec.padding,
                kernel_init=weight,
                bias_init=bias,
                name=f"layer_{layer}",
            )
            x = nn.relu(convolution(x))
        flat = (len(x), int(np.prod(x.shape[1:])))  # -1 fails for no inputs
        x = x.mean(axis=(1, 2)) if spec.pooling == "global" else x.reshape(flat)
        weight = normal(spec.sigma_w / np.sqrt(x.shape[-1]))
        name = f"layer_{len(spec.channels) + 1}"
        found = nn.Dense(spec.outputs, kernel_init=weight, bias_init=bias, name=name)(x)
        return found[:, 0] if spec.outputs == 1 else found, x


@dataclasses.dataclass(frozen=True)
class CNN(Stateless):
    """A convolutional ReLU network with one output, or one for each of C classes.

    Weights are drawn from N(0, sigma_w²/fan-in), biases from N(0, sigma_b²), at initialisation
    and in the kernel alike; the fan-in of a convolution is filter height x width x channels,
    that of the readout its number of features. Inputs are images (n, h, w), of one channel, or
    (n, h, w, c). The layers are `layer_1` to `layer_L`, with `kernel` (filter height, width,
    channels in, out; the readout's is (features, outputs)) and `bias`.

    Attributes:
        channels: output channels of each convolution.
        filter: height and width of every filter; one number for a square.
        stride: rows and columns that every filter moves by; one number for both.
        padding: "SAME" (zeros around the image) or "VALID" (none).
        pooling: "global", the readout sees the mean over all pixels, or None, it sees every
            pixel of every channel.
        sigma_w: standard deviation of a weight times √fan-in.
        sigma_b: standard deviation of a bias.
        image_shape: (h, w) or (h, w, c) of an image where inputs come as rows (n, h w c), as
            those of fv.data.load("mnist5k").
        outputs: 1, whose sign is the label ±1, or C, whose largest is the label 0..C-1.

    Raises:
        ValueError: no convolution, a size that is no count, unknown padding or pooling, sigma_w
            not above 0, sigma_b below 0, no output.
    """

    channels: tuple[int, ...] = (32, 32)
    filter: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    padding: str = "SAME"
    pooling: str | None = "global"
    sigma_w: float = 2**0.5
    sigma_b: float = 1.0
    image_shape: tuple[int, ...] | None = None
    outputs: int = 1

    def __post_init__(self):
        channels = (self.channels,) if isinstance(self.channels, int) else tuple(self.channels)
        if not channels:
            raise ValueError("channels: got no convolution, wanted at least one, as (32, 32).")
        channels = tuple(checks.count("channels", number) for number in channels)
        object.__setattr__(self, "channels", channels)
        object.__setattr__(self, "filter", _pair("filter", self.filter))
        object.__setattr__(self, "stride", _pair("stride", self.stride))
        checks.one_of("padding", self.padding, PADDING)
        if self.pooling is not None:
            checks.one_of("pooling", self.pooling, ["global"])
        checked_scales(self)
        object.__setattr__(self, "image_shape", checked_image_shape(self.image_shape))
        object.__setattr__(self, "outputs", checked_outputs(self.outputs))

    def init(self, key: Array, input_shape: tuple[int, ...]) -> Params:
        """Draw float32 parameters from the prior."""
        inputs = jnp.zeros((1, *input_shape), jnp.float32)
        return _Network(self).init(key, as_images(inputs, self.image_shape))["params"]

    def apply(self, params: Params, x: Array, state: State | None = None) -> Array:
        """Return the outputs, (n,) or (n, C)."""
        outputs, _ = self._answers(params, x)
        return outputs

    def features(self, params: Params, x: Array, state: State | None = None) -> Array:
        """Return what the readout multiplies, (n, channels[-1]), or without pooling (n, h w c)."""
        _, features = self._answers(params, x)
        return features

    def kernel_layers(self) -> tuple[tuple, ...]:
        """Return images, a convolution and ReLU a layer, pooling or flattening, the readout."""
        variances = (self.sigma_w, self.sigma_b)
        convolution = ("conv", self.filter, self.stride, self.padding, *variances)
        return (
            ("images", self.image_shape),
            *(convolution, ("relu",)) * len(self.channels),
            ("global_average_pool",) if self.pooling == "global" else ("flatten",),
            ("dense", *variances),
        )

    def rectified_layers(self) -> tuple[RectifiedLayer, ...]:
        """Return all layers but the readout."""
        return dense_rectified_layers(len(self.channels) + 1)

    def prior_std(self, input_shape: tuple[int, ...]) -> Params:
        """Return sigma_w / √fan-in for each kernel, sigma_b for each bias."""
        return scaled_prior_std(self, input_shape)

    def describe(self) -> dict[str, Any]:
        """Return plain data that determines the network."""
        fields = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in without_one_output(dataclasses.asdict(self)).items()
        }
        return {"model": "cnn", **fields}

    def _answers(self, params: Params, x: Array) -> Any:
        """Return the outputs and what the readout multiplies."""
        return _Network(self).apply({"params": params}, as_images(x, self.image_shape))


def checked_image_shape(image_shape: tuple[int, ...] | None) -> tuple[int, ...] | None:
    """Return (h, w) or (h, w, c) as a tuple of counts."""
    if image_shape is None:
        return None
    shape = tuple(checks.count("image_shape", size) for size in image_shape)
    if len(shape) not in (2, 3):
        raise ValueError(f"image_shape: got {shape}, wanted (h, w) or (h, w, c).")
    return shape


def as_images(x: Array, image_shape: tuple[int, ...] | None) -> Array:
    """Return inputs as (n, h, w, c): a channel axis added, rows brought into `image_shape`."""
    if image_shape is not None:
        wanted = image_shape if len(image_shape) == 3 else (*image_shape, 1)
        if x.ndim == 2 and x.shape[1] == np.prod(wanted):
            return x.reshape(len(x), *wanted)
        if x.shape[1:] not in (image_shape, wanted):
            raise ValueError(
                f"x: got inputs of shape {x.shape[1:]}, wanted {image_shape} as image_shape "
                f"says, or rows of {np.prod(wanted)} numbers."
            )
    if x.ndim not in (3, 4):
        raise ValueError(
            f"x: got inputs of shape {x.shape[1:]}, wanted images: (h, w) or (h, w, c). "
            "Where images come as rows, give the spec their shape: image_shape=(28, 28)."
        )
    return x if x.ndim == 4 else x[..., None]


def _pair(name: str, value: int | tuple[int, int]) -> tuple[int, int]:
    """Return two counts, for rows and columns; one number stands for both."""
    pair = (value, value) if isinstance(value, int) else tuple(value)
    if len(pair) != 2:
        raise ValueError(f"{name}: got {value!r}, wanted two whole numbers, as (3, 3).")
    return checks.count(name, pair[0]), checks.count(name, pair[1])
