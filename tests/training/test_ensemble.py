"""Training: against a NumPy loop; freezing, caps, divergence; independence of the company."""

import dataclasses

import jax
import numpy as np
import pytest

import flatvol_jax as fv
from flatvol_jax.training import TrainSettings, minibatch_order, train_ensemble

ROWS, TRAIN_SIZE = 23, 13
SPEC = fv.FCN((16,), sigma_w=1.4, sigma_b=0.5)
SETTINGS = TrainSettings(
    learning_rate=0.05, batch_size=4, loss="sum", stop="train_and_attack", max_epochs=60
)
KEYS = jax.random.split(jax.random.key(7), 6)


@dataclasses.dataclass(frozen=True)
class CountedFCN(fv.FCN):
    """Counts how often its outputs are traced."""

    def apply(self, params, x, state=None):
        TRACED.append(x.shape)
        return super().apply(params, x, state)


TRACED: list[tuple[int, ...]] = []


def _data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, 3)).astype(np.float32)
    y = np.where(x[:, 0] > 0, 1, -1)
    y[TRAIN_SIZE:] *= -1
    return x, y


X, Y = _data()


def rows_used(attack_sizes):
    """S and the first |A| of the pool, a row a member."""
    return np.arange(ROWS) < TRAIN_SIZE + np.array(attack_sizes)[:, None]


def train(keys, attack_sizes, settings=SETTINGS, spec=SPEC, **options):
    use = rows_used(attack_sizes)
    return train_ensemble(keys, spec, X, Y, use, settings, TRAIN_SIZE, **options)


def member(result, i):
    return jax.tree.map(lambda leaf: leaf[i], result)


