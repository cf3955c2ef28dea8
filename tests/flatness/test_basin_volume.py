import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from scipy import stats
from scipy.special import gammaln

from flatvol_jax.flatness._basin_volume import (
    Preconditioner,
    basin_volume,
    log_permutations,
)

KEY = jax.random.key(0)


def in_ball(centre, radius, w):
    return jnp.sum((w - centre) ** 2) < radius**2


def in_ellipsoid(centre, matrix, w):
    return (w - centre) @ matrix @ (w - centre) < 1.0


def everywhere(w):
    return jnp.all(w == w)


def agrees(found, log_truth):
    """Within four standard errors, which must say something."""
    assert found.standard_error < 0.3
    return abs(found.log_volume - log_truth) < 4 * found.standard_error


def small_ellipsoid(size, spectrum, seed=0):
    """An ellipsoid far smaller than the prior: centre, matrix, eigenvectors, log probability."""
    rng = np.random.default_rng(seed)
    vectors = np.linalg.qr(rng.normal(size=(size, size)))[0].T
    centre = rng.normal(size=size)
    log_ball = 0.5 * size * np.log(np.pi) - gammaln(0.5 * size + 1)
    log_density = stats.norm.logpdf(centre).sum()
    log_truth = log_density + log_ball - 0.5 * np.log(spectrum).sum()
    return centre, (vectors.T * spectrum) @ vectors, vectors, log_truth


@pytest.mark.parametrize("size", [1, 50])
def test_centred_ball_is_exact_in_every_direction(size):
    found = basin_volume(
        KEY, Partial(in_ball, np.zeros(size), np.sqrt(size)), np.zeros(size), 1.0, directions=16
    )
    truth = stats.chi2.logcdf(size, size)
    assert (found.log_volumes <= truth + 1e-12).all()  # radii are the inside ends
    np.testing.assert_allclose(found.log_volumes, truth, atol=1e-3)
    assert (found.radii <= np.sqrt(size)).all()
    np.testing.assert_allclose(found.radii, np.sqrt(size), rtol=1e-3 / size)
    np.testing.assert_allclose(found.effective_directions, 16, rtol=1e-5)
    assert found.status == "ok"
    assert found.unbounded == 0.0


def test_off_centre_ball_is_the_noncentral_chi_square():
    size = 5
    std = np.linspace(0.5, 2.0, size)
    w = std * np.linspace(-0.6, 0.9, size)

    def inside(v):
        return jnp.sum(((v - w) / std) ** 2) < 2.0

    found = basin_volume(KEY, inside, w, std, directions=2000, batch_size=200)
    assert agrees(found, stats.ncx2.logcdf(2.0, size, np.sum((w / std) ** 2)))


def test_ellipsoid_with_and_without_its_own_shape():
    size = 6
    spectrum = np.geomspace(1.0, 6.0, size) * 1e8
    centre, matrix, vectors, truth = small_ellipsoid(size, spectrum)
    inside = Partial(in_ellipsoid, centre, matrix)
    plain = basin_volume(KEY, inside, centre, 1.0, directions=4000, batch_size=400)
    assert plain.status == "ok"
    assert agrees(plain, truth)
    shape = Preconditioner(1.0, vectors, 1.0 / spectrum)
    matched = basin_volume(KEY, inside, centre, 1.0, directions=8, preconditioner=shape)
    np.testing.assert_allclose(matched.log_volume, truth, atol=2e-3)
    assert matched.standard_error < 1e-3
    assert plain.standard_error > 10 * matched.standard_error


