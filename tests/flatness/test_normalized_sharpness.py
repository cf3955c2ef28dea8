import numpy as np
import pytest
from scipy import optimize

from flatvol_jax.flatness._gauss_newton_diagonal import gauss_newton_diagonal
from flatvol_jax.flatness._normalized_sharpness import normalized_sharpness

LAYERS = [(f"layer_{i}", "kernel") for i in range(3)]


@pytest.fixture(scope="module")
def dead_unit(relu):
    """A network with a dead unit in its first layer; its input 3 is always dark."""

    def params(seed):
        params = relu.params(seed)
        params["layer_0"]["bias"][2] = -1e3
        return params

    return params


def measure(relu, params):
    return normalized_sharpness(gauss_newton_diagonal(relu.loss, params), params, LAYERS)


def of_matrix(h, weights, **options):
    return normalized_sharpness({"w": h}, {"w": weights}, [("w",)], **options)


def direct_minimum(h, v):
    """scipy on the logarithms; infima that are not attained it approaches."""
    rows, columns = h.shape

    def objective(z):
        t = np.exp(z[:rows, None] + z[rows:])
        slope = h * t - v / t
        return np.sum(h * t + v / t), np.concatenate([slope.sum(axis=1), slope.sum(axis=0)])

    start = np.zeros(rows + columns)
    options = {"maxiter": 10_000, "maxfun": 100_000, "ftol": 1e-16, "gtol": 1e-12}
    return optimize.minimize(objective, start, jac=True, method="L-BFGS-B", options=options).fun


@pytest.mark.parametrize(("h", "w"), [(3.0, -2.0), (1e-40, 5.0), (1e40, 1e-30)])
def test_one_weight_has_twice_the_geometric_mean(h, w):
    found = of_matrix(np.full((1, 1), h), np.full((1, 1), w))
    np.testing.assert_allclose(found.value, 2 * np.sqrt(h) * abs(w), rtol=1e-13)
    assert found.converged


def test_rank_one_structure_attains_the_bound_of_every_entry():
    rng = np.random.default_rng(0)
    row, column = np.exp(rng.normal(size=(4, 1))), np.exp(rng.normal(size=3))
    v = np.exp(rng.normal(size=(4, 3)))
    h = v * row * column  # h / v of rank one: all terms are balanced at once
    found = of_matrix(h, np.sqrt(v))
    np.testing.assert_allclose(found.value, 2 * np.sqrt(h * v).sum(), rtol=1e-12)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shape", [(1, 4), (6, 3), (5, 8)])
def test_against_a_direct_minimisation(seed, shape):
    rng = np.random.default_rng(seed)
    h, w = np.exp(2 * rng.normal(size=shape)), rng.normal(size=shape)
    found = of_matrix(h, w)
    np.testing.assert_allclose(found.value, direct_minimum(h, w**2), rtol=1e-9)
    assert found.converged
    assert found.residuals.max() <= 1e-8
    # No minimum lies below the sum of the entries' own minima.
    assert found.value >= 2 * np.sqrt(h * w**2).sum()


def test_the_residual_is_the_gradient_in_the_logarithms():
    rng = np.random.default_rng(7)
    h, w = np.exp(2 * rng.normal(size=(5, 4))), rng.normal(size=(5, 4))
    found = of_matrix(h, w, max_iterations=1)
    # The first iteration sets the rows for σ' = 1, in units of the largest entries.
    v, h = w**2 / (w**2).max(), h / h.max()
    a = np.sqrt(v.sum(axis=1) / h.sum(axis=1))[:, None]
    gap, total = h * a - v / a, np.sum(h * a + v / a)
    residual = np.abs(gap.sum(axis=0)).sum() / total
    np.testing.assert_allclose(found.residuals, residual, rtol=1e-12)
    assert np.abs(gap.sum(axis=1)).sum() < 1e-13 * total
    assert found.iterations == [1]
    assert not found.converged


