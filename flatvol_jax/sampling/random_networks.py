"""Random networks a block at a time: the outputs of freshly drawn copies of a spec.

A block is drawn in two steps, random numbers and then outputs, so that the loop over blocks can
put the draw of the next one beside the evaluation of this one: fused into one kernel, XLA on a
CPU would not vectorise the generator.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from flatvol_jax.models import FCN, Spec
from flatvol_jax.sampling.normals import random_bits, to_normals

_ACTIVATIONS = 2**19  # of a layer of a block: 64 networks 7-40-40-1, near a core's cache


class Block(NamedTuple):
    """The functions that draw a block of networks; both are traceable.

    Attributes:
        draw: key -> random numbers.
        outputs: random numbers, inputs (n, ...) -> outputs (samples, n), of C (samples, n, C).
        samples: functions in a block.
    """

    draw: Callable[[Array], Array]
    outputs: Callable[[Array, Array], Array]
    samples: int


def network_block(spec: Spec, x: np.ndarray, most: int, readouts: int = 1) -> Block:
    """Return the block of a spec on inputs x; of an FCN with its own program, of others by `init`.

    With several readouts, groups of so many functions share the hidden layers of one network. A
    block has about `most` functions at most.
    """
    if isinstance(spec, FCN):
        return _fcn_block(spec, x, most, readouts)
    networks = _networks(x[0].size, len(x), most)

    def outputs(keys, x):
        return jax.vmap(lambda key: spec.apply(spec.init(key, x.shape[1:]), x))(keys)

    return Block(lambda key: jax.random.split(key, networks), outputs, networks)


def _fcn_block(spec: FCN, x: np.ndarray, most: int, readouts: int) -> Block:
    fan_ins = [x[0].size, *spec.width]
    networks = _networks(max(fan_ins), len(x), most // readouts)
    shapes = []
    for fan_in, units in zip(fan_ins[:-1], spec.width, strict=True):
        shapes += [(units, fan_in), (units,)]
    readouts_and_outputs = readouts * spec.outputs
    shapes += [(readouts_and_outputs, fan_ins[-1]), (readouts_and_outputs,)]
    sizes = [networks * math.prod(shape) for shape in shapes]
    levels = cube_levels(x)

    def draw(key):
        return random_bits(key, sum(sizes))

    def outputs(bits, x):
        parts = jnp.split(bits, np.cumsum(sizes)[:-1])
        normals = [
            to_normals(part.reshape(networks, *shape))
            for part, shape in zip(parts, shapes, strict=True)
        ]
        hidden = None
        for layer, fan_in in enumerate(fan_ins[:-1]):
            weights = spec.sigma_w / fan_in**0.5 * normals[2 * layer]
            bias = (spec.sigma_b * normals[2 * layer + 1])[:, :, None]
            if layer:
                hidden = jnp.einsum("bji,bix->bjx", weights, hidden) + bias
            elif levels is None:
                hidden = jnp.einsum("bji,xi->bjx", weights, x.reshape(len(x), -1)) + bias
            else:
                hidden = _on_cube(weights, bias, *levels)
            hidden = jax.nn.relu(hidden)
        weights = spec.sigma_w / fan_ins[-1] ** 0.5 * normals[-2]
        bias = spec.sigma_b * normals[-1]
        # A sum of products, not a matrix product: a row at a time it is several times faster.
        out = [
            jnp.sum(hidden * weights[:, r, :, None], axis=1) + bias[:, r, None]
            for r in range(readouts_and_outputs)
        ]
        if spec.outputs > 1:
            first = range(0, readouts_and_outputs, spec.outputs)
            out = [jnp.stack(out[r : r + spec.outputs], axis=-1) for r in first]
        return jnp.concatenate(out)

    return Block(draw, outputs, networks * readouts)


def cube_levels(x: np.ndarray) -> tuple[float, float] | None:
    """Return (lo, hi) where x is {lo, hi}^d in lexicographic order, else None."""
    x = np.asarray(x)
    if x.ndim != 2 or len(x) != 2 ** x.shape[1]:
        return None
    low, high = x[0, 0], x[-1, 0]
    bits = np.arange(len(x))[:, None] >> np.arange(x.shape[1] - 1, -1, -1) & 1
    return (float(low), float(high)) if (x == np.where(bits, high, low)).all() else None


def _on_cube(weights: Array, bias: Array, low: float, high: float) -> Array:
    """Return x @ W + b for all x of a cube {lo, hi}^d.

        (B, units, d), (B, units, 1) -> (B, units, 2^d)

    Sums over subsets of inputs, each from one with an input less: 2^d additions, no products.
    The last four inputs and the others have their sums apart; each pair of them is added.
    """
    start = bias + low * jnp.sum(weights, axis=2, keepdims=True)
    weights = (high - low) * weights
    split = max(weights.shape[2] - 4, 0)

    def subsets(sums, inputs):
        for i in reversed(inputs):
            sums = jnp.concatenate([sums, sums + weights[:, :, i, None]], axis=-1)
        return sums

    first = subsets(start, range(split))
    last = subsets(jnp.zeros_like(start), range(split, weights.shape[2]))
    pairs = first[..., :, None] + last[..., None, :]
    return pairs.reshape(*pairs.shape[:2], -1)


def _networks(width: int, inputs: int, most: int) -> int:
    """Return the number of networks in a block: a power of two, at least 1."""
    return 2 ** int(math.log2(max(min(_ACTIVATIONS // (width * inputs), most), 1)))
