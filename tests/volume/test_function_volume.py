import jax
import numpy as np
import pytest
from scipy import integrate, stats

import flatvol_jax as fv

LINKS = {"heaviside": 0.0, "probit": 1.0}


def random_kernel(n, seed=0, rank=None):
    """A well-conditioned random covariance."""
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(n, rank or n))
    return factor @ factor.T / n + 0.3 * np.eye(n)


def equicorrelated(n, correlation):
    """Unit variances, one correlation."""
    return correlation * np.ones((n, n)) + (1 - correlation) * np.eye(n)


def relu_kernel(x, depth=2, weight_variance=2.0, bias_variance=1.0):
    """The arc-cosine recursion of a ReLU network, written out."""
    kernel = bias_variance + weight_variance * x @ x.T / x.shape[1]
    for _ in range(depth):
        scale = np.sqrt(np.diag(kernel))
        norm = np.outer(scale, scale)
        angle = np.arccos(np.clip(kernel / norm, -1, 1))
        arccos = norm * (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / (2 * np.pi)
        kernel = bias_variance + weight_variance * arccos
    return kernel


def random_labels(n, seed=0):
    """Fair coin labels."""
    return np.random.default_rng(seed).choice([-1, 1], n)


def sequential_ep(kernel, labels, link_variance, sweeps=60):
    """Rasmussen and Williams' algorithm 3.5: one site after another, rank-one updates."""
    n = len(labels)
    precision, shift = np.zeros(n), np.zeros(n)
    covariance, mean = kernel.copy(), np.zeros(n)
    for _ in range(sweeps):
        for i in range(n):
            cavity_precision = 1 / covariance[i, i] - precision[i]
            v = 1 / cavity_precision
            m = v * (mean[i] / covariance[i, i] - shift[i])
            scale = np.sqrt(v + link_variance)
            a = labels[i] * m / scale
            hazard = np.exp(stats.norm.logpdf(a) - stats.norm.logcdf(a))
            new_mean = m + labels[i] * v * hazard / scale
            new_variance = v - v**2 * hazard * (a + hazard) / scale**2
            delta = 1 / new_variance - cavity_precision - precision[i]
            precision[i] += delta
            shift[i] = new_mean / new_variance - m / v
            column = covariance[:, i].copy()
            covariance -= delta / (1 + delta * covariance[i, i]) * np.outer(column, column)
            mean = covariance @ shift
    v = 1 / (1 / np.diag(covariance) - precision)
    m = v * (mean / np.diag(covariance) - shift)
    root = np.sqrt(precision)
    _, log_det = np.linalg.slogdet(np.eye(n) + root[:, None] * kernel * root)
    site_variance = 1 / precision
    return (
        stats.norm.logcdf(labels * m / np.sqrt(v + link_variance)).sum()
        + 0.5 * np.log1p(precision * v).sum()
        + 0.5 * ((m - shift * site_variance) ** 2 / (v + site_variance)).sum()
        - 0.5 * log_det
        - 0.5
        * (shift * site_variance)
        @ np.linalg.solve(kernel + np.diag(site_variance), shift * site_variance)
    )


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_fixed_point_is_that_of_sequential_ep(link, seed):
    kernel, labels = random_kernel(12, seed), random_labels(12, seed)
    expected = sequential_ep(kernel, labels, LINKS[link])
    ours = fv.log_volume(kernel, labels, link=link)
    assert ours.converged
    np.testing.assert_allclose(ours.log_volume, expected, atol=1e-8)


@pytest.mark.parametrize("n", [1, 7, 60])
def test_diagonal_kernel_halves_once_a_point(n):
    kernel = np.diag(np.linspace(0.5, 3, n))
    ours = fv.log_volume(kernel, random_labels(n))
    np.testing.assert_allclose(ours.log_volume, n * np.log(0.5), rtol=1e-12)


@pytest.mark.parametrize("correlation", [-0.7, 0.0, 0.4, 0.9])
def test_two_points_against_the_arcsine_formula(correlation):
    kernel = equicorrelated(2, correlation)
    exact = np.log(0.25 + np.arcsin(correlation) / (2 * np.pi))
    assert abs(fv.log_volume(kernel, [1, 1]).log_volume - exact) < 0.05  # the error of EP itself


def test_three_points_against_the_arcsine_formula():
    kernel = np.array([[1, 0.5, 0.2], [0.5, 1, -0.3], [0.2, -0.3, 1]])
    angles = np.arcsin([0.5, 0.2, -0.3]).sum()
    exact = np.log(1 / 8 + angles / (4 * np.pi))
    assert abs(fv.log_volume(kernel, [1, 1, 1]).log_volume - exact) < 0.01


def test_ep_has_an_error_on_equicorrelated_points_and_it_is_this_one():
    ours = fv.log_volume(equicorrelated(10, 0.5), np.ones(10, int)).log_volume
    np.testing.assert_allclose(ours, -2.4101, atol=5e-5)
    np.testing.assert_allclose(ours, -np.log(11), atol=0.013)
    assert abs(ours + np.log(11)) > 0.01


@pytest.mark.parametrize(("link", "error"), [("heaviside", 0.5), ("probit", 0.01)])
def test_one_factor_kernel_against_quadrature_at_full_size(link, error):
    rng = np.random.default_rng(3)
    n = 1500
    loading, noise = rng.normal(size=n), rng.uniform(0.5, 2.0, n)
    labels = np.sign(loading + rng.normal(size=n)).astype(int)
    kernel = np.outer(loading, loading) + np.diag(noise)

    def log_density(u):
        slope = labels * loading / np.sqrt(noise + LINKS[link])
        return stats.norm.logcdf(np.multiply.outer(u, slope)).sum(-1) + stats.norm.logpdf(u)

    grid = np.linspace(-12, 12, 48001)
    values = log_density(grid)
    exact = values.max() + np.log(integrate.simpson(np.exp(values - values.max()), x=grid))
    ours = fv.log_volume(kernel, labels, link=link)
    assert ours.converged
    assert abs(ours.log_volume - exact) < error


@pytest.mark.parametrize("link", LINKS)
def test_global_flip_and_permutation_change_nothing(link):
    kernel, labels = random_kernel(30), random_labels(30)
    order = np.random.default_rng(1).permutation(30)
    value = fv.log_volume(kernel, labels, link=link).log_volume
    flipped = fv.log_volume(kernel, -labels, link=link).log_volume
    permuted = fv.log_volume(kernel[np.ix_(order, order)], labels[order], link=link).log_volume
    np.testing.assert_allclose([flipped, permuted], value, atol=2e-8)


def test_rescaled_outputs_keep_the_heaviside_volume_and_move_the_probit_volume():
    kernel, labels = random_kernel(30), random_labels(30)
    scale = np.random.default_rng(1).uniform(0.1, 5, 30)
    scaled = scale[:, None] * kernel * scale
    heaviside = [fv.log_volume(k, labels).log_volume for k in (kernel, scaled)]
    probit = [fv.log_volume(k, labels, link="probit").log_volume for k in (kernel, scaled)]
    np.testing.assert_allclose(heaviside[0], heaviside[1], atol=2e-8)
    assert abs(probit[0] - probit[1]) > 0.1


def test_probit_sites_match_the_moments_of_the_smooth_link():
    """Cavities and sites are of z: N(z; m, v) Φ(y z) has the moments of cavity times site."""
    kernel, labels = random_kernel(15), random_labels(15)
    ours = fv.log_volume(kernel, labels, link="probit")
    m, v = ours.cavities
    scale = np.sqrt(v + 1)
    a = labels * m / scale
    hazard = np.exp(stats.norm.logpdf(a) - stats.norm.logcdf(a))
    mean = m + labels * v * hazard / scale
    variance = v - v**2 * hazard * (a + hazard) / scale**2
    np.testing.assert_allclose(ours.sites.precision, 1 / variance - 1 / v, rtol=1e-4)
    np.testing.assert_allclose(ours.sites.shift, mean / variance - m / v, rtol=1e-4)
    covariance = np.linalg.inv(np.linalg.inv(kernel) + np.diag(ours.sites.precision))
    np.testing.assert_allclose(np.diag(covariance), variance, rtol=1e-4)


def test_probit_is_heaviside_with_unit_noise():
    kernel, labels = random_kernel(30), random_labels(30)
    probit = fv.log_volume(kernel, labels, link="probit").log_volume
    heaviside = fv.log_volume(kernel + np.eye(30), labels).log_volume
    np.testing.assert_allclose(probit, heaviside, atol=2e-8)


HARD = {
    "constant on images": (lambda: relu_kernel(np.random.default_rng(0).random((200, 50))), 0),
    "one flip on images": (lambda: relu_kernel(np.random.default_rng(0).random((200, 50))), 1),
    "constant, correlation 0.9999": (lambda: equicorrelated(200, 0.9999), 0),
    "one flip, correlation 0.9999": (lambda: equicorrelated(200, 0.9999), 1),
    "one flip of two": (lambda: equicorrelated(2, 0.9999), 1),
    "one flip of ten": (lambda: equicorrelated(10, 0.9999), 1),
}


@pytest.mark.parametrize("case", HARD)
def test_simple_functions_on_correlated_kernels_converge(case):
    make, flips = HARD[case]
    kernel = make()
    labels = np.ones(len(kernel), int)
    labels[:flips] = -1
    ours = fv.log_volume(kernel, labels)
    assert ours.converged
    assert ours.residual <= 1e-10
    closer = fv.log_volume(kernel, labels, tolerance=1e-13)
    np.testing.assert_allclose(ours.log_volume, closer.log_volume, atol=1e-8)
    assert ours.log_volume < 0
    if flips == 0:  # by Slepian, V ≥ 1/(n+1) for correlations ≥ 1/2
        assert ours.log_volume > -np.log(len(kernel) + 1)


def test_the_residual_measures_the_distance_to_the_fixed_point():
    rng = np.random.default_rng(0)
    kernel, labels = relu_kernel(rng.random((150, 20))), random_labels(150)
    exact = fv.log_volume(kernel, labels, tolerance=1e-12).log_volume
    for iterations in range(3, 8):
        early = fv.log_volume(kernel, labels, max_iterations=iterations, tolerance=1e-12)
        assert not early.converged
        assert early.iterations == iterations
        assert abs(early.log_volume - exact) < 3 * early.residual


def test_batches_warm_starts_and_single_runs_agree():
    kernel = relu_kernel(np.random.default_rng(0).random((40, 5)))
    labels = np.stack([random_labels(40, seed) for seed in range(6)]).reshape(2, 3, 40)
    single = fv.log_volume(kernel, labels)
    batch = fv.log_volume(kernel, labels, batch_size=4)
    assert single.log_volume.shape == batch.converged.shape == (2, 3)
    np.testing.assert_allclose(batch.log_volume, single.log_volume, atol=2e-8)

    near = labels[0, 0].copy()
    near[:2] *= -1
    first = jax.tree.map(lambda leaf: leaf[0, 0], single.cavities)
    warm = fv.log_volume(kernel, near, start=first)
    cold = fv.log_volume(kernel, near)
    np.testing.assert_allclose(warm.log_volume, cold.log_volume, atol=2e-8)
    assert warm.iterations < cold.iterations


@pytest.mark.parametrize("x64", [False, True])
def test_float64_comes_out_whatever_the_callers_setting(x64):
    with jax.enable_x64(x64):
        before = jax.config.jax_enable_x64
        ours = fv.log_volume(random_kernel(30), random_labels(30))
        assert jax.config.jax_enable_x64 == before
    assert ours.log_volume.dtype == np.float64
    np.testing.assert_allclose(
        ours.log_volume, sequential_ep(random_kernel(30), random_labels(30), 0.0), atol=1e-8
    )


@pytest.mark.parametrize("platform", ["cpu", "cuda", "rocm"])
def test_the_core_lowers_for_every_platform_with_float64(platform):
    from flatvol_jax.volume.ep import Cavities, expectation_propagation

    with jax.enable_x64(True):
        vector = jax.ShapeDtypeStruct((16,), np.float64)
        exported = jax.export.export(expectation_propagation, platforms=[platform])(
            jax.ShapeDtypeStruct((16, 16), np.float64),
            vector,
            Cavities(vector, vector),
            1e-8,
            50,
        )
    assert platform in exported.platforms


BAD = {
    "float32": (lambda: (random_kernel(4).astype(np.float32), [1, 1, -1, 1]), "float64"),
    "not square": (lambda: (np.ones((3, 4)), [1, 1, 1]), r"\(n, n\)"),
    "NaN": (lambda: (np.full((2, 2), np.nan), [1, 1]), "NaN"),
    "asymmetric": (lambda: (np.array([[1.0, 0.5], [0.1, 1.0]]), [1, 1]), "symmetric"),
    "indefinite": (lambda: (np.array([[1.0, 2.0], [2.0, 1.0]]), [1, 1]), "eigenvalue -1"),
    "zero input": (lambda: (np.diag([1.0, 0.0]), [1, 1]), "positive diagonal"),
    "labels 0 and 1": (lambda: (np.eye(3), [0, 1, 1]), r"2 \* y - 1"),
    "too few labels": (lambda: (np.eye(3), [1, 1]), r"\(\.\.\., 3\)"),
    "no labels": (lambda: (np.eye(3), np.ones((0, 3))), "at least one"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named(case):
    make, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        fv.log_volume(*make())


def test_unknown_names_get_a_suggestion():
    with pytest.raises(ValueError, match="Did you mean 'heaviside'"):
        fv.log_volume(np.eye(2), [1, 1], link="heavyside")
    with pytest.raises(ValueError, match="wanted one of certified, ep"):
        fv.log_volume(np.eye(2), [1, 1], method="laplace")


def test_a_tracer_is_told_where_the_boundary_is():
    with pytest.raises(ValueError, match="outside jit"):
        jax.jit(lambda kernel: fv.log_volume(kernel, [1, 1]))(np.eye(2))
