"""A user's own Flax module as a spec: outputs, features found by name, constants, errors."""

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
