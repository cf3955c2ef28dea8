"""Optimizers against their update rules, TensorFlow 1.15's, written out."""

import jax
import numpy as np
import optax
import pytest

from flatvol_jax.training import OPTIMIZERS, TrainSettings, optimizer

GRADIENTS = np.array([[4.0, 0.5, -0.2], [-1.0, 8.0, 0.3], [0.7, -3.0, 0.0], [0.1, 0.2, -5.0]])
SMALL = GRADIENTS * np.array([1.0, 1e-3, 1e-6])  # where the place of ε shows
START = np.array([1.0, -2.0, 0.5])


def momentum(gradients):
    velocity = 0.0
    for gradient in gradients:
        velocity = 0.9 * velocity + gradient
        yield -0.01 * velocity


def adam(gradients):
    mean = square = 0.0
    for t, gradient in enumerate(gradients, start=1):
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        rate = 1e-3 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        yield -rate * mean / (np.sqrt(square) + 1e-8)


def adagrad(gradients):
    accumulator = 0.1
    for gradient in gradients:
        accumulator = accumulator + gradient**2
        yield -1e-2 * gradient / np.sqrt(accumulator)


def rmsprop(gradients):
    square = 0.0
    for gradient in gradients:
        square = 0.9 * square + 0.1 * gradient**2
        yield -1e-3 * gradient / (np.sqrt(square) + 1e-7)


@pytest.mark.parametrize("name", ["sgd", "gd"])
def test_sgd_is_a_step_against_the_gradient(name):
    transform = optimizer(name, 0.25)
    params = {"w": np.array([1.0, -2.0], np.float32)}
    state = transform.init(params)
    for gradient in ([4.0, 0.5], [-1.0, 8.0]):
        wanted = params["w"] - np.float32(0.25) * np.array(gradient, np.float32)
        updates, state = transform.update({"w": np.array(gradient, np.float32)}, state, params)
        params = optax.apply_updates(params, updates)
        np.testing.assert_array_equal(params["w"], wanted)


@pytest.mark.parametrize(
    ("rule", "gradients"),
    [
        (momentum, GRADIENTS),
        (adam, GRADIENTS),  # with the small ones optax moves its ε, see OPTIMIZERS
        (adagrad, GRADIENTS),
        (adagrad, SMALL),
        (rmsprop, GRADIENTS),
        (rmsprop, SMALL),
    ],
)
def test_defaults_are_those_of_tensorflow(rule, gradients):
    transform = optimizer(rule.__name__)
    params = jax.numpy.asarray(START, jax.numpy.float32)
    state = transform.init(params)
    for gradient, wanted in zip(gradients, rule(gradients), strict=True):
        updates, state = transform.update(np.float32(gradient), state, params)
        np.testing.assert_allclose(updates, wanted, rtol=1e-4)


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_every_optimizer_descends(name):
    transform = optimizer(name, 0.01, key=jax.random.key(0))
    params = np.array([3.0, -3.0], np.float32)
    updates, _ = transform.update(params, transform.init(params), params)
    assert np.all(np.sign(updates) == -np.sign(params))


def test_options_stand_in_place_of_the_defaults():
    gradient = np.float32(GRADIENTS[0])
    plain = optimizer("momentum", 0.01, {"momentum": 0.0})
    state = plain.init(gradient)
    for _ in range(2):
        updates, state = plain.update(gradient, state)
        np.testing.assert_allclose(updates, -0.01 * gradient, rtol=1e-6)


def test_settings_with_equal_options_are_equal():
    one = TrainSettings("adam", options={"b1": 0.8, "eps": 1e-7})
    other = TrainSettings("adam", options=(("eps", 1e-7), ("b1", 0.8)))
    assert one == other
    assert hash(one) == hash(other)
    assert one != TrainSettings("adam")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "sdg"}, "Did you mean 'sgd'"),
        ({"learning_rate": 0.0}, "learning_rate: got 0.0"),
        ({"loss": "summed"}, "loss: got 'summed'"),
        ({"batch_size": 0}, "batch_size: got 0"),
        ({"optimizer": "gd"}, "batch_size: got 32 with optimizer 'gd', wanted None"),
        ({"max_epochs": 0}, "max_epochs: got 0"),
        ({"vmap_size": 1.5}, "vmap_size: got 1.5"),
        ({"options": {"momentum": 0.5}}, "options: got 'momentum', but sgd has none"),
        ({"optimizer": "adam", "options": {"b3": 0.5}}, "options of adam: got 'b3'"),
        ({"optimizer": "adam", "options": {"eps": -1.0}}, "eps: got -1.0"),
        ({"optimizer": "entropy_sgd", "options": {"langevin_steps": 2.5}}, "langevin_steps"),
    ],
)
def test_bad_settings_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        TrainSettings(**changes)


@pytest.mark.parametrize("options", [None, 3, "b1"])
def test_options_that_are_no_mapping_are_refused(options):
    with pytest.raises(ValueError, match="options: got .* wanted the optimizer's options by name"):
        TrainSettings("adam", options=options)
