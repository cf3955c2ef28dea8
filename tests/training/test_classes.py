"""Softmax training: against a gradient by hand; zero error by argmax; the binary loop untouched."""

import jax
import numpy as np
import pytest

import flatvol_jax as fv
from flatvol_jax.training import TrainSettings, train_ensemble

CLASSES, TRAIN_SIZE = 3, 24
SPEC = fv.FCN((16,), sigma_w=1.4, sigma_b=0.5, outputs=CLASSES)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 4)).astype(np.float32)
Y = np.argmax(X[:, :CLASSES], axis=1)
Y[TRAIN_SIZE:] = (Y[TRAIN_SIZE:] + 1) % CLASSES
KEYS = jax.random.split(jax.random.key(7), 2)


SETTINGS = TrainSettings(learning_rate=0.5, batch_size=30, max_epochs=400)


def train(y, spec=SPEC):
    return train_ensemble(KEYS, spec, X, y, np.ones((2, 30), bool), SETTINGS, TRAIN_SIZE)


@pytest.fixture(scope="module")
def found():
    return train(Y)


def test_it_ends_at_the_first_epoch_whose_argmax_is_right_on_s(found):
    assert found.zero_error.all()
    for member, epoch in enumerate(found.epochs):
        params = jax.tree.map(lambda leaf, i=member: leaf[i], found.params)
        answers = np.argmax(SPEC.apply(params, X), axis=1)
        assert (answers[:TRAIN_SIZE] == Y[:TRAIN_SIZE]).all()
        assert found.errors[member, epoch] == (answers != Y).sum()
        assert (found.errors[member, :epoch] > 0).all()


def test_its_losses_are_those_of_the_softmax_gradient_by_hand(found):
    """A minibatch is the whole set here, so that every epoch is a step of gradient descent."""
    start = SPEC.init(jax.random.fold_in(KEYS[0], 0), (4,))
    w1, b1, w2, b2 = (array.astype(np.float64) for array in SPEC.params_to_arrays(start))
    for epoch in range(6):
        hidden = np.maximum(X @ w1 + b1, 0)
        outputs = hidden @ w2 + b2
        loss = np.log(np.exp(outputs).sum(axis=1)) - outputs[np.arange(30), Y]
        np.testing.assert_allclose(found.loss[0, epoch], loss.mean(), rtol=1e-4)
        assert found.errors[0, epoch] == (outputs.argmax(axis=1) != Y).sum()
        pull = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
        pull[np.arange(30), Y] -= 1
        pull /= 30
        back = (pull @ w2.T) * (hidden > 0)
        w1, b1 = w1 - 0.5 * X.T @ back, b1 - 0.5 * back.sum(axis=0)
        w2, b2 = w2 - 0.5 * hidden.T @ pull, b2 - 0.5 * pull.sum(axis=0)


def test_labels_of_another_network_are_refused():
    with pytest.raises(ValueError, match=r"y: got the values .* wanted whole numbers 0 to 2"):
        train(2 * (Y % 2) - 1)
    with pytest.raises(ValueError, match="wanted -1 and \\+1 only"):
        train(Y, fv.FCN((16,)))
