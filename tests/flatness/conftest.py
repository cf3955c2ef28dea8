"""A small ReLU network that several files measure, so that its programs are compiled once."""

import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from flatvol_jax.flatness._composed import Composed, composed

SIZES = (5, 9, 8, 1)
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(30, 5)), RNG.choice([-1.0, 1.0], 30)
X[:, 3] = 0.0  # a pixel that is always dark


class ReluNetwork(NamedTuple):
    """Cross-entropy of the network at its data; `hessian` is that of params(0), (P, P)."""

    sizes: tuple[int, ...]
    loss: Composed
    example: Partial
    hessian: np.ndarray

    def params(self, seed: int) -> Any:
        rng = np.random.default_rng(seed)
        return {
            f"layer_{i}": {
                "kernel": rng.normal(size=(a, b)) / np.sqrt(a),
                "bias": rng.normal(size=b),
            }
            for i, (a, b) in enumerate(itertools.pairwise(self.sizes))
        }

    def scaled(self, params: Any, layer: int, factor: Any) -> Any:
        """The same function: outputs of a layer times a factor, of each unit or one for all."""
        here, after = params[f"layer_{layer}"], params[f"layer_{layer + 1}"]
        factor = np.broadcast_to(factor, here["bias"].shape)
        return params | {
            f"layer_{layer}": {"kernel": here["kernel"] * factor, "bias": here["bias"] * factor},
            f"layer_{layer + 1}": after | {"kernel": after["kernel"] / factor[:, None]},
        }


def outputs(x, params):
    for i in range(3):
        x = x @ params[f"layer_{i}"]["kernel"] + params[f"layer_{i}"]["bias"]
        x = jax.nn.relu(x) if i < 2 else x
    return x[..., 0]


@pytest.fixture(scope="session")
def relu() -> ReluNetwork:
    loss = composed(lambda f: jnp.mean(jax.nn.softplus(-Y * f)), Partial(outputs, X))
    example = Partial(lambda x, params, i: outputs(x[i], params), X)
    network = ReluNetwork(SIZES, loss, example, np.empty(0))
    with jax.enable_x64(True):
        flat, unravel = jax.flatten_util.ravel_pytree(network.params(0))
        hessian = jax.jit(jax.hessian(lambda v: loss(unravel(v))))(flat)
    return network._replace(hessian=np.asarray(hessian))
