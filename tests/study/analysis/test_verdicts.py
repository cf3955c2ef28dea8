import hashlib
import pathlib

import numpy as np
import pandas as pd
import pytest

from flatvol_jax.study.analysis import claims, run_tables, verdicts
from flatvol_jax.study.analysis.comparison import Difference
from flatvol_jax.study.analysis.statistics import Correlation

VOLUME = verdicts.correlates(-1)


def correlation(low, high, draws=10, undefined=0):
    middle = (low + high) / 2
    return Correlation(middle, low, high, 0.95, 0.1, draws - 1, draws, undefined, 55, "draws")


def difference(low, high, draws=10):
    return Difference((low + high) / 2, low, high, 0.95, 0.1, draws - 1, draws, 0)


def sweep(seed, draws, slope=-1.0, empty_e2=False, optimizers=("sgd",), samples=5):
    """Error rises with |A|; log V follows the error within levels with `slope`."""
    generator = np.random.default_rng(seed)
    shape = (len(optimizers), draws, 4, samples)
    optimizer, draw, level, sample = (index.ravel() for index in np.indices(shape))
    latent = generator.normal(size=optimizer.shape)
    error = 0.2 + 0.05 * level + 0.005 * latent
    noise = generator.normal(size=optimizer.shape)
    return pd.DataFrame(
        {
            "run_id": [f"{index}" for index in range(len(draw))],
            "hp.draw": draw,
            "hp.attack_size": 50 * level,
            "hp.sample": sample,
            "hp.train.optimizer": np.array(optimizers)[optimizer],
            "measure.error.test": error + 0.001 * noise,
            "measure.error.second_test": np.nan if empty_e2 else error,
            "measure.log_volume.heaviside": -100 * level + slope * latent + 0.5 * noise - 300,
            "measure.sharpness.best": np.exp(level + generator.normal(size=optimizer.shape)),
            "measure.baseline.epochs": np.round(100 * level + 10 * latent + 5 * noise),
            "measure.bound.printed": np.where(level < 1, 0.4, 0.6),
            "is.zero_error": True,
            "is.ep_converged": True,
        }
    )


@pytest.mark.parametrize(
    ("low", "high", "sign", "verdict"),
    [
        (-0.9, -0.31, -1, "holds"),
        (-0.9, -0.29, -1, "undecided at this scale"),
        (-0.29, 0.1, -1, "does not hold"),
        (0.5, 0.9, -1, "does not hold"),
        (0.31, 0.9, 1, "holds"),
        (-0.9, -0.5, 1, "does not hold"),
        (0.1, 0.9, 1, "undecided at this scale"),
        (np.nan, np.nan, 1, "undecided at this scale"),
    ],
)
def test_correlates_by_its_whole_interval(low, high, sign, verdict):
    assert (
        verdicts.judge(verdicts.correlates(sign), correlation(low, high), "cpu").verdict == verdict
    )


@pytest.mark.parametrize(
    ("draws", "scale", "verdict", "reason"),
    [
        (1, "paper", "conditional on this S, E", "1 draw, 10 wanted"),
        (9, "paper", "undecided at this scale", "9 draws, 10 wanted"),
        (0, "paper", "undecided at this scale", "0 draws, 10 wanted"),
        (10, "smoke", "undecided at this scale", "smoke, cpu or paper wanted"),
        (10, None, "undecided at this scale", "not stated, cpu or paper wanted"),
        (10, "paper", "holds", "wholly below -0.3"),
    ],
)
def test_a_verdict_needs_ten_draws_and_a_scale(draws, scale, verdict, reason):
    result = verdicts.judge(VOLUME, correlation(-0.9, -0.5, draws), scale)
    assert result.verdict == verdict
    assert reason in result.reason


def test_undefined_draws_and_notes_stand_in_the_reason():
    result = verdicts.judge(VOLUME, correlation(-0.9, -0.5, 11, 2), "cpu", "E2 is empty")
    assert "2 further draw(s)" in result.reason
    assert result.reason.endswith("E2 is empty")


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.21, 0.5, "holds"),
        (-0.3, 0.19, "does not hold"),
        (0.1, 0.5, "undecided at this scale"),
    ],
)
def test_breaks_by_its_whole_interval(low, high, verdict):
    assert verdicts.judge(verdicts.BREAKS, difference(low, high), "cpu").verdict == verdict


