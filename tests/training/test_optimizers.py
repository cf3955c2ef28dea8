"""Optimizers against their update rules, written out."""

import numpy as np
import optax
import pytest

from flatvol_jax.training import OPTIMIZERS, TrainSettings, optimizer


def test_sgd_is_a_step_against_the_gradient():
    transform = optimizer("sgd", 0.25)
    params = {"w": np.array([1.0, -2.0], np.float32)}
    state = transform.init(params)
    for gradient in ([4.0, 0.5], [-1.0, 8.0]):
        wanted = params["w"] - np.float32(0.25) * np.array(gradient, np.float32)
        updates, state = transform.update({"w": np.array(gradient, np.float32)}, state, params)
        params = optax.apply_updates(params, updates)
        np.testing.assert_array_equal(params["w"], wanted)


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_every_optimizer_descends(name):
    transform = optimizer(name, 0.01)
    params = np.array([3.0, -3.0], np.float32)
    updates, _ = transform.update(params, transform.init(params), params)
    assert np.all(np.sign(updates) == -np.sign(params))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "sdg"}, "Did you mean 'sgd'"),
        ({"learning_rate": 0.0}, "learning_rate: got 0.0"),
        ({"loss": "summed"}, "loss: got 'summed'"),
        ({"batch_size": 0}, "batch_size: got 0"),
        ({"max_epochs": 0}, "max_epochs: got 0"),
        ({"vmap_size": 1.5}, "vmap_size: got 1.5"),
    ],
)
def test_bad_settings_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        TrainSettings(**changes)