def test_a_diagonal_preconditioner_is_in_units_of_the_parameters():
    size = 200
    curvature, std = np.geomspace(1e6, 1e10, size), np.geomspace(1.0, 3.0, size)
    centre = std * np.random.default_rng(1).normal(size=size)
    log_ball = 0.5 * size * np.log(np.pi) - gammaln(0.5 * size + 1)
    truth = stats.norm.logpdf(centre, 0, std).sum() + log_ball - 0.5 * np.log(curvature).sum()
    params = {"a": centre[:150].reshape(10, 15), "b": centre[150:]}

    def like(vector):
        return {"a": vector[:150].reshape(10, 15), "b": vector[150:]}

    def inside(p):
        flat = jnp.concatenate([p["a"].ravel(), p["b"]])
        return jnp.sum(curvature * (flat - centre) ** 2) < 1.0

    found = basin_volume(
        KEY,
        inside,
        params,
        like(std),
        directions=8,
        preconditioner=Preconditioner(like(1 / curvature)),
    )
    np.testing.assert_allclose(found.log_volume, truth, atol=5e-3)
    # Isotropic directions see almost nothing of it, and the status says so.
    plain = basin_volume(KEY, inside, params, like(std), directions=64)
    assert plain.status == "few effective directions"
    assert plain.log_volume < truth - 100


def test_a_few_vectors_on_top_of_a_diagonal():
    size, k = 40, 5
    spectrum = np.r_[np.geomspace(1e3, 10, k), np.ones(size - k)] * 1e8
    centre, matrix, vectors, truth = small_ellipsoid(size, spectrum)
    shape = Preconditioner(7.0, vectors[:k], 1e8 / spectrum[:k])
    found = basin_volume(
        KEY, Partial(in_ellipsoid, centre, matrix), centre, 1.0, 8, preconditioner=shape
    )
    np.testing.assert_allclose(found.log_volume, truth, atol=2e-3)
    np.testing.assert_allclose(found.effective_directions, 8, rtol=1e-4)


@pytest.mark.parametrize(("size", "shaped"), [(1, False), (4, True)])
def test_the_whole_space_has_volume_one(size, shaped):
    w = np.full(size, 0.5)
    shape = Preconditioner(np.linspace(1.0, 2.0, size)) if shaped else None
    found = basin_volume(KEY, everywhere, w, 1.0, 4000, preconditioner=shape, batch_size=400)
    assert found.unbounded == 1.0
    assert np.isinf(found.radii).all()
    assert agrees(found, 0.0)


def test_half_space_and_box_around_a_point_off_the_centre():
    std, w = np.array([1.0, 2.0, 0.5]), np.array([0.4, -1.0, 0.3])
    low, high = np.array([-0.5, -2.5, -0.2]), np.array([1.5, 0.4, 0.7])

    def in_half_space(v):
        return v[0] < 0.9

    def in_box(v):
        return jnp.all((v > low) & (v < high))

    half = basin_volume(KEY, in_half_space, w, std, directions=8000, batch_size=400)
    assert agrees(half, stats.norm.logcdf(0.9))
    assert 0 < half.unbounded < 1
    box = basin_volume(KEY, in_box, w, std, directions=8000, batch_size=400)
    sides = stats.norm.cdf(high, 0, std) - stats.norm.cdf(low, 0, std)
    assert agrees(box, np.log(sides).sum())


def test_only_what_is_seen_from_the_centre_counts():
    def in_ball_or_shell(w):
        radius = jnp.linalg.norm(w)
        return (radius < 1.0) | ((radius > 2.0) & (radius < 3.0))

    found = basin_volume(KEY, in_ball_or_shell, np.zeros(3), 1.0, directions=4)
    np.testing.assert_allclose(found.log_volume, stats.chi2.logcdf(1.0, 3), atol=1e-3)


def test_a_radius_far_below_the_grid_is_found():
    found = basin_volume(KEY, Partial(in_ball, np.zeros(3), 1e-13), np.zeros(3), 1.0, directions=4)
    np.testing.assert_allclose(found.radii, 1e-13, rtol=1e-3)
    nowhere = basin_volume(KEY, lambda w: jnp.all(w == 0), np.zeros(3), 1.0, directions=4)
    assert nowhere.log_volume == -np.inf
    assert nowhere.status == "empty"