@pytest.mark.parametrize("own", ["does not hold", "undecided at this scale"])
def test_there_is_nothing_to_break_where_sgds_own_correlation_does_not_hold(own):
    def judged(*draws):
        found = difference(0.3, 0.6, *draws)
        return verdicts.judge(verdicts.BREAKS, found, "cpu", reference=own)

    result = judged()
    assert result.verdict == "nothing to break"
    assert f"SGD's own correlation: {own}" in result.reason
    assert judged(9).verdict.startswith("undecided")
    assert judged(1).verdict.startswith("condit")


@pytest.mark.parametrize(
    ("ceiling", "low", "high", "verdict"),
    [
        (0.29, -0.2, 0.1, "undecidable at this |E1|"),
        (np.nan, -0.2, 0.1, "undecidable at this |E1|"),
        (0.31, -0.2, 0.1, "does not hold"),
        (None, -0.2, 0.1, "does not hold"),
        (0.29, -0.6, 0.1, "undecided at this scale"),
        (0.29, -0.6, -0.4, "holds"),
    ],
)
def test_a_low_ceiling_spares_log_v_a_does_not_hold_and_nothing_else(ceiling, low, high, verdict):
    found = verdicts.judge(VOLUME, correlation(low, high), "cpu", ceiling=ceiling)
    assert found.verdict == verdict


def test_a_low_ceiling_spares_differences_of_log_v_too():
    for criterion in (verdicts.within(0.2), verdicts.exceeds(0.8)):
        apart = difference(0.3, 0.6)
        assert verdicts.judge(criterion, apart, "cpu").verdict == "does not hold"
        limited = verdicts.judge(criterion, apart, "cpu", ceiling=0.1)
        assert limited.verdict == "undecidable at this |E1|"


def test_half_width_and_decidable_effect_stand_with_each_verdict():
    # On Fisher's z: an interval of this width holds where its near end is at 0.3.
    found = verdicts.judge(VOLUME, correlation(-0.5, -0.1), "cpu")
    reach = (np.arctanh(0.5) - np.arctanh(0.1)) / 2
    assert found.half_width == pytest.approx(0.2)
    assert np.arctanh(-found.decidable) - reach == pytest.approx(np.arctanh(0.3))
    assert "half-width 0.20, decidable: -0.49" in found.reason
    found = verdicts.judge(verdicts.BREAKS, difference(-0.1, 0.3), "cpu")
    assert (found.half_width, found.decidable) == pytest.approx((0.2, 0.4))
    narrow = verdicts.judge(verdicts.UNCHANGED, difference(-0.05, 0.1), "cpu")
    assert narrow.decidable == pytest.approx(0.2 - 0.075)
    assert verdicts.judge(verdicts.correlates(1), correlation(-1.0, 1.0), "cpu").decidable <= 1
    wide = verdicts.judge(verdicts.UNCHANGED, difference(-0.3, 0.3), "cpu")
    assert np.isnan(wide.decidable)
    assert "half-width 0.30, nothing decidable" in wide.reason


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-0.09, 0.09, "holds"),
        (-0.11, 0.02, "undecided at this scale"),
        (0.11, 0.3, "does not hold"),
        (-0.3, -0.11, "does not hold"),
    ],
)
def test_unchanged_is_equivalence_within_the_margin(low, high, verdict):
    assert verdicts.judge(verdicts.within(0.1), difference(low, high), "cpu").verdict == verdict


def test_the_hash_is_of_the_file_of_rules():
    path = pathlib.Path(verdicts.__file__).parents[1] / "VERDICTS.md"
    assert verdicts.rules_hash() == hashlib.sha256(path.read_bytes()).hexdigest()
    assert verdicts.rules_text().startswith("# Rules of judgement\n")


