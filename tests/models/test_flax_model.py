"""A user's own Flax module as a spec: outputs, features found by name, training mode, errors."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import flatvol_jax as fv
from flatvol_jax.models import Spec


class Convolutional(nn.Module):
    """A small CNN whose last hidden layer can be found in three ways."""

    outputs: int = 1

    @nn.compact
    def __call__(self, x, train=True):
        x = nn.relu(nn.Conv(3, (3, 3), name="conv")(x))
        x = nn.BatchNorm(use_running_average=not train, name="norm")(x)
        x = nn.Dense(5, name="hidden")(x.reshape(len(x), -1))
        x = nn.relu(x)
        self.sow("intermediates", "penultimate", x)
        return nn.Dense(self.outputs, name="readout")(x)


class WithMethod(nn.Module):
    """A module that offers its features as a method."""

    def setup(self):
        self.hidden = nn.Dense(5)
        self.readout = nn.Dense(1)

    def embed(self, x):
        return nn.tanh(self.hidden(x))

    def __call__(self, x):
        return self.readout(self.embed(x))[:, 0]


class Masking(nn.Module):
    """A module whose statistics are of parts of the images, so that it masks them itself."""

    @nn.compact
    def __call__(self, x, use_running_average=False, mask=None):
        parts = x.reshape(2 * len(x), -1)
        if mask is not None:
            mask = jnp.repeat(mask, 2)[:, None]
        norm = nn.BatchNorm(use_running_average, name="norm")
        return nn.Dense(1)(norm(parts, mask=mask).reshape(len(x), -1))


class Unmasked(nn.Module):
    """The same without a mask."""

    @nn.compact
    def __call__(self, x, train=False):
        parts = nn.BatchNorm(not train, name="parts")(x.reshape(2 * len(x), -1))
        return nn.Dense(1)(parts.reshape(len(x), -1))


class Dropping(nn.Module):
    """Dropout, with BatchNorm or without, and values that are sown."""

    normalises: bool
    rate: float = 0.5

    @nn.compact
    def __call__(self, x, training=False):
        if self.normalises:
            x = nn.BatchNorm(not training, name="norm")(x)
        self.sow("losses", "penalty", (x**2).sum())
        return nn.Dense(1)(nn.Dropout(self.rate)(x, deterministic=not training))


class HoldsAnArray(nn.Module):
    """A module that cannot be hashed."""

    scale: np.ndarray

    @nn.compact
    def __call__(self, x):
        return nn.Dense(1)(x * self.scale)


def wrapped(module, features="penultimate"):
    return fv.FlaxModel(module, features=features, sigma_w=1.0, sigma_b=0.0)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).normal(size=(6, 4, 4, 2)).astype(np.float32)


def test_outputs_are_the_module_in_inference_mode(images):
    module = Convolutional()
    spec = wrapped(module)
    params = spec.init(jax.random.key(0), images.shape[1:])
    assert set(params) == {"conv", "norm", "hidden", "readout"}
    # With running mean 0 and variance 1, BatchNorm is scale * x / sqrt(1 + eps) + bias.
    statistics = {"norm": {"mean": jnp.zeros(3), "var": jnp.ones(3)}}
    wanted = module.apply({"params": params, "batch_stats": statistics}, images, train=False)
    np.testing.assert_array_equal(spec.apply(params, images), wanted[:, 0])
    single = spec.apply(params, images[:1])  # no batch statistics: an input sees only itself
    np.testing.assert_allclose(single, wanted[:1, 0], rtol=1e-6)


def test_sown_features_times_readout_is_the_output(images):
    spec = wrapped(Convolutional())
    params = spec.init(jax.random.key(0), images.shape[1:])
    features = spec.features(params, images)
    assert features.shape == (6, 5)
    readout = params["readout"]
    np.testing.assert_allclose(
        (features @ readout["kernel"] + readout["bias"])[:, 0],
        spec.apply(params, images),
        rtol=1e-6,
        atol=1e-6,
    )


def test_features_of_a_submodule_are_its_output(images):
    module = Convolutional()
    params = wrapped(module).init(jax.random.key(0), images.shape[1:])
    before = wrapped(module, "hidden").features(params, images)
    after = wrapped(module, "penultimate").features(params, images)
    np.testing.assert_array_equal(np.maximum(before, 0), after)
    assert np.any(np.asarray(before) < 0)


def test_features_by_method_and_by_function():
    x = np.random.default_rng(1).normal(size=(6, 3)).astype(np.float32)
    spec = wrapped(WithMethod(), "embed")
    params = spec.init(jax.random.key(0), (3,))
    hidden = params["hidden"]
    wanted = np.tanh(x @ np.asarray(hidden["kernel"]) + np.asarray(hidden["bias"]))
    np.testing.assert_allclose(spec.features(params, x), wanted, rtol=1e-5, atol=1e-6)
    assert spec.apply(params, x).shape == (6,)

    def own(params, x):
        return jnp.tanh(x @ params["hidden"]["kernel"] + params["hidden"]["bias"])

    np.testing.assert_allclose(
        wrapped(WithMethod(), own).features(params, x), wanted, rtol=1e-5, atol=1e-6
    )


def test_batch_norm_trains_with_the_statistics_of_the_rows_that_count(images):
    spec = fv.FlaxModel(Convolutional(), "penultimate", sigma_w=1.0, sigma_b=0.0)
    params = spec.init(jax.random.key(0), images.shape[1:])
    state = spec.init_state(images.shape[1:])
    norm = state["batch_stats"]["norm"]
    jax.tree.map(np.testing.assert_array_equal, norm, {"mean": np.zeros(3), "var": np.ones(3)})
    module = Convolutional()
    wanted, wanted_after = module.apply(
        {"params": params, **state}, images, train=True, mutable=["batch_stats"]
    )
    outputs, after = spec.train_apply(params, state, images)
    np.testing.assert_array_equal(outputs, wanted[:, 0])
    jax.tree.map(np.testing.assert_array_equal, after, dict(wanted_after))

    padded = np.concatenate([1e2 * images[:3], images])
    mask = np.arange(9) >= 3
    outputs, masked = jax.jit(spec.train_apply)(params, state, padded, mask)
    np.testing.assert_allclose(outputs[mask], wanted[:, 0], rtol=1e-4, atol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), masked, after)


def test_outputs_and_features_follow_the_state(images):
    module = Convolutional()
    spec = wrapped(module)
    params = spec.init(jax.random.key(0), images.shape[1:])
    start = spec.init_state(images.shape[1:])
    np.testing.assert_array_equal(spec.apply(params, images, start), spec.apply(params, images))
    _, state = spec.train_apply(params, start, images)
    outputs = spec.apply(params, images, state)
    wanted = module.apply({"params": params, **state}, images, train=False)
    np.testing.assert_array_equal(outputs, wanted[:, 0])
    assert np.abs(outputs - spec.apply(params, images)).max() > 1e-3
    features, readout = spec.features(params, images, state), params["readout"]
    np.testing.assert_allclose(
        (features @ readout["kernel"] + readout["bias"])[:, 0], outputs, rtol=1e-5, atol=1e-5
    )

    def own(params, x, state=None):
        return spec.features(params, x, state)

    by_function = wrapped(module, own)
    np.testing.assert_array_equal(by_function.features(params, images, state), features)


def test_a_module_that_takes_a_mask_gets_it_and_one_that_needs_it_is_told(images):
    spec = wrapped(Masking())
    params = spec.init(jax.random.key(0), images.shape[1:])
    state = spec.init_state(images.shape[1:])
    padded, mask = np.concatenate([images, 1e2 * images[:2]]), np.arange(8) < 6
    outputs, after = spec.train_apply(params, state, padded, mask)
    wanted, wanted_after = spec.train_apply(params, state, images)
    np.testing.assert_allclose(outputs[mask], wanted, rtol=1e-4, atol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), after, wanted_after)

    spec = wrapped(Unmasked())
    params = spec.init(jax.random.key(0), images.shape[1:])
    state = spec.init_state(images.shape[1:])
    assert spec.train_apply(params, state, images)[0].shape == (6,)
    with pytest.raises(ValueError, match=r"'parts' gets .* \(16, 16\) for 8 inputs.*take `mask`"):
        spec.train_apply(params, state, padded, mask)


def test_without_a_state_training_mode_is_inference_mode():
    x = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    for module in (WithMethod(), Dropping(normalises=False)):
        spec = wrapped(module, "hidden")
        params = spec.init(jax.random.key(0), (3,))
        assert spec.init_state((3,)) == {}
        outputs, state = spec.train_apply(params, {}, x, np.arange(6) < 4)
        assert state == {}
        np.testing.assert_array_equal(outputs, spec.apply(params, x))


def test_dropout_beside_batch_norm_is_refused_and_sown_values_are_no_state():
    x = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    spec = wrapped(Dropping(normalises=True))
    params, state = spec.init(jax.random.key(0), (3,)), spec.init_state((3,))
    assert set(state) == {"batch_stats"}
    with pytest.raises(ValueError, match="Dropping draws random numbers in training mode"):
        spec.train_apply(params, state, x)
    without = wrapped(Dropping(normalises=True, rate=0.0))
    outputs, after = without.train_apply(params, state, x)
    assert jax.tree.structure(after) == jax.tree.structure(state)
    assert np.abs(outputs - without.apply(params, x)).max() > 1e-3


def test_spec_is_hashable_and_has_no_analytic_kernel():
    spec = wrapped(Convolutional())
    assert isinstance(spec, Spec)
    assert spec.kernel_layers() is None
    assert hash(spec) == hash(wrapped(Convolutional()))
    described = spec.describe()
    assert described["model"].endswith("Convolutional")
    assert described["features"] == "penultimate"
    assert described != wrapped(Convolutional(outputs=2)).describe()


def test_what_is_not_one_linen_module_is_refused():
    with pytest.raises(ValueError, match=r"flax\.nnx\.bridge\.to_linen"):
        wrapped(nnx.Linear(2, 1, rngs=nnx.Rngs(0)))
    with pytest.raises(ValueError, match=r"wanted a flax\.linen\.Module"):
        wrapped(lambda x: x)
    with pytest.raises(ValueError, match="cannot be hashed"):
        wrapped(HoldsAnArray(np.ones(3)))
    with pytest.raises(ValueError, match="features: got 3"):
        wrapped(Convolutional(), 3)
    with pytest.raises(ValueError, match="sigma_w: got 0"):
        fv.FlaxModel(Convolutional(), features="hidden", sigma_w=0, sigma_b=0.0)
    with pytest.raises(ValueError, match="sigma_b: got -1"):
        fv.FlaxModel(Convolutional(), features="hidden", sigma_w=1.0, sigma_b=-1)


def test_two_outputs_and_unknown_features_are_refused(images):
    spec = wrapped(Convolutional(outputs=2))
    params = spec.init(jax.random.key(0), images.shape[1:])
    with pytest.raises(ValueError, match=r"got outputs of shape \(6, 2\) for 6 inputs"):
        spec.apply(params, images)
    with pytest.raises(ValueError, match="found 0 values named 'nowhere'"):
        wrapped(Convolutional(outputs=2), "nowhere").features(params, images)


def test_several_outputs_in_a_tuple_are_refused():
    class Pair(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(1)(x), x

    spec = fv.FlaxModel(Pair(), features="hidden", sigma_w=1.0, sigma_b=0.0)
    with pytest.raises(ValueError, match="module: got a tuple for 3 inputs, wanted one logit"):
        spec.apply(spec.init(jax.random.key(0), (2,)), np.ones((3, 2), np.float32))


@pytest.mark.parametrize(
    ("features", "got"),
    [
        (lambda p, x: jnp.ones(3), r"shape \(3,\)"),
        (lambda p, x: jnp.ones((4, 6)), r"shape \(4, 6\)"),
        (lambda p, x: x.mean(), "a "),
        (lambda p, x: [x], "a list"),
    ],
)
def test_features_that_are_not_a_row_an_input_are_refused(images, features, got):
    spec = wrapped(Convolutional(), features)
    params = spec.init(jax.random.key(0), images.shape[1:])
    with pytest.raises(ValueError, match=f"features: got {got}.* for 6 inputs, wanted"):
        spec.features(params, images)
