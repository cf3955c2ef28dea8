"""Simulated networks with planted predictors: what is planted is found and judged."""

import numpy as np
import pytest
from planted_predictors import RANDOM, SHARPNESS, VOLUME, WIDTH_ONLY, records

from flatvol_jax.study.analysis.network_pairs import one_factor_pairs
from flatvol_jax.study.predictors.figure import predictors_figure
from flatvol_jax.study.predictors.summary import CLAIMS, claim_table, summarised
from flatvol_jax.study.predictors.tables import NULL_GIVEN_TRAIN, networks_of


@pytest.fixture(scope="module")
def planted():
    return summarised(records())


def row_of(summary, column):
    return summary.measures.set_index("column").loc[column]


def test_the_measure_that_knows_the_error_is_best_everywhere(planted):
    row = row_of(planted, VOLUME)
    assert row["tau"] > 0.9
    assert row["granulated"] > 0.9
    assert row["information"] > 0.7
    assert row["worst"] < 0.05
    assert row["worst_high"] < 0.5
    assert planted.measures["column"].iloc[0] == VOLUME
    assert planted.sentence.startswith(
        "Of networks that differ in one hyperparameter, log P(f_E | S) orders the errors best: Ψ = "
    )
    assert "(960 networks, 10 draws of S). Log P(f_E | S) has Ψ = +" in planted.sentence
    assert planted.sentence.endswith(
        "(rate 0.3 to 3). Log P(f_E | S) is better than a coin in all "
        f"{planted.judged_environments} environments."
    )


def test_the_environment_where_a_measure_goes_the_wrong_way_is_its_worst(planted):
    row = row_of(planted, SHARPNESS)
    assert row["environment"].startswith("rate")
    assert row["worst"] > 0.9
    assert row["tau"] > 0.25
    psi = planted.factors.set_index("column").loc[SHARPNESS]
    assert psi["width"] > 0.9
    assert psi["rate"] < -0.5


def test_what_repeats_one_hyperparameter_has_no_information_beyond_it(planted):
    row = row_of(planted, WIDTH_ONLY)
    assert row["information"] == pytest.approx(0, abs=1e-9)
    assert "width" in row["given"]
    errors = planted.environments.set_index(["column", "factor"]).loc[WIDTH_ONLY, "error"]
    assert (errors["width"] < 0.1).all()
    assert (errors.drop("width").dropna() == 0.5).all()
    alike = planted.environments.set_index(["column", "factor"]).loc[WIDTH_ONLY, "alike"]
    assert (alike.drop("width") == 0.5).all()  # with all pairs no environment is left out


def test_random_numbers_look_like_chance(planted):
    row = row_of(planted, RANDOM)
    assert abs(row["tau"]) < 0.05
    assert row["information"] < 0.02
    assert row["granulated_low"] < 0 < row["granulated_high"]
    assert 0.4 < row["all_pairs"] < 0.6


def test_claims_are_judged_by_the_rules(planted):
    claims = planted.claims.set_index("name")["verdict"]
    assert len(claims) == CLAIMS
    assert claims["log P(f_E | S) correlates, all networks (τ)"] == "holds"
    assert claims["log P(f_E | S) correlates, a hyperparameter at a time (Ψ)"] == "holds"
    assert claims["log P(f_E | S) beats a coin everywhere"] == "holds"
    assert claims["sharpness (best found) beats a coin everywhere"] == "does not hold"
    assert claims["log P(f_E | S) predicts better than sharpness (best found) (Ψ)"] == "holds"


def test_where_the_error_on_e1_says_little_the_volume_is_undecidable():
    frame, random = records(), np.random.default_rng(0)
    frame["measure.log_volume.heaviside"] = frame["measure.log_volume.heaviside.train"] - (
        random.uniform(size=len(frame))
    )
    frame[SHARPNESS] = random.uniform(size=len(frame))

    def verdicts(on_e1):
        networks = networks_of(frame.assign(**{"measure.error.test": on_e1}))
        pairs = one_factor_pairs(networks.rows, networks.factors)
        found = claim_table(networks, pairs, "cpu").set_index("name")["verdict"]
        return found[found.index.str.contains("correlates")].tolist()

    fails = ["does not hold"] * 2
    assert verdicts(frame["measure.error.second_test"]) == [*fails, *fails]
    assert verdicts(random.uniform(size=len(frame))) == [*["undecidable at this |E1|"] * 2, *fails]


def test_few_draws_decide_nothing():
    networks = networks_of(records(draws=3))
    pairs = one_factor_pairs(networks.rows, networks.factors)
    claims = claim_table(networks, pairs, "cpu")
    assert set(claims["verdict"]) == {"undecided at this scale"}


def test_volumes_are_told_apart_and_failures_left_out():
    frame = records(draws=1)
    frame.loc[:9, "is.zero_error"] = False
    frame.loc[10:14, "is.ep_converged"] = False
    frame.loc[15:19, "is.train_volume_converged"] = False
    frame.loc[20:24, "is.null_converged"] = False
    frame["measure.log_volume_null.heaviside"] = -500.0
    networks = networks_of(frame)
    assert len(networks.rows) == 86
    assert networks.left_out == {"zero training error not reached": 10}
    volume = networks.rows[VOLUME].to_numpy()
    assert np.isnan(volume[:10]).all()
    assert np.isfinite(volume[10:]).all()
    null = networks.rows[NULL_GIVEN_TRAIN.name].to_numpy()
    assert np.isnan(null[:15]).all()
    assert np.isfinite(null[15:]).all()
    error = networks.rows["error"].to_numpy()
    np.testing.assert_allclose(volume[10:] / 800, error[10:], atol=0.01)  # points with the error
    assert networks.factors == (
        *("width", "depth", "sigma_w", "sigma_b", "train_size", "optimizer", "rate"),
        *("batch_size", "stop"),
    )


def test_the_picture_has_a_line_a_measure_and_a_column_an_environment(planted):
    figure = predictors_figure(planted)
    marks, cells = figure.axes[:2]
    assert [tick.get_text() for tick in marks.get_yticklabels()] == list(
        planted.measures["measure"]
    )
    values = cells.collections[0].get_array()
    assert values.shape == (len(planted.measures), planted.environments["environment"].nunique())
    assert values[0].max() < 0.05


def test_an_environment_without_enough_pairs_is_named_and_not_drawn(planted):
    named = planted.environments["environment"].iloc[0]
    environments = planted.environments.copy()
    environments.loc[environments["environment"] == named, "error"] = np.nan
    summary = planted._replace(environments=environments)
    assert planted.unjudged == []
    assert summary.unjudged == [named]
    assert summary.judged_environments == planted.judged_environments - 1
    cells = predictors_figure(summary).axes[1].collections[0].get_array()
    assert cells.shape[1] == summary.judged_environments
    nothing = planted._replace(environments=planted.environments.assign(error=np.nan))
    assert nothing.unjudged == []
    cells = predictors_figure(nothing).axes[1].collections[0].get_array()
    assert cells.shape[1] == planted.judged_environments
    assert cells.mask.all()


def test_records_without_networks_that_fit_are_refused():
    frame = records(draws=1)
    with pytest.raises(ValueError, match="got 0 networks that fit S"):
        summarised(frame.assign(**{"is.zero_error": False}))
    with pytest.raises(ValueError, match=r"no column hp\.factor\.width"):
        summarised(frame.drop(columns="hp.factor.width"))