def test_each_reading_is_judged_by_itself():
    table = claims.claims_table(sweep(0, 12), "cpu").set_index("measure")
    volume, sharp = table.loc["log V (Heaviside)"], table.loc["sharpness (best found)"]
    assert (volume["pooled_verdict"], volume["within_verdict"]) == ("holds", "holds")
    assert sharp["pooled"] > 0.5
    assert (sharp["pooled_verdict"], sharp["within_verdict"]) == ("holds", "does not hold")
    assert volume["confidence"] == pytest.approx(0.975)
    assert table.loc["epochs to zero error", "confidence"] == 0.95
    for reading in ("pooled", "within"):
        small, large = sorted(row[f"{reading}_p"] for row in (volume, sharp))
        adjusted = sorted(row[f"{reading}_p_holm"] for row in (volume, sharp))
        assert adjusted == pytest.approx([2 * small, max(2 * small, large)])
        assert table[f"{reading}_verdict"].notna().sum() == 2
    assert table.loc["log V beyond all baselines", "within_draws"] == 12


def test_the_pooled_reading_is_judged_by_both_links_and_only_heaviside_counts():
    frame = sweep(0, 12).assign(**{"measure.log_volume.probit": lambda f: -f["hp.attack_size"]})
    table = claims.claims_table(frame, "cpu").set_index("measure")
    probit = table.loc["log V (probit)"]
    assert probit["pooled_verdict"] == "holds"
    assert pd.isna(probit["within_verdict"])
    assert probit["confidence"] == pytest.approx(0.975)
    assert np.isnan(probit["pooled_p_holm"])


def test_the_ceiling_is_the_e1_errors_own_correlation():
    frame = sweep(0, 12, slope=0.0)
    high = claims.claims_table(frame, "cpu").set_index("measure")
    ceiling = high.loc["error on E1 (the ceiling)"]
    assert ceiling["within"] > 0.9
    assert ceiling["confidence"] == pytest.approx(0.975)
    assert high.loc["log V (Heaviside)", "within_verdict"] == "does not hold"
    noise = np.random.default_rng(99).normal(size=len(frame))
    frame["measure.error.test"] = 0.2 + 0.05 * frame["hp.attack_size"] + 0.001 * noise
    low = claims.claims_table(frame, "cpu").set_index("measure")
    assert low.loc["error on E1 (the ceiling)", "within_low"] < 0.3
    assert low.loc["log V (Heaviside)", "within_verdict"] == "undecidable at this |E1|"
    assert low.loc["log V (Heaviside)", "pooled_verdict"] == "holds"
    assert claims.ceilings(low.reset_index()) == {
        "sgd": low.loc["error on E1 (the ceiling)", "within_low"]
    }


def test_a_claim_of_the_wrong_sign_does_not_hold():
    table = claims.claims_table(sweep(1, 10, slope=1.0), "cpu").set_index("measure")
    assert table.loc["log V (Heaviside)", "within"] > 0.5
    assert table.loc["log V (Heaviside)", "within_verdict"] == "does not hold"


def test_one_draw_is_conditional():
    table = claims.claims_table(sweep(2, 1), "paper")
    primary = table[table["family"] == "primary"]
    for reading in ("pooled", "within"):
        assert set(primary[f"{reading}_verdict"]) == {"conditional on this S, E"}
        assert set(table[f"{reading}_basis"].dropna()) == {"conditional on this S, E"}
    assert (primary["permutation_p"] <= 1).all()


def test_an_empty_e2_is_said():
    table = claims.claims_table(sweep(3, 10, empty_e2=True), "cpu")
    assert set(table["error"]) == {"E1"}
    assert "E2 is empty" in table["within_reason"].iloc[0]
    assert "error on E1 (the ceiling)" not in set(table["measure"])


def test_each_optimizer_adds_claims_and_an_unmeasured_claim_stays():
    frame = sweep(4, 3, optimizers=("adam", "sgd")).drop(columns="measure.sharpness.best")
    table = claims.claims_table(frame, "cpu")
    assert list(dict.fromkeys(table["optimizer"])) == ["sgd", "adam"]
    primary = table[table["family"] == "primary"]
    assert len(primary) == 4
    assert primary["confidence"].iloc[0] == pytest.approx(1 - 0.05 / 4)
    sharp = primary[primary["column"] == "measure.sharpness.best"].iloc[0]
    assert sharp["runs"] == 0
    assert sharp["within_verdict"] == "undecided at this scale"
    assert sharp["left_out"] == {"no value of measure.sharpness.best": 60}


