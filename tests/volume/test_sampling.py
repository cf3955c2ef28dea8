import itertools

import jax
import numpy as np
import pytest
from scipy import integrate, stats

import flatvol_jax as fv

LINKS = {"heaviside": 0.0, "probit": 1.0}
KEY = jax.random.key(0)
CERTIFIED = "certified given this kernel"
FULL = pytest.param(1500, marks=pytest.mark.slow)


def random_kernel(n, seed=0):
    factor = np.random.default_rng(seed).normal(size=(n, n))
    return factor @ factor.T / n + 0.1 * np.eye(n)


def equicorrelated(n, correlation):
    return correlation * np.ones((n, n)) + (1 - correlation) * np.eye(n)


def random_labels(n, seed=0):
    return np.random.default_rng(seed).choice([-1, 1], n)


def one_factor(n, link, seed=3):
    """A kernel uu' + diag with labels of mixed signs, and its log V by quadrature."""
    rng = np.random.default_rng(seed)
    loading, noise = rng.normal(size=n), rng.uniform(0.5, 2.0, n)
    labels = np.sign(loading + rng.normal(size=n)).astype(int)
    slope = labels * loading / np.sqrt(noise + LINKS[link])
    grid = np.linspace(-12, 12, 20001)
    values = stats.norm.logcdf(np.multiply.outer(grid, slope)).sum(-1) + stats.norm.logpdf(grid)
    exact = values.max() + np.log(integrate.simpson(np.exp(values - values.max()), x=grid))
    return np.outer(loading, loading) + np.diag(noise), labels, exact


def assert_within(estimate, exact, errors=4):
    assert estimate.status == CERTIFIED
    assert abs(estimate.log_volume - exact) < errors * estimate.standard_error + 1e-9


@pytest.mark.parametrize("n", [1, 64, 65])
@pytest.mark.parametrize("proposal", ["ep", "prior"])
def test_independent_outputs_have_no_variance(n, proposal):
    kernel = np.diag(np.linspace(0.5, 3, n))
    ours = fv.estimate_log_volume(KEY, kernel, random_labels(n), proposal=proposal)
    np.testing.assert_allclose(ours.log_volume, n * np.log(0.5), rtol=1e-7)
    assert ours.standard_error < 1e-6
    assert ours.status == CERTIFIED


@pytest.mark.parametrize("correlation", [-0.7, 0.4, 0.9])
@pytest.mark.parametrize("labels", [[1, 1], [1, -1]])
@pytest.mark.parametrize("proposal", ["ep", "prior"])
def test_two_points_against_the_arcsine_formula(correlation, labels, proposal):
    exact = np.log(0.25 + np.prod(labels) * np.arcsin(correlation) / (2 * np.pi))
    kernel = equicorrelated(2, correlation)
    ours = fv.estimate_log_volume(KEY, kernel, labels, proposal=proposal)
    assert_within(ours, exact)
    counting = np.sqrt((np.exp(-exact) - 1) / ours.particles)
    assert ours.standard_error < counting


@pytest.mark.parametrize("n", [10, 100, FULL])
def test_equicorrelated_points_against_the_closed_form(n):
    """Correlation 1/2: V = 1/(n+1) for equal labels, k!(n-k)!/(n+1)! for k positive ones."""
    kernel = equicorrelated(n, 0.5)
    labels = np.ones((2, n), int)
    labels[1, :3] = -1
    ours = fv.estimate_log_volume(KEY, kernel, labels)
    exact = np.array([-np.log(n + 1), -np.log(n + 1) - np.log(n * (n - 1) * (n - 2) / 6)])
    assert (np.abs(ours.log_volume - exact) < 4 * ours.standard_error).all()
    assert (ours.standard_error < 0.05).all()


@pytest.mark.parametrize("n", [200, FULL])
@pytest.mark.parametrize("link", LINKS)
def test_one_factor_kernel_with_mixed_signs(link, n):
    kernel, labels, exact = one_factor(n, link)
    ours = fv.estimate_log_volume(KEY, kernel, labels, link)
    assert_within(ours, exact)
    assert ours.standard_error < 0.05


