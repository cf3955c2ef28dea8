import jax
import numpy as np
import pytest

from flatvol_jax import data
from flatvol_jax.kernels import nngp_kernel
from flatvol_jax.runtime.randomness import named_key
from flatvol_jax.study.boolean.mnist_posterior import (
    SPEC,
    all_functions,
    log_posterior,
    mnist_posterior_rows,
)
from flatvol_jax.study.boolean.posterior_rows import function_ids
from flatvol_jax.study.boolean.settings import MnistSettings
from flatvol_jax.study.engine.settings import settings as settings_of

KEY = jax.random.key(0)


def config(**changes):
    # At no learning rate: rejection sampling of the finite network's posterior.
    none = {"optimizer": "sgd", "learning_rate": 1e-12, "max_epochs": 1}
    settings = {"train_size": 2, "test_size": 3, "seeds": 3000, "train": {"none": none}}
    entries = {"on": True, "optimizers": [], **settings, **changes}
    return settings_of(MnistSettings, entries, "posterior_mnist"), 3000


@pytest.fixture(scope="module")
def rows():
    return mnist_posterior_rows(*config(), "none", KEY)


def test_all_functions_are_the_numbers_in_binary():
    functions = all_functions(3)
    assert functions[[0, 1, 4]].tolist() == [[-1, -1, -1], [-1, -1, 1], [1, -1, -1]]
    assert len(np.unique(functions, axis=0)) == 8


def test_posterior_of_two_outputs_against_the_orthant_formula():
    """P(both above 0) = 1/4 + asin(ρ)/2π; given one of them P_B is that over 1/2."""
    correlation = 0.6
    kernel = np.array([[2.0, correlation * 2], [correlation * 2, 2.0]])
    found = log_posterior(KEY, kernel, np.array([1]), all_functions(1))
    same = 0.5 + np.arcsin(correlation) / np.pi
    for value, error, p in zip(*found.log_p, [1 - same, same], strict=True):
        assert value == pytest.approx(np.log(p), abs=4 * error + 1e-9)
    assert found.log_p_train == pytest.approx(np.log(0.5), abs=1e-9)
    assert np.exp(found.log_p.value).sum() == pytest.approx(1)


def test_error_of_a_share_is_that_of_independent_errors():
    generator = np.random.default_rng(0)
    factor = generator.normal(size=(8, 8))
    found = log_posterior(KEY, factor @ factor.T + np.eye(8), np.ones(6, np.int8), all_functions(2))
    q = np.exp(found.log_p.value)
    jacobian = np.eye(4) - q  # d ln q_f / d ln V_g
    expected = np.sqrt((jacobian**2) @ found.log_volume_error**2)
    np.testing.assert_allclose(found.log_p.standard_error, expected)


def test_volumes_of_all_functions_add_up_to_that_of_s(rows):
    summary = rows[-1]
    assert abs(summary["measure.normalisation"]) < 4 * summary["measure.normalisation.se"]
    assert summary["measure.normalisation.se"] < 0.02
    total = sum(np.exp(row["measure.log_p_bayes.nngp"]) for row in rows[:-1])
    assert total == pytest.approx(1)


def test_rejection_sampling_is_nearly_the_posterior_of_the_wide_network(rows):
    summary = rows[-1]
    reached = summary["meta.zero_error"]
    assert sum(row["measure.count"] for row in rows[:-1]) == reached > 100
    share = np.log(reached / summary["meta.seeds"])
    assert summary["measure.log_p_train.nngp"] == pytest.approx(share, abs=0.3)
    assert abs(summary["measure.slope.nngp"] - 1) < 3 * summary["measure.slope.nngp.se"] + 0.05
    assert (
        summary["measure.total_variation.nngp"]
        < 1.5 * summary["measure.total_variation.nngp.null.high"]
    )


def test_rows_name_the_function_that_has_their_volume(rows):
    parts = data.draw(
        named_key(KEY, "draw"),
        data.binarise(data.load("mnist5k"), *data.GROUPS["mnist_halves"]),
        2,
        0,
        3,
        0,
    )
    x = np.concatenate([parts.train.x, parts.test.x])
    functions = all_functions(3)
    found = log_posterior(jax.random.key(9), nngp_kernel(SPEC, x), parts.train.y, functions)
    assert [row["function.id"] for row in rows[:-1]] == function_ids(functions)
    for row, value, error in zip(rows[:-1], *found.log_p, strict=True):
        tolerance = 4 * np.hypot(error, row["measure.log_p_bayes.nngp.se"])
        assert row["measure.log_p_bayes.nngp"] == pytest.approx(value, abs=tolerance)
    assert not any("direct" in name for row in rows for name in row)


def test_too_many_functions_are_refused():
    with pytest.raises(ValueError, match="got 13, wanted at most 12"):
        mnist_posterior_rows(*config(test_size=13), "none", KEY)