@pytest.mark.parametrize(
    ("h", "w", "value"),
    [
        # An input without curvature, an output without weights, both, and nothing at all.
        ([[0.0, 0.0], [4.0, 1.0]], [[5.0, 6.0], [1.0, 2.0]], 8.0),
        ([[4.0, 9.0], [4.0, 9.0]], [[1.0, 0.0], [2.0, 0.0]], 12.0),
        ([[0.0, 0.0], [4.0, 1.0]], [[5.0, 6.0], [1.0, 0.0]], 4.0),
        ([[0.0, 0.0], [0.0, 0.0]], [[5.0, 6.0], [1.0, 2.0]], 0.0),
        # No row or column of zeros, yet the entry above the diagonal can go to 0 alone.
        ([[1.0, 9.0], [0.0, 4.0]], [[1.0, 0.0], [0.0, 1.0]], 6.0),
        # A chain: dropping the first input leaves the second without curvature.
        ([[0.0, 0.0], [1.0, 0.0]], [[1.0, 1.0], [1.0, 1.0]], 2.0),
        # Blocks that share nothing.
        ([[1.0, 0.0], [0.0, 4.0]], [[1.0, 0.0], [0.0, 1.0]], 6.0),
    ],
)
def test_terms_that_vanish_at_the_infimum_do_not_count(h, w, value):
    found = of_matrix(np.array(h), np.array(w))
    np.testing.assert_allclose(found.value, value, rtol=1e-12)
    assert found.converged


@pytest.mark.parametrize("seed", range(20))
def test_random_patterns_of_zeros_against_a_direct_minimisation(seed):
    rng = np.random.default_rng(seed)
    h, w = (np.exp(rng.normal(size=(5, 4))) * (rng.random((5, 4)) < 0.5) for _ in range(2))
    found = of_matrix(h, w)
    direct = direct_minimum(h, w**2)
    # The direct search comes down towards an infimum that it cannot attain.
    assert found.value <= direct * (1 + 1e-9) + 1e-9
    np.testing.assert_allclose(direct, found.value, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("per_unit", [False, True])
def test_unchanged_under_scaling(relu, dead_unit, layer, per_unit):
    params, units = dead_unit(3), relu.sizes[layer + 1]
    factor = np.exp(np.random.default_rng(4).normal(size=units)) if per_unit else 7.0
    found, reference = (measure(relu, p) for p in (relu.scaled(params, layer, factor), params))
    np.testing.assert_allclose(found.layers, reference.layers, rtol=1e-10)
    np.testing.assert_allclose(found.value, reference.layers.sum(), rtol=1e-10)
    assert reference.layers.min() > 0


def test_dead_units_and_dark_pixels_can_have_any_weights(relu, dead_unit):
    params, moved = dead_unit(5), dead_unit(5)
    moved["layer_0"]["kernel"][3] = 100.0
    moved["layer_0"]["kernel"][:, 2] = 1e-3
    moved["layer_1"]["kernel"][2] = -50.0
    np.testing.assert_allclose(
        measure(relu, moved).layers, measure(relu, params).layers, rtol=1e-10
    )


def test_a_convolution_is_a_matrix_of_patches_by_channels():
    rng = np.random.default_rng(0)
    h, w = np.exp(rng.normal(size=(3, 3, 2, 4))), rng.normal(size=(3, 3, 2, 4))
    flat = of_matrix(h.reshape(18, 4), w.reshape(18, 4))
    assert of_matrix(h, w).value == flat.value


@pytest.mark.parametrize(
    ("diagonal", "layers", "options", "message"),
    [
        ({"w": np.ones((2, 2))}, [("v",)], {}, r"one of \('w',\)"),
        ({"w": np.ones((2, 2))}, [("w",), ("w",)], {}, "different weight matrices"),
        ({"w": np.ones((2, 2))}, [], {}, "different weight matrices"),
        ({"v": np.ones((2, 2))}, [("w",)], {}, r"diagonal: got \('w',\).* one of \('v',\)"),
        ({"w": np.ones((2, 3))}, [("w",)], {}, r"wanted that of params there, \(2, 2\)"),
        ({"w": -np.ones((2, 2))}, [("w",)], {}, "try gauss_newton_diagonal"),
        ({"w": np.full((2, 2), np.nan)}, [("w",)], {}, "diagonal: got 4 NaN"),
        ({"w": np.ones((2, 2))}, [("w",)], {"tolerance": 0.0}, "tolerance: got 0.0"),
        ({"w": np.ones((2, 2))}, [("w",)], {"max_iterations": 0}, "max_iterations: got 0"),
    ],
)
def test_bad_input_is_named(diagonal, layers, options, message):
    with pytest.raises(ValueError, match=message):
        normalized_sharpness(diagonal, {"w": np.ones((2, 2))}, layers, **options)
