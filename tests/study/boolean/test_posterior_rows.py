import numpy as np
import pytest

from flatvol_jax.study.boolean.optimizer_samples import OptimizerSample
from flatvol_jax.study.boolean.posterior_comparison import Slope, TotalVariation
from flatvol_jax.study.boolean.posterior_rows import (
    LogProbability,
    count_functions,
    function_ids,
    function_rows,
    log_share,
    sample_columns,
    summary_columns,
)


def test_functions_are_counted_most_frequent_first():
    generator = np.random.default_rng(0)
    known = np.where(generator.random((3, 70)) < 0.5, 1, -1).astype(np.int8)
    sample = known[generator.permutation(np.repeat([0, 1, 2], [2, 9, 5]))]
    functions, counts = count_functions(sample)
    assert counts.tolist() == [9, 5, 2]
    np.testing.assert_array_equal(functions, known[[1, 2, 0]])
    functions, counts = count_functions(sample[:0])
    assert functions.shape == (0, 70)
    assert counts.shape == (0,)


def test_ids_are_the_bits_in_hexadecimal():
    labels = -np.ones((3, 70), np.int8)
    labels[1, [0, 2, 63]] = 1
    labels[2, 64:] = 1
    assert function_ids(labels) == ["0" * 32, "8000000000000005" + "0" * 16, "0" * 30 + "3f"]


def test_log_share_has_the_binomial_error():
    log_p = log_share(np.array([25, 100, 0]), 100)
    np.testing.assert_allclose(log_p.value, [np.log(0.25), 0, np.nan])
    np.testing.assert_allclose(log_p.standard_error, [np.sqrt(0.75 / 25), 0, np.nan])
    simulated = np.random.default_rng(0).binomial(100, 0.25, 100_000) / 100
    assert log_p.standard_error[0] == pytest.approx(np.log(simulated).std(), rel=0.03)
    assert np.isnan(log_share(np.array([0]), 0).value).all()


def test_rows_of_functions_have_the_columns_of_the_records():
    functions = np.array([[1, -1], [-1, -1]])
    references = {"direct": LogProbability(np.array([-0.5, np.nan]), np.array([0.1, np.nan]))}
    rows = function_rows({"meta.system": "boolean"}, functions, np.array([3, 0]), 4, references)
    assert rows[0] == {
        "meta.part": "posterior",
        "meta.system": "boolean",
        "function.id": "0000000000000001",
        "measure.count": 3,
        "measure.log_p_optimizer": np.log(0.75),
        "measure.log_p_optimizer.se": np.sqrt(0.25 / 3),
        "measure.log_p_bayes.direct": -0.5,
        "measure.log_p_bayes.direct.se": 0.1,
    }
    assert rows[1]["measure.count"] == 0
    assert np.isnan(rows[1]["measure.log_p_optimizer"])
    assert np.isnan(rows[1]["measure.log_p_bayes.direct.se"])


def test_summary_names_every_number_of_a_reference():
    row = summary_columns(
        "nngp", Slope(1.1, 0.2, 9, 1.5, 0.3), TotalVariation(0.4, 0.3, 0.2, 0.35, 80)
    )
    assert row == {
        "measure.slope.nngp": 1.1,
        "measure.slope.nngp.se": 0.2,
        "measure.slope.nngp.functions": 9,
        "measure.slope.nngp.dispersion": 1.5,
        "measure.slope.nngp.robust.se": 0.3,
        "measure.total_variation.nngp": 0.4,
        "measure.total_variation.nngp.null": 0.3,
        "measure.total_variation.nngp.null.low": 0.2,
        "measure.total_variation.nngp.null.high": 0.35,
        "measure.total_variation.nngp.size": 80,
    }
    assert len(summary_columns("nngp", Slope(1.1, 0.2, 9, 1.5, 0.3), None)) == 5


def test_epochs_are_those_of_the_seeds_with_zero_error():
    zero_error = np.array([True, False, True])
    sample = OptimizerSample(np.zeros((3, 2), np.int8), zero_error, np.array([4, 500, 8]))
    assert sample_columns(sample, 2) == {
        "meta.zero_error": 2,
        "meta.distinct": 2,
        "measure.epochs": 6.0,
    }
    none = sample._replace(zero_error=np.zeros(3, bool))
    assert np.isnan(sample_columns(none, 0)["measure.epochs"])