@pytest.mark.parametrize("link", LINKS)
def test_all_labellings_together_have_volume_one(link):
    n = 6
    labels = np.array(list(itertools.product([-1, 1], repeat=n)))
    ours = fv.estimate_log_volume(KEY, equicorrelated(n, 0.6), labels, link)
    volume = np.exp(ours.log_volume)
    error = np.sqrt(np.sum((volume * ours.standard_error) ** 2))
    assert abs(volume.sum() - 1) < 4 * error
    assert error < 0.01


@pytest.mark.parametrize("proposal", ["ep", "prior", "bad sites"])
def test_fifty_seeds_spread_as_their_standard_errors_say(proposal):
    """Unbiased whatever the sites; both standard errors describe the spread over seeds."""
    kernel, labels, exact = one_factor(40, "heaviside")
    options = {"max_iterations": 3} if proposal == "bad sites" else {"proposal": proposal}
    many = [
        fv.estimate_log_volume(
            jax.random.key(seed), kernel, labels, particles=64, replicates=8, **options
        )
        for seed in range(50)
    ]
    values = np.array([one.log_volume for one in many])
    variance = np.mean([one.standard_error**2 for one in many])
    within = np.mean([one.within_error**2 for one in many])
    # E log of an unbiased estimate lies below log V by half its relative variance.
    bias = values.mean() + 0.5 * variance - exact
    assert abs(bias) < 4 * values.std(ddof=1) / np.sqrt(50)
    low, high = stats.chi2.interval(0.998, 49)
    assert low < 49 * values.var(ddof=1) / variance < high
    assert low < 49 * values.var(ddof=1) / within < high


def test_resampling_keeps_the_estimate_right():
    """Without sites the weights of 300 correlated points wear out, block after block."""
    kernel, exact = equicorrelated(300, 0.5), -np.log(301)
    ours = fv.estimate_log_volume(
        KEY, kernel, np.ones(300), proposal="prior", particles=512, replicates=8
    )
    assert ours.effective_sample_size < 0.5 * ours.particles
    assert abs(ours.log_volume - exact) < 4 * ours.standard_error
    assert 0.5 < ours.within_error / ours.standard_error < 2
    twisted = fv.estimate_log_volume(
        KEY, kernel, np.ones(300), proposal="ep", particles=512, replicates=8
    )
    assert twisted.standard_error < 0.3 * ours.standard_error


def test_probit_is_heaviside_with_unit_noise():
    kernel, labels = random_kernel(30), random_labels(30)
    probit = fv.estimate_log_volume(KEY, kernel, labels, "probit")
    heaviside = fv.estimate_log_volume(jax.random.key(1), kernel + np.eye(30), labels)
    error = np.hypot(probit.standard_error, heaviside.standard_error)
    assert abs(probit.log_volume - heaviside.log_volume) < 4 * error


def test_global_flip_changes_nothing_but_the_draws():
    kernel, labels = random_kernel(30), random_labels(30)
    plus = fv.estimate_log_volume(KEY, kernel, labels)
    minus = fv.estimate_log_volume(jax.random.key(1), kernel, -labels)
    error = np.hypot(plus.standard_error, minus.standard_error)
    assert abs(plus.log_volume - minus.log_volume) < 4 * error


def test_a_large_volume_is_counted_under_the_prior():
    ours = fv.estimate_log_volume(KEY, equicorrelated(200, 0.9999), np.ones(200, int))
    assert ours.proposal == "prior"
    u = np.linspace(-8, 8, 40001)
    slope = np.sqrt(0.9999 / 0.0001)
    exact = np.log(integrate.simpson(stats.norm.cdf(u * slope) ** 200 * stats.norm.pdf(u), x=u))
    assert_within(ours, exact)


