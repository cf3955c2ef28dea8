"""Networks whose training moves a state: BatchNorm in minibatches with and without padding."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import flatvol_jax as fv
from flatvol_jax.training import TrainSettings, minibatch_order, train_ensemble

ROWS, TRAIN_SIZE = 23, 14
SETTINGS = TrainSettings(learning_rate=0.02, batch_size=4, loss="mean", max_epochs=40)
KEYS = jax.random.split(jax.random.key(3), 3)
ATTACK_SIZES = np.array([0, 4, 9])
USE = np.arange(ROWS) < TRAIN_SIZE + ATTACK_SIZES[:, None]
RNG = np.random.default_rng(1)
X = RNG.normal(1, 2, size=(ROWS, 3)).astype(np.float32)
Y = np.where((X[:, 0] > 1) == (np.arange(ROWS) < TRAIN_SIZE), 1, -1)


@dataclasses.dataclass(frozen=True)
class NormalisedFCN(fv.FCN):
    """One hidden layer, its preactivations normalised; running statistics move by a tenth."""

    def init_state(self, input_shape):
        return {"mean": jnp.zeros(self.width), "var": jnp.ones(self.width)}

    def apply(self, params, x, state=None):
        state = self.init_state(x.shape[1:]) if state is None else state
        return self._output(params, self._hidden(params, x), state["mean"], state["var"])

    def train_apply(self, params, state, x, mask=None):
        hidden = self._hidden(params, x)
        mean = jnp.mean(hidden, 0, where=mask[:, None])
        var = jnp.var(hidden, 0, where=mask[:, None])
        moved = {
            "mean": 0.9 * state["mean"] + 0.1 * jax.lax.stop_gradient(mean),
            "var": 0.9 * state["var"] + 0.1 * jax.lax.stop_gradient(var),
        }
        return self._output(params, hidden, mean, var), moved

    def _hidden(self, params, x):
        return x @ params["layer_1"]["kernel"] + params["layer_1"]["bias"]

    def _output(self, params, hidden, mean, var):
        normalised = jax.nn.relu((hidden - mean) / jnp.sqrt(var + 1e-3))
        return (normalised @ params["layer_2"]["kernel"] + params["layer_2"]["bias"])[:, 0]


SPEC = NormalisedFCN((8,), sigma_w=1.4, sigma_b=0.5)


def train(settings=SETTINGS, x=X, **options):
    return train_ensemble(KEYS, SPEC, x, Y, USE, settings, TRAIN_SIZE, **options)


def at(tree, *index):
    return jax.tree.map(lambda leaf: leaf[index], tree)


def close(got, wanted):
    jax.tree.map(lambda g, w: np.testing.assert_allclose(g, w, rtol=2e-3, atol=1e-4), got, wanted)


def step_by_step(i, epochs):
    """Slices of exactly the used rows, no mask: (params, state, mean loss) after each epoch."""
    key, use = KEYS[i], USE[i]
    params, state = SPEC.init(jax.random.fold_in(key, 0), (3,)), SPEC.init_state((3,))

    @jax.jit
    @functools.partial(jax.grad, has_aux=True)
    def slope(params, rows):
        x, y = jnp.asarray(X)[rows], jnp.asarray(Y)[rows]
        hidden = x @ params["layer_1"]["kernel"] + params["layer_1"]["bias"]
        mean, var = hidden.mean(0), ((hidden - hidden.mean(0)) ** 2).mean(0)
        normal = jnp.maximum((hidden - mean) / (var + 1e-3) ** 0.5, 0)
        output = (normal @ params["layer_2"]["kernel"] + params["layer_2"]["bias"])[:, 0]
        return jnp.mean(jnp.logaddexp(0, -y * output)), (mean, var)

    history = []
    for epoch in range(epochs + 1):
        output = SPEC.apply(params, X[use], state)
        mean_loss = optax.sigmoid_binary_cross_entropy(output, (Y[use] + 1) / 2).mean()
        history.append((params, state, mean_loss))
        order = np.asarray(minibatch_order(jax.random.fold_in(key, 1), epoch, use))[: use.sum()]
        for first in range(0, len(order), 4):
            gradient, (mean, var) = slope(params, order[first : first + 4])
            params = jax.tree.map(lambda p, g: p - 0.02 * g, params, gradient)
            state = {
                "mean": 0.9 * state["mean"] + 0.1 * mean,
                "var": 0.9 * state["var"] + 0.1 * var,
            }
    return history


def errors(networks, *index):
    """Misclassified used rows in inference mode."""
    output = SPEC.apply(at(networks.params, *index), X, at(networks.state, *index))
    return np.sum(((np.asarray(output) > 0) != (Y > 0))[USE[index[0]]])


@pytest.mark.parametrize("i", [0, 2])  # 14 and 23 rows: last batches of 2 and 3
def test_batches_are_normalised_by_the_rows_that_count(i):
    result = train(dataclasses.replace(SETTINGS, max_epochs=4))
    epochs = int(result.epochs[i])
    assert epochs >= 2
    history = step_by_step(i, epochs)
    params, state, _ = history[-1]
    close(at(result.params, i), params)
    close(at(result.state, i), state)
    close(result.loss[i, : epochs + 1], np.array([loss for *_, loss in history]))


def test_errors_are_those_of_the_running_statistics():
    settings = dataclasses.replace(SETTINGS, learning_rate=0.3, max_epochs=300)
    result = train(settings, overtrain=(1, 3))
    assert result.zero_error.any()
    for i in range(3):
        assert errors(result, i) == result.errors[i, result.epochs[i]]
        for k in range(2 if result.zero_error[i] else 0):
            assert errors(result.snapshots, i, k) == result.snapshots.errors[i, k]


@pytest.mark.parametrize("batch_size", [4, None])
def test_rows_that_are_not_used_change_nothing(batch_size):
    settings = dataclasses.replace(SETTINGS, batch_size=batch_size, max_epochs=10)
    other = X.copy()
    other[-5:] += 100  # none of the first two members
    one, two = train(settings), train(settings, other)
    for i in range(2):
        jax.tree.map(np.testing.assert_array_equal, at(one, i), at(two, i))
    assert np.any(one.state["mean"][2] != two.state["mean"][2])
