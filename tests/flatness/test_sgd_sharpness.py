"""SGD ascent (table 1) against the procedure written out in NumPy, gradients by hand."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import flatvol_jax as fv

KEY, SIZE, EPSILON = jax.random.key(5), 22, 1e-2
RNG = np.random.default_rng(0)
DATA = RNG.normal(size=(SIZE, 6)), RNG.choice([-1.0, 1.0], SIZE)
PARAMS = {
    "hidden": {"kernel": RNG.normal(size=(6, 5)) / 2, "bias": RNG.normal(size=5)},
    "readout": {"kernel": RNG.normal(size=(5, 1)), "bias": RNG.normal(size=1)},
}


def network(params, x):
    hidden = jax.nn.relu(x @ params["hidden"]["kernel"] + params["hidden"]["bias"])
    return (hidden @ params["readout"]["kernel"] + params["readout"]["bias"])[:, 0]


def loss(params, batch):
    return jnp.mean(jax.nn.softplus(-batch[1] * network(params, batch[0])))


def numpy_loss_and_slopes(params, x, y):
    """Mean cross-entropy of `network` and its derivatives, by the chain rule."""
    before = x @ params["hidden"]["kernel"] + params["hidden"]["bias"]
    hidden = np.maximum(before, 0)
    margin = y * (hidden @ params["readout"]["kernel"] + params["readout"]["bias"])[:, 0]
    output_slope = (-y / (1 + np.exp(margin)) / len(y))[:, None]
    hidden_slope = (output_slope @ params["readout"]["kernel"].T) * (before > 0)
    slopes = {
        "hidden": {"kernel": x.T @ hidden_slope, "bias": hidden_slope.sum(axis=0)},
        "readout": {"kernel": hidden.T @ output_slope, "bias": output_slope.sum(axis=0)},
    }
    return np.logaddexp(0, -margin).mean(), slopes


def clipped(point, center):
    half = EPSILON * (np.abs(center) + 1)
    return np.clip(point, center - half, center + half)


def orders(epochs):
    """The examples in the order of each epoch."""
    with jax.enable_x64(True):
        return [np.asarray(jax.random.permutation(k, SIZE)) for k in jax.random.split(KEY, epochs)]


def batches_of(order, size, drop_incomplete):
    batches = [order[first : first + size] for first in range(0, len(order), size)]
    return [rows for rows in batches if len(rows) == size or not drop_incomplete]


def written_out(reading, batch_size, rate, epochs, drop_incomplete):
    """What is read in each epoch, and the last point."""
    x, y = DATA
    point, epoch_losses = PARAMS, []
    for order in orders(epochs):
        reads, counts = [], []
        for rows in batches_of(order, batch_size, drop_incomplete):
            _, slopes = numpy_loss_and_slopes(point, x[rows], y[rows])
            point = jax.tree.map(lambda p, g, w: clipped(p + rate * g, w), point, slopes, PARAMS)
            seen = slice(None) if reading == "full" else rows
            reads.append(numpy_loss_and_slopes(point, x[seen], y[seen])[0])
            counts.append(len(rows))
        of_epoch = max(reads) if reading == "full" else np.average(reads, weights=counts)
        epoch_losses.append(of_epoch)
    return np.array(epoch_losses), point


@pytest.mark.parametrize("reading", fv.flatness.READINGS)
@pytest.mark.parametrize(
    ("batch_size", "drop_incomplete"), [(4, False), (4, True), (11, False), (22, True)]
)
def test_the_ascent_is_the_procedure_written_out(reading, batch_size, drop_incomplete):
    settings = {"batch_size": batch_size, "epochs": 6, "drop_incomplete": drop_incomplete}
    found = fv.sgd_sharpness(
        KEY, loss, PARAMS, DATA, EPSILON, learning_rate=0.05, reading=reading, **settings
    )
    wanted, end = written_out(reading, rate=0.05, **settings)
    start, reached = (numpy_loss_and_slopes(point, *DATA)[0] for point in (PARAMS, end))
    np.testing.assert_allclose(found.epoch_losses, wanted, rtol=1e-12)
    np.testing.assert_allclose(found.history, np.maximum.accumulate(wanted), rtol=1e-12)
    np.testing.assert_allclose(found.loss, start, rtol=1e-12)
    np.testing.assert_allclose(found.value, 100 * (wanted.max() - start) / (1 + start), rtol=1e-10)
    np.testing.assert_allclose(
        found.full_batch_value, 100 * (reached - start) / (1 + start), rtol=1e-9
    )
    moved = np.concatenate(
        [
            np.ravel(np.abs(e - w) >= EPSILON * (np.abs(w) + 1) * (1 - 1e-9))
            for e, w in zip(jax.tree.leaves(end), jax.tree.leaves(PARAMS), strict=True)
        ]
    )
    assert round(found.on_face * moved.size) == moved.sum()
    assert 0 < found.on_face < 1


def test_full_reading_is_a_lower_bound_and_the_minibatch_reading_is_not():
    settings = {"epsilon": EPSILON, "batch_size": 4, "learning_rate": 0.05, "epochs": 40}
    best = fv.sharpness(lambda p: loss(p, DATA), PARAMS, EPSILON).value
    full, minibatch = (
        fv.sgd_sharpness(KEY, loss, PARAMS, DATA, **settings, reading=reading)
        for reading in ("full", "minibatch")
    )
    assert full.full_batch_value == minibatch.full_batch_value  # the same ascent
    assert full.full_batch_value <= full.value <= best
    assert full.value != minibatch.value


@pytest.mark.parametrize("reading", fv.flatness.READINGS)
@pytest.mark.parametrize("batch_size", [4, 5])
def test_a_linear_loss_ends_in_the_corner(batch_size, reading):
    x, w, epsilon = RNG.random((12, 3)), np.array([1.0, -2.0, 0.5]), 0.01
    found = fv.sgd_sharpness(
        KEY,
        lambda p, batch: jnp.mean(batch @ p) + 5.0,
        w,
        x,
        epsilon,
        batch_size=batch_size,
        learning_rate=4e-2,
        epochs=20,
        reading=reading,
    )
    gain = epsilon * x.mean(axis=0) @ (np.abs(w) + 1)
    start = x.mean(axis=0) @ w + 5
    np.testing.assert_allclose(found.full_batch_value, 100 * gain / (1 + start), rtol=1e-9)
    # In the corner every minibatch is read at the same point: the mean of them is the loss.
    np.testing.assert_allclose(found.epoch_losses[-1], start + gain, rtol=1e-12)
    np.testing.assert_allclose(found.value, found.full_batch_value, rtol=1e-9)
    np.testing.assert_allclose(found.first_order, found.value, rtol=1e-9)
    assert abs(found.second_order) + abs(found.remainder) < 1e-8
    assert found.on_face == 1.0
    assert found.converged


def test_another_function_at_the_center_moves_the_center_alone():
    settings = {"epsilon": EPSILON, "batch_size": 4, "learning_rate": 0.05, "epochs": 3}
    one = fv.sgd_sharpness(KEY, loss, PARAMS, DATA, **settings)
    other = fv.sgd_sharpness(
        KEY, loss, PARAMS, DATA, **settings, center_loss=lambda p: 2 * loss(p, DATA)
    )
    np.testing.assert_array_equal(other.epoch_losses, one.epoch_losses)
    np.testing.assert_allclose(other.loss, 2 * one.loss, rtol=1e-12)
    np.testing.assert_allclose(
        other.value, 100 * (one.max_loss - 2 * one.loss) / (1 + 2 * one.loss), rtol=1e-10
    )
    np.testing.assert_allclose(
        other.full_batch_value * (1 + other.loss),
        2 * one.full_batch_value * (1 + one.loss),
        rtol=1e-9,
    )


MOMENTUM, TINY = 0.7, 1e-3


class Normalised(nn.Module):
    """A hidden layer before a BatchNorm."""

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.Dense(5, use_bias=False, name="hidden")(x)
        x = nn.BatchNorm(not train, momentum=MOMENTUM, epsilon=TINY, name="norm")(x)
        x = nn.relu(x)
        self.sow("intermediates", "features", x)
        return nn.Dense(1, name="readout")(x)


SPEC = fv.FlaxModel(Normalised(), "features", 1.0, 0.3)
NORMALISED = {
    "hidden": {"kernel": PARAMS["hidden"]["kernel"]},
    "norm": {"scale": 1 + RNG.normal(size=5) / 4, "bias": RNG.normal(size=5)},
    "readout": PARAMS["readout"],
}
STATE = {"batch_stats": {"norm": {"mean": RNG.normal(size=5) / 2, "var": 1 + RNG.random(5)}}}


def training_loss(params, state, batch):
    output, state = SPEC.train_apply(params, state, batch[0])
    return jnp.mean(jax.nn.softplus(-batch[1] * output)), state


def evaluation_loss(params, state):
    return jnp.mean(jax.nn.softplus(-DATA[1] * SPEC.apply(params, DATA[0], state)))


def numpy_training_mode(params, state, x, y):
    """Loss, derivatives and the state after it of `Normalised` in training mode."""
    before = x @ params["hidden"]["kernel"]
    mean, variance = before.mean(axis=0), before.var(axis=0)
    spread = np.sqrt(variance + TINY)
    normal = (before - mean) / spread
    scaled = params["norm"]["scale"] * normal + params["norm"]["bias"]
    hidden = np.maximum(scaled, 0)
    margin = y * (hidden @ params["readout"]["kernel"] + params["readout"]["bias"])[:, 0]
    output_slope = (-y / (1 + np.exp(margin)) / len(y))[:, None]
    scaled_slope = (output_slope @ params["readout"]["kernel"].T) * (scaled > 0)
    normal_slope = scaled_slope * params["norm"]["scale"]
    before_slope = (
        normal_slope - normal_slope.mean(axis=0) - normal * (normal_slope * normal).mean(axis=0)
    ) / spread
    slopes = {
        "hidden": {"kernel": x.T @ before_slope},
        "norm": {
            "scale": (scaled_slope * normal).sum(axis=0),
            "bias": scaled_slope.sum(axis=0),
        },
        "readout": {"kernel": hidden.T @ output_slope, "bias": output_slope.sum(axis=0)},
    }
    statistics = state["batch_stats"]["norm"]
    after = {
        "mean": MOMENTUM * statistics["mean"] + (1 - MOMENTUM) * mean,
        "var": MOMENTUM * statistics["var"] + (1 - MOMENTUM) * variance,
    }
    return np.logaddexp(0, -margin).mean(), slopes, {"batch_stats": {"norm": after}}


def numpy_evaluation_mode(params, state, x, y):
    statistics = state["batch_stats"]["norm"]
    normal = (x @ params["hidden"]["kernel"] - statistics["mean"]) / np.sqrt(
        statistics["var"] + TINY
    )
    hidden = np.maximum(params["norm"]["scale"] * normal + params["norm"]["bias"], 0)
    output = (hidden @ params["readout"]["kernel"] + params["readout"]["bias"])[:, 0]
    return np.logaddexp(0, -y * output).mean()


@pytest.mark.parametrize("rate", [1.0, 0.02])
def test_the_residual_networks_procedure_is_the_one_written_out(rate):
    """Batches of 6 of 22 examples: four are left out in each epoch."""
    x, y = DATA
    found = fv.sgd_sharpness(
        KEY,
        training_loss,
        NORMALISED,
        DATA,
        EPSILON,
        batch_size=6,
        learning_rate=rate,
        epochs=4,
        reading="minibatch",
        center_loss=evaluation_loss,
        drop_incomplete=True,
        state=STATE,
    )
    params, state, epoch_losses = NORMALISED, STATE, []
    for order in orders(4):
        reads = []
        for rows in (order[:6], order[6:12], order[12:18]):
            _, slopes, after = numpy_training_mode(params, state, x[rows], y[rows])
            params = jax.tree.map(
                lambda p, g, w: clipped(p + rate * g, w), params, slopes, NORMALISED
            )
            state = jax.tree.map(clipped, after, STATE)
            reads.append(numpy_training_mode(params, state, x[rows], y[rows])[0])
        epoch_losses.append(np.mean(reads))
    start = numpy_evaluation_mode(NORMALISED, STATE, x, y)
    reached = numpy_evaluation_mode(params, state, x, y)
    np.testing.assert_allclose(found.epoch_losses, epoch_losses, rtol=1e-10)
    np.testing.assert_allclose(found.loss, start, rtol=1e-12)
    np.testing.assert_allclose(
        found.value, 100 * (max(epoch_losses) - start) / (1 + start), rtol=1e-9
    )
    np.testing.assert_allclose(
        found.full_batch_value, 100 * (reached - start) / (1 + start), rtol=1e-8
    )
    still = numpy_evaluation_mode(params, STATE, x, y)
    assert abs(reached - still) > 1e-3 * abs(reached - start)  # the state moves what L is there


def test_without_a_center_loss_the_center_is_the_ascents_loss_of_all_data():
    found = fv.sgd_sharpness(KEY, training_loss, NORMALISED, DATA, EPSILON, 6, 0.1, 2, state=STATE)
    start = numpy_training_mode(NORMALISED, STATE, *DATA)[0]
    np.testing.assert_allclose(found.loss, start, rtol=1e-12)
    assert found.value >= found.full_batch_value > 0


def ascent(**changes):
    arguments = {
        "key": KEY,
        "loss": loss,
        "params": PARAMS,
        "data": DATA,
        "epsilon": EPSILON,
        "batch_size": 4,
        "learning_rate": 0.1,
        "epochs": 1,
    }
    return fv.sgd_sharpness(**arguments | changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 23}, "batch_size 23"),
        ({"reading": "ful"}, "reading: got 'ful'.* Did you mean 'full'"),
        ({"drop_incomplete": 1}, "drop_incomplete: got 1, wanted True or False"),
        ({"center_loss": 3}, "loss: got int, wanted a function"),
        ({"center_loss": lambda p: p}, "wanted one scalar"),
        ({"center_loss": lambda p: jnp.nan}, "wanted a finite loss"),
        ({"loss": lambda p, b: b[1], "center_loss": lambda p: 0.0}, "wanted one scalar"),
        ({"state": STATE}, "loss: wanted one scalar from"),
        ({"state": {"mean": np.array([np.nan])}}, "state: .*NaN"),
        (
            {"state": {}, "loss": lambda p, s, b: loss(p, b)},
            "a pair of the mean loss and the state",
        ),
        (
            {"state": STATE, "loss": lambda p, s, b: (loss(p, b), {})},
            "a pair of the mean loss and the state",
        ),
        (
            {"state": STATE, "loss": lambda p, s, b: (b[1], s)},
            "wanted one scalar",
        ),
    ],
)
def test_bad_input_is_named(changes, message):
    with pytest.raises(ValueError, match=message):
        ascent(**changes)


def test_an_empty_state_is_none():
    with_state = ascent(loss=lambda p, s, b: (loss(p, b), s), state={})
    assert with_state.value == ascent().value


def test_data_bound_to_a_loss_share_one_program():
    traces = []

    def of_center(scale, params, batch):
        traces.append(1)
        return scale * loss(params, batch)

    values, counts = [], []
    for scale in (1.0, 2.0, 3.0):
        values.append(ascent(loss=jax.tree_util.Partial(of_center, np.float64(scale))).value)
        counts.append(len(traces))
    assert len(set(values)) == 3
    assert counts == [counts[0]] * 3  # the check of shape and precision is of the same trace
