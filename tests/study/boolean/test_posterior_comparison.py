import numpy as np
import pytest
import statsmodels.api as sm
from scipy import optimize, stats

from flatvol_jax.study.boolean.posterior_comparison import (
    fitted_functions,
    known_total_variation,
    sample_total_variation,
    slope,
    total_variation,
)

ZIPF = np.log(1 / np.arange(1, 61)) - np.log((1 / np.arange(1, 61)).sum())


def sampled(generator, log_p, power, total):
    p = np.exp(power * log_p)
    return generator.multinomial(total, p / p.sum())


def test_counts_proportional_to_a_power_of_p_have_that_slope_exactly():
    log_p = np.log(2.0) * np.array([0, 1, 2, 3, 3])
    for power in (0, 1, 2):
        counts = np.array([3 * 2 ** (power * k) for k in (0, 1, 2, 3, 3)])
        fit = slope(log_p, counts, counts.sum())
        assert fit.slope == pytest.approx(power, abs=1e-9)
        assert fit.dispersion == pytest.approx(0, abs=1e-9)
        assert fit.functions == 5


def test_fit_and_error_are_those_of_a_direct_maximisation_of_the_likelihood():
    counts = np.array([40, 4, 18, 0, 6, 0, 3])
    log_p = np.array([-0.8, -2.1, -1.9, -3.3, -3.0, -4.0, -4.4])

    def negative(theta):
        return -stats.poisson.logpmf(counts, np.exp(theta[0] + theta[1] * log_p)).sum()

    best = optimize.minimize(
        negative, [1.0, 1.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12}
    )
    fit = slope(log_p, counts, 100)
    assert fit.slope == pytest.approx(best.x[1], abs=1e-5)
    mean = np.exp(best.x[0] + best.x[1] * log_p)
    variance = np.average((log_p - np.average(log_p, weights=mean)) ** 2, weights=mean)
    dispersion = ((counts - mean) ** 2 / mean).sum() / 5
    assert dispersion > 1
    assert fit.dispersion == pytest.approx(dispersion, rel=1e-4)
    assert fit.standard_error == pytest.approx(
        np.sqrt(dispersion / (mean.sum() * variance)), rel=1e-4
    )


def test_fit_and_errors_are_those_of_statsmodels():
    counts = np.array([40, 4, 18, 0, 6, 0, 3])
    log_p = np.array([-0.8, -2.1, -1.9, -3.3, -3.0, -4.0, -4.4])
    model = sm.GLM(counts, sm.add_constant(log_p), family=sm.families.Poisson())
    fitted = model.fit(scale="X2", tol=1e-12)
    fit = slope(log_p, counts, 100)
    assert fit.slope == pytest.approx(fitted.params[1])
    assert fit.dispersion == pytest.approx(fitted.scale)
    assert fit.standard_error == pytest.approx(fitted.bse[1])


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_slope_of_simulations_is_unbiased_and_its_interval_covers(power):
    generator, fits = np.random.default_rng(0), []
    for _ in range(400):
        counts = sampled(generator, ZIPF, power, 1000)
        fitted = fitted_functions(ZIPF, 1000)
        fits.append(slope(ZIPF[fitted], counts[fitted], 1000))
    values, errors = (np.array([getattr(f, n) for f in fits]) for n in ("slope", "standard_error"))
    assert values.mean() == pytest.approx(power, abs=4 * values.std() / 20 + 0.01)
    covered = np.mean(np.abs(values - power) < 1.96 * errors)
    assert 0.92 < covered < 0.99


def test_interval_covers_for_counts_that_vary_more_than_poisson():
    generator, covered = np.random.default_rng(1), []
    for _ in range(400):
        # Negative binomial with a variance of four times the mean.
        mean = 1000 * np.exp(ZIPF)
        counts = generator.negative_binomial(mean / 3, 1 / 4)
        fit = slope(ZIPF, counts, max(1000, counts.sum()))
        covered.append(abs(fit.slope - 1) < 1.96 * fit.standard_error)
    assert 0.90 < np.mean(covered) < 0.99


def test_robust_error_is_hc3_and_covers_better_where_p_is_off_by_random_factors():
    counts = np.array([40, 4, 18, 0, 6, 0, 3])
    log_p = np.array([-0.8, -2.1, -1.9, -3.3, -3.0, -4.0, -4.4])
    fit = slope(log_p, counts, 100)
    mean = np.exp(fit.slope * log_p)
    root = np.sqrt(mean * counts.sum() / mean.sum())
    design = root[:, None] * np.stack([np.ones(7), log_p], axis=1)
    hat = design @ np.linalg.pinv(design)
    residual = (counts / root - root) / (1 - np.diag(hat))
    expected = np.sqrt((np.linalg.pinv(design)[1] ** 2 * residual**2).sum())
    assert fit.robust_error == pytest.approx(expected)
    generator, covered = np.random.default_rng(6), []
    for _ in range(400):
        off = ZIPF + 0.3 * generator.standard_normal(len(ZIPF))
        fit = slope(ZIPF, sampled(generator, off, 1, 1000), 1000)
        distance = abs(fit.slope - 1) / 1.96
        covered.append((distance < fit.standard_error, distance < fit.robust_error))
    poisson, robust = np.mean(covered, axis=0)
    assert poisson < 0.75
    assert 0.8 < robust < 0.97


