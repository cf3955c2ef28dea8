import jax
import numpy as np
import pytest

from flatvol_jax import data
from flatvol_jax.kernels import nngp_kernel
from flatvol_jax.models import FCN
from flatvol_jax.sampling import draw_functions
from flatvol_jax.study.boolean.posterior import boolean_posterior_rows
from flatvol_jax.study.boolean.posterior_rows import function_ids
from flatvol_jax.study.boolean.posterior_targets import train_rows
from flatvol_jax.study.boolean.settings import PosteriorSettings
from flatvol_jax.study.engine.settings import settings as settings_of

SPEC = FCN((12,), 1.0, 0.3)
X = data.load("boolean7").x[:16, 3:]  # the cube of four bits
KEY = jax.random.key(0)


def config(**changes):
    # At no learning rate, a seed has zero error only if its initialisation has: rejection
    # sampling of the posterior.
    none = {"optimizer": "sgd", "learning_rate": 1e-12, "max_epochs": 1}
    adam = {"optimizer": "adam", "learning_rate": 1e-2, "loss": "mean", "max_epochs": 1000}
    settings = {
        "train_size": 8,
        "seeds": 6000,
        "functions": 30,
        "least_probability": 1e-3,
        "least_matching": 100,
        "train": {"none": none, "adam": adam},
    }
    entries = {"on": True, "targets": [], "optimizers": [], **settings, **changes}
    return settings_of(PosteriorSettings, entries, "posterior"), 3000


@pytest.fixture(scope="module")
def draws():
    return draw_functions(jax.random.key(1), SPEC, X, 200_000)


@pytest.fixture(scope="module")
def kernel():
    return nngp_kernel(SPEC, X)


def split(rows):
    assert [row["meta.part"] for row in rows] == ["posterior"] * (len(rows) - 1) + [
        "posterior_summary"
    ]
    return rows[:-1], rows[-1]


@pytest.fixture(scope="module")
def rejection(draws, kernel):
    return split(boolean_posterior_rows(*config(), draws, X, SPEC, kernel, "rank_0", "none", KEY))


def test_rejection_sampling_is_bayesian(rejection):
    _, summary = rejection
    assert summary["meta.zero_error"] > 500
    assert summary["measure.slope.direct"] == pytest.approx(
        1, abs=3 * summary["measure.slope.direct.se"]
    )
    assert summary["measure.slope.direct.se"] < 0.1
    assert (
        summary["measure.total_variation.direct"]
        < (summary["measure.total_variation.direct.null.high"])
    )
    assert summary["measure.epochs"] == 0


def test_share_of_seeds_and_of_direct_samples_that_fit_s_agree(rejection):
    _, summary = rejection
    share = summary["meta.zero_error"] / summary["meta.seeds"]
    error = np.sqrt(share * (1 - share) / summary["meta.seeds"])
    p = summary["meta.matching"] / summary["meta.samples"]
    assert summary["measure.log_p_train.direct"] == pytest.approx(np.log(p))
    assert p == pytest.approx(share, abs=4 * error)


def test_functions_are_those_of_the_target_on_s_with_p_of_an_explicit_count(rejection, draws):
    rows, summary = rejection
    labels = np.array(
        [[1 if int(row["function.id"], 16) >> i & 1 else -1 for i in range(16)] for row in rows]
    )
    assert len({row["function.id"] for row in rows}) == len(rows) == 30
    assert function_ids(labels) == [row["function.id"] for row in rows]
    on_s = labels[:, train_rows(KEY, 16, 8)]
    assert (on_s == on_s[0]).all()
    every = np.concatenate([np.repeat(table.words[:, 0], table.counts) for table in draws.tables])
    for row in rows[:20]:
        share = np.mean(every == np.uint64(int(row["function.id"], 16)))
        share *= summary["meta.samples"] / summary["meta.matching"]
        assert row["measure.log_p_bayes.direct"] == pytest.approx(np.log(share))


@pytest.mark.slow
def test_wide_networks_have_the_posterior_of_the_gaussian_process(kernel):
    spec = FCN((512,), SPEC.sigma_w, SPEC.sigma_b)
    wide = draw_functions(jax.random.key(2), spec, X, 50_000)
    rows, summary = split(
        boolean_posterior_rows(*config(seeds=100), wide, X, spec, kernel, "rank_0", "none", KEY)
    )
    for row in rows[:8]:
        error = np.hypot(row["measure.log_p_bayes.direct.se"], row["measure.log_p_bayes.nngp.se"])
        assert row["measure.log_p_bayes.direct"] == pytest.approx(
            row["measure.log_p_bayes.nngp"], abs=4 * error
        )
    assert "measure.total_variation.nngp" not in summary


def test_all_functions_that_an_optimizer_found_are_counted(draws, kernel):
    shares = []
    few = config(seeds=40, functions=80)
    chosen = *few, draws, X, SPEC, kernel, "first_bit", "adam", KEY
    rows, summary = split(boolean_posterior_rows(*chosen, shares.append))
    assert shares[-1] == 1
    assert summary["meta.zero_error"] == 40
    assert sum(row["measure.count"] for row in rows) == 40
    assert summary["meta.distinct"] == sum(row["measure.count"] > 0 for row in rows)
    assert summary["hp.train.optimizer"] == rows[0]["hp.train.optimizer"] == "adam"
    labels = np.where(X[:, 0] == 1, 1, -1)
    seen = train_rows(KEY, 16, 8)
    identities = [int(row["function.id"], 16) for row in rows]
    bits = np.array([[identity >> int(i) & 1 for i in seen] for identity in identities])
    assert (bits == (labels[seen] == 1)).all()
    again = boolean_posterior_rows(*chosen)
    np.testing.assert_equal([*rows, summary], again)


def test_too_few_direct_samples_are_refused_with_p_of_s(draws, kernel):
    system = draws, X, SPEC, kernel
    for changes in ({"least_probability": 0.9}, {"least_matching": 10**6}):
        with pytest.raises(ValueError, match=r"P\(S\) = 0\.\d+; wanted .* smaller train_size"):
            boolean_posterior_rows(*config(**changes), *system, "rank_0", "none", KEY)


def test_dependent_samples_are_refused(draws, kernel):
    with pytest.raises(ValueError, match="readouts = 1"):
        boolean_posterior_rows(
            *config(), draws._replace(readouts=4), X, SPEC, kernel, "rank_0", "none", KEY
        )
