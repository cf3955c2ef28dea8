"""Measures of a network of C classes: dense curvature, formulas, the null, two outputs as one."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath
from jax.flatten_util import ravel_pytree

import flatvol_jax as fv
from flatvol_jax.flatness import (
    fisher_rao_norm,
    gauss_newton_diagonal,
    normalized_sharpness,
    relative_flatness,
)
from flatvol_jax.flatness.objective import flat_loss
from flatvol_jax.runtime.precision import to_float64
from flatvol_jax.study.measures import volume
from flatvol_jax.study.measures.flatness import weight_paths
from flatvol_jax.study.measures.local_volume import _divergence_below, _same_labels
from flatvol_jax.study.measures.problem import Problem
from flatvol_jax.study.measures.registry import MEASURES
from flatvol_jax.study.measures.trained import Trained, train_loss, train_losses

CLASSES, KEY = 3, jax.random.key(0)
RNG = np.random.default_rng(0)
TRAIN, TEST = (RNG.normal(size=(n, 3)).astype(np.float32) for n in (20, 16))
SETTINGS = {
    "links": ("heaviside",),
    "estimator": "ep_corrected",
    "tolerance": 1e-12,  # nats, of EP; its correction is not stationary there
    "particles": 8,
    "replicates": 4,
}


def problem_of(spec, labels):
    train, test = labels(TRAIN), labels(TEST)
    return Problem(
        spec, TRAIN, train, TRAIN[:0], train[:0], TEST, test, TEST[:0], test[:0], None,
        KEY, {}, epath.Path("unused"),
    )  # fmt: skip


def network_of(problem, params):
    outputs = [np.asarray(problem.spec.apply(params, x)) for x in (TRAIN, TEST)]
    return Trained(params, {}, *outputs, 7)


@pytest.fixture(scope="module")
def network():
    """Any parameters: no measure asks for a minimum."""
    spec = fv.FCN((5,), outputs=CLASSES)
    problem = problem_of(spec, lambda x: np.argmax(x, axis=1).astype(np.int32))
    kernel = fv.nngp_kernel(spec, np.concatenate([TRAIN, TEST]))
    vars(problem)["kernel"] = kernel  # not to be written to a cache
    return problem, network_of(problem, spec.init(KEY, (3,)))


def softmax(outputs):
    shares = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


def test_curvature_is_that_of_the_dense_matrices(network):
    problem, trained = network
    loss = train_loss(problem, {})
    with jax.enable_x64(True):
        params = to_float64(trained.params)
        function, vector = flat_loss(loss, params)
        hessian = np.asarray(jax.jit(jax.hessian(function))(vector))
        step = 1e-5 * RNG.normal(size=vector.size)
        slopes = [np.asarray(jax.grad(function)(vector + sign * step)) for sign in (1, -1)]
        np.testing.assert_allclose((slopes[0] - slopes[1]) / 2, hessian @ step, atol=1e-9)
        _, unravel = ravel_pytree(params)
        jacobian = np.asarray(
            jax.jacrev(lambda v: problem.spec.apply(unravel(v), TRAIN.astype(np.float64)))(vector)
        )
    found = MEASURES["hessian"].measured(problem, trained, KEY, {"k": 6})
    values = np.linalg.eigvalsh(hessian)
    np.testing.assert_allclose(found["measure.hessian.eigenvalues"], values[::-1][:6], atol=1e-8)
    np.testing.assert_allclose(found["measure.hessian.lambda_min"], values[0], atol=1e-8)
    shares = softmax(trained.train_output.astype(np.float64))
    curvature = np.einsum("nc,cd->ncd", shares, np.eye(CLASSES)) - np.einsum(
        "nc,nd->ncd", shares, shares
    )
    matrix = np.einsum("ncp,ncd,ndq->pq", jacobian, curvature, jacobian) / len(TRAIN)
    diagonal = gauss_newton_diagonal(loss, trained.params)
    diagonal = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(diagonal)])
    np.testing.assert_allclose(diagonal, np.diagonal(matrix), rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(diagonal.sum(), np.trace(hessian), rtol=1e-5)
    weights = np.asarray(trained.params["layer_1"]["kernel"], np.float64)
    block = matrix[5:20, 5:20].reshape(3, 5, 3, 5)  # behind the five biases
    layer = relative_flatness(
        KEY, loss, trained.params, ("layer_1", "kernel"), operator="gauss_newton"
    )
    kappa = np.einsum("isit,st->", block, weights.T @ weights)
    np.testing.assert_allclose(layer.value, kappa, rtol=1e-5)
    norm_trace = np.sum(weights**2) * np.einsum("isis->", block)
    np.testing.assert_allclose(layer.norm_trace, norm_trace, rtol=1e-5)
    wrong = shares - np.eye(CLASSES)[problem.train_y]
    along = np.einsum("nc,ncp,p->n", wrong, jacobian, np.asarray(vector))
    squared = fisher_rao_norm(train_losses(problem, {}), trained.params).squared_norm
    np.testing.assert_allclose(squared, np.mean(along**2), rtol=1e-5)


def test_a_rescaled_layer_leaves_outputs_and_normalised_sharpness(network):
    problem, trained = network
    loss, paths, found = train_loss(problem, {}), weight_paths(problem.spec), []
    scaled = fv.alpha_scale(problem.spec, trained.params, 1, 4.0)
    np.testing.assert_array_equal(problem.spec.apply(scaled, TRAIN), trained.train_output)
    for params in (trained.params, scaled):
        diagonal = gauss_newton_diagonal(loss, params)
        found.append(normalized_sharpness(diagonal, params, paths).value)
    assert found[1] == pytest.approx(found[0], rel=1e-9)


def test_baselines_are_those_of_the_formulas(network):
    problem, trained = network
    row = MEASURES["baselines"].measured(problem, trained, KEY, {})
    m, kernel = len(TRAIN), problem.kernel
    one_hot = np.eye(CLASSES)[problem.train_y]
    mean = kernel[m:, :m] @ np.linalg.solve(kernel[:m, :m], one_hot)
    answers = np.argmax(trained.test_output, axis=1)
    assert row["measure.baseline.gp_disagreement"] == np.mean(answers != mean.argmax(axis=1))
    nearest = problem.train_y[[np.argmin(((TRAIN - x) ** 2).sum(axis=1)) for x in TEST]]
    assert row["measure.baseline.nn_disagreement"] == np.mean(answers != nearest)
    lead = [
        outputs[y] - max(np.delete(outputs, y))
        for outputs, y in zip(trained.train_output.astype(float), problem.train_y, strict=True)
    ]
    assert row["measure.baseline.margin"] == pytest.approx(min(lead) / np.mean(np.abs(lead)))
    corners = np.sqrt(1.5) * (np.eye(CLASSES)[trained.labels] - 1 / CLASSES)
    norm = np.trace(corners.T @ np.linalg.solve(kernel, corners))
    assert row["measure.baseline.label_norm"] == pytest.approx(norm)


def test_volume_and_bound_are_of_the_argmax_labels(network):
    problem, trained = network
    row = MEASURES["log_volume"].measured(problem, trained, KEY, SETTINGS)
    wanted = fv.log_volume(
        problem.kernel,
        trained.labels,
        method="ep_corrected",
        classes=CLASSES,
        start=problem.true_cavities("heaviside"),  # the correction moves by 1e-5 with the start
        tolerance=SETTINGS["tolerance"],
    )
    assert row["measure.log_volume.heaviside"] == pytest.approx(wanted.ep, abs=1e-5)
    assert row["measure.log_volume.heaviside.corrected"] == pytest.approx(
        wanted.corrected, abs=1e-5
    )
    bound = (-row["measure.log_volume.heaviside"] + np.log(20)) / len(TRAIN)
    assert row["measure.bound.printed"] == pytest.approx(bound)
    assert row["is.ep_converged"]


def test_the_null_has_as_many_errors_elsewhere_of_the_other_classes(network, monkeypatch):
    problem, trained = network
    asked = []

    def looked_at(kernel, labels, **options):
        asked.append(labels)
        return fv.log_volume(kernel, labels, **options)

    monkeypatch.setattr(volume, "log_volume", looked_at)
    row = MEASURES["log_volume_null"].measured(problem, trained, KEY, {})
    (labels,) = asked
    np.testing.assert_array_equal(labels[: len(TRAIN)], problem.train_y)
    moved = labels[len(TRAIN) :] != problem.test_y
    wrong = np.argmax(trained.test_output, axis=1) != problem.test_y
    assert moved.sum() == wrong.sum() > 3
    assert (moved != wrong).any()
    assert np.isin(labels, range(CLASSES)).all()
    assert row["measure.log_volume_null.heaviside"] < 0


def test_a_region_around_it_is_of_the_argmax_or_of_the_softmax(network):
    problem, trained = network
    moved = jax.tree.map(lambda w: w + 0.05, trained.params)
    before, after = (np.asarray(problem.spec.apply(p, TRAIN)) for p in (trained.params, moved))
    p, q = (softmax(outputs.astype(np.float64)) for outputs in (before, after))
    divergence = np.mean(np.sum(p * np.log(p / q), axis=1))
    below = _divergence_below(problem.spec)
    for factor, inside in ((1.001, True), (0.999, False)):
        with jax.enable_x64(True):
            found = below(TRAIN, {}, before, factor * divergence, to_float64(moved))
        assert bool(found) == inside
    same = _same_labels(problem.spec)
    for outputs in (after, np.roll(after, 1, axis=1)):
        inside = (outputs.argmax(axis=1) == after.argmax(axis=1)).all()
        assert bool(same(TRAIN, {}, outputs.argmax(axis=1), moved)) == inside


def test_two_outputs_are_one_output_of_their_difference():
    """f_1 = g/2 and f_0 = -g/2: each measure of outputs, functions and losses is the binary one."""
    one = problem_of(fv.FCN((5,)), lambda x: np.where(x[:, 0] > 0, 1, -1).astype(np.int8))
    two = problem_of(fv.FCN((5,), outputs=2), lambda x: (x[:, 0] > 0).astype(np.int32))
    kernel = fv.nngp_kernel(one.spec, np.concatenate([TRAIN, TEST]))
    params = one.spec.init(KEY, (3,))
    halves = {**params, "layer_2": jax.tree.map(
        lambda w: jnp.concatenate([-w / 2, w / 2], axis=-1), params["layer_2"]
    )}  # fmt: skip
    rows = []
    for problem, network in ((one, params), (two, halves)):
        problem = dataclasses.replace(problem)
        vars(problem)["kernel"] = kernel
        trained = network_of(problem, network)
        row = MEASURES["log_volume"].measured(problem, trained, KEY, SETTINGS)
        row |= MEASURES["log_volume_null"].measured(problem, trained, KEY, {})
        row |= MEASURES["baselines"].measured(problem, trained, KEY, {})
        row["loss"] = float(train_loss(problem, {})(network))
        row["fisher"] = fisher_rao_norm(train_losses(problem, {}), network).squared_norm
        # Not of the function: the weights, and how near EP came to its fixed point.
        del row["measure.baseline.parameter_norm"]
        del row["measure.log_volume_null.heaviside.residual"]
        rows.append(
            {name: float(value) for name, value in row.items() if not isinstance(value, str)}
        )
    assert rows[1] == pytest.approx(rows[0], rel=1e-5)