def test_functions_are_chosen_by_p_alone_which_keeps_the_slope():
    log_p = np.log(np.array([0.5, 0.3, 0.19, 0.005, 0.005]))
    assert fitted_functions(log_p, 1000).tolist() == [True] * 5
    assert fitted_functions(log_p, 100).tolist() == [True] * 3 + [False] * 2
    direct = np.array([50, 29, 30, 40, 1])
    assert fitted_functions(log_p, 1000, direct).tolist() == [True, False, True, True, False]
    generator, kept, chosen = np.random.default_rng(2), [], []
    for _ in range(100):
        counts = sampled(generator, ZIPF, 1, 60)
        kept.append(slope(ZIPF, counts, 60).slope)
        chosen.append(slope(ZIPF[counts > 0], counts[counts > 0], 60).slope)
    assert np.mean(kept) == pytest.approx(1, abs=0.06)
    assert np.mean(chosen) < 0.8


def test_undetermined_slopes_are_nan():
    log_p = np.log([0.6, 0.3, 0.1])
    assert np.isnan(slope(log_p[:2], np.array([6, 3]), 10).slope)
    assert np.isnan(slope(log_p, np.array([0, 0, 0]), 10).slope)
    for end in ([5, 0, 0], [0, 0, 5]):  # the likelihood has no maximum
        assert np.isnan(slope(log_p, np.array(end), 10).slope)
    assert np.isnan(slope(np.full(3, -1.0), np.array([1, 2, 3]), 10).slope)
    assert np.isfinite(slope(log_p, np.array([0, 5, 0]), 10).slope)
    assert np.isnan(slope(np.zeros(0), np.zeros(0, int), 10).slope)


def test_total_variation_identities():
    one, other = np.array([3, 1, 0]), np.array([0, 0, 7])
    assert total_variation(one, 5 * one) == 0
    assert total_variation(one, other) == 1
    assert total_variation(np.array([1, 1]), np.array([3, 1])) == 0.25
    assert total_variation(one, other) == total_variation(other, one)


def test_disjoint_supports_have_total_variation_one_at_any_size():
    found = sample_total_variation(0, np.array([9, 4, 0, 0]), np.array([0, 0, 50, 80]), 20)
    assert found.value == 1
    assert found.size == 13
    assert found.low <= found.null <= found.high < 1


def test_sample_null_is_what_two_independent_samples_of_the_truth_have():
    generator = np.random.default_rng(3)
    p = np.exp(ZIPF)
    direct = generator.multinomial(100_000, p)
    pairs = [
        total_variation(generator.multinomial(500, p), generator.multinomial(500, p))
        for _ in range(1000)
    ]
    found = sample_total_variation(4, generator.multinomial(500, p), direct, 1000)
    assert found.size == 500
    assert found.null == pytest.approx(np.mean(pairs), abs=0.003)
    assert (found.low, found.high) == pytest.approx(np.quantile(pairs, [0.025, 0.975]), abs=0.006)
    assert found.low < found.value < found.high
    moved = sample_total_variation(4, sampled(generator, ZIPF, 2, 500), direct)
    assert moved.value > found.high


def test_sample_sizes_are_equal_and_limited_by_half_of_the_direct_sample():
    counts, direct = np.array([700, 300]), np.array([50, 51])
    assert sample_total_variation(0, counts, direct, 5).size == 50
    assert sample_total_variation(0, counts, np.array([5000, 5100]), 5).size == 1000
    empty = sample_total_variation(0, np.array([0, 0]), direct, 5)
    assert empty.size == 0
    assert np.isnan(empty.value)
    assert np.isnan(empty.null)


def test_null_of_a_known_posterior_holds_its_own_samples_and_no_others():
    generator, inside, outside = np.random.default_rng(5), [], []
    for seed in range(100):
        found = known_total_variation(seed, sampled(generator, ZIPF, 1, 300), ZIPF, repetitions=300)
        inside.append(found.low <= found.value <= found.high)
        found = known_total_variation(seed, sampled(generator, ZIPF, 2, 300), ZIPF, repetitions=300)
        outside.append(found.value > found.high)
    assert 0.88 < np.mean(inside) <= 1
    assert np.mean(outside) > 0.9


def test_known_posterior_against_the_binomial_formula():
    """Of two functions TV is |share - q|, its mean under the null the binomial's mean deviation."""
    q, m = 0.3, 40
    found = known_total_variation(
        0, np.array([22, 18]), np.log([q, 1 - q]) + 7.0, repetitions=20_000
    )
    k = np.arange(m + 1)
    mean = stats.binom.pmf(k, m, q) @ np.abs(k / m - q)
    assert found.value == pytest.approx(22 / 40 - q)
    assert found.null == pytest.approx(mean, abs=4 * 0.05 / np.sqrt(20_000))


def test_errors_of_the_posterior_widen_the_null():
    log_q, counts = np.log(np.full(4, 0.25)), np.full(4, 250_000)
    exact = known_total_variation(0, counts, log_q)
    inexact = known_total_variation(0, counts, log_q, np.full(4, 0.1))
    # ½ Σ q |error - mean error|, to first order: ½ √(2/π) 0.1 √(3/4), and little from counting.
    assert inexact.null == pytest.approx(0.5 * np.sqrt(2 / np.pi) * 0.1 * np.sqrt(0.75), rel=0.05)
    assert exact.null < inexact.null / 10


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: slope(np.zeros(3), np.array([1, 2]), 3), "counts: got shape"),
        (lambda: slope(np.zeros(2), np.array([1, 2]), 2), "at most total"),
        (lambda: slope(np.array([0, np.nan]), np.array([1, 2]), 5), "NaN"),
        (lambda: total_variation(np.array([0, 0]), np.array([1, 2])), "something counted"),
        (lambda: total_variation(np.array([0.5, 0]), np.array([1, 2])), "whole numbers"),
        (lambda: total_variation(np.array([-1, 2]), np.array([1, 2])), "at least 0"),
        (lambda: known_total_variation(0, np.array([1, 2]), np.zeros(3)), "log_q: got shape"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
