"""Training beyond zero error: snapshots, and that they change nothing up to there."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import flatvol_jax as fv
from flatvol_jax.training import TrainSettings, minibatch_order, train_ensemble

ROWS, TRAIN_SIZE = 23, 13
SPEC = fv.FCN((16,), sigma_w=1.4, sigma_b=0.5)
SETTINGS = TrainSettings(
    learning_rate=0.05, batch_size=4, loss="sum", stop="train_and_attack", max_epochs=60
)
KEYS = jax.random.split(jax.random.key(7), 4)
ATTACK_SIZES = np.array([0, 2, 4, 10])
USE = np.arange(ROWS) < TRAIN_SIZE + ATTACK_SIZES[:, None]
RNG = np.random.default_rng(0)
X = RNG.normal(size=(ROWS, 3)).astype(np.float32)
Y = np.where((X[:, 0] > 0) == (np.arange(ROWS) < TRAIN_SIZE), 1, -1)
OVERTRAIN = (1, 4, 30)


def train(settings=SETTINGS, members=slice(None), **options):
    return train_ensemble(KEYS[members], SPEC, X, Y, USE[members], settings, TRAIN_SIZE, **options)


def at(tree, *index):
    return jax.tree.map(lambda leaf: leaf[index], tree)


def assert_same_bits(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.fixture(scope="module")
def overtrained():
    return train(overtrain=OVERTRAIN)


def test_nothing_changes_up_to_zero_error(overtrained):
    plain = train()
    assert plain.zero_error.any()
    for name in ("params", "zero_error", "epochs", "epochs_train", "gradients", "diverged"):
        assert_same_bits(getattr(plain, name), getattr(overtrained, name))
    for i, last in enumerate(plain.epochs):
        np.testing.assert_array_equal(plain.loss[i, : last + 1], overtrained.loss[i, : last + 1])
    assert jax.tree.leaves(plain.snapshots.params)[0].shape[:2] == (4, 0)
    assert plain.snapshots.epochs.shape == plain.snapshots.errors.shape == (4, 0)


def test_snapshots_are_sgd_continued(overtrained):
    i = int(np.flatnonzero(overtrained.zero_error)[0])
    params, use = at(overtrained.params, i), USE[i]

    @jax.jit
    @jax.grad
    def slope(params, rows):
        x, y = jnp.asarray(X)[rows], jnp.asarray(Y)[rows]
        return jnp.logaddexp(0, -y * SPEC.apply(params, x)).sum()

    for k in range(1, 5):
        epoch = int(overtrained.epochs[i]) + k - 1
        order = np.asarray(minibatch_order(jax.random.fold_in(KEYS[i], 1), epoch, use))
        for first in range(0, use.sum(), 4):
            gradient = slope(params, order[: use.sum()][first : first + 4])
            params = jax.tree.map(lambda p, g: p - 0.05 * g, params, gradient)
        if k in OVERTRAIN:
            snapshot = at(overtrained.snapshots.params, i, OVERTRAIN.index(k))
            jax.tree.map(
                lambda got, wanted: np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5),
                snapshot,
                params,
            )


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"vmap_size": 2},
        {"optimizer": "entropy_sgd", "learning_rate": 1.0, "loss": "mean"},
        {"learning_rate": 0.4},  # large enough to make errors again
    ],
)
def test_snapshots_say_their_epochs_and_errors(changes):
    settings = dataclasses.replace(SETTINGS, **changes)
    result = train(settings, overtrain=OVERTRAIN)
    assert result.zero_error.any()
    for i in np.flatnonzero(result.zero_error):
        np.testing.assert_array_equal(
            result.snapshots.epochs[i], result.epochs[i] + np.array(OVERTRAIN)
        )
        for k in range(len(OVERTRAIN)):
            output = SPEC.apply(at(result.snapshots.params, i, k), X)
            wrong = (np.asarray(output) > 0) != (Y > 0)
            assert result.snapshots.errors[i, k] == wrong[USE[i]].sum()
        last = result.snapshots.epochs[i, -1]
        assert np.isfinite(result.loss[i, : last + 1]).all()
        assert np.isnan(result.loss[i, last + 1 :]).all()
    if changes.get("learning_rate") == 0.4:
        assert (result.snapshots.errors > 0).any()


def test_without_zero_error_there_is_no_snapshot():
    settings = dataclasses.replace(SETTINGS, max_epochs=2)
    result = train(settings, overtrain=OVERTRAIN)
    unfinished = ~result.zero_error
    assert unfinished.any()
    assert (result.epochs[unfinished] == 2).all()
    assert (result.snapshots.epochs[unfinished] == -1).all()
    assert (result.snapshots.errors[unfinished] == -1).all()
    for leaf in jax.tree.leaves(result.snapshots.params):
        assert np.isnan(leaf[unfinished]).all()
    for leaf in jax.tree.leaves(result.params):
        assert np.isfinite(leaf).all()


def test_segments_and_other_snapshots_change_nothing(overtrained):
    shares = []
    assert_same_bits(
        overtrained, train(overtrain=OVERTRAIN, segment_epochs=3, progress=shares.append)
    )
    assert shares == sorted(shares)
    assert 0 <= shares[0] < shares[-1] <= 1
    alone = train(members=slice(1, 2), overtrain=(4,))
    assert_same_bits(at(alone.snapshots, 0, 0), at(overtrained.snapshots, 1, 1))
