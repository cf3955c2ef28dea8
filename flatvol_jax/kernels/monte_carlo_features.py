"""Features and outputs of freshly initialised networks, a network a device at a time."""

import functools
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Real

from flatvol_jax.kernels.blocks import BLOCK_BYTES
from flatvol_jax.models import Spec, batch_state, parameter_shapes
from flatvol_jax.runtime.convolutions import fast_convolutions
from flatvol_jax.runtime.spread import usable_devices

_ROWS = 128  # inputs at a time, fewer where the network's activations exceed the budget


def feature_width(spec: Spec, input_shape: tuple[int, ...], dtype=np.float32) -> int:
    """Return N_L, the number of last hidden activations; nothing is run."""
    with jax.enable_x64(False):
        params = parameter_shapes(spec, input_shape)
        one = jax.ShapeDtypeStruct((1, *input_shape), dtype)
        return jax.eval_shape(spec.features, params, one).shape[-1]


def sample_keys(key: jax.Array, samples: int) -> jax.Array:
    """Return the first M keys that neural_tangents.monte_carlo_kernel_fn gives to networks."""
    if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        key = jax.random.wrap_key_data(key)
    return _chain(key, samples)


@functools.partial(jax.jit, static_argnames="samples")
def _chain(key: jax.Array, samples: int) -> jax.Array:
    def one(key, _):
        key, sample = jax.random.split(key)
        return key, jax.random.split(sample)[0]  # the other one is for dropout

    return jax.lax.scan(one, key, length=samples)[1]


def sample_features(
    spec: Spec,
    x: Real[np.ndarray, "n ..."],
    keys: jax.Array,
    reference: Real[np.ndarray, "m ..."] | None = None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the features (n, N_L) and outputs (n,), float32, of the network of each key, in order.

    Both are of one forward pass: the compiler finds that what they do before the readout is one.

    Each device takes one network, and while its features are used the next is under way.
    With a reference each network's BatchNorms have the statistics of these inputs, as one batch.
    """
    devices = tuple(usable_devices())
    with jax.enable_x64(False):
        data = np.asarray(jax.random.key_data(keys))  # rows of a key array cost 0.4 ms each
        sizes = data.shape[1:], devices, None if reference is None else reference.shape
        program, rows = _program(spec, x.shape, jax.random.key_impl(keys), *sizes, x.dtype)
        padded = np.pad(x, [(0, -len(x) % rows)] + [(0, 0)] * (x.ndim - 1))
        shared, split = _shardings(devices)
        inputs = [padded.reshape(-1, rows, *x.shape[1:])]
        inputs = jax.device_put(inputs + ([] if reference is None else [reference]), shared)

    def launch(first):
        with jax.enable_x64(False):
            indices = np.minimum(np.arange(first, first + len(devices)), len(keys) - 1)
            return program(jax.device_put(data[indices], split), *inputs)

    ahead = launch(0)
    for first in range(0, len(keys), len(devices)):
        current = ahead
        if first + len(devices) < len(keys):
            ahead = launch(first + len(devices))
        features, outputs = (np.asarray(part)[:, : len(x)] for part in current)
        yield from zip(features[: len(keys) - first], outputs, strict=False)


@functools.cache
def _program(
    spec, shape, key_impl, key_shape, devices, reference_shape=None, dtype=np.float32
) -> tuple[Callable, int]:
    """Return the compiled (key data, inputs) -> (features, outputs), and the inputs at a time.

    With the shape of a reference the program takes that as its third argument.
    """

    def one(data, inputs, *reference):
        params, state = spec.init(jax.random.wrap_key_data(data[0], impl=key_impl), shape[1:]), None
        if reference:
            state = batch_state(spec, params, spec.init_state(shape[1:]), *reference)

        def answered(rows):
            features = spec.features(params, rows, state)
            outputs = _as_one(spec.apply(params, rows, state))
            return features.astype(jnp.float32), outputs.astype(jnp.float32)

        features, outputs = jax.lax.map(fast_convolutions(answered), inputs)
        return features.reshape(1, -1, features.shape[-1]), outputs.reshape(1, -1)

    shared, split = _shardings(devices)
    references = [] if reference_shape is None else [reference_shape]
    in_specs = (split.spec, shared.spec, *[shared.spec for _ in references])
    sharded = jax.jit(jax.shard_map(one, mesh=split.mesh, in_specs=in_specs, out_specs=split.spec))

    def compiled(rows):
        batches = -(-shape[0] // rows)
        rows = -(-shape[0] // batches)
        data = jax.ShapeDtypeStruct((len(devices), *key_shape), jnp.uint32, sharding=split)
        inputs = [
            jax.ShapeDtypeStruct(size, dtype, sharding=shared)
            for size in ((batches, rows, *shape[1:]), *references)
        ]
        return sharded.lower(data, *inputs).compile(), rows

    program, rows = compiled(min(_ROWS, shape[0]))
    memory = _temporary_bytes(program)
    # A reference is one batch whatever the rows are: fewer than its own would save nothing.
    least = min(rows, *(size[0] for size in references)) if references else 1
    if memory > BLOCK_BYTES and rows > least:
        one_row = _temporary_bytes(compiled(1)[0])
        a_row = max(1, (memory - one_row) // (rows - 1))
        program, rows = compiled(max(least, min(rows, (BLOCK_BYTES - one_row) // a_row)))
    return program, rows


def _as_one(outputs: jax.Array) -> jax.Array:
    """Return outputs (n,); of C, which the prior draws alike and independently, Σ_c f_c / √C.

    That has the law of each of them, and another one where an output has another variance or
    depends on the others.
    """
    return outputs if outputs.ndim == 1 else outputs.sum(axis=-1) / outputs.shape[-1] ** 0.5


def _temporary_bytes(program) -> int:
    return program.memory_analysis().temp_size_in_bytes


def _shardings(devices: tuple) -> tuple[NamedSharding, NamedSharding]:
    """Return the shardings of what all devices share, and of what has one entry a device."""
    mesh = Mesh(np.array(devices), ("samples",))
    return NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec("samples"))