def assert_same_bits(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.fixture(scope="module")
def trained():
    return train(KEYS, [0, 2, 4, 6, 8, 10])


def _numpy_sgd(key, attack_size, settings, epochs):
    """Plain SGD in float64 on the same start and the same minibatches.

    Returns W1, b1, W2, b2, and at each epoch the mean loss and errors on S ∪ A, errors on S.
    """
    use = rows_used([attack_size])[0]
    arrays = SPEC.params_to_arrays(SPEC.init(jax.random.fold_in(key, 0), (3,)))
    w1, b1, w2, b2 = (array.astype(np.float64) for array in arrays)
    history = []
    for epoch in range(epochs + 1):
        output = (np.maximum(X @ w1 + b1, 0) @ w2 + b2)[:, 0]
        wrong = (output > 0) != (Y > 0)
        mean_loss = np.logaddexp(0, -Y * output)[use].mean()
        history.append((mean_loss, wrong[use].sum(), wrong[:TRAIN_SIZE].sum()))
        if epoch == epochs:
            break
        order = np.asarray(minibatch_order(jax.random.fold_in(key, 1), epoch, use))[: use.sum()]
        size = settings.batch_size or len(order)
        for first in range(0, len(order), size):
            batch = order[first : first + size]
            hidden = np.maximum(X[batch] @ w1 + b1, 0)
            output = (hidden @ w2 + b2)[:, 0]
            slope = -Y[batch] / (1 + np.exp(Y[batch] * output))
            if settings.loss == "mean":
                slope = slope / len(batch)
            back = slope[:, None] * w2[:, 0] * (hidden > 0)
            rate = settings.learning_rate
            w2, b2 = w2 - rate * hidden.T @ slope[:, None], b2 - rate * slope.sum()
            w1, b1 = w1 - rate * X[batch].T @ back, b1 - rate * back.sum(axis=0)
    return (w1, b1, w2, b2), np.array(history)


@pytest.mark.parametrize("loss", ["sum", "mean"])
@pytest.mark.parametrize("attack_size", [0, 10])  # 13 and 23 rows: last batches of 1 and 3
@pytest.mark.parametrize(("optimizer", "batch_size"), [("sgd", 4), ("gd", None)])
def test_training_is_sgd_on_the_minibatches(loss, attack_size, optimizer, batch_size):
    settings = dataclasses.replace(
        SETTINGS, optimizer=optimizer, batch_size=batch_size, loss=loss, max_epochs=5
    )
    key = KEYS[2]
    result = member(train(key[None], [attack_size], settings), 0)
    epochs = int(result.epochs)
    assert epochs >= 2
    arrays, history = _numpy_sgd(key, attack_size, settings, epochs)
    for got, wanted in zip(SPEC.params_to_arrays(result.params), arrays, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(result.loss[: epochs + 1], history[:, 0], rtol=1e-4)
    np.testing.assert_array_equal(result.errors[: epochs + 1], history[:, 1])
    used = TRAIN_SIZE + attack_size
    assert result.gradients == epochs * (1 if batch_size is None else -(-used // 4))


def test_members_stop_at_the_first_epoch_without_error(trained):
    assert trained.zero_error.any()
    for i, attack_size in enumerate([0, 2, 4, 6, 8, 10]):
        result = member(trained, i)
        use, last = rows_used([attack_size])[0], int(result.epochs)
        wrong = (np.asarray(SPEC.apply(result.params, X)) > 0) != (Y > 0)
        assert wrong[use].sum() == result.errors[last]
        assert result.zero_error == (result.errors[last] == 0)
        assert (result.errors[:last] > 0).all()
        assert (result.errors[last + 1 :] == -1).all()
        assert np.isfinite(result.loss[: last + 1]).all()
        assert np.isnan(result.loss[last + 1 :]).all()
        assert result.zero_error or last == SETTINGS.max_epochs
        if result.zero_error:
            assert 0 <= result.epochs_train <= last


def test_frozen_parameters_are_those_of_the_freezing_epoch_and_a_cap_marks_the_others(trained):
    done = int(np.flatnonzero(trained.zero_error & (trained.epochs > 0))[0])
    capped = dataclasses.replace(SETTINGS, max_epochs=int(trained.epochs[done]))
    again = train(KEYS, [0, 2, 4, 6, 8, 10], capped)
    assert_same_bits(member(trained.params, done), member(again.params, done))
    unfinished = ~again.zero_error  # the cap keeps and marks them
    assert unfinished.any()
    assert (again.epochs[unfinished] == capped.max_epochs).all()
    assert not again.diverged.any()


def test_zero_error_on_s_alone_is_recorded_first(trained):
    epochs_train, epochs = int(trained.epochs_train[1]), int(trained.epochs[1])
    assert 0 < epochs_train < epochs
    _, history = _numpy_sgd(KEYS[1], 2, SETTINGS, epochs_train)
    assert (history[:-1, 2] > 0).all()
    assert history[-1, 2] == 0


def test_a_network_that_starts_without_error_is_not_trained():
    key = KEYS[0]
    start = SPEC.init(jax.random.fold_in(key, 0), (3,))
    y = np.where(np.asarray(SPEC.apply(start, X)) > 0, 1, -1)
    use = rows_used([10])
    result = train_ensemble(key[None], SPEC, X, y, use, SETTINGS, TRAIN_SIZE)
    assert (result.epochs, result.epochs_train) == (0, 0)
    assert result.zero_error.all()
    for got, wanted in zip(
        jax.tree.leaves(member(result.params, 0)), jax.tree.leaves(start), strict=True
    ):
        np.testing.assert_allclose(got, wanted, rtol=1e-6)  # drawn here outside of jit


def test_members_with_labels_of_their_own_train_as_they_would_alone():
    labels = np.stack([Y, -Y, Y[::-1]] * 2)
    use = rows_used([4] * 6)
    together = train_ensemble(KEYS, SPEC, X, labels, use, SETTINGS, TRAIN_SIZE)
    for i in range(3):
        alone = train_ensemble(KEYS[i : i + 1], SPEC, X, labels[i], use[:1], SETTINGS, TRAIN_SIZE)
        assert_same_bits(member(together, i), member(alone, 0))


def test_an_output_of_zero_is_the_label_minus_one():
    spec = fv.FCN((4,), sigma_b=0.0)
    x, settings = np.zeros((2, 3)), TrainSettings(max_epochs=1)
    use = np.ones((1, 2), bool)
    negative = train_ensemble(KEYS[:1], spec, x, np.array([-1, -1]), use, settings, 1)
    positive = train_ensemble(KEYS[:1], spec, x, np.array([1, 1]), use, settings, 1)
    assert negative.errors[0, 0] == 0
    assert positive.errors[0, 0] == 2


@pytest.mark.parametrize("vmap_size", [1, 3])
def test_a_member_does_not_depend_on_its_company(vmap_size):
    settings = dataclasses.replace(SETTINGS, vmap_size=vmap_size)
    sizes = np.array([0, 2, 4, 6, 8, 10])
    whole = train(KEYS, sizes, settings)
    assert_same_bits(whole, train(KEYS, sizes, settings))
    slots = np.array([4, 2, 0, 5, 1, 3])
    moved = train(KEYS[slots], sizes[slots], settings)
    assert_same_bits(jax.tree.map(lambda leaf: leaf[slots], whole), moved)
    strangers = jax.random.split(jax.random.key(99), 6)
    keys = jax.numpy.concatenate([strangers[:3], KEYS[3:4], strangers[4:]])
    among = train(keys, [10, 0, 10, 6, 3, 1], settings)
    assert_same_bits(member(whole, 3), member(among, 3))


def test_members_one_after_another_do_not_depend_on_their_number(trained):
    alone = train(KEYS[4:5], [8])
    assert_same_bits(member(trained, 4), member(alone, 0))


def test_batched_members_agree_with_single_ones(trained):
    settings = dataclasses.replace(SETTINGS, vmap_size=3)
    batched = train(KEYS, [0, 2, 4, 6, 8, 10], settings)
    # Rounding differs, and grows with the epochs: compare the first ones.
    np.testing.assert_array_equal(trained.errors[:, :3], batched.errors[:, :3])
    np.testing.assert_allclose(trained.loss[:, :3], batched.loss[:, :3], rtol=1e-4)


def test_a_diverged_member_is_marked_and_stops_no_other(trained):
    x, y, use = X.copy(), Y.copy(), rows_used([0] * 6)
    x[-1], y[-1] = 1e25, -1
    use[1, -1] = True  # its gradient overflows
    result = train_ensemble(KEYS, SPEC, x, y, use, SETTINGS, TRAIN_SIZE)
    assert result.diverged.tolist() == [False, True, False, False, False, False]
    assert not result.zero_error[1]
    assert result.epochs[1] < SETTINGS.max_epochs
    assert np.isfinite(result.loss[0, : result.epochs[0] + 1]).all()
    assert result.zero_error[0]


def test_segments_change_nothing_and_report_progress(trained):
    shares = []
    result = train(KEYS, [0, 2, 4, 6, 8, 10], progress=shares.append, segment_epochs=3)
    assert_same_bits(trained, result)
    assert len(shares) == 1 + -(-(trained.epochs.max() - 1) // 3)  # the first one is an epoch
    assert shares == sorted(shares)
    assert all(0 <= share <= 1 for share in shares)


@pytest.mark.parametrize(
    ("changes", "overtrain"),
    [
        ({}, ()),
        ({"optimizer": "gd", "batch_size": None}, (2, 5)),
        ({"optimizer": "entropy_sgd", "options": {"langevin_steps": 3}}, ()),
    ],
)
def test_other_seeds_and_attack_sets_of_one_shape_compile_nothing(changes, overtrain):
    spec = CountedFCN((5,))
    settings = dataclasses.replace(SETTINGS, **changes)
    train(KEYS, [0, 2, 4, 6, 8, 10], settings, spec, overtrain=overtrain)
    traced = len(TRACED)
    assert traced > 0
    keys = jax.random.split(jax.random.key(1), 6)
    train(keys, [10] * 6, settings, CountedFCN((5,)), overtrain=overtrain)
    use = np.random.default_rng(1).permuted(rows_used([5] * 6), axis=1)
    again = dataclasses.replace(settings)
    train_ensemble(KEYS, spec, X, -Y, use, again, TRAIN_SIZE, overtrain=overtrain)
    assert len(TRACED) == traced


def test_rows_that_are_not_used_change_nothing(trained):
    x = X.copy()
    x[-4:] += 3
    use = rows_used([0, 2, 4, 6, 6, 6])
    changed = train_ensemble(KEYS, SPEC, x, Y, use, SETTINGS, TRAIN_SIZE)
    assert_same_bits(*(jax.tree.map(lambda leaf: leaf[:4], found) for found in (trained, changed)))


def test_entropy_sgd_is_evaluated_where_it_counts():
    options = {"langevin_steps": 20, "noise": 0.1}  # 13 rows in batches of 4: five epochs a step
    settings = dataclasses.replace(
        SETTINGS, optimizer="entropy_sgd", learning_rate=None, loss="mean", options=options
    )
    result = train(KEYS[:4], [0, 0, 0, 10], settings)
    for i in range(3):
        last = int(result.epochs[i])
        assert last % 5 == 0  # max_epochs is a multiple of it too
        full = result.loss[i, :last].reshape(-1, 5)
        np.testing.assert_array_equal(full, np.broadcast_to(full[:, :1], full.shape))
    assert result.epochs[0] > 0
    assert result.loss[0, 5] != result.loss[0, 4]
    assert_same_bits(
        member(result, 1), member(train(KEYS[np.array([1, 4, 5, 3])], [0, 2, 4, 6], settings), 0)
    )
    for i, attack_size in enumerate([0, 0, 0, 10]):
        wrong = (np.asarray(SPEC.apply(member(result.params, i), X)) > 0) != (Y > 0)
        assert wrong[rows_used([attack_size])[0]].sum() == result.errors[i, result.epochs[i]]


def test_entropy_sgd_without_langevin_steps_is_sgd_bit_for_bit(trained):
    settings = dataclasses.replace(SETTINGS, optimizer="entropy_sgd", options={"langevin_steps": 0})
    assert_same_bits(trained, train(KEYS, [0, 2, 4, 6, 8, 10], settings))


@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
def test_optimizers_with_a_state_reach_zero_error(optimizer):
    settings = TrainSettings(optimizer, 0.02, batch_size=4, loss="mean", max_epochs=300)
    assert train(KEYS, [0] * 6, settings).zero_error.all()


def test_training_is_float32_whatever_the_setting(trained):
    with jax.enable_x64(True):
        wide = train(KEYS, [0, 2, 4, 6, 8, 10])
    assert_same_bits(trained, wide)
    assert {leaf.dtype for leaf in jax.tree.leaves(wide.params)} == {np.dtype("float32")}
    assert wide.loss.dtype == np.float32


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": np.where(Y > 0, 1, 0)}, "wanted -1 and \\+1 only"),
        ({"y": Y[:-1]}, "x, y: got shapes"),
        ({"y": np.stack([Y, Y])}, "x, y: got shapes"),
        ({"x": np.where(X.max() == X, np.nan, X)}, "x: got 1 NaN"),
        ({"x": X[:, 0]}, "x, y: got shapes"),
        ({"use": np.ones((2, ROWS), bool)}, "use: got bool of shape"),
        ({"use": np.ones((1, ROWS))}, "use: got float64"),
        ({"use": np.zeros((1, ROWS), bool)}, "member 0 trains on no example"),
        ({"train_size": 0}, "train_size: got 0"),
        ({"train_size": ROWS + 1}, "train_size: got 24"),
        ({"segment_epochs": 0}, "segment_epochs: got 0"),
        ({"overtrain": (0, 3)}, "overtrain: got 0"),
        ({"overtrain": (3, 1)}, "overtrain: got \\(3, 1\\), wanted increasing"),
        ({"overtrain": (2, 2)}, "overtrain: got \\(2, 2\\), wanted increasing"),
    ],
)
def test_bad_input_is_refused(changes, message):
    arguments = {
        "keys": KEYS[:1],
        "spec": SPEC,
        "x": X,
        "y": Y,
        "use": np.ones((1, ROWS), bool),
        "settings": SETTINGS,
        "train_size": TRAIN_SIZE,
    }
    with pytest.raises(ValueError, match=message):
        train_ensemble(**{**arguments, **changes})
