import numpy as np
import pytest
from scipy import stats

import flatvol_jax as fv


def test_the_printed_form():
    bound = fv.prior_bound(np.array([-100.0, 0.0]), train_size=500, delta=0.05)
    np.testing.assert_allclose(bound, (np.array([100.0, 0.0]) + np.log(20)) / 500)


@pytest.mark.parametrize(("train", "test", "log_volume"), [(50, 20, -8.0), (30, 100, -5.0)])
def test_the_random_split_form_covers_the_hypergeometric_tail(train, test, log_volume):
    delta, n = 0.05, train + test
    allowed = np.exp(log_volume) * delta
    errors = np.arange(0, n + 1)
    # P(no error falls into S) for a function with k errors among n, S a random subset.
    missed = stats.hypergeom(n, errors, train).pmf(0)
    worst = errors[missed > allowed].max()
    bound = fv.prior_bound(log_volume, train, delta, test_size=test) * test
    assert worst <= bound
    assert np.exp(bound * np.log(test / n)) == pytest.approx(allowed)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((1.0, 10, 0.1), "at most 0"), ((-1.0, 0, 0.1), "train_size"), ((-1.0, 10, 1.0), "delta")],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        fv.prior_bound(*arguments)


def test_the_marginal_likelihood_bound_holds_over_samples_and_the_posterior():
    """A finite prior over functions with known errors: the bound fails at most at its rate.

    Its proof rests on E_S[P(S) E_posterior (1 - ε)^-m] = 1, which is checked on the way.
    """
    generator = np.random.default_rng(0)
    functions, m, delta, gamma = 60, 8, 0.2, 0.2
    error = generator.uniform(0, 0.6, functions)
    error[0] = 0.0
    prior = generator.dirichlet(np.ones(functions))
    # Consistency of each function with S, over many S (functions err independently).
    consistent = generator.random((20000, functions)) < (1 - error) ** m
    consistent[:, 0] = True
    evidence = consistent @ prior
    moment = (consistent * prior / (1 - error) ** m).sum(1)
    assert abs(moment.mean() - 1) < 4 * moment.std() / np.sqrt(len(moment))
    posterior = consistent * prior / evidence[:, None]
    bound = fv.marginal_likelihood_bound(np.log(evidence), m, delta, gamma)
    exceeding = (posterior * (error > bound[:, None])).sum(1)
    assert np.mean(exceeding > gamma) <= delta
    mean_bound = fv.marginal_likelihood_bound(np.log(evidence), m, delta)
    assert np.mean(posterior @ error > mean_bound) <= delta
    assert (mean_bound < bound).all()


def test_the_marginal_likelihood_bound_as_printed():
    bound = fv.marginal_likelihood_bound(-20.0, 101, 0.1, 0.2)
    expected = (20 + np.log(101) + np.log(10) + np.log(5)) / 100
    np.testing.assert_allclose(-np.log1p(-bound), expected)
    for arguments in ((0.5, 10, 0.1), (-1.0, 1, 0.1), (-1.0, 10, 0.0), (-1.0, 10, 0.1, 2.0)):
        with pytest.raises(ValueError, match="log_evidence|train_size|delta|gamma"):
            fv.marginal_likelihood_bound(*arguments)
