import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flatvol_jax.flatness._average_sharpness import _rises, average_sharpness

SIZES = (5, 7, 6, 1)


def network(seed):
    rng = np.random.default_rng(seed)
    return [
        (rng.normal(size=(a, b)) / np.sqrt(a), rng.normal(size=b))
        for a, b in itertools.pairwise(SIZES)
    ]


def loss(params):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 5)), rng.choice([-1.0, 1.0], 30)
    *hidden, (w, b) = params
    for v, c in hidden:
        x = jax.nn.relu(x @ v + c)
    return jnp.mean(jax.nn.softplus(-y * (x @ w + b)[:, 0]))


def scaled(params, layer, factor):
    """The same function: outputs of a layer times a factor, of each unit or one for all."""
    params = list(params)
    (w, b), (v, c) = params[layer : layer + 2]
    factor = np.broadcast_to(factor, b.shape)
    params[layer : layer + 2] = [(w * factor, b * factor), (v / factor[:, None], c)]
    return params


@pytest.mark.parametrize("adaptive", [False, True])
def test_quadratic_has_the_closed_form_and_a_calibrated_error(adaptive):
    rng = np.random.default_rng(0)
    factor, slope, w, rho = rng.normal(size=(6, 6)), rng.normal(size=6), rng.normal(size=6), 0.3
    matrix = factor @ factor.T
    exact = 0.5 * rho**2 * np.sum(np.diag(matrix) * (w**2 if adaptive else 1.0))

    def quadratic(p):
        return 0.5 * (p - w) @ matrix @ (p - w) + slope @ p

    runs = [
        average_sharpness(jax.random.key(s), quadratic, w, rho, adaptive, samples=50)
        for s in range(100)
    ]
    scores = np.array([(run.value - exact) / run.standard_error for run in runs])
    assert abs(np.mean([run.value for run in runs]) / exact - 1) < 0.05
    assert 0.8 < scores.std() < 1.3


def test_a_linear_loss_does_not_rise_at_all():
    found = average_sharpness(jax.random.key(0), lambda p: 3.0 * jnp.sum(p), np.ones(4), 0.5)
    np.testing.assert_allclose(found.rises, 0.0, atol=1e-14)
    assert found.loss == 12.0


def test_small_noise_reads_the_hessian_diagonal():
    params, rho = network(1), 1e-4
    with jax.enable_x64(True):
        flat, unravel = jax.flatten_util.ravel_pytree(params)
        diagonal = np.diag(jax.jit(jax.hessian(lambda v: loss(unravel(v))))(flat))
        exact = 0.5 * rho**2 * np.sum(diagonal * np.asarray(flat) ** 2)
    found = average_sharpness(jax.random.key(0), loss, params, rho, samples=500)
    assert abs(found.value - exact) < 4 * found.standard_error
    assert found.standard_error < 0.1 * exact


@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("per_unit", [False, True])
def test_adaptive_noise_is_unchanged_pair_by_pair_under_scaling(layer, per_unit):
    params = network(2)
    factor = np.exp(np.random.default_rng(4).normal(size=SIZES[layer + 1])) if per_unit else 7.0
    runs = [
        average_sharpness(jax.random.key(3), loss, p, 0.3, samples=10)
        for p in (params, scaled(params, layer, factor))
    ]
    np.testing.assert_allclose(runs[1].rises, runs[0].rises, rtol=1e-10)


def test_noise_of_one_size_sees_the_scaling():
    params = network(2)
    values = [
        average_sharpness(jax.random.key(3), loss, p, 0.1, adaptive=False).value
        for p in (params, scaled(params, 0, 10.0))
    ]
    assert abs(values[1] / values[0] - 1) > 0.5


def test_the_core_vmaps_over_networks_and_radii():
    members, rhos = [network(s) for s in (5, 6)], np.array([0.1, 0.2])
    key = jax.random.key(1)
    alone = [
        average_sharpness(key, loss, p, r, samples=4).rises
        for p, r in zip(members, rhos, strict=True)
    ]
    with jax.enable_x64(True):
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)
        together = jax.vmap(lambda p, r: _rises(key, jax.tree_util.Partial(loss), p, r, True, 4))(
            stacked, rhos
        )
        np.testing.assert_allclose(together, np.stack(alone), rtol=1e-10)


@pytest.mark.parametrize("x64", [False, True])
def test_float64_whatever_the_callers_setting(x64):
    with jax.enable_x64(x64):
        found = average_sharpness(jax.random.key(0), loss, network(0), 1e-3, samples=4)
    with jax.enable_x64(True):
        reference = average_sharpness(jax.random.key(0), loss, network(0), 1e-3, samples=4)
    np.testing.assert_allclose(found.rises, reference.rises, rtol=1e-12)
    assert found.rises.dtype == np.float64


BAD = {
    "not a scalar": ((lambda p: p, np.ones(3), 0.1), {}, "one scalar"),
    "NaN at the start": ((lambda p: jnp.log(-jnp.sum(p)), np.ones(3), 0.1), {}, "finite loss"),
    "no parameters": ((lambda p: 0.0, [], 0.1), {}, "no parameters"),
    "rho zero": ((jnp.sum, np.ones(3), 0.0), {}, "rho: got 0.0, wanted a finite number above 0"),
    "one pair": ((jnp.sum, np.ones(3), 0.1), {"samples": 1}, "at least 2"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named(case):
    arguments, options, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        average_sharpness(jax.random.key(0), *arguments, **options)
