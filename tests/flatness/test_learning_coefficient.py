import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.tree_util import Partial
from scipy import integrate
from scipy.special import kve, logsumexp

from flatvol_jax.flatness._learning_coefficient import learning_coefficient

KEY = jax.random.key(0)
SHORT = {
    "step_size": 0.01,
    "localization": 1.0,
    "batch_size": 5,
    "chains": 6,
    "steps": 95,
    "burn_in": 3,
}


def rows(n):
    """Data of losses that depend on their number alone."""
    return np.zeros(n)


def monomial(*exponents):
    """∏ w_i^{2k_i}, whatever the data."""
    return lambda w, _: math.prod(w[i] ** (2 * k) for i, k in enumerate(exponents))


def quadratic(curvature, w, _):
    return 0.5 * jnp.sum(curvature * w**2)


def to_mean(w, batch):
    return 0.5 * jnp.mean(jnp.sum((w - batch) ** 2, axis=-1))


def n_beta(n):
    """n β."""
    return n / np.log(n)


def exact_single(k, t, localization):
    """t E w^{2k} under exp(-t w^{2k} - γ w²/2), by quadrature in v = w t^{1/2k}."""
    gamma = localization * t ** (-1 / k)

    def density(v):
        return np.exp(-(v ** (2 * k)) - 0.5 * gamma * v**2)

    above = integrate.quad(lambda v: v ** (2 * k) * density(v), 0, 20, epsabs=0, limit=200)[0]
    return above / integrate.quad(density, 0, 20, epsabs=0, limit=200)[0]


def exact_pair(k, t, localization):
    """t E w_1² w_2^{2k}; given w_2, w_1 is normal of precision γ + 2t w_2^{2k}."""
    log_w = np.linspace(-120, 6, 400_001)
    valley = 2 * t * np.exp(2 * k * log_w)
    density = np.exp(log_w - 0.5 * localization * np.exp(2 * log_w)) / np.sqrt(
        localization + valley
    )
    return np.average(0.5 * valley / (localization + valley), weights=density)


def sgld_quadratic(curvature, t, localization, step_size, gradient_variance=0.0):
    """The exact stationary value of the discrete chain: variance ε/(1 - ρ²), ρ = 1 - εa/2."""
    a = t * np.asarray(curvature) + localization
    noise = step_size + (0.5 * step_size * t) ** 2 * gradient_variance
    return np.sum(0.5 * t * curvature * noise / (1 - (1 - 0.5 * step_size * a) ** 2))


def within(found, truth, allowance=0.0):
    """Within four standard errors and a share of the truth; the error itself below 5%."""
    assert found.standard_error < 0.05 * truth
    return abs(found.value - truth) < 4 * found.standard_error + allowance * truth


@pytest.mark.parametrize("k", [1, 2, 3])
def test_the_exact_posterior_tends_to_the_learning_coefficient(k):
    np.testing.assert_allclose(exact_single(k, 1e3, 0.0), 1 / (2 * k), rtol=1e-8)
    for exact in (exact_single, exact_pair):
        errors = [abs(exact(k, t, 1.0) - 1 / (2 * k)) for t in (1e2, 1e6, 1e30)]
        assert errors[0] > errors[1] > errors[2]
        multiplicity_two = exact is exact_pair and k == 1
        assert errors[2] < (1.1 / np.log(8e30) if multiplicity_two else 1e-6)
    # Equal exponents: Z is proportional to e^z K_0(z) / √t, z = γ²/8t.
    z = 1.0 / 800
    np.testing.assert_allclose(exact_pair(1, 1e2, 1.0), 0.5 - z * (kve(1, z) / kve(0, z) - 1))


@pytest.mark.parametrize("k", [1, 2, 3])
def test_one_singular_parameter_has_one_over_two_k(k):
    n = 1000
    step_size = 0.01 * n_beta(n) ** (-1 / k)  # the posterior's width squared, over a hundred
    found = learning_coefficient(
        KEY,
        monomial(k),
        np.zeros(1),
        rows(n),
        step_size,
        localization=0.0,
        chains=64,
        steps=20_000,
        burn_in=2000,
        thin=20,
    )
    assert found.status == "ok"
    assert within(found, 1 / (2 * k), allowance=0.02)


