"""The kernel of networks that the batch statistics of a reference normalise."""

import flax.linen as nn
import jax
import numpy as np
import pytest

import flatvol_jax as fv
from flatvol_jax.kernels import monte_carlo_estimate, monte_carlo_features, monte_carlo_sums
from flatvol_jax.kernels.monte_carlo_features import sample_keys

KEY, EPSILON = jax.random.key(3), 1e-5


class Normalised(nn.Module):
    """Two normalised hidden layers."""

    @nn.compact
    def __call__(self, x, train=False):
        for i in (1, 2):
            x = nn.Dense(10, name=f"dense_{i}")(x)
            x = nn.BatchNorm(not train, epsilon=EPSILON, name=f"norm_{i}")(x)
            x = nn.relu(x)
        self.sow("intermediates", "hidden", x)
        weights = nn.initializers.variance_scaling(1.2**2, "fan_in", "normal")
        bias = nn.initializers.normal(0.3)
        return nn.Dense(1, kernel_init=weights, bias_init=bias, name="readout")(x)


SPEC = fv.FlaxModel(Normalised(), "hidden", sigma_w=1.2, sigma_b=0.3)


@pytest.fixture(scope="module")
def inputs():
    return np.random.default_rng(0).random((30, 6)).astype(np.float32)


@pytest.fixture
def drawn(monkeypatch):
    """Samples that were drawn, a number a call."""
    counts, sample_features = [], monte_carlo_sums.sample_features

    def counted(spec, x, keys, reference):
        counts.append(len(keys))
        return sample_features(spec, x, keys, reference)

    monkeypatch.setattr(monte_carlo_sums, "sample_features", counted)
    return counts


@pytest.fixture
def fresh_programs():
    monte_carlo_features._program.cache_clear()
    yield
    monte_carlo_features._program.cache_clear()


def by_hand(x, samples, reference=None):
    """Eq. 6 by NumPy; without a reference of mean 0 and variance 1."""
    total = 0
    for key in sample_keys(KEY, samples):
        params = jax.tree.map(lambda leaf: np.asarray(leaf, float), SPEC.init(key, x.shape[1:]))
        h, r = np.asarray(x, float), reference
        for i in (1, 2):
            weights, mean, var = params[f"dense_{i}"]["kernel"], 0.0, 1.0
            h = h @ weights
            if r is not None:
                r = np.asarray(r, float) @ weights
                mean, var = r.mean(axis=0), r.var(axis=0)
                r = np.maximum((r - mean) / np.sqrt(var + EPSILON), 0)
            h = np.maximum((h - mean) / np.sqrt(var + EPSILON), 0)
        total = total + h @ h.T / h.shape[1]
    return SPEC.sigma_w**2 * total / samples + SPEC.sigma_b**2


def test_each_network_has_the_statistics_of_the_reference_under_its_own_weights(inputs):
    reference = inputs[:20]
    kernel = fv.monte_carlo_kernel(KEY, SPEC, inputs, 5, reference=reference)
    # float32 rounding of activations that are differences of larger ones, over small variances.
    np.testing.assert_allclose(kernel, by_hand(inputs, 5, reference), rtol=1e-4)
    np.testing.assert_array_equal(kernel, kernel.T)
    plain = fv.monte_carlo_kernel(KEY, SPEC, inputs, 5)
    np.testing.assert_allclose(plain, by_hand(inputs, 5), rtol=1e-5)
    assert np.linalg.norm(kernel - plain) > 0.5 * np.linalg.norm(plain)
    groups = monte_carlo_estimate(KEY, SPEC, inputs, 7, groups=2, reference=reference)
    np.testing.assert_allclose(groups.kernel, by_hand(inputs, 7, reference), rtol=1e-4)


def test_the_entry_of_two_inputs_depends_on_no_third(inputs):
    whole = fv.monte_carlo_kernel(KEY, SPEC, inputs, 5, reference=inputs[:20])
    part = fv.monte_carlo_kernel(KEY, SPEC, inputs[10:], 5, reference=inputs[:20])
    np.testing.assert_allclose(part, whole[10:, 10:], rtol=1e-5)


def test_batches_of_inputs_change_rounding_only(inputs, monkeypatch, fresh_programs):
    monkeypatch.setattr(monte_carlo_features, "_ROWS", 7)
    kernel = fv.monte_carlo_kernel(KEY, SPEC, inputs, 5, reference=inputs[:20])
    np.testing.assert_allclose(kernel, by_hand(inputs, 5, inputs[:20]), rtol=1e-4)


def test_batches_are_no_smaller_than_the_reference(monkeypatch, fresh_programs):
    arguments = SPEC, (64, 6), jax.random.key_impl(KEY), (2,), tuple(jax.local_devices())
    monkeypatch.setattr(monte_carlo_features, "BLOCK_BYTES", 0)  # less than any program takes
    with jax.enable_x64(False):
        _, alone = monte_carlo_features._program(*arguments)
        _, beside = monte_carlo_features._program(*arguments, (16, 6))
    assert (alone, beside) == (1, 16)


def test_a_reference_has_sums_of_its_own_and_none_the_ones_there_were(inputs, drawn, tmp_path):
    calls = [None, inputs[:20], inputs[:19]]
    kernels = [
        fv.monte_carlo_kernel(KEY, SPEC, inputs, 5, tmp_path, reference=reference)
        for reference in calls
    ]
    assert drawn == [5, 5, 5]
    for reference, kernel in zip(calls, kernels, strict=True):
        found = fv.monte_carlo_kernel(KEY, SPEC, inputs, 5, tmp_path, reference=reference)
        np.testing.assert_array_equal(found, kernel)
    assert len(drawn) == 3


def test_it_changes_nothing_without_a_state(inputs, drawn, tmp_path):
    spec = fv.FCN((10,))
    plain = fv.monte_carlo_kernel(KEY, spec, inputs, 5, tmp_path)
    found = fv.monte_carlo_kernel(KEY, spec, inputs, 5, tmp_path, reference=inputs[:20])
    np.testing.assert_array_equal(found, plain)
    assert drawn == [5]


def test_residual_networks_have_a_kernel_of_batch_statistics():
    spec, image = fv.ResNet(18, "cifar", width=2), (8, 8, 3)
    x = np.random.default_rng(1).normal(size=(12, *image)).astype(np.float32)
    kernel = fv.monte_carlo_kernel(KEY, spec, x, 3, reference=x[:8])
    no_memory = fv.ResNet(18, "cifar", width=2, momentum=0.0)  # the state becomes the batch's

    @jax.jit
    def direct(params):
        _, state = no_memory.train_apply(params, no_memory.init_state(image), x[:8])
        return no_memory.features(params, x, state)

    keys = sample_keys(KEY, 3)
    features = [np.asarray(direct(spec.init(key, image)), np.float64) for key in keys]
    products = np.mean([h @ h.T / h.shape[1] for h in features], axis=0)
    wanted = spec.sigma_w**2 * products + spec.sigma_b**2
    np.testing.assert_allclose(kernel, wanted, rtol=1e-3)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (np.ones((3, 5)), r"reference: got shape \(3, 5\), wanted .*\(6,\)"),
        (np.ones((0, 6)), r"reference: got shape \(0, 6\)"),
        (np.full((3, 6), np.nan), "reference: got 18 NaN"),
    ],
)
def test_a_reference_that_cannot_be_is_an_error(inputs, reference, message):
    with pytest.raises(ValueError, match=message):
        fv.monte_carlo_kernel(KEY, SPEC, inputs, 5, reference=reference)