def test_claims_made_elsewhere_widen_the_intervals_and_count_in_holm():
    frame = sweep(4, 10)
    own = claims.claims_table(frame, "cpu").iloc[0]
    more = claims.claims_table(frame, "cpu", primary_claims=26).iloc[0]
    assert more["confidence"] == pytest.approx(1 - 0.05 / 26)
    assert more["within_high"] > own["within_high"]
    assert more["pooled_high"] > own["pooled_high"]
    assert more["within_p"] == own["within_p"]
    assert more["within_p_holm"] == pytest.approx(13 * own["within_p_holm"])
    with pytest.raises(ValueError, match="primary_claims: got 1"):
        claims.claims_table(frame, "cpu", primary_claims=1)


def test_holm_over_two_tables_by_hand():
    family = ["primary", "flatness", "primary"]
    first = pd.DataFrame({"family": family, "within_p": [0.03, 0.001, 0.005], "pooled_p": 0.5})
    second = pd.DataFrame({"family": ["primary"], "within_p": [0.01], "pooled_p": 0.2}, index=[7])
    one, other = claims.holm_together([first, second], 4)
    np.testing.assert_allclose(one["within_p_holm"], [0.06, np.nan, 0.02])
    np.testing.assert_allclose(other["within_p_holm"], [0.03])
    np.testing.assert_allclose(other["pooled_p_holm"], [0.8])


def test_runs_that_did_not_converge_change_no_number():
    frame = sweep(5, 3)
    bad = frame.copy()
    bad["run_id"] = "bad" + bad["run_id"]
    bad["measure.log_volume.heaviside"] = 1e6
    bad["is.ep_converged"] = False
    both = claims.claims_table(pd.concat([frame, bad], ignore_index=True), "cpu")
    clean = claims.claims_table(frame, "cpu")
    pd.testing.assert_series_equal(
        both.iloc[0].drop("left_out"), clean.iloc[0].drop("left_out"), check_names=False
    )
    assert both["left_out"].iloc[0] == {"EP did not converge": 60}


def test_the_same_seed_gives_the_same_table():
    frame = sweep(6, 3)
    pd.testing.assert_frame_equal(claims.claims_table(frame), claims.claims_table(frame))


def test_bound_says_something_below_one_half_only():
    table = run_tables.bound_table(sweep(7, 2)).set_index("form")
    assert table.loc["as printed (eq. 4)", "informative"] == 0.25
    assert table.loc["random split of S and E", "runs"] == 0


def test_status_table_counts_unknown_apart():
    frame = sweep(8, 1).astype({"is.ep_converged": object})
    frame.loc[0, "is.ep_converged"] = None
    frame.loc[1, "is.ep_converged"] = False
    table = run_tables.status_table(frame).set_index("status")
    assert list(table.loc["EP converged"]) == [18, 1, 1]
    assert list(table.loc["sharpness converged"]) == [0, 0, 20]


def test_summary_has_both_correlations_n_and_verdicts():
    frame = sweep(9, 2)
    table = claims.claims_table(frame, "cpu")
    lines = claims.records_summary(frame, "cpu", claims=table)
    row = next(line for line in lines if "log V (Heaviside)  " in line)
    for column in ("within", "pooled", "pooled_low"):
        assert f"{table[column].iloc[0]:+.2f}" in row
    assert row.endswith(" 40")
    assert any("2 draws, 10 wanted" in line for line in lines)
    assert max(map(len, lines)) < 140


def test_no_records_is_an_error():
    with pytest.raises(ValueError, match="no records"):
        claims.claims_table(sweep(0, 1).iloc[:0])


@pytest.mark.parametrize(
    ("criterion", "text", "met"),
    [
        (verdicts.correlates(1), "ρ > +0.3", 0.31),
        (verdicts.correlates(-1), "ρ < -0.3", -0.31),
        (verdicts.exceeds(0), "> 0", 0.01),
        (verdicts.within(0.2), "within ±0.2", -0.19),
    ],
)
def test_a_criterion_says_what_it_asks(criterion, text, met):
    assert criterion.text == text
    assert criterion.met(met)
    assert not criterion.met(-2 * np.sign(met))
    assert not criterion.met(np.nan)


def test_a_criterion_that_asks_nothing_is_refused():
    with pytest.raises(ValueError, match="sign: got 0"):
        verdicts.correlates(0)
    with pytest.raises(ValueError, match="margin"):
        verdicts.within(-0.1)