@pytest.mark.parametrize("k", [1, 3])
def test_a_valley_of_two_parameters_against_quadrature(k):
    n, localization = 1000, 10.0
    found = learning_coefficient(
        KEY,
        monomial(1, k),
        np.zeros(2),
        rows(n),
        5e-4,
        localization,
        chains=128,
        steps=20_000,
        burn_in=4000,
        thin=20,
    )
    assert found.status == "ok"
    assert within(found, exact_pair(k, n_beta(n), localization), allowance=0.02)


@pytest.mark.parametrize("share", [0.02, 1.0])
def test_a_regular_model_has_half_its_parameters_and_the_known_bias(share):
    n, curvature = 500, np.geomspace(0.5, 2.0, 10)
    step_size = share / (2.0 * n_beta(n))
    found = learning_coefficient(
        KEY,
        Partial(quadratic, curvature),
        np.zeros(10),
        rows(n),
        step_size,
        localization=1.0,
        chains=32,
        steps=8000,
        burn_in=2000,
    )
    exact = sgld_quadratic(curvature, n_beta(n), 1.0, step_size)
    assert within(found, exact)
    bias = exact - 0.5 * np.sum(n_beta(n) * curvature / (n_beta(n) * curvature + 1.0))
    np.testing.assert_allclose(found.step_bias, bias, rtol=0.05)
    # The bias falls with the step, and so far from small is the larger step's that it shows.
    assert (abs(found.value - 5.0) < 0.03 * 5) == (share < 1)
    assert found.status == ("ok" if share < 1 else "step too large")
    assert found.gradient_norm == 0.0
    assert found.loss == 0.0


@pytest.mark.parametrize("batch_size", [4, None])
def test_minibatches_add_the_variance_of_their_gradient(batch_size):
    data = np.random.default_rng(0).normal(size=(200, 3))
    step_size, t = 0.1 / n_beta(200), n_beta(200)
    found = learning_coefficient(
        KEY,
        to_mean,
        data.mean(axis=0),
        data,
        step_size,
        localization=2.0,
        batch_size=batch_size,
        chains=32,
        steps=10_000,
        burn_in=500,
        thin=5,
    )
    variance = data.var(axis=0) / batch_size if batch_size else 0.0
    exact = sgld_quadratic(np.ones(3), t, 2.0, step_size, variance)
    assert within(found, exact)
    assert found.gradient_norm < 1e-12
    bias = exact - 1.5 * t / (t + 2.0)
    np.testing.assert_allclose(found.step_bias, bias, rtol=0.1)
    assert (bias < 0.03 * exact) == (batch_size is None)


def test_parameters_may_be_any_pytree_and_the_temperature_may_be_given():
    data = {"x": np.linspace(-1, 1, 50), "y": np.linspace(-1, 1, 50) ** 2}
    x, y = data["x"], data["y"]
    slope, offset = np.polyfit(x, y, 1)

    def loss(params, batch):
        return 0.5 * jnp.mean((params["w"] * batch["x"] + params["b"][0] - batch["y"]) ** 2)

    params = {"w": np.float32(slope), "b": np.array([offset], np.float32)}
    found = learning_coefficient(
        KEY, loss, params, data, 0.002, 1.0, inverse_temperature=2.0, chains=32, steps=5000
    )
    exact = sgld_quadratic(np.array([np.mean(x**2), 1.0]), 100.0, 1.0, 0.002)
    assert within(found, exact)
    np.testing.assert_allclose(found.loss, 0.5 * np.mean((offset - y) ** 2), rtol=1e-6)


def test_integer_labels_stay_integers():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 3)), rng.integers(0, 2, 12)

    def loss(w, batch):
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(batch[0] @ w, batch[1]))

    w = rng.normal(size=(3, 2))
    found = learning_coefficient(
        KEY, loss, w, (x.astype(np.float32), y), 1e-3, 1.0, batch_size=4, chains=2, steps=40
    )
    logits = x.astype(np.float32).astype(float) @ w
    exact = np.mean(logsumexp(logits, axis=1) - logits[np.arange(12), y])
    np.testing.assert_allclose(found.loss, exact, rtol=1e-14)


