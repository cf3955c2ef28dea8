import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

import flatvol_jax as fv
from flatvol_jax import flatness
from flatvol_jax.flatness.objective import checked_objective
from flatvol_jax.flatness.worst_case import _is_stationary

METHODS = ("best", "sign", "lbfgsb")


def linear(slope, p):
    return slope @ p + 10.0


def quadratic(matrix, slope, w, p):
    return 0.5 * (p - w) @ matrix @ (p - w) + slope @ (p - w)


def quartic(p):
    return jnp.sum(p**4)


def with_a_logarithm(p):
    """Not a number at the box's lower face."""
    return 0.1 * jnp.log(p[0]) + jnp.sum(p**2) + 5.0


def two_humps(p):
    """The gradient at 0 points to the lower hump; the higher one lies behind the centre."""
    return 3 * jnp.exp(-20 * jnp.sum((p + 0.8) ** 2)) + jnp.exp(-5 * jnp.sum((p - 0.6) ** 2))


def mlp(params, x):
    (w1, b1), (w2, b2) = params
    return jnp.tanh(x @ w1 + b1) @ w2 + b2


@pytest.fixture(scope="module")
def network():
    """A small network near a minimum of its cross-entropy, and the loss at its data."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(60, 6)), jnp.float32)
    y = jnp.asarray(np.sign(rng.normal(size=60) + x[:, 0]), jnp.float32)
    params = [
        (jnp.asarray(rng.normal(size=(6, 10)) / 2, jnp.float32), jnp.zeros(10)),
        (jnp.asarray(rng.normal(size=10) / 3, jnp.float32), jnp.zeros(())),
    ]

    def loss(params):
        return jnp.mean(jax.nn.softplus(-y * mlp(params, x)))

    gradient = jax.jit(jax.grad(loss))
    for _ in range(300):
        params = jax.tree.map(lambda p, g: p - 0.3 * g, params, gradient(params))
    return loss, params


@pytest.mark.parametrize("method", METHODS)
def test_linear_loss_has_its_maximum_at_the_gradients_corner(method):
    slope, w, epsilon = np.array([3.0, -1.0, 0.5]), np.array([1.0, -4.0, 0.0]), 0.01
    found = fv.sharpness(Partial(linear, slope), w, epsilon, method=method)
    start = slope @ w + 10
    gain = epsilon * np.abs(slope) @ (np.abs(w) + 1)
    np.testing.assert_allclose(found.value, 100 * gain / (1 + start), rtol=1e-9)
    np.testing.assert_allclose(found.first_order, found.value, rtol=1e-9)
    assert abs(found.second_order) + abs(found.remainder) < 1e-8
    assert found.on_face == 1.0
    assert found.converged


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", [0, 1])
def test_convex_quadratic_against_all_corners(method, seed):
    rng = np.random.default_rng(seed)
    factor, w, epsilon = rng.normal(size=(8, 8)), rng.normal(size=8), 0.05
    matrix, slope = factor @ factor.T, rng.normal(size=8)
    box = epsilon * (np.abs(w) + 1)
    corners = box * np.array(list(itertools.product([-1, 1], repeat=8)))
    gains = 0.5 * np.einsum("ci,ij,cj->c", corners, matrix, corners) + corners @ slope
    found = fv.sharpness(Partial(quadratic, matrix, slope, w), w, epsilon, method=method)
    assert found.value <= 100 * gains.max() * (1 + 1e-12)
    if method != "lbfgsb":  # its climbs may end in another corner
        np.testing.assert_allclose(found.value, 100 * gains.max(), rtol=1e-9)
    np.testing.assert_allclose(found.first_order + found.second_order, found.value, rtol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_at_a_minimum_the_top_eigenvector_is_found_without_a_gradient(method):
    scales = np.array([1.0, 5.0, 0.1])
    loss = Partial(quadratic, np.diag(scales), np.zeros(3), np.zeros(3))
    found = fv.sharpness(loss, np.zeros(3), 0.1, method)
    np.testing.assert_allclose(found.value, 100 * 0.5 * scales.sum() * 0.01, rtol=1e-9)
    assert found.first_order == 0.0


def test_the_searches_agree_on_a_network_and_keep_their_budget(network):
    loss, params = network
    found = {m: fv.sharpness(loss, params, 1e-4, method=m) for m in METHODS}
    for method in ("sign", "lbfgsb"):
        np.testing.assert_allclose(found[method].value, found["best"].value, rtol=1e-3)
        assert found[method].value <= found["best"].value * (1 + 1e-12)
    for method, result in found.items():
        assert result.gradients <= (190 if method == "lbfgsb" else 60)  # 60 for each of its starts
        assert (np.diff(result.history) >= 0).all()
        assert result.history.max() == pytest.approx(result.max_loss, rel=1e-12)
        assert result.converged
        parts = result.first_order + result.second_order + result.remainder
        np.testing.assert_allclose(parts, result.value, rtol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_at_a_saddle_the_way_up_is_found_however_steep_the_way_down(method):
    matrix = np.diag([2.0, -20.0])
    loss = Partial(quadratic, matrix, np.zeros(2), np.zeros(2))
    found = fv.sharpness(loss, np.zeros(2), 0.1, method)
    highest = 0.5 * 2.0 * 0.01  # on the axis, inside a face of the box
    if method == "sign":  # it sees corners only, and all of them lie below
        assert found.value == 0.0
    else:
        np.testing.assert_allclose(found.value, 100 * highest, rtol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_where_the_hessian_vanishes_too_the_box_is_still_searched(method):
    found = fv.sharpness(quartic, np.zeros(2), 0.1, method)
    np.testing.assert_allclose(found.value, 100 * 2 * 0.1**4, rtol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_a_loss_that_is_not_defined_in_all_of_the_box_has_not_converged(method):
    found = fv.sharpness(with_a_logarithm, np.array([0.05, 1.0]), 0.1, method)
    assert np.isfinite(found.value)
    assert np.isfinite(found.history).all()
    assert not found.converged
    assert found.value > 1.0


@pytest.mark.parametrize("method", METHODS)
def test_a_box_with_two_humps_is_searched_on_both_sides(method):
    with jax.enable_x64(True):
        assert (jax.grad(two_humps)(jnp.zeros(2)) > 0).all()
    found = fv.sharpness(two_humps, np.zeros(2), 1.0, method)
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, 201)] * 2), -1).reshape(-1, 2)
    highest = float(jax.vmap(two_humps)(grid).max())
    if method == "sign":  # it sees corners only
        highest = float(two_humps(-np.ones(2)))
    np.testing.assert_allclose(found.max_loss, highest, rtol=2e-3)


def test_an_ensemble_has_the_values_of_its_members(network):
    loss, params = network
    members = [jax.tree.map(lambda p, s=s: p * s, params) for s in (0.5, 1.0, 1.5)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)
    together = flatness.ensemble_sharpness(loss, stacked, 1e-3)
    for i, member in enumerate(members):
        alone = fv.sharpness(loss, member, 1e-3, method="sign")
        for name in ("value", "max_loss", "loss", "first_order", "second_order", "on_face"):
            np.testing.assert_allclose(
                getattr(together, name)[i], getattr(alone, name), rtol=1e-8, err_msg=name
            )
        assert together.converged[i] == alone.converged
        np.testing.assert_allclose(together.history[i], alone.history, rtol=1e-12)


def test_batches_of_an_ensemble_are_filled_up_and_change_rounding_only(network):
    loss, params = network
    stacked = jax.tree.map(lambda p: jnp.stack([p * s for s in (0.5, 1.0, 1.5)]), params)
    whole = flatness.ensemble_sharpness(loss, stacked, 1e-3)
    batched = flatness.ensemble_sharpness(loss, stacked, 1e-3, batch_size=2)
    for name in whole._fields:
        found, wanted = getattr(batched, name), getattr(whole, name)
        assert found.shape == wanted.shape
        np.testing.assert_allclose(found, wanted, rtol=1e-8, atol=1e-10, err_msg=name)
    with pytest.raises(ValueError, match="batch_size: got 0"):
        flatness.ensemble_sharpness(loss, stacked, 1e-3, batch_size=0)


def test_random_points_of_the_box_never_lie_higher(network):
    loss, params = network
    epsilon, found = 1e-2, fv.sharpness(*network, 1e-2)
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    box = epsilon * (np.abs(flat) + 1)
    moves = np.random.default_rng(0).choice([-1, 1], size=(500, len(flat)))
    losses = jax.vmap(lambda move: loss(unravel(flat + box * move)))(moves)
    assert losses.max() <= found.max_loss


def test_bound_data_share_one_program_and_change_the_value():
    traces = []

    def loss(x, params):
        traces.append(1)
        return jnp.mean((x @ params) ** 2)

    values = [
        fv.sharpness(Partial(loss, jnp.full((3, 2), s)), np.ones(2), 0.1, method="sign").value
        for s in (1.0, 2.0)
    ]
    first = len(traces)
    fv.sharpness(Partial(loss, jnp.full((3, 2), 3.0)), np.ones(2), 0.1, method="sign")
    assert values[0] != values[1]
    assert len(traces) == first  # the check of the shape and precision is of the same trace


@pytest.mark.parametrize("x64", [False, True])
def test_float64_whatever_the_callers_setting(network, x64):
    with jax.enable_x64(x64):
        found = fv.sharpness(*network, 1e-4, method="sign")
    reference = fv.sharpness(*network, 1e-4, method="sign")
    np.testing.assert_allclose(found.value, reference.value, rtol=1e-5)
    assert isinstance(found.value, float)


BAD = {
    "not a scalar": ((lambda p: p, np.ones(3), 0.1), {}, "one scalar"),
    "NaN at the start": ((lambda p: jnp.log(-jnp.sum(p)), np.ones(3), 0.1), {}, "finite loss"),
    "NaN parameters": ((jnp.sum, np.full(3, np.nan), 0.1), {}, "NaN"),
    "no parameters": ((lambda p: 0.0, [], 0.1), {}, "no parameters"),
    "epsilon zero": ((jnp.sum, np.ones(3), 0.0), {}, "above 0"),
    "unknown method": ((jnp.sum, np.ones(3), 0.1), {"method": "sgin"}, "Did you mean 'sign'"),
    "a loss of -1": ((lambda p: jnp.sum(p) - 4.0, np.ones(3), 0.1), {}, "more than -1"),
    "no function": ((3, np.ones(3), 0.1), {}, "wanted a function"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named(case):
    arguments, options, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        fv.sharpness(*arguments, **options)


@pytest.mark.parametrize("norm", ["inf", "2"])
@pytest.mark.parametrize(("short", "stationary"), [(0.0, True), (5e-4, True), (2e-3, False)])
def test_a_point_is_stationary_where_a_linear_maximum_adds_little(norm, short, stationary):
    """Of a linear loss, (1 - short) of the way to the maximum the gap is short / (1 - short)."""
    slope, scale = np.array([2.0, -1.0, 0.5]), np.array([0.1, 0.3, 0.2])
    best = np.sign(slope) if norm == "inf" else slope * scale / np.linalg.norm(slope * scale)
    loss = Partial(quadratic, np.zeros((3, 3)), slope, np.zeros(3))
    with jax.enable_x64(True):
        objective = checked_objective(loss, np.zeros(3))
        delta = jnp.asarray((1 - short) * scale * best)
        assert _is_stationary(objective, jnp.asarray(scale), delta, norm) is stationary
