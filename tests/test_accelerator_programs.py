"""The programs of the hot path hold no float64, whatever the caller's setting: TPUs have none.

Each is lowered for a TPU as the library calls it; nothing is compiled for one or run there.
"""

import re

import jax
import numpy as np
import pytest

import flatvol_jax as fv
from flatvol_jax.kernels import monte_carlo_features
from flatvol_jax.sampling import chunk_program
from flatvol_jax.training import TrainSettings, train_ensemble
from flatvol_jax.training import ensemble as ensemble_module

SETTINGS = {
    "sgd": TrainSettings(learning_rate=0.01, max_epochs=2),
    "adam": TrainSettings("adam", loss="mean", max_epochs=2),
    "entropy_sgd": TrainSettings("entropy_sgd", 0.5, loss="mean", max_epochs=2),
}
SPECS = {
    "fcn": (fv.FCN((8,)), (12,)),
    "resnet": (fv.ResNet(18, "cifar", width=2, image_shape=(4, 4)), (4, 4, 1)),
}


class AllLowered(Exception):
    """All programs were seen: nothing needs to run."""


def text_for_tpu(jitted, *args, **kwargs):
    return jitted.trace(*args, **kwargs).lower(lowering_platforms=("tpu",)).as_text()


def has_float64(text):
    return re.search(r"\bf64\b|xf64>", text) is not None


@pytest.fixture(params=[False, True], ids=["x64 off", "x64 on"])
def setting(request):
    with jax.enable_x64(request.param):
        yield


def test_a_float64_program_is_found():
    with jax.enable_x64(True):
        assert has_float64(text_for_tpu(jax.jit(lambda x: x + 1), np.ones(3)))
        assert has_float64(text_for_tpu(jax.jit(lambda x: x + np.ones(3)), np.float32(1)))
    assert not has_float64(text_for_tpu(jax.jit(lambda x: x + 1), np.ones(3, np.float32)))


@pytest.mark.parametrize(
    ("network", "optimizer"), [("fcn", "sgd"), ("fcn", "entropy_sgd"), ("resnet", "adam")]
)
def test_training(network, optimizer, setting, monkeypatch):
    spec, shape = SPECS[network]
    texts = []

    def begin(*args, jitted=ensemble_module.begin):
        texts.append(text_for_tpu(jitted, *args))
        return jitted.eval_shape(*args)

    def advance(*args, jitted=ensemble_module.advance):
        texts.append(text_for_tpu(jitted, *args))
        raise AllLowered

    monkeypatch.setattr(ensemble_module, "begin", begin)
    monkeypatch.setattr(ensemble_module, "advance", advance)
    x = np.random.default_rng(0).normal(size=(10, *shape))
    y = np.where(np.arange(10) % 2, 1, -1)
    keys = jax.random.split(jax.random.key(0), 2)
    with pytest.raises(AllLowered):
        train_ensemble(keys, spec, x, y, np.ones((2, 10), bool), SETTINGS[optimizer], train_size=10)
    assert len(texts) == 2
    assert not any(map(has_float64, texts))


def test_monte_carlo_features(setting, monkeypatch):
    texts = []
    shard_map = jax.shard_map

    def recorded(function, **options):
        jitted = jax.jit(shard_map(function, **options))

        def call(*args):
            texts.append(text_for_tpu(jitted, *args))
            return jitted(*args)

        return call

    monkeypatch.setattr(monte_carlo_features.jax, "shard_map", recorded)
    monte_carlo_features._program.cache_clear()
    spec, shape = SPECS["resnet"]
    x = np.random.default_rng(0).normal(size=(5, *shape))
    fv.monte_carlo_kernel(jax.random.key(0), spec, x, samples=3)
    assert texts
    assert not any(map(has_float64, texts))


def test_direct_sampling(setting, monkeypatch):
    texts = []
    program = chunk_program._program

    def recorded(*args):
        jitted, *shardings = program(*args)

        def call(*arguments):
            texts.append(text_for_tpu(jitted, *arguments))
            return jitted(*arguments)

        return call, *shardings

    monkeypatch.setattr(chunk_program, "_program", recorded)
    x = fv.data.load("boolean7").x
    fv.sample_functions(jax.random.key(0), fv.FCN((4,), 1.0, 0.1), x, 64, chunk_size=64)
    assert texts
    assert not any(map(has_float64, texts))
