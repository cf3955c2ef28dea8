"""The measures of flatness on the paper's network, 784-40-40-1 with 33,081 parameters."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.sparse.linalg import LinearOperator, eigsh

import flatvol_jax as fv
from configs.mnist_fcn import get_config
from flatvol_jax.flatness.objective import flat_loss, hessian_product
from flatvol_jax.runtime.precision import to_float64
from flatvol_jax.study.measures.flatness import measure_hessian, weight_paths
from flatvol_jax.study.measures.local_volume import measure_basin_volume
from flatvol_jax.study.measures.problem import make_problem
from flatvol_jax.study.measures.registry import MEASURES
from flatvol_jax.study.measures.trained import Trained, train_loss, train_losses
from flatvol_jax.training import TrainSettings, train_ensemble

SETTINGS = MEASURES["basin_volume"].settings


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A problem of 100 digits and the paper's network at zero error on them."""
    config = get_config("smoke").to_dict()
    problem = make_problem(config, 0, tmp_path_factory.mktemp("cache"))
    x, y = problem.train_x, problem.train_y
    trained = train_ensemble(
        jax.random.split(jax.random.key(0), 1),
        problem.spec,
        x,
        y,
        np.ones((1, len(x)), bool),
        TrainSettings(**config["hp"]["train"]),
        train_size=len(x),
    )
    params = jax.tree.map(lambda leaf: leaf[0], trained.params)
    outputs = [np.asarray(problem.spec.apply(params, part)) for part in (x, problem.test_x)]
    return problem, Trained(params, {}, *outputs, int(trained.epochs[0]))


def test_top_eigenvalues_are_those_of_an_independent_solver(network):
    problem, trained = network
    loss = train_loss(problem, {})
    with jax.enable_x64(True):
        params = to_float64(trained.params)
        size = flat_loss(loss, params)[1].size
        assert size == 33_081
        product = jax.jit(lambda loss, p, v: hessian_product(loss, p)[0](v))
        operator = LinearOperator(
            (size, size),
            matvec=lambda v: np.asarray(product(loss, params, jnp.asarray(v).ravel())),
            dtype=np.float64,
        )
        start = np.random.default_rng(0).normal(size=size)
        largest = eigsh(operator, k=20, which="LA", v0=start, return_eigenvectors=False)[::-1]
        smallest = eigsh(operator, k=1, which="SA", v0=start, return_eigenvectors=False)
    found = fv.hessian_measures(jax.random.key(0), loss, trained.params, k=20)
    assert found.converged
    np.testing.assert_allclose(found.eigenvalues, np.sort(largest)[::-1], rtol=1e-6)
    np.testing.assert_allclose(found.lambda_min, smallest[0], rtol=1e-6)
    assert found.lambda_min < 0  # a point of zero error, no minimum


def test_the_estimated_trace_is_the_exact_one_within_its_error(network):
    row = measure_hessian(*network, jax.random.key(1), MEASURES["hessian"].settings(k=10))
    exact, error = row["measure.hessian.trace.gauss_newton"], row["measure.hessian.trace.se"]
    assert 0 < error < 0.05 * exact
    assert abs(row["measure.hessian.trace"] - exact) < 4 * error


def test_both_forms_of_the_loss_agree(network):
    problem, trained = network
    signed = problem.train_y * trained.train_output.astype(np.float64)
    with jax.enable_x64(True):
        losses = np.asarray(train_losses(problem, {})(to_float64(trained.params)))
        mean = float(train_loss(problem, {})(to_float64(trained.params)))
    np.testing.assert_allclose(losses, np.logaddexp(0, -signed), rtol=1e-4)
    np.testing.assert_allclose(losses.mean(), mean, rtol=1e-12)


def test_weight_paths_are_in_order():
    assert weight_paths(fv.FCN((3, 2))) == [(f"layer_{i}", "kernel") for i in (1, 2, 3)]
    spec = fv.StaxModel(_stax_network(), "stax", 1.0, 0.0)
    with pytest.raises(ValueError, match="does not know its layers"):
        weight_paths(spec)


def _stax_network():
    stax = fv.kernels.neural_tangents().stax
    return stax.serial(stax.Dense(3), stax.Relu(), stax.Dense(1))


@pytest.mark.parametrize("criterion", ["loss", "kl"])
def test_a_wider_criterion_reaches_further_on_every_ray(network, criterion):
    named = {"criterion": criterion, "directions": 16, "preconditioner": "curvature"}
    rows = [
        measure_basin_volume(
            *network,
            jax.random.key(2),
            MEASURES["basin_volume"].settings(**named, cutoff=cutoff),
        )
        for cutoff in (1e-4, 1e-2)
    ]
    narrow, wide = (row["measure.basin_volume"] for row in rows)
    assert narrow < wide < 0
    radii = [row["measure.basin_volume.median_radius"] for row in rows]
    assert radii[0] < radii[1]


class Layerless(fv.FCN):
    def rectified_layers(self):
        return None


def test_a_basin_volume_of_unknown_layers_is_refused(network):
    problem, trained = network
    settings = SETTINGS(criterion="loss", cutoff=1.0, directions=2, preconditioner="none")
    with pytest.raises(ValueError, match="got Layerless, which does not know its rectified"):
        measure_basin_volume(
            dataclasses.replace(problem, spec=Layerless()), trained, jax.random.key(0), settings
        )


def test_preconditioned_rays_find_more_and_say_how_few_count(network):
    settings = {"criterion": "function", "cutoff": 1.0, "directions": 16}
    rows = {
        name: measure_basin_volume(
            *network,
            jax.random.key(3),
            MEASURES["basin_volume"].settings(**settings, preconditioner=name),
        )
        for name in ("none", "curvature")
    }
    plain, shaped = (rows[name]["measure.basin_volume"] for name in ("none", "curvature"))
    assert plain < shaped < 0
    assert not any(row["is.basin_volume_ok"] for row in rows.values())
    assert rows["none"]["measure.basin_volume.permutations"] == pytest.approx(220.64, abs=0.01)
