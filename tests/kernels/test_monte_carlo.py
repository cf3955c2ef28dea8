"""The Monte Carlo kernel: neural-tangents, exact expectations at any width, its own error."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import flatvol_jax as fv
from flatvol_jax.kernels import (
    monte_carlo,
    monte_carlo_estimate,
    monte_carlo_features,
    neural_tangents,
)
from flatvol_jax.kernels.blocks import BLOCK_BYTES
from flatvol_jax.kernels.monte_carlo_features import sample_keys

KEY = jax.random.key(3)
SPECS = {
    "fcn": fv.FCN((20, 30), sigma_w=1.1, sigma_b=0.3),
    "cnn": fv.CNN((4, 6), image_shape=(3, 4), sigma_w=1.2, sigma_b=0.2),
    "cnn flat": fv.CNN((3,), image_shape=(3, 4), pooling=None),
}


@pytest.fixture(scope="module")
def inputs():
    return np.random.default_rng(0).random((30, 12)).astype(np.float32)


def by_neural_tangents(key, spec, x, samples):
    """σ_w² (1/M Σ_m h_m h_m'/N_L) + σ_b² by monte_carlo_kernel_fn, on float64 features."""

    def init(key, _):
        return None, spec.init(key, x.shape[1:])

    def apply(params, x, **_):
        return spec.features(params, x).astype(jnp.float64)

    with jax.enable_x64(True):
        kernel_fn = neural_tangents().monte_carlo_kernel_fn(
            init, apply, key, samples, trace_axes=(-1,), device_count=0
        )
        kernel = np.asarray(kernel_fn(jnp.asarray(x), None, "nngp"))
    return spec.sigma_w**2 * kernel + spec.sigma_b**2


@pytest.mark.parametrize("name", SPECS)
def test_it_is_that_of_neural_tangents_with_the_same_key(inputs, name):
    kernel = fv.monte_carlo_kernel(KEY, SPECS[name], inputs, 37)
    # float32 rounding of the features, 6e-8, a few times over.
    np.testing.assert_allclose(kernel, by_neural_tangents(KEY, SPECS[name], inputs, 37), rtol=1e-6)
    np.testing.assert_array_equal(kernel, kernel.T)
    assert kernel.dtype == np.float64
    assert kernel.flags.c_contiguous


@pytest.mark.parametrize("block", [1, 7, 1000])
def test_the_block_changes_rounding_only(inputs, block):
    spec = SPECS["fcn"]
    kernel = fv.monte_carlo_kernel(KEY, spec, inputs, 37, block=block)
    np.testing.assert_allclose(kernel, fv.monte_carlo_kernel(KEY, spec, inputs, 37), rtol=1e-14)


@pytest.mark.parametrize("x64", [False, True])
def test_the_callers_precision_and_the_kind_of_key_change_nothing(inputs, x64):
    wanted = fv.monte_carlo_kernel(KEY, SPECS["fcn"], inputs, 5)
    with jax.enable_x64(x64):
        found = fv.monte_carlo_kernel(jax.random.PRNGKey(3), SPECS["fcn"], inputs.astype(float), 5)
    np.testing.assert_array_equal(found, wanted)


@pytest.fixture
def fresh_programs():
    monte_carlo_features._program.cache_clear()
    yield
    monte_carlo_features._program.cache_clear()


@pytest.mark.parametrize(("name", "rows"), [("fcn", 1), ("fcn", 7), ("cnn", 7)])
def test_batches_of_inputs_change_rounding_only(inputs, monkeypatch, fresh_programs, name, rows):
    monkeypatch.setattr(monte_carlo_features, "_ROWS", rows)
    kernel = fv.monte_carlo_kernel(KEY, SPECS[name], inputs, 5)
    np.testing.assert_allclose(kernel, by_neural_tangents(KEY, SPECS[name], inputs, 5), rtol=1e-6)


def test_batches_keep_activations_within_the_budget(monkeypatch, fresh_programs):
    spec, shape = fv.CNN((16, 16)), (64, 20, 20, 3)
    arguments = spec, shape, jax.random.key_impl(KEY), (2,), tuple(jax.local_devices())
    with jax.enable_x64(False):
        whole, rows = monte_carlo_features._program(*arguments)
        budget = monte_carlo_features._temporary_bytes(whole) // 4
        monte_carlo_features._program.cache_clear()
        monkeypatch.setattr(monte_carlo_features, "BLOCK_BYTES", budget)
        batched, fewer = monte_carlo_features._program(*arguments)
    assert rows == 64
    assert 8 <= fewer <= 16
    assert monte_carlo_features._temporary_bytes(batched) <= 1.05 * budget


def z_scores(kernel, error, wanted):
    upper = np.triu_indices(len(wanted))
    return (kernel - wanted)[upper] / error[upper]


def test_one_narrow_hidden_layer_has_the_analytic_kernel(inputs):
    # Given x its units are independent and exactly Gaussian, whatever their number.
    spec, x = fv.FCN((3,), sigma_w=1.2, sigma_b=0.4), inputs[:6]
    found = monte_carlo_estimate(KEY, spec, x, 4000, groups=50)
    assert found.relative_error < 0.02
    assert np.abs(z_scores(found.kernel, found.standard_error, fv.nngp_kernel(spec, x))).max() < 4


def test_two_narrow_hidden_layers_have_their_own_expectation():
    # Given the first layer, the second is exactly Gaussian, so K is the mean of the arc-cosine
    # step over the first alone, drawn here by NumPy. It is not the kernel of infinite width.
    x = np.array([[1.0, 0.0], [-1.0, 0.2], [0.3, -1.0]], np.float32)
    spec, rng, draws = fv.FCN((3, 5), sigma_w=1.5, sigma_b=0.1), np.random.default_rng(1), 200_000
    weights = spec.sigma_w / np.sqrt(2) * rng.normal(size=(draws, 2, 3))
    hidden = np.maximum(x @ weights + spec.sigma_b * rng.normal(size=(draws, 1, 3)), 0)
    first = spec.sigma_b**2 + spec.sigma_w**2 * np.einsum("sic,sjc->sij", hidden, hidden) / 3
    scale = np.sqrt(np.einsum("sii->si", first))
    norm = scale[:, :, None] * scale[:, None, :]
    angle = np.arccos(np.clip(first / norm, -1, 1))
    second = norm * (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / (2 * np.pi)
    wanted = spec.sigma_b**2 + spec.sigma_w**2 * second.mean(axis=0)
    reference_error = spec.sigma_w**2 * second.std(axis=0) / np.sqrt(draws)
    found = monte_carlo_estimate(KEY, spec, x, 4000, groups=50)
    error = np.hypot(found.standard_error, reference_error)
    assert np.abs(z_scores(found.kernel, error, wanted)).max() < 4
    assert np.abs(z_scores(found.kernel, error, fv.nngp_kernel(spec, x))).max() > 6


@pytest.mark.parametrize(("spec", "samples"), [(fv.FCN((4,)), 100), (fv.FCN((128, 128)), 20)])
def test_its_standard_error_is_calibrated_and_it_is_unbiased(inputs, spec, samples):
    x, seeds = inputs[:8], 60
    wanted = fv.nngp_kernel(spec, x)
    found = [
        monte_carlo_estimate(jax.random.key(seed), spec, x, samples, groups=10)
        for seed in range(seeds)
    ]
    errors = np.array([one.kernel - wanted for one in found])
    stated = np.array([one.standard_error for one in found])
    # The entries rise and fall together, so 60 seeds tell the ratio of variances to about 20%.
    assert 0.6 < np.mean(errors**2) / np.mean(stated**2) < 1.6
    spread = errors.std(axis=0, ddof=1) / np.sqrt(seeds)
    assert np.abs(errors.mean(axis=0) / spread).max() < 4
    relative = [np.linalg.norm(one.standard_error) / np.linalg.norm(one.kernel) for one in found]
    np.testing.assert_allclose([one.relative_error for one in found], relative, rtol=1e-12)


def by_hand(spec, x, keys):
    features = [np.asarray(spec.features(spec.init(k, x.shape[1:]), x), np.float64) for k in keys]
    products = np.mean([h @ h.T / h.shape[1] for h in features], axis=0)
    return spec.sigma_w**2 * products + spec.sigma_b**2


def test_groups_are_kernels_of_their_own_samples_and_the_kernel_their_mean(inputs):
    spec, keys = SPECS["fcn"], sample_keys(KEY, 8)
    found = monte_carlo_estimate(KEY, spec, inputs, 8, groups=3)
    np.testing.assert_array_equal(found.group_samples, [3, 3, 2])
    for group, kernel in enumerate(found.group_kernels):
        np.testing.assert_allclose(kernel, by_hand(spec, inputs, keys[group::3]), rtol=1e-6)
        np.testing.assert_array_equal(kernel, kernel.T)
    mean = np.average(found.group_kernels, axis=0, weights=found.group_samples)
    np.testing.assert_allclose(found.kernel, mean, rtol=1e-14)
    whole = fv.monte_carlo_kernel(KEY, spec, inputs, 8)
    np.testing.assert_allclose(found.kernel, whole, rtol=1e-14)


def test_samples_are_the_same_however_many_follow():
    few, many = sample_keys(KEY, 5), sample_keys(KEY, 50)
    np.testing.assert_array_equal(jax.random.key_data(few), jax.random.key_data(many[:5]))


def test_large_kernels_are_mirrored_in_pieces(monkeypatch, inputs):
    whole = fv.monte_carlo_kernel(KEY, SPECS["fcn"], inputs, 5)
    monkeypatch.setattr(monte_carlo, "_ROWS", 7)
    np.testing.assert_array_equal(fv.monte_carlo_kernel(KEY, SPECS["fcn"], inputs, 5), whole)


def test_progress_counts_samples_over_all_groups(inputs):
    reports = []
    monte_carlo_estimate(
        KEY, SPECS["fcn"], inputs, 10, groups=2, block=2, progress=lambda *r: reports.append(r)
    )
    assert [done for done, _ in reports] == [0, 2, 4, 5, 5, 7, 9, 10]
    assert {total for _, total in reports} == {10}


def test_what_does_not_fit_into_memory_is_refused_before_it_starts(inputs, free, tmp_path):
    n, width = len(inputs), 30
    features = 8 * n * ((5 + jax.local_device_count()) * width + inputs.shape[1])

    def sums(matrices):
        return 8 * n**2 * matrices + features + BLOCK_BYTES

    def one(cache=None):
        fv.monte_carlo_kernel(KEY, SPECS["fcn"], inputs, 20, cache, block=5)

    def many():
        monte_carlo_estimate(KEY, SPECS["fcn"], inputs, 20, groups=10, block=5)

    for matrices, work in ((1, one), (3, lambda: one(tmp_path)), (13, many)):
        free(sums(matrices))
        work()
        free(sums(matrices) - 1)
        with pytest.raises(ValueError, match="x: got n = 30.* n = 29. Take fewer inputs"):
            work()
    with pytest.raises(ValueError, match="fewer than 10 groups"):
        many()


def test_what_cannot_be_estimated_is_named(inputs):
    spec = SPECS["fcn"]
    for samples in (0, 2.5, True):
        with pytest.raises(ValueError, match="samples: got"):
            fv.monte_carlo_kernel(KEY, spec, inputs, samples)
    with pytest.raises(ValueError, match="block: got 0"):
        fv.monte_carlo_kernel(KEY, spec, inputs, 5, block=0)
    with pytest.raises(ValueError, match=r"x: got shape \(30,\)"):
        fv.monte_carlo_kernel(KEY, spec, inputs[:, 0], 5)
    with pytest.raises(ValueError, match="groups: got 1"):
        monte_carlo_estimate(KEY, spec, inputs, 5, groups=1)
    with pytest.raises(ValueError, match="g = 10, wanted at most M = 5"):
        monte_carlo_estimate(KEY, spec, inputs, 5)
    with pytest.raises(ValueError, match=r"2 samples are left, with 20 features for n = 30"):
        monte_carlo_estimate(KEY, fv.FCN((10,)), inputs, 4, groups=2)
    with pytest.raises(ValueError, match="NaN or infinite features"):
        fv.monte_carlo_kernel(KEY, fv.FCN((20, 20), sigma_w=1e30), inputs, 5)
