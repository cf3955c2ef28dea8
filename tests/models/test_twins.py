"""The same weights in every framework are one network: outputs, features, kernel, measures."""

import functools

import jax
import numpy as np
import pytest
from twin_networks import TWINS, WEIGHTS, X, Y, drawn, hidden, outputs, plain

import flatvol_jax as fv

KEY = jax.random.key(0)


@functools.cache
def twin(name):
    return TWINS[name]()


@functools.cache
def plain_kernel():
    return fv.monte_carlo_estimate(KEY, plain()[0], X, samples=3000, groups=12)


@functools.cache
def measures(name):
    model, params = plain() if name == "plain" else twin(name)
    x = X.astype(np.float64)

    def loss(p):
        return jax.nn.softplus(-Y * model.apply(p, x, model.state)).mean()

    spectrum = fv.hessian_eigenvalues(KEY, loss, params, 6).values
    return spectrum, fv.sharpness(loss, params, 1e-3, method="sign")


@pytest.fixture(params=TWINS)
def name(request):
    twin(request.param)  # skips where the framework is missing
    return request.param


def test_outputs_and_features_are_the_same(name):
    model, params = twin(name)
    np.testing.assert_allclose(
        model.apply(params, X, model.state), outputs(WEIGHTS, X)[:, 0], rtol=1e-6, atol=1e-6
    )
    np.testing.assert_allclose(
        model.features(params, X, model.state), hidden(WEIGHTS, X), rtol=1e-6, atol=1e-6
    )


def test_sigma_w_and_sigma_b_are_found(name):
    model, _ = twin(name)
    assert (model.sigma_w, model.sigma_b) == (1.0, 0.0)
    text = repr(model)
    assert "LeCun's initialisation" in text
    assert len(text) < 250


def test_kernels_are_the_same_within_their_errors(name):
    found = fv.monte_carlo_estimate(jax.random.key(1), twin(name)[0], X, samples=3000, groups=12)
    error = np.hypot(found.standard_error, plain_kernel().standard_error)
    apart = (found.kernel - plain_kernel().kernel) / error
    assert np.sqrt(np.mean(apart**2)) < 2.5
    assert np.linalg.norm(error) < 0.1 * np.linalg.norm(found.kernel)


def test_sharpness_and_spectrum_are_the_same(name):
    spectrum, sharp = measures(name)
    wanted_spectrum, wanted = measures("plain")
    np.testing.assert_allclose(spectrum, wanted_spectrum, rtol=1e-9)
    assert sharp.value == pytest.approx(wanted.value, rel=1e-9)
    assert sharp.second_order == pytest.approx(wanted.second_order, rel=1e-9)


def test_drawn_networks_have_the_variance_of_the_kernel(name):
    model, _ = twin(name)

    @jax.jit
    def squares(key):
        params = model.init(key, (3,))
        features, output = model.features(params, X), model.apply(params, X)
        return output**2, model.sigma_w**2 * (features**2).mean(-1) + model.sigma_b**2

    found = [squares(key) for key in jax.random.split(jax.random.key(2), 1500)]
    squared, stated = (np.asarray(part, np.float64) for part in zip(*found, strict=True))
    difference = (squared - stated).mean(1)
    assert abs(difference.mean()) < 4 * difference.std() / np.sqrt(len(found))
    assert difference.std() / np.sqrt(len(found)) < 0.1 * stated.mean()


def test_the_twins_draw_what_they_say():
    """The prior of the twins, not only their agreement: variance 1/fan-in, biases 0."""
    layers = [drawn(key) for key in jax.random.split(KEY, 200)]
    variance = np.mean([np.mean(np.square(layer[1][0])) for layer in layers])
    assert variance == pytest.approx(1 / 8, rel=0.05)
