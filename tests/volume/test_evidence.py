"""log_evidence against a dense density, refits without each target, and its own chain rule."""

import jax
import numpy as np
import pytest
from scipy.stats import multivariate_normal

import flatvol_jax as fv

RNG = np.random.default_rng(0)
N = 12
X = RNG.normal(size=(N, 3))
K = fv.nngp_kernel(fv.FCN((40,), 1.4, 0.5), X)
Y = RNG.normal(size=N)
NOISE = 0.3


def test_it_is_the_density_of_the_targets():
    found = fv.log_evidence(K, Y, NOISE)
    density = multivariate_normal(np.zeros(N), K + NOISE * np.eye(N))
    assert found.log_evidence == pytest.approx(density.logpdf(Y), rel=1e-12)
    sign, logdet = np.linalg.slogdet(K + NOISE * np.eye(N))
    assert sign == 1
    assert found.log_determinant == pytest.approx(-0.5 * logdet, rel=1e-12)
    assert found.fit == pytest.approx(-0.5 * Y @ np.linalg.solve(K + NOISE * np.eye(N), Y))
    assert np.isnan(found.standard_error)


def test_one_noise_an_input_and_many_targets():
    noise = RNG.random(N)
    many = RNG.normal(size=(2, 3, N))
    found = fv.log_evidence(K, many, noise)
    density = multivariate_normal(np.zeros(N), K + np.diag(noise))
    np.testing.assert_allclose(found.log_evidence, density.logpdf(many), rtol=1e-11)
    assert found.leave_one_out.shape == found.means.shape == (2, 3, N)
    assert found.variances.shape == (N,)


def test_leave_one_out_terms_are_those_of_refits():
    found = fv.log_evidence(K, Y, NOISE)
    covariance = K + NOISE * np.eye(N)
    for left in range(N):
        rest = np.arange(N) != left
        weights = np.linalg.solve(covariance[np.ix_(rest, rest)], covariance[rest, left])
        mean, variance = (
            weights @ Y[rest],
            covariance[left, left] - weights @ covariance[rest, left],
        )
        assert found.means[left] == pytest.approx(mean, rel=1e-9)
        assert found.variances[left] == pytest.approx(variance, rel=1e-9)
        wanted = multivariate_normal(mean, variance).logpdf(Y[left])
        assert found.leave_one_out[left] == pytest.approx(wanted, rel=1e-9)


def test_a_leave_one_out_term_is_a_difference_of_evidences():
    whole = fv.log_evidence(K, Y, NOISE)
    without = fv.log_evidence(K[:-1, :-1], Y[:-1], NOISE)
    difference = whole.log_evidence - without.log_evidence
    assert whole.leave_one_out[-1] == pytest.approx(difference, rel=1e-10)


def test_units_only_shift_it():
    one, other = fv.log_evidence(K, Y, NOISE), fv.log_evidence(1e12 * K, 1e6 * Y, 1e12 * NOISE)
    shift = N * np.log(1e6)
    assert other.log_evidence == pytest.approx(one.log_evidence - shift, rel=1e-12)


@pytest.fixture(scope="module")
def estimate():
    spec = fv.FCN((200,), 1.4, 0.5)
    return fv.monte_carlo_estimate(jax.random.key(0), spec, X, samples=300)


def test_the_error_of_a_sampled_kernel_covers_the_exact_one(estimate):
    wide = fv.nngp_kernel(fv.FCN((40,), 1.4, 0.5), X)
    exact = fv.log_evidence(wide, Y, NOISE)
    sampled = fv.log_evidence(estimate, Y, NOISE)
    assert 0 < sampled.standard_error < 0.5
    assert abs(sampled.log_evidence - exact.log_evidence) < 4 * sampled.standard_error
    effect = fv.kernels.jackknife(estimate, lambda k: fv.log_evidence(k, Y, NOISE).log_evidence)
    assert sampled.kernel_bias == pytest.approx(effect.bias)
    assert sampled.log_evidence == pytest.approx(effect.value - effect.bias)
    assert sampled.standard_error == pytest.approx(np.hypot(effect.standard_error, effect.bias))


def test_it_prints_in_a_line(estimate):
    for kernel in (K, estimate):
        for targets in (Y, RNG.normal(size=(5, N))):
            text = repr(fv.log_evidence(kernel, targets, NOISE))
            assert text.startswith("LogEvidence(")
            assert len(text) < 150
            assert "array" not in text
    assert " ± " in repr(fv.log_evidence(estimate, Y, NOISE))


def test_bad_input_is_named():
    twice = np.concatenate([X, X[:1]])
    singular = fv.nngp_kernel(fv.FCN((40,), 1.4, 0.5), twice)
    with pytest.raises(ValueError, match="singular with this noise.*noise="):
        fv.log_evidence(singular, np.append(Y, 0.0), 0.0)
    with pytest.raises(ValueError, match=r"targets: got shape \(3,\), wanted \(..., 12\)"):
        fv.log_evidence(K, Y[:3], NOISE)
    with pytest.raises(ValueError, match="targets: .*NaN"):
        fv.log_evidence(K, np.full(N, np.nan), NOISE)
    with pytest.raises(ValueError, match=r"targets: got numbers up to 1e\+200"):
        fv.log_evidence(K, 1e200 * Y / np.abs(Y).max(), NOISE)
    for noise in (-1.0, np.ones(3)):
        with pytest.raises(ValueError, match="noise: got .*variance of at least 0"):
            fv.log_evidence(K, Y, noise)
    with pytest.raises(ValueError, match="kernel: got dtype float32"):
        fv.log_evidence(K.astype(np.float32), Y, NOISE)
    with pytest.raises(ValueError, match="symmetric"):
        fv.log_evidence(K + np.triu(np.ones((N, N)), 1), Y, NOISE)
    with pytest.raises(ValueError, match="tracer"):
        jax.jit(lambda k: fv.log_evidence(k, Y, NOISE))(K)
