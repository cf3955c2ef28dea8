"""A network that mixes inputs in evaluation is refused by every route, no other one is."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import flatvol_jax as fv
from flatvol_jax.models import check_evaluation, check_running_statistics, check_statistics_move
from flatvol_jax.training import TrainSettings, begin_trajectory, train_ensemble

RNG = np.random.default_rng(0)
X = RNG.normal(1, 2, size=(30, 6)).astype(np.float32)
Y = np.where(X[:, 0] > 1, 1, -1)
IMAGES = RNG.normal(size=(9, 8, 8, 2)).astype(np.float32)
TOKENS = RNG.integers(0, 20, size=(9, 6)).astype(np.int32)
KEY = jax.random.key(0)
SETTINGS = TrainSettings(learning_rate=0.1, max_epochs=3, batch_size=8)


def network(body, fields=None):
    """A module of one function (x, module) -> what the readout multiplies."""

    @nn.compact
    def __call__(self, x):
        hidden = body(self, x)
        self.sow("intermediates", "hidden", hidden)
        return nn.Dense(1, name="readout", **self.readout)(hidden)

    space = {"__call__": __call__, "readout": nn.FrozenDict(fields or {})}
    space["__annotations__"] = {"readout": nn.FrozenDict}
    return type("Network", (nn.Module,), space)()


def wrapped(module):
    return fv.FlaxModel(module, "hidden", sigma_w=1.0, sigma_b=0.0)


def dense(x, name="first"):
    return nn.relu(nn.Dense(8, name=name)(x))


def batch_norm(module, x):
    return nn.BatchNorm(use_running_average=False)(dense(x))


def unknown_flag(module, x, phase="fit"):
    return nn.BatchNorm(use_running_average=phase != "fit")(dense(x))


MIXED = {
    "batch statistics": batch_norm,
    "a flag that nobody knows": unknown_flag,
    "the largest of the batch": lambda m, x: dense(x / jnp.abs(x).max()),
    "a mean taken off": lambda m, x: dense(x - x.mean(0)),
    "softmax over the batch": lambda m, x: jax.nn.softmax(dense(x), axis=0),
    "attention over the batch": lambda m, x: jax.nn.softmax(x @ x.T) @ dense(x),
    "the size of the batch": lambda m, x: dense(x) / len(x),
    "the place in the batch": lambda m, x: dense(x) + jnp.arange(len(x))[:, None] / 10,
    "noise from a constant key": lambda m, x: dense(x + jax.random.normal(KEY, x.shape)),
    "one hundredth of it": lambda m, x: dense(x) + 0.01 * x.mean(),
}
ZERO = {"kernel_init": nn.initializers.zeros}


@pytest.mark.parametrize("name", MIXED)
@pytest.mark.parametrize("readout", [{}, ZERO], ids=["", "readout zero"])
def test_a_network_that_mixes_inputs_is_refused(name, readout):
    spec = wrapped(network(MIXED[name], readout))
    if "batch_stats" in jax.eval_shape(spec.module.init, KEY, X):  # flax itself sees those
        message = "Network changes its statistics in evaluation.* a flag, one of train"
    else:
        message = "Network.(apply|features) gives an input .* in one batch and .* in another"
    for part in ("apply", "features"):
        with pytest.raises(ValueError, match=message):
            check_evaluation(spec, X, part)


def deep(width, layers, dtype=None, gain=2.0):
    initial = nn.initializers.variance_scaling(gain, "fan_in", "normal")

    def body(module, x):
        for _ in range(layers):
            x = jnp.tanh(nn.Dense(width, dtype=dtype, kernel_init=initial)(x))
        return x

    return body


def convolved(dtype=None):
    def body(module, x):
        for channels in (8, 16, 32):
            x = nn.relu(nn.Conv(channels, (3, 3), dtype=dtype)(x))
            x = nn.BatchNorm(use_running_average=True, dtype=dtype)(x)
        return x.mean((1, 2))

    return body


def attention(module, x):
    x = nn.LayerNorm()(nn.Embed(20, 8)(x))
    return nn.LayerNorm()(x + nn.MultiHeadDotProductAttention(2)(x)).mean(1)


def cancelling(module, x):
    h = dense(x)
    return 1e4 * h - (1e4 * h - h)


def mapped(module, x):
    """In a loop whose carry is float32, so that float64 fails."""
    w = module.param("w", nn.initializers.normal(), (6, 6), jnp.float32)
    step = lambda h, _: ((h @ w.astype(jnp.float32)).astype(jnp.float32), None)  # noqa: E731
    return jax.lax.scan(step, x.astype(jnp.float32), length=3)[0]


FINE = {
    "dense": (lambda m, x: dense(x), X),
    "cancelling": (cancelling, X),
    "deep": (deep(64, 12), X),
    "deep, chaotic": (deep(64, 20, gain=30.0), X),
    "bfloat16": (deep(128, 8, jnp.bfloat16), X),
    "float16": (deep(128, 8, jnp.float16), X),
    "convolutions": (convolved(), IMAGES),
    "convolutions, bfloat16": (convolved(jnp.bfloat16), IMAGES),
    "attention": (attention, TOKENS),
    "uint8": (convolved(), RNG.integers(0, 255, (9, 8, 8, 3)).astype(np.uint8)),
    "float32 only": (mapped, X),
    "large": (lambda m, x: dense(1e8 * x), X),
    "wide": (lambda m, x: nn.relu(nn.Dense(2048)(x)), X),
    "one input": (lambda m, x: dense(x), X[:1]),
    "equal inputs": (lambda m, x: dense(x), np.ones((5, 6), np.float32)),
    "logarithms": (lambda m, x: jnp.log(dense(x)), X),  # infinite
    "normalised by itself": (lambda m, x: dense(x / jnp.linalg.norm(x, axis=1)[:, None]), X),
}


@pytest.mark.parametrize("name", FINE)
def test_no_other_network_is_refused(name):
    body, x = FINE[name]
    spec = wrapped(network(body))
    for part in ("apply", "features"):
        check_evaluation(spec, x, part)


@dataclasses.dataclass(frozen=True)
class OtherFCN(fv.FCN):
    """A class that the check does not know."""


@pytest.mark.parametrize(
    ("spec", "x"),
    [
        (OtherFCN((40, 40)), X),
        (fv.CNN((8, 8)), IMAGES),
    ],
)
def test_nor_are_those_of_this_library(spec, x):
    check_evaluation(spec, x)
    check_evaluation(spec, x, "features")
    check_statistics_move(spec, x)


def routes(spec):
    """The calls that take a network and inputs."""
    params = spec.init(KEY, (6,))
    keys, use = jax.random.split(KEY, 2), np.ones((2, len(X)), bool)
    return {
        "apply": lambda: spec.apply(params, X),
        "features": lambda: spec.features(params, X),
        "in a loss": lambda: fv.sharpness(lambda p: (spec.apply(p, X) ** 2).mean(), params, 1e-3),
        "kernel": lambda: fv.monte_carlo_kernel(KEY, spec, X, 20),
        "ensemble": lambda: train_ensemble(keys, spec, X, Y, use, SETTINGS, len(X)),
        "trajectory": lambda: begin_trajectory(keys, spec, X, Y, SETTINGS),
        "functions": lambda: fv.sample_functions(KEY, spec, X, 8),
    }


MEAN = wrapped(network(MIXED["a mean taken off"]))


@pytest.mark.parametrize("route", routes(MEAN))
def test_every_route_refuses(route):
    with pytest.raises(ValueError, match="gives an input .* in one batch"):
        routes(MEAN)[route]()


class NnxTraining(nnx.Module):
    """A custom norm that no mode switches."""

    def __init__(self, rngs):
        self.first, self.readout = nnx.Linear(6, 4, rngs=rngs), nnx.Linear(4, 1, rngs=rngs)

    def __call__(self, x):
        hidden = self.first(x)
        return self.readout((hidden - hidden.mean(0)) / hidden.std(0))


def test_an_nnx_module_that_mixes_inputs_is_refused():
    spec = fv.FlaxModel(nnx.bridge.to_linen(NnxTraining), lambda p, x: x, 1.0, 0.0)
    params = spec.init(KEY, (6,))
    with pytest.raises(ValueError, match="ToLinen.apply gives an input"):
        spec.apply(params, X)


class Phase(nn.Module):
    """Statistics under a flag that nobody knows: they never move."""

    phase: str = "evaluate"
    momentum: float = 0.9

    @nn.compact
    def __call__(self, x, train=False):
        running = not train if self.phase == "known" else self.phase == "evaluate"
        x = nn.relu(nn.BatchNorm(running, momentum=self.momentum, name="norm")(nn.Dense(8)(x)))
        self.sow("intermediates", "hidden", x)
        return nn.Dense(1, name="readout")(x)


STILL = {"unknown flag": Phase(), "momentum 1": Phase("known", 1.0)}


@pytest.mark.parametrize("name", STILL)
def test_statistics_that_training_does_not_move_are_an_error(name):
    spec = wrapped(STILL[name])
    calls = routes(spec)
    for route in ("ensemble", "trajectory"):
        with pytest.raises(ValueError, match=r"Phase leaves \['batch_stats'\]\['norm'\]\['mean'\]"):
            calls[route]()
    with pytest.raises(ValueError, match=r"\['norm'\]\['mean'\]: got an array that training does"):
        fv.monte_carlo_kernel(KEY, spec, X, 20, reference=X)
    kernel = calls["kernel"]()  # without a reference: running mean 0 and variance 1
    assert kernel.std() > 0.01


def test_statistics_that_move_and_constants_that_do_not_pass():
    class Constant(nn.Module):
        @nn.compact
        def __call__(self, x, train=False):
            scale = self.variable("constants", "scale", lambda: jnp.full(6, 2.0)).value
            return nn.Dense(1)(nn.BatchNorm(not train)(scale * x))

    check_statistics_move(wrapped(Constant()), X)
    check_statistics_move(wrapped(Phase("known")), X)
    check_running_statistics(wrapped(Phase("known")), X)


class AsField(nn.Module):
    train: bool = False

    @nn.compact
    def __call__(self, x):
        x = nn.BatchNorm(use_running_average=not self.train)(nn.Conv(16, (3, 3))(x))
        x = nn.relu(x).mean((1, 2))
        self.sow("intermediates", "last_hidden", x)
        return nn.Dense(1, name="readout")(x)


class AsArgument(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        x = nn.BatchNorm(use_running_average=not train)(nn.Conv(16, (3, 3))(x))
        x = nn.relu(x).mean((1, 2))
        self.sow("intermediates", "last_hidden", x)
        return nn.Dense(1, name="readout")(x)


def test_a_kernel_of_batch_statistics_is_the_same_by_a_field():
    kernels = [
        fv.monte_carlo_kernel(
            KEY, fv.FlaxModel(module, "last_hidden", 1.0, 0.0), IMAGES, 20, reference=IMAGES
        )
        for module in (AsField(), AsField(train=True), AsArgument())
    ]
    for kernel in kernels[:2]:
        np.testing.assert_array_equal(kernel, kernels[2])
    assert kernels[2].std() > 0.01


def test_a_spec_is_asked_once(monkeypatch):
    from flatvol_jax.models import evaluation_check

    asked = []
    before = evaluation_check._proved_by_rows
    monkeypatch.setattr(
        evaluation_check, "_proved_by_rows", lambda *a: asked.append(a) or before(*a)
    )
    spec = wrapped(network(lambda m, x: dense(x, "asked_once")))
    params = spec.init(KEY, (6,))
    for _ in range(3):
        spec.apply(params, X)
    assert len(asked) == 1
    spec.apply(params, X.astype(np.int32))
    assert len(asked) == 2
