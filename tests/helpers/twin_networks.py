"""One network, 3-8-6-1 with ReLUs, in every framework: the same weights and the same prior.

The prior is normal with variance 1/fan-in for weights and 0 for biases.
"""

import importlib.util
import itertools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import flatvol_jax as fv

WIDTHS = (3, 8, 6, 1)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 3)).astype(np.float32)
Y = np.where(RNG.normal(size=12) > 0, 1.0, -1.0)
WEIGHTS = [
    (RNG.normal(size=(a, b)) / math.sqrt(a), 0.3 * RNG.normal(size=b))
    for a, b in itertools.pairwise(WIDTHS)
]
WEIGHTS = [tuple(part.astype(np.float32) for part in layer) for layer in WEIGHTS]
NORMAL = nn.initializers.variance_scaling(1.0, "fan_in", "normal")


class Linen(nn.Module):
    @nn.compact
    def __call__(self, x):
        for width in WIDTHS[1:-1]:
            x = nn.relu(nn.Dense(width, kernel_init=NORMAL)(x))
        return nn.Dense(1, kernel_init=NORMAL)(x)


class Nnx(nnx.Module):
    def __init__(self, rngs):
        self.layers = nnx.List(
            nnx.Linear(a, b, kernel_init=NORMAL, rngs=rngs) for a, b in itertools.pairwise(WIDTHS)
        )

    def __call__(self, x):
        for layer in self.layers[:-1]:
            x = nnx.relu(layer(x))
        return self.layers[-1](x)


def drawn(key):
    keys = jax.random.split(key, len(WIDTHS) - 1)
    return [
        (jax.random.normal(k, (a, b)) / math.sqrt(a), jnp.zeros(b))
        for k, a, b in zip(keys, WIDTHS[:-1], WIDTHS[1:], strict=True)
    ]


def hidden(params, x):
    for weight, bias in params[:-1]:
        x = jax.nn.relu(x @ weight + bias)
    return x


def outputs(params, x):
    weight, bias = params[-1]
    return hidden(params, x) @ weight + bias


def prior_agrees(model, x, networks=1500, key=jax.random.key(0)):
    """Drawn outputs have the variance that features, sigma_w and sigma_b say."""

    def one(key):
        params = model.init(key, x.shape[1:])
        features, output = model.features(params, x), model.apply(params, x)
        return output**2, model.sigma_w**2 * (features**2).mean(-1) + model.sigma_b**2

    squared, stated = jax.jit(lambda keys: jax.lax.map(one, keys))(jax.random.split(key, networks))
    difference = np.asarray(squared - stated, np.float64).mean(1)
    error = difference.std() / np.sqrt(networks)
    assert abs(difference.mean()) < 4 * error
    assert error < 0.15 * stated.mean()


def plain():
    model = fv.Model(
        init=lambda key, input_shape: drawn(key),
        apply=outputs,
        features=hidden,
        sigma_w=1.0,
        sigma_b=0.0,
    )
    return model, WEIGHTS


def function():
    def init(key, input_shape):
        return drawn(key)

    model = fv.as_model(outputs, X, init=init, params=WEIGHTS)
    return model, model.params


def linen():
    params = {f"Dense_{i}": {"kernel": w, "bias": b} for i, (w, b) in enumerate(WEIGHTS)}
    model = fv.as_model(Linen(), X, params={"params": params})
    return model, model.params


def nnx_module():
    network = Nnx(nnx.Rngs(0))
    for layer, (weight, bias) in zip(network.layers, WEIGHTS, strict=True):
        layer.kernel.set_value(jnp.asarray(weight))
        layer.bias.set_value(jnp.asarray(bias))
    model = fv.as_model(network, X, init=lambda key: Nnx(nnx.Rngs(key)))
    return model, model.params


def equinox():
    eqx = pytest.importorskip("equinox", reason="pip install equinox")

    def with_weights(weights):
        network = eqx.nn.MLP(3, "scalar", 8, 2, key=jax.random.key(0))
        network = eqx.tree_at(
            lambda n: [n.layers[1], n.layers[2]],
            network,
            [
                eqx.nn.Linear(8, 6, key=jax.random.key(0)),
                eqx.nn.Linear(6, "scalar", key=jax.random.key(0)),
            ],
        )
        return eqx.tree_at(
            lambda n: [part for layer in n.layers for part in (layer.weight, layer.bias)],
            network,
            [part for weight, bias in weights for part in (jnp.asarray(weight.T), bias)],
        )

    model = fv.as_model(with_weights(WEIGHTS), X, init=lambda key: with_weights(drawn(key)))
    return model, model.params


def haiku():
    hk = pytest.importorskip("haiku", reason="pip install dm-haiku")
    normal = hk.initializers.VarianceScaling(1.0, "fan_in", "normal")
    network = hk.transform(lambda x: hk.nets.MLP(WIDTHS[1:], w_init=normal)(x))
    params = {f"mlp/~/linear_{i}": {"w": w, "b": b} for i, (w, b) in enumerate(WEIGHTS)}
    model = fv.as_model(network, X, params=params)
    return model, model.params


def stax():
    from jax.example_libraries import stax

    layers = [stax.Dense(width, NORMAL, jax.nn.initializers.zeros) for width in WIDTHS[1:]]
    network = stax.serial(layers[0], stax.Relu, layers[1], stax.Relu, layers[2])
    params = [WEIGHTS[0], (), WEIGHTS[1], (), WEIGHTS[2]]
    model = fv.as_model(network, X, params=params)
    return model, model.params


def torch_or_skip():
    """PyTorch, where torchax is beside it, which must not be imported before it is mended."""
    if importlib.util.find_spec("torchax") is None:
        pytest.skip("PyTorch through torchax is not installed: pip install flatvol-jax[torch]")
    return pytest.importorskip("torch", reason="pip install flatvol-jax[torch]")


def torch_module():
    torch = torch_or_skip()

    def build():
        layers = []
        for a, b in itertools.pairwise(WIDTHS):
            linear = torch.nn.Linear(a, b)
            torch.nn.init.normal_(linear.weight, std=a**-0.5)
            torch.nn.init.zeros_(linear.bias)
            layers += [linear, torch.nn.ReLU()]
        return torch.nn.Sequential(*layers[:-1])

    network = build().eval()
    with torch.no_grad():
        for layer, (weight, bias) in zip(network[::2], WEIGHTS, strict=True):
            layer.weight.copy_(torch.tensor(weight.T.copy()))
            layer.bias.copy_(torch.tensor(bias))
    model = fv.as_model(network, X, init=build)
    return model, model.params


TWINS = {
    "linen": linen,
    "nnx": nnx_module,
    "equinox": equinox,
    "haiku": haiku,
    "stax": stax,
    "torch": torch_module,
    "function": function,
}