def test_the_trace_and_the_chains_are_two_means_of_the_same_losses():
    found = learning_coefficient(KEY, to_mean, np.zeros(1), np.ones((20, 1)), **SHORT)
    assert found.history.shape == (9,)
    assert found.chain_values.shape == (6,)
    value = n_beta(20) * (found.history.mean() - found.loss)
    np.testing.assert_allclose(found.value, value, rtol=1e-12)
    np.testing.assert_allclose(found.chain_values.mean(), value, rtol=1e-12)
    error = found.chain_values.std(ddof=1) / np.sqrt(6)
    np.testing.assert_allclose(found.standard_error, error, rtol=1e-12)
    np.testing.assert_allclose(found.gradient_norm, 1.0)


def test_a_saddle_is_negative():
    n, curvature = 100, np.array([1.0, -4.0])
    found = learning_coefficient(
        KEY,
        Partial(quadratic, curvature),
        np.zeros(2),
        rows(n),
        1e-3,
        localization=5 * n_beta(n),
        chains=16,
    )
    assert found.status == "negative"
    exact = sgld_quadratic(curvature, n_beta(n), 5 * n_beta(n), 1e-3)
    assert abs(found.value - exact) < 4 * found.standard_error


def test_too_large_a_step_diverges():
    found = learning_coefficient(
        KEY, Partial(quadratic, 1.0), np.zeros(2), rows(100), 5 / n_beta(100), localization=0.0
    )
    assert found.status == "diverged"
    assert np.isnan(found.value)
    assert np.isnan(found.chain_values).all()


def test_chains_that_still_rise_are_not_stationary():
    found = learning_coefficient(
        KEY,
        Partial(quadratic, 1.0),
        np.zeros(50),
        rows(100),
        0.002 / n_beta(100),
        localization=0.0,
        steps=500,
        burn_in=0,
    )
    assert found.status == "not stationary"
    assert found.value < 25


def test_the_x64_setting_changes_nothing():
    found = []
    for x64 in (False, True):
        with jax.enable_x64(x64):
            data = np.linspace(0, 1, 20)[:, None]
            found.append(learning_coefficient(KEY, to_mean, np.ones(1), data, **SHORT))
    np.testing.assert_array_equal(found[0].history, found[1].history)
    assert found[0].history.dtype == np.float64
    assert isinstance(found[0].value, float)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"loss": lambda w, _: w}, "loss: got"),
        ({"loss": lambda w, _: jnp.inf * jnp.sum(w)}, "wanted a finite loss"),
        ({"loss": 3.0}, "loss: got float"),
        ({"params": []}, "no parameters"),
        ({"data": (np.zeros(3), np.zeros(4))}, "leading axes [3, 4]"),
        ({"data": ()}, "leading axes []"),
        ({"data": np.float64(1.0)}, "leading axes"),
        ({"data": np.zeros(1)}, "got one example"),
        ({"data": np.array([0.0, np.inf])}, "data: got 1 NaN"),
        ({"step_size": 0.0}, "step_size: got 0.0"),
        ({"localization": -1.0}, "localization: got -1.0"),
        ({"inverse_temperature": 0.0}, "inverse_temperature: got 0.0"),
        ({"batch_size": 6}, "batch_size 6"),
        ({"batch_size": 0}, "batch_size: got 0"),
        ({"chains": 1}, "chains: got 1"),
        ({"steps": 39}, "steps: got 39"),
        ({"burn_in": -1}, "burn_in: got -1"),
        ({"thin": 0}, "thin: got 0"),
    ],
)
def test_errors_say_what_was_wrong(change, message):
    arguments = {
        "loss": Partial(quadratic, 1.0),
        "params": np.ones(2),
        "data": rows(5),
        "step_size": 0.01,
        "localization": 1.0,
        **change,
    }
    with pytest.raises(ValueError, match=re.escape(message)):
        learning_coefficient(KEY, **arguments)
