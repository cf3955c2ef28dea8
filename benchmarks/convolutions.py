"""What a convolutional network costs inside a loop on a CPU, in steps or gradients outside of one.

    python -m benchmarks.convolutions

ResNet-18 with 8 channels on 128 images of 32 x 32: a training step in float32, gradient and Hessian
product in float64; in a loop as JAX compiles it and by `runtime.convolutions`. Processor time, the
least of three repetitions. Targets: a step in a loop costs at most 1.1 steps outside of one, a
Hessian product at most two gradients.
"""

import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

import flatvol_jax as fv
from flatvol_jax.models import cross_entropy
from flatvol_jax.runtime.convolutions import fast_convolutions

REPEATS = 3


def cpu_seconds(program, *arguments) -> float:
    """Return the least processor time of some calls, compilation left out."""
    jax.block_until_ready(program(*arguments))
    found = []
    for _ in range(REPEATS):
        began = time.process_time()
        jax.block_until_ready(program(*arguments))
        found.append(time.process_time() - began)
    return min(found)


def looped(function, times: int = 4):
    """Return the jitted function applied so many times, its result its next argument."""
    return jax.jit(
        lambda start, *more: jax.lax.fori_loop(0, times, lambda _, x: function(x, *more), start)
    ), times


def main() -> None:
    """Print a line a cost."""
    spec = fv.ResNet(depth=18, width=8)
    rng = np.random.default_rng(0)
    images = rng.normal(size=(128, 32, 32, 3))
    labels = np.sign(rng.normal(size=128))
    params, state = spec.init(jax.random.key(0), (32, 32, 3)), spec.init_state((32, 32, 3))

    def training_loss(params, state, x, y):
        outputs, state = spec.train_apply(params, state, x)
        return jnp.mean(cross_entropy(outputs, y)), state

    def step(network, x, y):
        gradient, state = jax.grad(training_loss, has_aux=True)(*network, x, y)
        return jax.tree.map(lambda p, g: p - 0.01 * g, network[0], gradient), state

    x, y = jnp.asarray(images, jnp.float32), jnp.asarray(labels, jnp.float32)
    one = cpu_seconds(jax.jit(step), (params, state), x, y)
    for name, function in (("by JAX", step), ("here", fast_convolutions(step))):
        program, times = looped(function)
        cost = cpu_seconds(program, (params, state), x, y) / times / one
        print(f"training step in a loop, {name}: {cost:.2f} steps outside of one", flush=True)

    with jax.enable_x64(True):
        wide = partial(jax.tree.map, lambda leaf: jnp.asarray(np.asarray(leaf), jnp.float64))
        params, state, x, y = wide((params, state, images, labels))

        def loss(params, x, y):
            return jnp.mean(cross_entropy(spec.apply(params, x, state), y))

        def product(v, params, x, y):
            return jax.jvp(lambda p: jax.grad(loss)(p, x, y), (params,), (v,))[1]

        gradient = cpu_seconds(jax.jit(jax.grad(loss)), params, x, y)
        for name, function in (("by JAX", product), ("here", fast_convolutions(product))):
            program, times = looped(function)
            cost = cpu_seconds(program, params, params, x, y) / times / gradient
            print(f"Hessian product in a loop, {name}: {cost:.2f} gradients", flush=True)


if __name__ == "__main__":
    main()
