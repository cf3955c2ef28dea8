"""Networks epoch by epoch: the bits of `train_ensemble`, also when stored in between."""

import io

import flax.linen as nn
import jax
import numpy as np
import pytest

import flatvol_jax as fv
from flatvol_jax.training import (
    TrainSettings,
    advance_trajectory,
    begin_trajectory,
    train_ensemble,
    trajectory,
)

ROWS = 13
RNG = np.random.default_rng(0)
X = RNG.normal(size=(ROWS, 3)).astype(np.float32)
Y = np.where(X[:, 0] + 0.3 * RNG.normal(size=ROWS) > 0, 1, -1)
KEYS = jax.random.split(jax.random.key(7), 3)
SPEC = fv.FCN((16,), sigma_w=1.4, sigma_b=0.5)
SGD = TrainSettings(learning_rate=0.05, batch_size=4, max_epochs=60)


class Normalised(nn.Module):
    """A hidden layer with BatchNorm."""

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.Dense(5, name="hidden")(x.reshape(len(x), -1))
        x = nn.relu(nn.BatchNorm(not train, name="norm")(x))
        return nn.Dense(1, name="readout")(x)


def settings_of(optimizer):
    size = None if optimizer == "gd" else 4
    return TrainSettings(optimizer=optimizer, batch_size=size, loss="mean", max_epochs=60)


def advance(state, epochs, settings=SGD, spec=SPEC, keys=KEYS):
    return advance_trajectory(keys, spec, X, Y, settings, state, epochs)


def begin(settings=SGD, spec=SPEC, keys=KEYS):
    return begin_trajectory(keys, spec, X, Y, settings)


def assert_same_bits(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    jax.tree.map(np.testing.assert_array_equal, one, other)


def stored(state):
    """Through an .npz file: plain arrays, no pickle."""
    leaves, structure = jax.tree.flatten(state)
    file = io.BytesIO()
    np.savez(file, *leaves)
    file.seek(0)
    with np.load(file, allow_pickle=False) as arrays:
        return jax.tree.unflatten(structure, [arrays[name] for name in arrays.files])


@pytest.mark.parametrize("optimizer", ["sgd", "gd", "adam", "entropy_sgd"])
def test_the_epochs_are_those_of_the_ensemble(optimizer):
    settings = settings_of(optimizer)
    _, epochs = advance(begin(settings), 20, settings)
    # An ensemble that stops there, or at zero error before.
    for last in (1, 7, 20) if optimizer == "sgd" else (20,):
        short = TrainSettings(
            optimizer=optimizer, batch_size=settings.batch_size, loss="mean", max_epochs=last
        )
        ensemble = train_ensemble(KEYS, SPEC, X, Y, np.ones((3, ROWS), bool), short, ROWS)
        for member, epoch in enumerate(ensemble.epochs):
            if epoch:
                assert_same_bits(
                    jax.tree.map(lambda leaf, i=member: leaf[i], ensemble.params),
                    jax.tree.map(lambda p, i=member, e=epoch: p[i, e - 1], epochs.params),
                )
            wanted = slice(1, epoch + 1), slice(0, epoch)
            for name in ("loss", "errors"):
                np.testing.assert_array_equal(
                    getattr(ensemble, name)[member, wanted[0]],
                    getattr(epochs, name)[member, wanted[1]],
                )


def test_it_goes_on_beyond_zero_error_as_the_snapshots_do():
    beyond = (1, 5, 12)
    use = np.ones((3, ROWS), bool)
    ensemble = train_ensemble(KEYS, SPEC, X, Y, use, SGD, ROWS, overtrain=beyond)
    assert ensemble.zero_error.all()
    _, epochs = advance(begin(), int(ensemble.snapshots.epochs.max()))
    for member, of_member in enumerate(ensemble.snapshots.epochs):
        for place, epoch in enumerate(of_member):
            assert_same_bits(
                jax.tree.map(lambda leaf, i=member, k=place: leaf[i, k], ensemble.snapshots.params),
                jax.tree.map(lambda leaf, i=member, e=epoch: leaf[i, e - 1], epochs.params),
            )


@pytest.mark.parametrize("optimizer", ["adam", "entropy_sgd"])
def test_a_stored_trajectory_goes_on_to_the_same_bits(optimizer):
    settings = settings_of(optimizer)
    end, whole = advance(begin(settings), 20, settings)
    state, parts = stored(begin(settings)), []
    for _ in range(4):
        state, part = advance(state, 5, settings)
        state = stored(state)
        parts.append(part)
    assert_same_bits(state, end)
    joined = jax.tree.map(lambda *leaves: np.concatenate(leaves, axis=1), *parts)
    assert_same_bits(joined, whole)
    assert end.epoch.tolist() == [20] * 3


def test_batch_statistics_go_on_too():
    spec = fv.FlaxModel(Normalised(), features=lambda p, x: x, sigma_w=1.0, sigma_b=0.0)
    end, whole = advance(begin(spec=spec), 6, spec=spec)
    half, first = advance(begin(spec=spec), 3, spec=spec)
    again, second = advance(stored(half), 3, spec=spec)
    assert_same_bits(again, end)
    means = jax.tree.leaves(whole.state)[0]
    assert means.shape[:2] == (3, 6)
    assert not np.array_equal(means[:, 0], means[:, 5])
    joined = jax.tree.map(lambda *leaves: np.concatenate(leaves, axis=1), first, second)
    assert_same_bits(joined, whole)


def test_a_member_depends_on_no_other_one():
    _, together = advance(begin(), 4)
    _, alone = advance(begin(keys=KEYS[1:2]), 4, keys=KEYS[1:2])
    assert_same_bits(jax.tree.map(lambda leaf: leaf[1:2], together), alone)


def test_replaced_parameters_are_trained_on_under_the_same_minibatches():
    half, _ = advance(begin(), 3)
    params = jax.tree.map(lambda leaf: leaf[0], half.params)
    scaled = fv.alpha_scale(SPEC, params, 1, 4.0)
    moved = half._replace(
        params=jax.tree.map(
            lambda old, new: np.concatenate([new[None], old[1:]]), half.params, scaled
        )
    )
    _, plain = advance(half, 2)
    _, other = advance(moved, 2)
    for member, same in enumerate((False, True, True)):
        assert np.array_equal(plain.loss[member], other.loss[member]) == same
    back, _ = advance(moved._replace(params=half.params), 2)
    assert_same_bits(back, advance(half, 2)[0])


def test_it_is_compiled_once_for_a_number_of_epochs():
    settings = TrainSettings(learning_rate=0.03, batch_size=5, max_epochs=1)
    before = trajectory._advance._cache_size()
    state = begin(settings)
    for _ in range(3):
        state, _ = advance(state, 2, settings)
    advance(begin(settings, keys=KEYS[::-1]), 2, settings, keys=KEYS[::-1])
    assert trajectory._advance._cache_size() == before + 1
    advance(state, 3, settings)
    assert trajectory._advance._cache_size() == before + 2


def test_x64_changes_nothing():
    wanted = advance(begin(), 2)
    with jax.enable_x64(True):
        assert_same_bits(advance(begin(), 2), wanted)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="epochs: got 0"):
        advance(begin(), 0)
    with pytest.raises(ValueError, match="wanted -1 and \\+1"):
        begin_trajectory(KEYS, SPEC, X, Y + 1, SGD)
    with pytest.raises(ValueError, match="x, y: got shapes"):
        begin_trajectory(KEYS, SPEC, X, Y[:-1], SGD)
    with pytest.raises(ValueError, match="keys: got shape"):
        begin_trajectory(KEYS[0], SPEC, X, Y, SGD)