@pytest.mark.parametrize("shaped", [False, True])
def test_the_mean_over_seeds_is_the_volume_and_its_log_lies_below(shaped):
    centre, matrix, _, truth = small_ellipsoid(4, np.array([1.0, 4.0, 16.0, 64.0]) * 1e8)
    inside = Partial(in_ellipsoid, centre, matrix)
    shape = Preconditioner(1 / np.diag(matrix)) if shaped else None
    logs = np.array(
        [
            basin_volume(key, inside, centre, 1.0, 16, preconditioner=shape).log_volume
            for key in jax.random.split(KEY, 300)
        ]
    )
    ratios = np.exp(logs - truth)
    assert abs(ratios.mean() - 1) < 4 * ratios.std(ddof=1) / np.sqrt(300)
    assert logs.mean() < truth - 2 * logs.std() / np.sqrt(300)
    assert (logs > truth + 3).mean() <= np.exp(-3)


def test_evaluations_are_counted_and_the_batch_changes_nothing():
    calls = []

    def inside(w):
        jax.debug.callback(lambda: calls.append(1))
        return jnp.sum(w**2) < 2.0

    w = np.array([0.3, -0.2, 0.5])
    one = basin_volume(KEY, inside, w, 1.0, directions=5, batch_size=1)
    jax.effects_barrier()
    assert one.evaluations == len(calls) - 1  # the first is at params
    many = basin_volume(KEY, inside, w, 1.0, directions=5, batch_size=5)
    np.testing.assert_allclose(many.log_volumes, one.log_volumes, rtol=1e-12)
    assert many.evaluations == one.evaluations


def test_the_x64_setting_changes_nothing():
    found = []
    for x64 in (False, True):
        with jax.enable_x64(x64):
            inside = Partial(in_ball, np.zeros(3), 1.25)
            found.append(basin_volume(KEY, inside, np.full(3, 0.25), 1.0, directions=8))
            assert jax.config.jax_enable_x64 is x64
    np.testing.assert_array_equal(found[0].log_volumes, found[1].log_volumes)
    assert found[0].log_volumes.dtype == np.float64
    assert isinstance(found[0].log_volume, float)


def test_permutations_of_two_layers_of_forty():
    assert log_permutations(40, 40) == pytest.approx(220.6, abs=0.05)
    assert log_permutations(1, 3) == pytest.approx(np.log(6))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inside": 3.0}, "inside: got float"),
        ({"inside": lambda w: jnp.sum(w)}, "wanted one boolean"),
        ({"inside": lambda w: w < 1}, "wanted one boolean"),
        ({"inside": lambda w: w[0] > 5}, "inside: got False"),
        ({"params": np.zeros(0), "prior_std": np.zeros(0)}, "no parameters"),
        ({"params": np.array([0.0, np.nan])}, "params: got 1 NaN"),
        ({"prior_std": {"a": 1.0}}, "prior_std: got PyTreeDef"),
        ({"prior_std": np.array([1.0, 0.0])}, "prior_std: got 0.0"),
        ({"prior_std": np.ones(3)}, "prior_std: got shape"),
        ({"directions": 1}, "directions: got 1"),
        ({"batch_size": 0}, "batch_size: got 0"),
        ({"preconditioner": Preconditioner(-1.0)}, "preconditioner.diagonal: got -1.0"),
        ({"preconditioner": Preconditioner(1.0, np.eye(2))}, "wanted both or neither"),
        ({"preconditioner": Preconditioner(1.0, np.eye(2), np.ones(1))}, "wanted (k, 2)"),
        ({"preconditioner": Preconditioner(1.0, np.eye(2), np.zeros(2))}, "above 0"),
        ({"preconditioner": Preconditioner(1.0, np.ones((1, 2)), np.ones(1))}, "orthonormal"),
    ],
)
def test_errors_say_what_was_wrong(change, message):
    arguments = {"inside": everywhere, "params": np.zeros(2), "prior_std": 1.0, **change}
    with pytest.raises(ValueError, match=re.escape(message)):
        basin_volume(KEY, **arguments)


def test_a_width_must_be_a_count():
    with pytest.raises(ValueError, match="widths: got 2.5"):
        log_permutations(2.5)
