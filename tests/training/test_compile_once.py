"""One program for every |A| and every seed: nothing is compiled again, BatchNorm or not."""

import flax.linen as nn
import jax
import numpy as np
import pytest
from jax.tree_util import Partial

import flatvol_jax as fv
from flatvol_jax.flatness import composed
from flatvol_jax.study.trained import host_float64, outputs
from flatvol_jax.training import TrainSettings, train_ensemble

ROWS, TRAIN_SIZE = 12, 6
RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(ROWS, 8, 8, 3)).astype(np.float32)
LABELS = np.where(np.arange(ROWS) % 2, 1, -1)
SETTINGS = TrainSettings("adam", 1e-3, batch_size=4, loss="mean", max_epochs=2)
COMPILED = []


class Normalised(nn.Module):
    """Two layers with a BatchNorm between them."""

    @nn.compact
    def __call__(self, x, train=False):
        h = nn.Dense(3)(x.reshape(len(x), -1))
        h = nn.BatchNorm(use_running_average=not train, name="norm")(h)
        return nn.Dense(1)(nn.relu(h))


@pytest.fixture(scope="module", autouse=True)
def _listener():
    def count(event, seconds, **_):
        if event.endswith("backend_compile_duration"):
            COMPILED.append(seconds)

    jax.monitoring.register_event_duration_secs_listener(count)


def train(spec, seed, attack_size):
    use = np.arange(ROWS)[None] < TRAIN_SIZE + attack_size
    keys = jax.random.split(jax.random.key(seed), 1)
    return train_ensemble(keys, spec, IMAGES, LABELS, use, SETTINGS, TRAIN_SIZE)


@pytest.mark.parametrize(
    "spec", [fv.FCN((5,)), fv.ResNet(depth=18, stem="cifar", width=1)], ids=["fcn", "resnet"]
)
def test_training_compiles_nothing_again_for_another_attack_size_or_seed(spec):
    before = len(COMPILED)
    first = train(spec, 0, 0)
    assert len(COMPILED) > before  # the counter works
    before = len(COMPILED)
    losses = [first.loss[0, -1]]
    for seed, attack_size in ((1, 0), (0, 3), (2, 6)):
        losses.append(train(spec, seed, attack_size).loss[0, -1])
    assert len(COMPILED) == before
    assert len(set(losses)) == 4  # it did train other networks


def test_sharpness_compiles_nothing_again_for_another_draw_or_network():
    """As the study binds them: the set and BatchNorm's state are leaves of the loss."""
    spec = fv.FlaxModel(Normalised(), features="norm", sigma_w=1.0, sigma_b=0.0)
    network = outputs(spec)

    def sharpness(seed):
        keys = jax.random.split(jax.random.key(seed))
        x = np.asarray(jax.random.normal(keys[0], IMAGES.shape), np.float64)
        state = host_float64(spec.init_state(IMAGES.shape[1:]))
        loss = composed(Partial(mean_loss, LABELS.astype(float)), Partial(network, x, state))
        return fv.sharpness(loss, spec.init(keys[1], IMAGES.shape[1:]), 1e-3, method="sign").value

    first = sharpness(0)
    before = len(COMPILED)
    assert sharpness(1) != first
    assert len(COMPILED) == before


def mean_loss(y, logits):
    return jax.numpy.logaddexp(0.0, -y * logits).mean()
