"""Equinox networks: inference, leaves that are no arrays, a state, the layers' own draw."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from twin_networks import X, prior_agrees

import flatvol_jax as fv

eqx = pytest.importorskip("equinox", reason="pip install equinox")
KEY = jax.random.key(0)
IMAGES = np.random.default_rng(0).normal(size=(6, 8, 8, 1)).astype(np.float32)


def drawn_parts(build, keys, layer, part):
    return np.asarray(jax.vmap(lambda key: getattr(getattr(build(key), layer), part))(keys))


def test_equinox_layers_are_drawn_as_equinox_does():
    class Net(eqx.Module):
        conv: eqx.nn.Conv2d
        norm: eqx.nn.LayerNorm
        dropout: eqx.nn.Dropout
        readout: eqx.nn.Linear
        activation: object  # a leaf that is no array

        def __init__(self, key):
            keys = jax.random.split(key)
            self.conv = eqx.nn.Conv2d(1, 4, 3, key=keys[0])
            self.norm = eqx.nn.LayerNorm(4)
            self.dropout = eqx.nn.Dropout(0.5)
            self.readout = eqx.nn.Linear(4, 1, key=keys[1])
            self.activation = jax.nn.relu

        def __call__(self, x, *, key=None):
            x = self.activation(self.conv(x)).mean((1, 2))
            return self.readout(self.dropout(self.norm(x), key=key))

    images = IMAGES.transpose(0, 3, 1, 2)
    network = Net(KEY)
    model = fv.as_model(network, images)
    wanted = jax.vmap(eqx.nn.inference_mode(network))(images)
    found = model.apply(model.params, images)
    np.testing.assert_allclose(found, wanted[:, 0], rtol=1e-5, atol=1e-6)
    prior_agrees(model, images)
    keys = jax.random.split(KEY, 2000)
    for layer in ("conv", "readout"):
        for part in ("weight", "bias"):
            ours, theirs = (
                drawn_parts(build, keys, layer, part)
                for build in (lambda k: model.init(k, images.shape[1:]), Net)
            )
            assert ours.shape == theirs.shape
            assert ours.std() == pytest.approx(theirs.std(), rel=0.03)
            assert np.abs(ours).max() == pytest.approx(np.abs(theirs).max(), rel=0.01)

    class Own(eqx.Module):
        weight: jax.Array

        def __call__(self, x):
            return self.weight @ x

    with pytest.raises(ValueError, match=r"is of no layer that is known.*init=lambda key: Own"):
        fv.as_model(Own(jnp.ones((1, 3))), X)


def test_equinox_batch_norm_with_its_state():
    class Net(eqx.Module):
        hidden: eqx.nn.Linear
        norm: eqx.nn.BatchNorm
        readout: eqx.nn.Linear

        def __init__(self, key):
            keys = jax.random.split(key)
            self.hidden = eqx.nn.Linear(3, 4, key=keys[0])
            self.norm = eqx.nn.BatchNorm(4, "batch", mode="ema")
            self.readout = eqx.nn.Linear(4, "scalar", key=keys[1])

        def __call__(self, x, state):
            x, state = self.norm(self.hidden(x), state)
            return self.readout(jax.nn.relu(x)), state

    def build(key):
        return eqx.nn.make_with_state(Net)(key)

    network, state = build(KEY)
    _, state = jax.vmap(network, axis_name="batch", in_axes=(0, None), out_axes=(0, None))(X, state)
    model = fv.as_model((network, state), X, init=build)
    still = eqx.nn.inference_mode(network)
    wanted = jax.vmap(lambda one: still(one, state)[0])(X)
    np.testing.assert_allclose(model.apply(model.params, X, model.state), wanted, rtol=1e-5)
