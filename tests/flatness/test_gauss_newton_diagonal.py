import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from flatvol_jax.flatness._composed import composed
from flatvol_jax.flatness._gauss_newton_diagonal import gauss_newton_diagonal

# The package names the function of the same name.
module = importlib.import_module("flatvol_jax.flatness._gauss_newton_diagonal")


@pytest.fixture(scope="module")
def diagonal(relu):
    return gauss_newton_diagonal(relu.loss, relu.params(0))


def assert_trees_close(found, exact, **tolerance):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), found, exact)


def test_it_is_that_of_the_hessian_of_a_relu_network(relu, diagonal):
    with jax.enable_x64(True):
        _, unravel = jax.flatten_util.ravel_pytree(relu.params(0))
        exact = unravel(np.diag(relu.hessian))
    assert_trees_close(diagonal, exact, rtol=1e-10, atol=1e-16)
    assert diagonal["layer_0"]["kernel"].dtype == np.float64


@pytest.mark.parametrize(
    ("alone", "entries"), [(False, 1), (False, 700), (True, 700), (True, 2**22)]
)
def test_blocks_and_single_examples_change_nothing(relu, diagonal, alone, entries, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK_ENTRIES", entries)
    module._diagonal.clear_cache()
    found = gauss_newton_diagonal(relu.loss, relu.params(0), relu.example if alone else None)
    assert_trees_close(found, diagonal, rtol=1e-12, atol=1e-18)


def class_outputs(x, p):
    return jax.nn.relu(x @ p["w"] + p["b"]) @ p["v"]


def softmax_loss(labels, f):
    return -jnp.mean(jax.nn.log_softmax(f)[jnp.arange(len(labels)), labels])


@pytest.fixture(scope="module")
def classifier():
    """Loss, parameters and the output of one example of a network of four classes."""
    rng = np.random.default_rng(3)
    x, labels = rng.normal(size=(11, 5)), rng.integers(0, 4, 11)
    params = {
        "w": rng.normal(size=(5, 6)) / 2,
        "b": rng.normal(size=6) / 2,
        "v": rng.normal(size=(6, 4)) / 2,
    }
    loss = composed(Partial(softmax_loss, labels), Partial(class_outputs, x))
    return loss, params, Partial(lambda x, p, i: class_outputs(x[i], p), x)


def dense_matrix(loss, params):
    """J'(∇²outer)J by Jacobian and Hessian of JAX, written out."""
    with jax.enable_x64(True):
        flat, unravel = jax.flatten_util.ravel_pytree(params)
        shape = np.shape(loss.inner(params))
        jacobian = jax.jit(jax.jacrev(lambda v: loss.inner(unravel(v)).ravel()))(flat)
        curvature = jax.hessian(lambda f: loss.outer(f.reshape(shape)))(loss.inner(params).ravel())
        matrix = np.asarray(jacobian.T @ curvature @ jacobian)
        return matrix, jax.tree.map(np.asarray, unravel(np.diag(matrix)))


@pytest.mark.parametrize("alone", [False, True])
def test_many_classes_against_the_dense_matrix(classifier, alone):
    loss, params, example = classifier
    found = gauss_newton_diagonal(loss, params, example if alone else None)
    assert_trees_close(found, dense_matrix(loss, params)[1], rtol=1e-11, atol=1e-16)


def test_outputs_of_one_column_are_a_vector():
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(9, 3)), rng.normal(size=(3, 1))
    column = composed(lambda f: jnp.mean(jax.nn.softplus(f)), lambda w: x @ w)
    vector = composed(lambda f: jnp.mean(jax.nn.softplus(f)), lambda w: (x @ w)[:, 0])
    found, exact = gauss_newton_diagonal(column, w), gauss_newton_diagonal(vector, w)
    np.testing.assert_allclose(found, exact, rtol=1e-12)


def test_negative_curvatures_of_many_outputs_keep_their_sign():
    # outer couples two outputs of an example: ∇²outer = [[0, 1], [1, 0]] / n, of eigenvalues ±1/n.
    x, w = np.array([[1.0, 2.0], [3.0, 5.0]]), np.array([0.5, -1.0])
    loss = composed(lambda f: jnp.mean(f[:, 0] * f[:, 1]), lambda w: x * w)
    np.testing.assert_array_equal(gauss_newton_diagonal(loss, w), 0.0)
    opposed = composed(lambda f: -jnp.mean(f[:, 0] * f[:, 1]), lambda w: jnp.stack([x @ w] * 2, 1))
    np.testing.assert_allclose(gauss_newton_diagonal(opposed, w), -np.sum(x**2, 0), rtol=1e-14)


def test_certain_answers_leave_no_negative_diagonal():
    # Digits that are certain to all but 1e-20 beside one that is not.
    rng = np.random.default_rng(1)
    x, labels = rng.normal(size=(8, 3)), rng.integers(0, 3, 8)
    x[0] /= 300
    loss = composed(Partial(softmax_loss, labels), lambda w: x @ w)
    for scale in (1.0, 30.0, 300.0):
        assert (gauss_newton_diagonal(loss, scale * rng.normal(size=(3, 3))) >= 0).all()


def test_examples_that_are_coupled_are_named():
    loss = composed(lambda f: jnp.sum(f.sum(0) ** 2), lambda w: jnp.outer(w, w))
    with pytest.raises(ValueError, match="not diagonal by examples"):
        gauss_newton_diagonal(loss, np.arange(1.0, 4.0))


@pytest.mark.parametrize(
    ("loss", "example", "message"),
    [
        (jnp.sum, None, "wanted flatness.composed"),
        (composed(jnp.sum, lambda w: w[None, None]), None, r"vector of outputs, \(n,\)"),
        (composed(lambda f: jnp.sum(f) ** 2, lambda w: w), None, "not diagonal"),
        (composed(lambda f: jnp.sum(jnp.abs(f - 1.0) ** 1.5), lambda w: w), None, "NaN or inf"),
        (composed(lambda f: f, lambda w: w), None, "one scalar"),
        (composed(lambda f: jnp.sum(f**2), lambda w: w), lambda w, i: w[0], "example"),
    ],
)
def test_a_loss_without_a_gauss_newton_matrix_is_named(loss, example, message):
    with pytest.raises(ValueError, match=message):
        gauss_newton_diagonal(loss, np.arange(1.0, 4.0), example)
