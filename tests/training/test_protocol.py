"""The paper's protocol: the mean loss, the order of batches, both epochs of zero error."""

import jax
import numpy as np

from flatvol_jax.models import FCN
from flatvol_jax.training import TrainSettings, minibatch_order, train_ensemble

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(64, 5)).astype(np.float32)
Y = np.where(RANDOM.random(64) < 0.5, -1, 1)
KEYS = jax.random.split(jax.random.key(2), 2)


def trained(train_size=64, **settings):
    """Return networks trained on all 64 rows, the first `train_size` of them S."""
    settings = TrainSettings(**{"max_epochs": 40, "batch_size": 32} | settings)
    use = np.ones((2, 64), bool)
    return train_ensemble(KEYS, FCN(width=(16,)), X, Y, use, settings, train_size)


def test_the_mean_loss_is_the_summed_one_at_the_rate_over_the_batch_where_all_are_full():
    mean = trained(learning_rate=0.01)
    total = trained(learning_rate=0.01 / 32, loss="sum")
    for one, other in zip(jax.tree.leaves(mean.params), jax.tree.leaves(total.params), strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-4, atol=2e-6)
    assert np.abs(mean.loss[:, 1] - mean.loss[:, 0]).max() > 1e-4


def test_the_defaults_are_the_papers():
    settings = TrainSettings()
    assert (settings.loss, settings.stop, settings.order) == ("mean", "train", "shuffled")


def test_fixed_order_visits_the_used_rows_as_they_stand():
    use = np.array([True, False, True, True, False])
    order = minibatch_order(jax.random.key(0), 3, use, "fixed")
    np.testing.assert_array_equal(order, [0, 2, 3, 1, 4])


def test_fixed_order_does_not_depend_on_the_key_of_the_shuffle():
    # One member twice, trained in the fixed order, against plain gradient steps in NumPy order.
    fixed = trained(order="fixed", learning_rate=0.5, max_epochs=1)
    shuffled = trained(order="shuffled", learning_rate=0.5, max_epochs=1)
    spec = FCN(width=(16,))
    params = spec.init(jax.random.fold_in(KEYS[0], 0), (5,))

    def loss(params, rows):
        return jax.numpy.mean(jax.nn.softplus(-Y[rows] * spec.apply(params, X[rows])))

    for rows in (np.arange(32), np.arange(32, 64)):
        gradient = jax.grad(loss)(params, rows)
        params = jax.tree.map(lambda p, g: p - 0.5 * g, params, gradient)
    ours = jax.tree.map(lambda leaf: leaf[0], fixed.params)
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(params), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    other = jax.tree.map(lambda leaf: leaf[0], shuffled.params)
    assert any(
        np.abs(a - b).max() > 1e-3
        for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(other), strict=True)
    )


def test_both_epochs_of_zero_error_are_recorded():
    result = trained(train_size=8, learning_rate=0.3, max_epochs=3000, stop="train_and_attack")
    assert result.zero_error.all()
    np.testing.assert_array_equal(result.epochs, result.epochs_train_and_attack)
    assert (result.epochs_train < result.epochs_train_and_attack).all()
    alone = trained(train_size=8, learning_rate=0.3, max_epochs=3000)
    np.testing.assert_array_equal(alone.epochs, result.epochs_train)
    np.testing.assert_array_equal(alone.epochs_train_and_attack, -1)
