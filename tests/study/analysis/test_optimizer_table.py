"""Verdicts of one optimizer against SGD, on draws whose correlations are known."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from flatvol_jax.study.analysis import comparison, statistics
from flatvol_jax.study.analysis.claims import claims_table
from flatvol_jax.study.analysis.optimizer_table import COLUMNS, optimizer_table, primary_claims
from flatvol_jax.study.analysis.verdicts import UNCHANGED_WITHIN

VOLUME, SHARPNESS = "measure.log_volume.heaviside", "measure.sharpness.best"
ERROR = "measure.error.second_test"
LEVEL = ["hp.draw", "hp.attack_size"]


def records(seed, correlations, draws=10, levels=8, samples=6):
    """Correlations of log V and of sharpness with the error, by optimizer, within levels."""
    generator = np.random.default_rng(seed)
    frames = []
    for optimizer, (volume, sharpness) in correlations.items():
        draw, level, sample = (i.ravel() for i in np.indices((draws, levels, samples)))
        error, *noise = generator.normal(size=(3, len(draw)))
        correlated = [
            rho * error + np.sqrt(1 - rho**2) * other
            for rho, other in zip((volume, sharpness), noise, strict=True)
        ]
        frames.append(
            pd.DataFrame(
                {
                    "run_id": [f"{optimizer} {i}" for i in range(len(draw))],
                    "hp.train.optimizer": optimizer,
                    "hp.draw": draw,
                    "hp.attack_size": 50 * level,
                    "hp.sample": sample,
                    ERROR: error + level,
                    VOLUME: correlated[0] - level,
                    SHARPNESS: correlated[1] + level,
                    "is.zero_error": True,
                    "is.ep_converged": True,
                    "is.sharpness_converged": True,
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def table_of(frame, scale=None):
    claims = claims_table(frame, scale, primary_claims=primary_claims(frame), permutations=0)
    return optimizer_table(frame, claims, scale)


def judged(frame, optimizer="adam", scale="cpu"):
    table = table_of(frame, scale)
    rows = table[(table["optimizer"] == optimizer) & (table["family"] == "primary")]
    volume, sharpness = rows.set_index("column").loc[[VOLUME, SHARPNESS]].itertuples()
    return volume, sharpness


@pytest.fixture(scope="module")
def broken():
    return records(0, {"sgd": (-0.9, 0.9), "adam": (-0.9, 0.0)})


def test_sharpness_breaks_and_the_volume_is_unchanged(broken):
    volume, sharpness = judged(broken)
    assert (volume.within_verdict, sharpness.within_verdict) == ("holds", "holds")
    assert sharpness.within_low > 0.2
    assert -UNCHANGED_WITHIN < volume.within_low < volume.within_high < UNCHANGED_WITHIN
    assert sharpness.within_sgd > 0.7
    assert abs(sharpness.within_other) < 0.2
    assert f"within ±{UNCHANGED_WITHIN}" in volume.claim
    assert "more than 0.2" in sharpness.claim


def test_the_opposite_does_not_hold():
    frame = records(1, {"sgd": (-0.9, 0.9), "adam": (0.0, 0.9)})
    assert [row.within_verdict for row in judged(frame)] == ["does not hold"] * 2


def test_a_correlation_that_sgd_has_not_cannot_be_broken():
    frame = records(1, {"sgd": (-0.9, 0.0), "adam": (-0.9, -0.9)})
    _, sharpness = judged(frame)
    assert sharpness.within_low > 0.2
    assert sharpness.within_verdict == "nothing to break"
    assert "does not hold" in sharpness.within_reason
    assert sharpness.pooled_verdict != "nothing to break"  # pooled SGD's own holds


def test_a_low_ceiling_of_either_optimizer_leaves_log_v_undecidable():
    frame = records(1, {"sgd": (-0.9, 0.9), "adam": (0.0, 0.9)})
    frame["measure.error.test"] = frame[ERROR]
    assert judged(frame)[0].within_verdict == "does not hold"
    adam = frame["hp.train.optimizer"] == "adam"
    noise = np.random.default_rng(0).normal(size=len(frame))
    frame.loc[adam, "measure.error.test"] = (frame["hp.attack_size"] + noise)[adam]
    assert judged(frame)[0].within_verdict == "undecidable at this |E1|"
    assert judged(frame)[1].within_verdict == "does not hold"  # sharpness has no ceiling


def test_both_readings_are_of_the_same_pairs(broken):
    _, sharpness = judged(broken)
    rho = [
        [stats.spearmanr(d[SHARPNESS], d[ERROR])[0] for _, d in runs.groupby("hp.draw")]
        for runs in (broken[broken["hp.train.optimizer"] == name] for name in ("sgd", "adam"))
    ]
    values = np.subtract(*rho)
    interval = stats.ttest_1samp(values, 0).confidence_interval(1 - 0.05 / 6)
    np.testing.assert_allclose((sharpness.pooled_low, sharpness.pooled_high), interval)
    assert sharpness.pooled_sgd == pytest.approx(np.tanh(np.mean(np.arctanh(rho[0]))))
    assert sharpness.pooled_verdict == "does not hold"  # the levels move all of it


def test_an_interval_across_the_limit_is_undecided():
    frame = records(2, {"sgd": (-0.9, 0.9), "adam": (-0.7, 0.7)})
    assert [row.within_verdict for row in judged(frame)] == ["undecided at this scale"] * 2


def test_gradient_descent_is_claimed_to_break_nothing():
    frame = records(3, {"sgd": (-0.9, 0.9), "gd": (-0.9, 0.9)})
    volume, sharpness = judged(frame, "gd")
    assert "unchanged" in sharpness.claim
    assert (volume.within_verdict, sharpness.within_verdict) == ("holds", "holds")
    frame = records(3, {"sgd": (-0.9, 0.9), "gd": (-0.9, 0.0)})
    assert judged(frame, "gd")[1].within_verdict == "does not hold"


@pytest.mark.parametrize(
    ("draws", "scale", "verdict"),
    [
        (9, "cpu", "undecided at this scale"),
        (1, "cpu", "conditional on this S, E"),
        (10, "small", "undecided at this scale"),
    ],
)
def test_few_draws_or_another_scale_give_no_verdict(draws, scale, verdict):
    frame = records(4, {"sgd": (-0.9, 0.9), "adam": (-0.9, 0.0)}, draws)
    assert [row.within_verdict for row in judged(frame, scale=scale)] == [verdict] * 2


def test_numbers_are_those_of_the_paired_t_test(broken):
    volume, sharpness = judged(broken)
    rho = {
        (name, column): statistics.draw_statistics(runs, column, ERROR)["rho"].to_numpy()
        for name, runs in broken.groupby("hp.train.optimizer")
        for column in (VOLUME, SHARPNESS)
    }
    weaker = rho["sgd", SHARPNESS] - rho["adam", SHARPNESS]
    interval = stats.ttest_1samp(weaker, 0).confidence_interval(1 - 0.05 / 6)
    np.testing.assert_allclose((sharpness.within_low, sharpness.within_high), interval)
    p = stats.ttest_1samp(weaker, 0.2, alternative="greater").pvalue
    np.testing.assert_allclose(sharpness.within_p, p)
    weaker = rho["adam", VOLUME] - rho["sgd", VOLUME]
    sides = [
        stats.ttest_1samp(weaker, limit, alternative=side).pvalue
        for limit, side in ((0.2, "less"), (-0.2, "greater"))
    ]
    np.testing.assert_allclose(volume.within_p, max(sides))


def test_a_level_that_one_does_not_complete_is_left_out_for_both(broken):
    hard = (broken["hp.draw"] == 3) & (broken["hp.attack_size"] == 50)
    frame = broken.copy()
    frame.loc[hard & (frame["hp.sample"] > 0), SHARPNESS] = np.arange(hard.sum() - 2)
    stuck = hard & (frame["hp.sample"] == 0) & (frame["hp.train.optimizer"] == "adam")
    frame.loc[stuck, "is.zero_error"] = False
    _, left = judged(frame)
    _, absent = judged(frame[~hard])
    assert (left.within, left.within_low, left.within_high) == (
        absent.within,
        absent.within_low,
        absent.within_high,
    )
    assert (left.levels, left.levels_run, left.runs) == (79, 80, 79 * 12)
    assert left.left_out == {"level not completed by both": 12}
    assert "on 79 of the 80 levels that both ran" in left.within_reason
    assert judged(broken)[1].within != left.within


def test_a_run_without_its_pair_is_left_out(broken):
    frame = broken.copy()
    adam = frame["hp.train.optimizer"] == "adam"
    first = (frame["hp.draw"] == 0) & (frame["hp.attack_size"] == 0)
    frame.loc[adam & first & (frame["hp.sample"] == 2), "is.sharpness_converged"] = False
    only = (frame["hp.draw"] == 1) & (frame["hp.attack_size"] == 0) & (frame["hp.sample"] > 0)
    frame = frame[~(adam & only)]
    _, sharpness = judged(frame)
    assert sharpness.left_out == {
        "sharpness did not converge": 1,
        "its pair is missing or left out": 1 + 5,
        "its pair is alone on the level": 2,
    }
    assert sharpness.runs + sum(sharpness.left_out.values()) == len(frame)
    assert (sharpness.levels, sharpness.levels_run) == (79, 80)
    volume, _ = judged(frame)
    assert "sharpness did not converge" not in volume.left_out


def test_one_that_completes_nothing_changes_no_other(broken):
    adagrad = records(5, {"adagrad": (-0.9, 0.9)}).assign(**{"is.zero_error": False})
    frame = pd.concat([broken, adagrad], ignore_index=True)
    for alone, with_it in zip(judged(broken), judged(frame), strict=True):
        assert (alone.within, alone.levels) == (with_it.within, with_it.levels)
        assert with_it.confidence == pytest.approx(1 - 0.05 / 10)
    for row in judged(frame, "adagrad"):
        assert (row.within_draws, row.levels, row.levels_run) == (0, 0, 80)
        assert row.within_verdict == "undecided at this scale"
        assert np.isnan(row.within_p_holm)
    table = table_of(frame, "cpu")
    shared = table[table["family"] == "levels that all optimizers complete"]
    assert len(shared) == 4
    assert shared["within"].isna().all()
    assert [counts["level not completed by all"] for counts in shared["left_out"]] == [960] * 4
    assert not len(table_of(broken).query("family.str.startswith('levels')"))


def test_the_levels_that_all_complete_are_those_of_the_worst(broken):
    adagrad = records(5, {"adagrad": (-0.9, 0.9)})
    adagrad["is.zero_error"] = adagrad["hp.attack_size"] < 200
    frame = pd.concat([broken, adagrad], ignore_index=True)
    table = table_of(frame, "cpu").set_index(["optimizer", "family", "column"])
    shared = table.loc[("adam", "levels that all optimizers complete", SHARPNESS)]
    easy = broken[broken["hp.attack_size"] < 200]
    sgd, adam = (easy[easy["hp.train.optimizer"] == name] for name in ("sgd", "adam"))
    wanted = comparison.paired_difference(sgd, adam, SHARPNESS, ERROR, 1)
    assert (shared["within_low"], shared["within_high"]) == (wanted.low, wanted.high)
    assert (shared["levels"], shared["levels_run"]) == (40, 80)
    assert shared["confidence"] == 0.95
    assert pd.isna(shared["within_verdict"])


def test_what_both_measured_stands_there_without_a_verdict(broken):
    trace, margin = "measure.hessian.trace", "measure.baseline.margin"
    frame = broken.assign(**{trace: broken[SHARPNESS], margin: 1.0})
    frame.loc[frame["hp.train.optimizer"] == "adam", margin] = np.nan
    table = table_of(frame, "cpu").set_index("column")
    assert margin not in table.index
    assert table.loc[trace, "within"] == table.loc[SHARPNESS, "within"]
    assert table.loc[trace, "confidence"] == 0.95
    assert (
        table.loc[trace, ["claim", "within_verdict", "pooled_verdict", "within_p", "within_p_holm"]]
        .isna()
        .all()
    )


def test_claims_are_counted_with_those_of_the_correlations(broken):
    assert primary_claims(broken) == 6
    table = table_of(broken, "cpu")
    assert table["confidence"].iloc[0] == pytest.approx(1 - 0.05 / 6)
    for reading in statistics.READINGS:
        p = np.sort(table[f"{reading}_p"].dropna())
        adjusted = np.sort(table[f"{reading}_p_holm"].dropna())
        np.testing.assert_allclose(adjusted, np.maximum.accumulate(np.minimum(1, p * [6, 5])))


def test_without_sgd_or_another_there_is_nothing_to_compare(broken):
    for name in ("sgd", "adam"):
        alone = broken[broken["hp.train.optimizer"] == name]
        assert primary_claims(alone) == 2
        table = table_of(alone, "cpu")
        assert len(table) == 0
        assert list(table.columns) == list(COLUMNS)


def test_an_empty_e2_is_said(broken):
    frame = broken.rename(columns={ERROR: "measure.error.test"})
    volume, _ = judged(frame)
    assert volume.error == "E1"
    assert "E2 is empty" in volume.within_reason
