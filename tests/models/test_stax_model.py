"""A user's own stax network: its kernel, its finite version, what its readout sees."""

import jax
import numpy as np
import pytest

import flatvol_jax as fv
from flatvol_jax.models import Spec


@pytest.fixture(scope="module")
def stax():
    return fv.kernels.neural_tangents().stax


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).normal(size=(5, 4, 4, 1)).astype(np.float32)


def convolutional(stax, width=30, parameterization="ntk"):
    conv = stax.Conv(
        width, (3, 3), padding="SAME", W_std=1.2, b_std=0.5, parameterization=parameterization
    )
    network = stax.serial(conv, stax.Relu(), stax.GlobalAvgPool())
    return fv.StaxModel(network, name=f"conv-{width}", sigma_w=1.2, sigma_b=0.5)


def test_the_kernel_is_that_of_the_same_network_elsewhere(stax, images):
    kernel = fv.nngp_kernel(convolutional(stax), images)
    wanted = fv.nngp_kernel(fv.CNN((1,), sigma_w=1.2, sigma_b=0.5), images)
    np.testing.assert_allclose(kernel, wanted, rtol=1e-13)
    np.testing.assert_array_equal(kernel, kernel.T)


@pytest.mark.parametrize("parameterization", ["ntk", "standard"])
def test_its_networks_at_initialisation_have_this_covariance(stax, images, parameterization):
    spec = convolutional(stax, 30, parameterization)
    keys = jax.random.split(jax.random.key(0), 2000)
    outputs = jax.jit(jax.vmap(lambda key: spec.apply(spec.init(key, (4, 4, 1)), images)))(keys)
    outputs = np.asarray(outputs, np.float64)
    products = np.einsum("si,sj->sij", outputs, outputs)
    error = products.std(axis=0) / np.sqrt(len(keys))
    # One hidden layer: exact at any width.
    assert (np.abs(products.mean(axis=0) - fv.nngp_kernel(spec, images)) < 5 * error).all()


def test_readout_of_features_is_the_output(stax, images):
    spec = convolutional(stax)
    params = spec.init(jax.random.key(0), (4, 4, 1))
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype("float32")}
    features = spec.features(params, images)
    assert features.shape == (5, 30)
    readout = params["readout"]
    np.testing.assert_array_equal(
        (features @ readout["kernel"] + readout["bias"])[:, 0], spec.apply(params, images)
    )


def test_what_the_readout_multiplies_has_this_kernel_by_monte_carlo(stax, images):
    spec = convolutional(stax)
    keys = jax.random.split(jax.random.key(1), 1000)
    features = jax.jit(jax.vmap(lambda key: spec.features(spec.init(key, (4, 4, 1)), images)))
    drawn = np.asarray(features(keys), np.float64)
    spread = (1.2**2 * np.einsum("snc,smc->snm", drawn, drawn) / 30).std(axis=0)
    estimate = fv.monte_carlo_kernel(jax.random.key(2), spec, images, 100)
    error = spread / np.sqrt(100)
    assert (np.abs(estimate - fv.nngp_kernel(spec, images)) < 5 * error).all()


def test_a_zero_input_is_refused_only_where_the_output_there_is_zero(stax):
    x = np.eye(3)[:2] * [[0], [1]]
    dense = stax.serial(stax.Dense(8, b_std=0.3), stax.Relu())
    biased = fv.StaxModel(dense, name="biased", sigma_w=1.0, sigma_b=0.0)
    assert fv.nngp_kernel(biased, x)[0, 0] == pytest.approx(0.3**2 / 2)
    dense = stax.serial(stax.Dense(8), stax.Relu())
    with pytest.raises(ValueError, match="input 0 is zero"):
        fv.nngp_kernel(fv.StaxModel(dense, name="none", sigma_w=1.0, sigma_b=0.0), x)


def test_the_name_stands_for_the_network(stax):
    spec = convolutional(stax)
    assert isinstance(spec, Spec)
    assert spec.describe() == {"model": "stax", "name": "conv-30", "sigma_w": 1.2, "sigma_b": 0.5}
    assert hash(spec) == hash(fv.StaxModel(spec.network, "conv-30", 1.2, 0.5))


def test_what_is_not_hidden_layers_is_refused(stax):
    network = stax.serial(stax.Dense(8), stax.Relu())
    with pytest.raises(ValueError, match="wanted .init_fn, apply_fn, kernel_fn."):
        fv.StaxModel(network[2], name="a", sigma_w=1.0, sigma_b=0.0)
    with pytest.raises(ValueError, match="name: got ''"):
        fv.StaxModel(network, name="", sigma_w=1.0, sigma_b=0.0)
    with pytest.raises(ValueError, match="sigma_w: got 0"):
        fv.StaxModel(network, name="a", sigma_w=0, sigma_b=0.0)
    with pytest.raises(ValueError, match="sigma_b: got -1"):
        fv.StaxModel(network, name="a", sigma_w=1.0, sigma_b=-1)
    images = stax.serial(stax.Conv(8, (3, 3)), stax.Relu())
    with pytest.raises(ValueError, match="3 axes an input, wanted one.*Flatten"):
        fv.nngp_kernel(fv.StaxModel(images, "a", 1.0, 0.0), np.ones((1, 4, 4, 1)))
