"""Sign errors by environment: against loops over pairs; what is planted is found."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from flatvol_jax.study.analysis.comparison import jackknife_over_draws
from flatvol_jax.study.analysis.sign_errors import (
    environment_errors,
    hoeffding_weights,
    pair_errors,
    weighted_error,
    wilson_interval,
    worst_error,
)

FACTORS = ("width", "rate")


def networks(draws=12, seed=0, noise=0.1):
    """The error falls with width and rises with rate; the measure knows width, errs on rate."""
    random, rows = np.random.default_rng(seed), []
    for draw in range(draws):
        for width, rate in itertools.product(range(3), range(2)):
            error = 0.2 - 0.04 * width + 0.03 * rate + 0.005 * random.normal()
            x = -width - 0.5 * rate + noise * random.normal()
            rows.append((draw, width, rate, x, error))
    return pd.DataFrame(rows, columns=["hp.draw", *FACTORS, "x", "error"])


def looped_errors(frame, inputs):
    """Σ w e / Σ w of each environment, by loops over all pairs of rows."""
    sums = {}
    for a, b in itertools.combinations(frame.to_dict("records"), 2):
        differ = [name for name in FACTORS if a[name] != b[name]]
        if a["hp.draw"] != b["hp.draw"] or len(differ) != 1:
            continue
        low, high = sorted((a, b), key=lambda row: row[differ[0]])
        sign = np.sign(high["x"] - low["x"]) * np.sign(high["error"] - low["error"])
        chance = 2 * np.exp(-2 * inputs * ((high["error"] - low["error"]) / 2) ** 2)
        weight = max(max(0.0, 1 - chance) ** 2 - 0.5, 0.0)
        place = (differ[0], low[differ[0]], high[differ[0]])
        error, whole = sums.get(place, (0.0, 0.0))
        sums[place] = error + weight * (1 - sign) / 2, whole + weight
    return {place: error / whole for place, (error, whole) in sums.items() if whole}


def test_environments_are_as_looped():
    frame = networks()
    found = environment_errors(pair_errors(frame, "x", "error", FACTORS, 10_000), least_pairs=1)
    looped = looped_errors(frame, 10_000)
    assert len(found) == len(looped) == 4
    for row in found.itertuples():
        assert row.error == pytest.approx(looped[row.factor, row.low, row.high])
    assert found["pairs"].tolist() == [24, 24, 24, 36]
    assert (found["effective"] <= found["pairs"] + 1e-9).all()
    assert found["effective"].iloc[3] < 35  # weights differ


def test_the_planted_environment_is_the_worst():
    pairs = pair_errors(networks(), "x", "error", FACTORS, 10_000)
    found = environment_errors(pairs).set_index("factor")
    assert found.loc["rate", "error"] == 1
    assert (found.loc["width", "error"] < 0.05).all()
    worst = worst_error(pairs)
    assert worst.estimate == 1
    assert 0.5 < worst.low < 1


def test_the_interval_of_the_worst_holds_whichever_it_is():
    noisy = pair_errors(networks(noise=1.0), "x", "error", FACTORS, 10_000)
    found, worst = environment_errors(noisy), worst_error(noisy)
    assert (found["error"] > 0).all()
    assert worst.estimate == found["error"].max()
    assert worst.high == found["error_high"].max()
    assert worst.low < found["error_low"].max()  # lower ends that hold together reach further
    assert worst.draws == 12


def test_an_environment_of_one_draw_leaves_the_worst_without_an_upper_end():
    frame = networks()
    frame.loc[(frame["width"] == 2) & (frame["hp.draw"] > 0), "x"] = np.nan
    pairs = pair_errors(frame, "x", "error", FACTORS, 10_000)
    found, worst = environment_errors(pairs, least_pairs=1), worst_error(pairs, least_pairs=1)
    assert found["draws"].min() == worst.draws == 1
    assert np.isfinite(found["error_high"]).any()
    assert np.isfinite(worst.estimate)
    assert np.isnan(worst.high)


def test_hoeffding_weights_leave_out_what_chance_explains():
    # Two errors on n inputs differ by Δ through chance with probability 2 exp(-2 n (Δ/2)²).
    weights = hoeffding_weights(np.array([0.0, 0.01, 0.05, -0.05, 1.0]), 10_000)
    chance = 2 * np.exp(-2 * 10_000 * 0.025**2)
    wanted = (1 - chance) ** 2 - 0.5
    np.testing.assert_allclose(weights, [0, 0, wanted, wanted, 0.5])


def test_a_measure_that_does_not_move_is_a_coin_and_a_missing_one_has_no_pairs():
    frame = networks().assign(constant=1.0)
    flat = environment_errors(pair_errors(frame, "constant", "error", FACTORS))
    assert flat["error"].tolist() == [0.5] * 4
    frame.loc[frame["rate"] == 1, "x"] = np.nan
    found = environment_errors(pair_errors(frame, "x", "error", FACTORS))
    assert set(found["factor"]) == {"width"}


def test_too_few_pairs_and_no_weight_give_nothing():
    frame = networks(draws=2)
    found = environment_errors(pair_errors(frame, "x", "error", FACTORS), least_pairs=5)
    assert np.isfinite(found["error"]).tolist() == [False, False, False, True]
    equal = pair_errors(frame.assign(error=0.1), "x", "error", FACTORS, 100)
    assert np.isnan(weighted_error(equal).estimate)
    assert np.isnan(worst_error(equal).estimate)


def test_wilsons_interval_is_that_of_scipy():
    interval = stats.binomtest(3, 20).proportion_ci(confidence_level=0.9, method="wilson")
    assert wilson_interval(3 / 20, 20, 0.9) == pytest.approx((interval.low, interval.high))
    assert np.isnan(wilson_interval(np.nan, 0, 0.9)).all()


def test_a_measure_that_never_errs_has_an_interval_all_the_same():
    pairs = pd.DataFrame({"draw": np.repeat(np.arange(10), 2), "sign_error": 0.0, "weight": 0.3})
    found = weighted_error(pairs)
    assert (found.estimate, found.low) == (0, pytest.approx(0))
    assert found.high == pytest.approx(stats.binomtest(0, 20).proportion_ci(method="wilson").high)
    assert found.draws == 10


def test_the_interval_of_a_mean_of_draws_is_students():
    values = np.random.default_rng(1).normal(size=9)
    found = jackknife_over_draws(lambda kept: float(values[kept].mean()), 9)
    assert found.standard_error == pytest.approx(values.std(ddof=1) / 3)
    assert found.freedom == 8
    assert np.isnan(jackknife_over_draws(lambda kept: 1.0, 1).low)
    assert np.isnan(jackknife_over_draws(lambda kept: 1.0, 0).estimate)


def test_the_interval_of_an_environment_holds_what_it_should_of_planted_shares():
    # 100 studies of ten draws with eight pairs each; the share of wrong pairs is 0.3.
    random, held = np.random.default_rng(2), 0
    for _ in range(100):
        shares = np.clip(0.3 + 0.1 * random.uniform(-1, 1, size=10), 0, 1)
        wrong = random.uniform(size=(10, 8)) < shares[:, None]
        pairs = pd.DataFrame(
            {"draw": np.repeat(np.arange(10), 8), "sign_error": wrong.ravel() * 1.0, "weight": 1.0}
        )
        found = weighted_error(pairs)
        held += found.low < 0.3 < found.high
    assert 88 <= held <= 99
