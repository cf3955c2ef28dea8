"""Residual networks with BatchNorm, ResNet-50 among them, with one output or one a class."""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree

from flatvol_jax.models.cnn import as_images, checked_image_shape
from flatvol_jax.models.labels import checked_outputs
from flatvol_jax.models.spec import (
    NormalisedLayer,
    Params,
    State,
    checked_scales,
    without_one_output,
)
from flatvol_jax.runtime import checks

STEMS = ("imagenet", "cifar")
# Depth: whether blocks are bottlenecks, and how many there are in each of the four stages.
DEPTHS = {
    18: (False, (2, 2, 2, 2)),
    34: (False, (3, 4, 6, 3)),
    50: (True, (3, 4, 6, 3)),
    101: (True, (3, 4, 23, 3)),
    152: (True, (3, 8, 36, 3)),
}


class _Convolution(nn.Module):
    """A convolution without bias, its border padded with zeros, and BatchNorm."""

    spec: "ResNet"
    channels: int
    filter: int
    stride: int = 1

    @nn.compact
    def __call__(self, x, train, mask):
        spec = self.spec
        convolution = nn.Conv(
            self.channels,
            (self.filter, self.filter),
            self.stride,
            self.filter // 2,
            use_bias=False,
            name="conv",
        )
        normalisation = nn.BatchNorm(
            use_running_average=not train,
            momentum=spec.momentum,
            epsilon=spec.epsilon,
            name="norm",
        )
        return normalisation(convolution(x), mask=mask)


class _Block(NamedTuple):
    """A residual block: its name, (channels, filter, stride) of its layers, of its shortcut."""

    name: str
    layers: tuple[tuple[int, int, int], ...]
    shortcut: tuple[int, int, int] | None

    @property
    def convolutions(self) -> dict[str, tuple[int, int, int]]:
        """Return all convolutions by name."""
        named = {f"layer_{i}": layer for i, layer in enumerate(self.layers, start=1)}
        return named | ({"shortcut": self.shortcut} if self.shortcut else {})


def _blocks(spec: "ResNet") -> Iterator[_Block]:
    """Yield the residual blocks, from the input on."""
    bottleneck, stages = DEPTHS[spec.depth]
    for stage, count in enumerate(stages, start=1):
        channels = spec.width * 2 ** (stage - 1)
        for block in range(1, count + 1):
            stride = 2 if stage > 1 and block == 1 else 1
            layers: tuple[tuple[int, int, int], ...] = ((channels, 3, stride), (channels, 3, 1))
            if bottleneck:
                layers = ((channels, 1, 1), (channels, 3, stride), (4 * channels, 1, 1))
            grows = block == 1 and (stage > 1 or bottleneck)
            shortcut = (layers[-1][0], 1, stride) if grows else None
            yield _Block(f"stage_{stage}_block_{block}", layers, shortcut)


class _Residual(nn.Module):
    """relu(layers(x) + shortcut(x)), a ReLU between the layers."""

    spec: "ResNet"
    block: _Block

    @nn.compact
    def __call__(self, x, train, mask):
        def convolution(name, x):
            settings = self.block.convolutions[name]
            return _Convolution(self.spec, *settings, name=name)(x, train, mask)

        h = convolution("layer_1", x)
        for layer in range(2, len(self.block.layers) + 1):
            h = convolution(f"layer_{layer}", nn.relu(h))
        return nn.relu(h + (convolution("shortcut", x) if self.block.shortcut else x))


class _Network(nn.Module):
    """Stem, residual blocks, pooling, readout; returns the outputs and the pooled activations.

    It is never initialised, `_drawn` draws the parameters.
    """

    spec: "ResNet"

    @nn.compact
    def __call__(self, x, train=False, mask=None):
        spec = self.spec
        if mask is not None:
            mask = mask[:, None, None, None]
        filter_, stride = (7, 2) if spec.stem == "imagenet" else (3, 1)
        x = _Convolution(spec, spec.width, filter_, stride, name="stem")(x, train, mask)
        x = nn.relu(x)
        if spec.stem == "imagenet":
            x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
        for block in _blocks(spec):
            x = _Residual(spec, block, name=block.name)(x, train, mask)
        x = x.mean(axis=(1, 2))
        found = nn.Dense(spec.outputs, name="readout")(x)
        return found[:, 0] if spec.outputs == 1 else found, x


