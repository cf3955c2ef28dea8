import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from flatvol_jax.flatness._composed import composed
from flatvol_jax.flatness.fisher_rao import fisher_rao_norm

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(30, 5)), RNG.choice([-1.0, 1.0], 30)
SIZES = (5, 7, 6, 1)


def network(seed, bias):
    rng = np.random.default_rng(seed)
    return [
        (rng.normal(size=(a, b)) / np.sqrt(a), bias * rng.normal(size=b))
        for a, b in itertools.pairwise(SIZES)
    ]


def outputs(params, x=X):
    *hidden, (w, b) = params
    for v, c in hidden:
        x = jax.nn.relu(x @ v + c)
    return (x @ w + b)[:, 0]


def losses(params):
    return jax.nn.softplus(-Y * outputs(params))


def scaled(params, layer, factor):
    """The same function: outputs of a layer times a factor, of each unit or one for all."""
    params = list(params)
    (w, b), (v, c) = params[layer : layer + 2]
    factor = np.broadcast_to(factor, b.shape)
    params[layer : layer + 2] = [(w * factor, b * factor), (v / factor[:, None], c)]
    return params


@pytest.mark.parametrize("seed", [0, 1])
def test_without_biases_it_is_the_number_of_layers_times_the_output(seed):
    params = network(seed, bias=0.0)
    with jax.enable_x64(True):
        f = np.asarray(outputs(params))
    slopes = -Y / (1 + np.exp(Y * f))
    exact = 3**2 * np.mean((slopes * f) ** 2)
    found = fisher_rao_norm(losses, params)
    np.testing.assert_allclose(found.squared_norm, exact, rtol=1e-12)
    np.testing.assert_allclose(found.norm, np.sqrt(exact), rtol=1e-12)


def test_it_is_the_quadratic_form_of_the_empirical_fisher_matrix():
    params = network(2, bias=1.0)
    with jax.enable_x64(True):
        flat, unravel = jax.flatten_util.ravel_pytree(params)
        jacobian = np.asarray(jax.jit(jax.jacobian(lambda v: losses(unravel(v))))(flat))
        w = np.asarray(flat)
    found = fisher_rao_norm(losses, params)
    np.testing.assert_allclose(found.squared_norm, w @ jacobian.T @ jacobian @ w / 30, rtol=1e-12)
    spread = np.std((jacobian @ w) ** 2, ddof=1)
    np.testing.assert_allclose(found.standard_error, spread / np.sqrt(30), rtol=1e-12)


@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("per_unit", [False, True])
def test_unchanged_under_scaling_with_biases(layer, per_unit):
    params = network(3, bias=1.0)
    factor = np.exp(np.random.default_rng(4).normal(size=SIZES[layer + 1])) if per_unit else 7.0
    before, after = (fisher_rao_norm(losses, p) for p in (params, scaled(params, layer, factor)))
    np.testing.assert_allclose(after.squared_norm, before.squared_norm, rtol=1e-11)
    np.testing.assert_allclose(after.standard_error, before.standard_error, rtol=1e-11)


@pytest.mark.parametrize("x64", [False, True])
def test_float64_whatever_the_callers_setting(x64):
    with jax.enable_x64(x64):
        found = fisher_rao_norm(Partial(lambda x, w: (x @ w) ** 2, X), np.arange(5.0))
    np.testing.assert_allclose(
        found.squared_norm, np.mean(4 * (X @ np.arange(5.0)) ** 4), rtol=1e-13
    )
    assert all(isinstance(part, float) for part in found)


def test_a_composed_loss_is_taken_as_any_other():
    w = np.arange(1.0, 6.0)
    found = fisher_rao_norm(composed(lambda f: f**2, lambda w: X @ w), w)
    np.testing.assert_allclose(found.squared_norm, np.mean(4 * (X @ w) ** 4), rtol=1e-13)


def test_one_example_has_no_standard_error():
    assert np.isnan(fisher_rao_norm(lambda w: w[:1], np.ones(2)).standard_error)


@pytest.mark.parametrize(
    ("function", "params", "message"),
    [
        (jnp.sum, np.ones(3), "before their mean"),
        (lambda w: w[None], np.ones(3), "wanted the vector"),
        (lambda w: w[:0], np.ones(3), "wanted the vector"),
        (lambda w: (w, w), np.ones(3), "wanted the vector"),
        (lambda w: jnp.log(-w), np.ones(3), "losses: got 3 NaN"),
        (lambda w: w, [], "no parameters"),
        (3, np.ones(3), "wanted a function"),
    ],
)
def test_bad_input_is_named(function, params, message):
    with pytest.raises(ValueError, match=message):
        fisher_rao_norm(function, params)