def test_certified_sets_all_three_side_by_side():
    kernel, labels, exact = one_factor(100, "heaviside")
    ours = fv.log_volume(kernel, np.stack([labels, -labels]), method="certified", key=KEY)
    assert ours.log_volume.shape == ours.status.shape == (2,)
    np.testing.assert_array_equal(ours.log_volume, ours.estimate.log_volume)
    np.testing.assert_array_equal(ours.standard_error, ours.estimate.standard_error)
    assert ours.estimate.log_replicates.shape == (2, 16)
    np.testing.assert_allclose(ours.ep, fv.log_volume(kernel, labels).log_volume, atol=2e-8)
    assert np.abs(ours.corrected - exact).max() < 0.02
    again = fv.log_volume(kernel, np.stack([labels, -labels]), method="certified", key=KEY)
    np.testing.assert_array_equal(ours.log_volume, again.log_volume)


def test_increments_add_up_on_independent_points_and_follow_the_cavities():
    kernel, labels = random_kernel(20), random_labels(20)
    ours = fv.log_volume(kernel, labels)
    expected = stats.norm.logcdf(labels * ours.cavities.mean / np.sqrt(ours.cavities.variance))
    np.testing.assert_allclose(ours.increments, expected, rtol=1e-10)
    # log P(y_i | rest) against the ratio of volumes with and without the point.
    without = fv.log_volume(kernel[1:, 1:], labels[1:]).log_volume
    assert abs(ours.increments[0] - (ours.log_volume - without)) < 0.02


def test_few_particles_on_a_hard_labelling_are_not_certified():
    kernel, labels, _ = one_factor(400, "heaviside")
    ours = fv.estimate_log_volume(KEY, kernel, labels, proposal="prior", particles=8, replicates=4)
    assert ours.status in ("few effective samples", "imprecise", "replicates disagree")


@pytest.mark.parametrize("method", ["ep", "ep_corrected", "certified"])
def test_one_input_with_two_labels_has_no_volume(method):
    x = np.random.default_rng(0).random((6, 4))
    x[4] = x[1]
    kernel = fv.nngp_kernel(fv.FCN(), x)
    labels = np.array([[1, 1, 1, -1, 1, 1], [1, 1, 1, -1, -1, 1]])
    ours = fv.log_volume(kernel, labels, method=method, key=KEY)
    assert ours.log_volume[1] == -np.inf
    assert ours.status[1] == "impossible: inputs 1 and 4 are one, their labels two"
    kept = [0, 1, 2, 3, 5]
    once = fv.log_volume(kernel[np.ix_(kept, kept)], labels[0, kept], method=method, key=KEY)
    np.testing.assert_allclose(ours.log_volume[0], once.log_volume, atol=1e-7)
    np.testing.assert_allclose(ours.cavities.mean[0, kept], once.cavities.mean, atol=1e-7)
    assert ours.increments[0, 4] == 0.0
    soft = fv.log_volume(kernel, labels[1], "probit")
    assert np.isfinite(soft.log_volume)


def test_singular_kernels_are_refused_and_a_jitter_is_called_another_prior():
    rng = np.random.default_rng(0)
    factor = rng.normal(size=(20, 5))
    kernel = factor @ factor.T
    with pytest.raises(ValueError, match=r"least eigenvalue.*np\.eye\(20\) is another prior"):
        fv.estimate_log_volume(KEY, kernel, random_labels(20))
    assert np.isfinite(fv.log_volume(kernel, np.sign(factor[:, 0])).log_volume)
    ours = fv.estimate_log_volume(KEY, kernel + 1e-6 * np.eye(20), np.sign(factor[:, 0]))
    assert np.isfinite(ours.log_volume)


def test_bad_options_are_named():
    kernel = np.eye(3)
    with pytest.raises(ValueError, match="jax.random.key"):
        fv.log_volume(kernel, [1, 1, 1], method="certified")
    with pytest.raises(ValueError, match="particles"):
        fv.estimate_log_volume(KEY, kernel, [1, 1, 1], particles=1)
    with pytest.raises(ValueError, match="wanted one of auto, ep, prior"):
        fv.estimate_log_volume(KEY, kernel, [1, 1, 1], proposal="none")
