"""What costs compilation: neither |A| nor seed nor draw, of training and of the flatness measures.

XLA reports each program that it compiles, the smallest included.
"""

import contextlib
import types

import flax.linen as nn
import jax
import numpy as np
import pytest

import flatvol_jax as fv
from flatvol_jax.study.measures.registry import MEASURES
from flatvol_jax.study.measures.trained import Trained
from flatvol_jax.training import TrainSettings, train_ensemble

ROWS, TRAIN_SIZE = 12, 6


class Normalised(nn.Module):
    """A hidden layer with BatchNorm."""

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.Dense(5, name="hidden")(x.reshape(len(x), -1))
        x = nn.relu(nn.BatchNorm(not train, name="norm")(x))
        return nn.Dense(1, name="readout")(x)


SPECS = {
    "fcn": fv.FCN((5, 4)),
    "batch_norm": fv.FlaxModel(Normalised(), features=lambda p, x: x, sigma_w=1.0, sigma_b=0.0),
    "resnet": fv.ResNet(depth=18, stem="cifar", width=2),
}
SHAPES = {"fcn": (7,), "batch_norm": (7,), "resnet": (8, 8, 3)}


@contextlib.contextmanager
def compiled():
    """The list of the programs that are compiled meanwhile, by name."""
    names = []

    def listen(event, duration, **details):
        if event == "/jax/core/compile/backend_compile_duration":
            names.append(details["fun_name"])

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield names
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def problem(name, draw):
    """Inputs and labels of one draw."""
    rng = np.random.default_rng(draw)
    x = rng.normal(size=(ROWS, *SHAPES[name])).astype(np.float32)
    return x, np.where(rng.random(ROWS) < 0.5, -1, 1)


def train(name, draw, attack_sizes, optimizer="sgd", overtrain=()):
    """A short training of two members."""
    settings = TrainSettings(
        optimizer=optimizer, learning_rate=0.01, batch_size=4, loss="mean", max_epochs=2
    )
    use = np.arange(ROWS) < TRAIN_SIZE + np.array(attack_sizes)[:, None]
    keys = jax.random.split(jax.random.key(draw), len(use))
    data = problem(name, draw)
    return train_ensemble(keys, SPECS[name], *data, use, settings, TRAIN_SIZE, overtrain=overtrain)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("fcn", {}),
        ("batch_norm", {"optimizer": "entropy_sgd", "overtrain": (1,)}),
        pytest.param("resnet", {}, marks=pytest.mark.slow),  # as batch_norm, with more layers
    ],
)
def test_training_is_compiled_once_for_all_attack_sizes_seeds_and_draws(name, options):
    with compiled() as first:
        train(name, 0, (0, 1), **options)
    assert [first.count(f"jit({program})") for program in ("begin", "advance")] == [1, 1]
    with compiled() as second:
        train(name, 1, (2, 6), **options)
    assert second == []


ASCENT = {"epsilon": 1e-3, "batch_size": 4, "learning_rate": 0.1, "epochs": 2}


def measured(measure, settings, name, draw):
    """A measure at initialisation, on the data of one draw."""
    x, y = problem(name, draw)
    spec = SPECS[name]
    of_draw = types.SimpleNamespace(
        spec=spec,
        train_x=x,
        train_y=y,
        batch_size=None,
        batch_norm="running",
        classes=None,
        loss="cross_entropy",
    )
    params, state = spec.init(jax.random.key(draw), x.shape[1:]), spec.init_state(x.shape[1:])
    state = jax.tree.map(lambda leaf: leaf + 0.1 * draw, state)
    network, options = Trained(params, state, y, y, None), MEASURES[measure].settings(**settings)
    return MEASURES[measure].function(of_draw, network, jax.random.key(draw), options)


@pytest.mark.parametrize("name", ["fcn", "batch_norm"])
@pytest.mark.parametrize(
    ("measure", "settings"),
    [
        ("sharpness", {"epsilon": 1e-3, "method": "best"}),
        ("sgd_sharpness", {**ASCENT, "reading": "full"}),
        ("sgd_sharpness", {**ASCENT, "mode": "training", "drop_incomplete": True}),
        ("hessian", {"k": 3}),
        ("spectral_density", {"probes": 2, "depth": 5}),
    ],
)
def test_a_flatness_measure_is_compiled_once_for_all_networks_and_draws(measure, settings, name):
    with compiled() as first:
        one = measured(measure, settings, name, 0)
    assert first
    with compiled() as second:
        other = measured(measure, settings, name, 1)
    assert second == []
    numbers = [{n: v for n, v in row.items() if np.ndim(v) == 0} for row in (one, other)]
    assert numbers[0] != numbers[1]
