"""Hessians of known rank: zeros are counted as zeros, nothing is made of rounding errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

import flatvol_jax as fv
from flatvol_jax.flatness import hessian
from flatvol_jax.flatness._composed import composed
from flatvol_jax.flatness._relative_flatness import relative_flatness
from flatvol_jax.flatness._spectral_density import spectral_density

KEY = jax.random.key(0)


@pytest.fixture(params=["dense", "lanczos"])
def path(request, monkeypatch):
    if request.param == "lanczos":
        monkeypatch.setattr(hessian, "DENSE_UP_TO", 5)
    return request.param


def quadratic(values, seed=0):
    """½ w'Hw whose H has these eigenvalues, and its parameters."""
    size = len(values)
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))
    matrix = rotation * values @ rotation.T
    return Partial(lambda matrix, w: 0.5 * w @ matrix @ w, 0.5 * (matrix + matrix.T))


def linear_model(examples, size, seed=0):
    """Cross-entropy of a linear model at w = 0, and its positive eigenvalues by the Gram matrix."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(examples, size)), rng.choice([-1.0, 1.0], examples)
    loss = Partial(lambda x, y, w: jnp.mean(jax.nn.softplus(-y * (x @ w))), x, y)
    return loss, np.linalg.eigvalsh(0.25 * x @ x.T / examples)[::-1]


def test_twenty_digits_have_twenty_eigenvalues():
    digits = fv.data.load("mnist5k")
    x, y = digits.x[::250].reshape(20, -1), np.where(digits.y[::250] < 5, -1, 1)

    def loss(p):
        return jax.nn.softplus(-y * (x @ p["w"] + p["b"])).mean()

    found = fv.hessian_measures(KEY, loss, {"w": np.zeros(784), "b": np.zeros(())})
    rows = np.c_[x.astype(np.float64), np.ones(20)]
    exact = np.linalg.slogdet(0.25 * rows @ rows.T / 20)[1]
    np.testing.assert_allclose(found.log_product, exact, rtol=1e-9)
    assert round(exact, 2) == -13.12
    assert found.log_product_count == 20
    assert found.log_product_status == "only 20 of 50 are positive, 30 zero within rounding"
    np.testing.assert_array_equal(found.eigenvalues[20:], 0.0)


def test_a_linear_model_has_the_rank_of_its_data(path):
    loss, exact = linear_model(12, 90)
    found = fv.hessian_measures(KEY, loss, np.zeros(90), k=40)
    np.testing.assert_allclose(found.eigenvalues[:12], exact, rtol=1e-9)
    np.testing.assert_array_equal(found.eigenvalues[12:], 0.0)
    np.testing.assert_allclose(found.log_product, np.log(exact).sum(), rtol=1e-9)
    assert found.log_product_count == 12
    assert found.log_product_status == "only 12 of 40 are positive, 28 zero within rounding"
    assert found.lambda_min == 0.0
    assert found.converged
    # Fewer eigenvalues than probes: the deflated probes have nothing left.
    np.testing.assert_allclose(found.trace, exact.sum(), rtol=1e-10)
    np.testing.assert_allclose(found.frobenius_norm, np.linalg.norm(exact), rtol=1e-10)
    assert found.trace_se <= 1e-10 * exact.sum()


def test_beyond_a_thousand_parameters():
    loss, exact = linear_model(15, 1200, seed=1)
    found = fv.hessian_measures(KEY, loss, np.zeros(1200), k=30)
    np.testing.assert_allclose(found.log_product, np.log(exact).sum(), rtol=1e-9)
    assert found.log_product_count == 15
    assert found.lambda_min == 0.0


def test_negative_eigenvalues_and_zeros_are_told_apart(path):
    values = np.r_[4.0, 1.0, 2e-3, np.zeros(50), -1e-2, -3.0]
    found = fv.hessian_measures(KEY, quadratic(values), np.ones(len(values)), k=len(values))
    np.testing.assert_allclose(found.log_product, np.log(values[:3]).sum(), rtol=1e-8)
    assert found.log_product_status == "only 3 of 55 are positive, 50 zero within rounding"
    np.testing.assert_array_equal(found.eigenvalues[3:-2], 0.0)
    np.testing.assert_allclose(found.eigenvalues[-2:], values[-2:], rtol=1e-8)


def test_small_eigenvalues_are_resolved_and_counted(path):
    # Each is far below the tolerance of a residual, 1e-6 of the largest, and far above rounding.
    values = np.r_[10.0 ** -np.arange(10), np.zeros(90)]
    found = fv.hessian_measures(KEY, quadratic(values, 1), np.ones(100), k=20)
    assert found.log_product_count == 10
    np.testing.assert_allclose(found.eigenvalues[:10], values[:10], rtol=1e-4)
    np.testing.assert_allclose(found.log_product, np.log(values[:10]).sum(), rtol=1e-5)


def test_what_the_residual_does_not_tell_from_zero_is_not_counted(monkeypatch):
    monkeypatch.setattr(hessian, "DENSE_UP_TO", 5)
    monkeypatch.setattr(hessian, "_MAX_DEPTH", 40)
    # 39 Ritz values for a symmetric cluster: the 20th is close to its middle, and uncertain.
    values = np.r_[1.0, 1e-3 * np.linspace(-1, 1, 300)]
    found = fv.hessian_measures(KEY, quadratic(values, 2), np.ones(301), k=20)
    assert 0 < found.eigenvalues[-1] < found.residuals[-1]
    assert not found.converged
    assert found.log_product_count == 19
    expected = "only 19 of 20 are positive, 1 not told from zero by the residual"
    assert found.log_product_status == expected
    np.testing.assert_allclose(found.log_product, np.log(found.eigenvalues[:19]).sum())


def test_no_curvature_has_no_eigenvalues(path):
    found = fv.hessian_measures(KEY, lambda w: jnp.sum(w), np.ones(30), k=5)
    assert (found.log_product, found.log_product_count) == (0.0, 0)
    assert found.log_product_status == "only 0 of 5 are positive, 5 zero within rounding"
    assert found.spectral_norm == found.lambda_min == found.trace == 0.0


def test_the_gauss_newton_matrix_of_many_classes_has_rank_n_times_classes_less_one(path):
    rng = np.random.default_rng(2)
    x, labels = rng.normal(size=(5, 12)), rng.integers(0, 4, 5)
    params = {"w": rng.normal(size=(12, 6)), "v": rng.normal(size=(6, 4))}

    def outer(f):
        return -jnp.mean(jax.nn.log_softmax(f)[jnp.arange(5), labels])

    loss = composed(outer, lambda p: jnp.tanh(x @ p["w"]) @ p["v"])
    with jax.enable_x64(True):
        flat, unravel = jax.flatten_util.ravel_pytree(params)
        jacobian = jax.jit(jax.jacrev(lambda v: loss.inner(unravel(v)).ravel()))(flat)
        outputs = loss.inner(params).ravel()
        curvature = jax.hessian(lambda f: outer(f.reshape(5, 4)))(outputs)
        exact = np.linalg.eigvalsh(np.asarray(jacobian.T @ curvature @ jacobian))[::-1]
    found = fv.hessian_measures(KEY, loss, params, k=30, operator="gauss_newton")
    np.testing.assert_allclose(found.eigenvalues[:15], exact[:15], rtol=1e-8)
    assert found.log_product_count == 15
    np.testing.assert_allclose(found.log_product, np.log(exact[:15]).sum(), rtol=1e-8)
    values = fv.hessian_eigenvalues(KEY, loss, params, 30, operator="gauss_newton").values
    np.testing.assert_array_equal(values[15:], 0.0)


def test_shares_of_the_spectrum_count_no_zeros():
    values = np.r_[np.linspace(1, 3, 6), np.zeros(190), -1.0, -2.0, -2.5, -2.7]
    found = spectral_density(KEY, quadratic(values, 3), np.ones(200), probes=200, depth=30)
    for share, count in [(lambda n: n < 0, 4), (lambda n: n == 0, 190), (lambda n: n > 0, 6)]:
        mean, error = found.mean(share)
        assert 0 < error < 0.01
        assert abs(mean - count / 200) < 4 * error


def test_the_largest_eigenvalue_of_a_layer_that_only_bends_down_is_zero(path):
    x = np.random.default_rng(0).normal(size=(4, 8))
    weights = np.random.default_rng(1).normal(size=(8, 2))
    found = relative_flatness(KEY, lambda p: -jnp.mean((x @ p["w"]) ** 2), {"w": weights}, ("w",))
    assert found.norm_lambda_max == 0.0
    exact = -np.sum(weights**2) * np.sum(x**2) * 2 * 2 / 8
    assert abs(found.norm_trace - exact) <= 4 * found.norm_trace_se + 1e-9 * abs(exact)


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("layer", ["w", "v"])
def test_relative_flatness_of_many_classes_against_the_dense_block(layer, alone):
    rng = np.random.default_rng(4)
    x, labels = rng.normal(size=(7, 5)), rng.integers(0, 3, 7)
    params = {"w": rng.normal(size=(5, 4)), "v": rng.normal(size=(4, 3))}

    def outputs(x, p):
        return jax.nn.relu(x @ p["w"]) @ p["v"]

    def outer(f):
        return -jnp.mean(jax.nn.log_softmax(f)[jnp.arange(7), labels])

    loss = composed(outer, Partial(outputs, x))
    example = Partial(lambda x, p, i: outputs(x[i], p), x) if alone else None
    found = relative_flatness(KEY, loss, params, (layer,), "gauss_newton", example)
    exact = relative_flatness(KEY, loss, params, (layer,), "hessian")  # dense, piecewise linear
    np.testing.assert_allclose(found[:6], exact[:6], rtol=1e-9, atol=1e-12)
