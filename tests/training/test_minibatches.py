"""The order in which an epoch visits the examples."""

import jax
import jax.numpy as jnp
import numpy as np

from flatvol_jax.training import minibatch_order

KEY = jax.random.key(0)
USE = np.array([True, True, False, True, False, True, True])


def test_used_rows_come_first_and_each_once():
    for epoch in range(20):
        order = np.asarray(minibatch_order(KEY, epoch, USE))
        assert sorted(order) == list(range(7))
        assert USE[order[:5]].all()


def test_epochs_and_keys_have_orders_of_their_own():
    use = np.ones(50, bool)
    first = np.asarray(minibatch_order(KEY, 0, use))
    np.testing.assert_array_equal(first, minibatch_order(KEY, 0, use))
    assert np.any(first != np.asarray(minibatch_order(KEY, 1, use)))
    assert np.any(first != np.asarray(minibatch_order(jax.random.key(1), 0, use)))


def test_each_used_row_is_equally_often_at_each_place():
    epochs = 4000
    use = jnp.asarray(USE)
    orders = jax.vmap(lambda epoch: minibatch_order(KEY, epoch, use))(jnp.arange(epochs))
    orders = np.asarray(orders)
    used = np.flatnonzero(USE)
    counts = np.array([[np.sum(orders[:, place] == row) for row in used] for place in range(5)])
    expected = epochs / 5
    chi_squared = np.sum((counts - expected) ** 2 / expected)
    assert chi_squared < 39.3  # 99.9% point of chi² with (5 - 1)² = 16 degrees of freedom