@dataclasses.dataclass(frozen=True)
class ResNet:
    """A residual network with BatchNorm and one output, or one for each of C classes.

    A stem, four stages of residual blocks, global average pooling, a readout. Depths 18 and 34
    have blocks of two 3x3 convolutions, the others bottlenecks of 1x1, 3x3 and 1x1; the first
    block of stages 2 to 4 has stride 2, on its first 3x3 convolution, and a block whose shape
    changes has a 1x1 convolution as its shortcut. Each convolution is without bias, padded by
    zeros on both sides alike, and followed by BatchNorm: layer for layer torchvision's network
    (v1.5) with `outputs` in the place of 1,000.

    Weights are drawn from N(0, sigma_w²/fan-in), the readout's bias from N(0, sigma_b²);
    BatchNorm starts with scale 1, shift 0, running mean 0 and variance 1, in inference mode the
    identity but for 1/√(1 + epsilon). At sigma_w = √2 each block then adds about as much
    variance as it gets. Inputs are images (n, h, w) of one channel or (n, h, w, c).

    Parameters and state are Flax's collections: {"batch_stats": ...} is the state, and a
    convolution has `conv` and `norm` under `stem` or under, for example, `stage_1_block_1`,
    `layer_1`, the last of a block's being `shortcut`; then `readout`.

    Attributes:
        depth: 18, 34, 50, 101 or 152 layers that have weights, shortcuts aside.
        stem: "imagenet", 7x7 with stride 2 and 3x3 max pooling with stride 2, or "cifar", 3x3.
        width: channels of the first stage; each stage doubles them, a bottleneck's outputs are
            four times as many.
        sigma_w: standard deviation of a weight times √fan-in.
        sigma_b: standard deviation of the readout's bias.
        image_shape: (h, w) or (h, w, c) of an image where inputs come as rows (n, h w c).
        epsilon: what BatchNorm adds to the variance.
        momentum: what running statistics keep at a training step: they become momentum times
            themselves plus 1 - momentum times the mean and the (biased) variance of the batch.
        outputs: 1, whose sign is the label ±1, or C, whose largest is the label 0..C-1.

    Raises:
        ValueError: another depth or stem, sigma_w or epsilon not above 0, sigma_b below 0, a
            momentum outside [0, 1), no output.

    Reference: He et al. 2016; Ioffe and Szegedy 2015.
    """

    depth: int = 50
    stem: str = "imagenet"
    width: int = 64
    sigma_w: float = 2**0.5
    sigma_b: float = 1.0
    image_shape: tuple[int, ...] | None = None
    epsilon: float = 1e-5
    momentum: float = 0.9
    outputs: int = 1

    def __post_init__(self):
        if self.depth not in DEPTHS:
            raise ValueError(
                f"depth: got {self.depth!r}, wanted one of {', '.join(map(str, DEPTHS))}."
            )
        checks.one_of("stem", self.stem, STEMS)
        object.__setattr__(self, "width", checks.count("width", self.width))
        checked_scales(self)
        object.__setattr__(self, "image_shape", checked_image_shape(self.image_shape))
        object.__setattr__(self, "epsilon", checks.positive("epsilon", self.epsilon))
        object.__setattr__(self, "momentum", checks.non_negative("momentum", self.momentum))
        object.__setattr__(self, "outputs", checked_outputs(self.outputs))
        if self.momentum >= 1:
            raise ValueError(f"momentum: got {self.momentum}, wanted a number below 1.")

    def init(self, key: Array, input_shape: tuple[int, ...]) -> Params:
        """Draw float32 parameters from the prior."""
        return _drawn(self, key, tuple(input_shape))

    def init_state(self, input_shape: tuple[int, ...]) -> State:
        """Return running mean 0 and variance 1 of every BatchNorm, float32."""
        statistics = _shapes(self, tuple(input_shape))["batch_stats"]
        start = jax.tree.map_with_path(
            lambda path, leaf: jnp.full_like(leaf, path[-1].key == "var"), statistics
        )
        return {"batch_stats": start}

    def apply(self, params: Params, x: Array, state: State | None = None) -> Array:
        """Return the outputs, (n,) or (n, C), in inference mode."""
        return self._inference(params, x, state)[0]

    def train_apply(
        self, params: Params, state: State, x: Array, mask: Array | None = None
    ) -> tuple[Array, State]:
        """Return the outputs, (n,) or (n, C), in training mode and the state after it."""
        images = as_images(x, self.image_shape)
        (outputs, _), moved = _Network(self).apply(
            {"params": params, **state}, images, True, mask, mutable=["batch_stats"]
        )
        return outputs, moved

    def features(self, params: Params, x: Array, state: State | None = None) -> Array:
        """Return what the readout multiplies, (n, 8 width), with bottlenecks (n, 32 width)."""
        return self._inference(params, x, state)[1]

    def kernel_layers(self) -> None:
        """Return None: no analytic kernel is known. Use fv.monte_carlo_kernel."""
        return None

    def rectified_layers(self) -> None:
        """Return None: no ReLU follows weights directly, a BatchNorm or a sum stands between."""
        return None

    def normalised_layers(self) -> tuple[NormalisedLayer, ...]:
        """Return all layers but the readout, a block's shortcut last in its block."""
        names: list[tuple[str, ...]] = [("stem",)]
        names += [(block.name, layer) for block in _blocks(self) for layer in block.convolutions]
        return tuple(
            NormalisedLayer(
                ((*name, "conv", "kernel"),),
                ("batch_stats", *name, "norm", "mean"),
                ("batch_stats", *name, "norm", "var"),
                self.epsilon,
            )
            for name in names
        )

    def prior_std(self, input_shape: tuple[int, ...]) -> None:
        """Return None: BatchNorm's scale and shift have no prior."""
        return None

    def describe(self) -> dict[str, Any]:
        """Return plain data that determines the network."""
        shape = self.image_shape if self.image_shape is None else list(self.image_shape)
        fields = without_one_output(dataclasses.asdict(self))
        return {"model": "resnet", **fields, "image_shape": shape}

    def _inference(self, params: Params, x: Array, state: State | None) -> Any:
        state = self.init_state(x.shape[1:]) if state is None else state
        images = as_images(x, self.image_shape)
        return _Network(self).apply({"params": params, **state}, images)


def _shapes(spec: ResNet, input_shape: tuple[int, ...]) -> dict[str, Any]:
    """Return shapes and dtypes of both collections."""
    images = as_images(jnp.zeros((1, *input_shape), jnp.float32), spec.image_shape)
    return jax.eval_shape(_Network(spec).init, jax.random.key(0), images)


@functools.partial(jax.jit, static_argnums=(0, 2))
def _drawn(spec: ResNet, key: Array, input_shape: tuple[int, ...]) -> Params:
    """Draw parameters from the prior by one call of the generator: XLA compiles each call anew."""
    shapes = _shapes(spec, input_shape)["params"]
    flat, unravel = ravel_pytree(jax.tree.map(jnp.zeros_like, shapes))

    def scaled(path, normals):
        if path[-1].key == "kernel":
            return normals * float(spec.sigma_w / np.sqrt(np.prod(normals.shape[:-1])))
        if path[0].key == "readout":
            return normals * spec.sigma_b
        return jnp.full_like(normals, path[-1].key == "scale")

    normals = unravel(jax.random.normal(key, flat.shape, flat.dtype))
    return jax.tree.map_with_path(scaled, normals)
