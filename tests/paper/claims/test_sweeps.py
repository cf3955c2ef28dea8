"""Claims on sweeps whose correlations are known."""

import numpy as np
import pandas as pd
import pytest
from known_sweeps import ERROR, SHARPNESS, VOLUME, known_sweep
from scipy import stats

from flatvol_jax.paper.claims.sweeps import sweep_claims
from flatvol_jax.study.analysis import statistics
from flatvol_jax.study.analysis.experiment_tables import experiment_tables
from flatvol_jax.study.analysis.verdicts import FAILS, HOLDS, UNDECIDED

NORM = "measure.hessian.spectral_norm"


def claims_of(*frames, scale="cpu"):
    tables = experiment_tables(pd.concat(frames, ignore_index=True), scale)
    found = {}
    for claim in sweep_claims(tables, scale):
        found.setdefault(claim.sentence, []).append(claim)
    return found


def pooled_by_hand(frame, column):
    rho = [stats.spearmanr(draw[column], draw[ERROR])[0] for _, draw in frame.groupby("hp.draw")]
    return np.tanh(np.mean(np.arctanh(rho)))


@pytest.fixture(scope="module")
def broken():
    """SGD has both correlations, Adam has lost that of sharpness, GD has both."""
    sgd = known_sweep("sgd", -0.9, 0.9)
    sgd[NORM] = np.log(sgd[SHARPNESS]) ** 3  # another scale, the same order
    return claims_of(sgd, known_sweep("adam", -0.9, 0.0), known_sweep("gd", -0.9, 0.9, samples=12))


def test_each_sentence_has_the_verdict_that_was_built_in(broken):
    assert [claim.within.verdict for claim in broken["volume"]] == [HOLDS] * 3
    assert [claim.within.verdict for claim in broken["sharpness"]] == [HOLDS] * 2  # SGD and GD
    (adam,) = broken["breaks"]
    assert adam.within.verdict == HOLDS
    assert adam.within.met
    assert adam.family == 10
    by_optimizer = {claim.subject: claim for claim in broken["looser"]}
    assert by_optimizer["FCN on MNIST, Adam"].within.verdict == HOLDS
    assert by_optimizer["FCN on MNIST, SGD"].within.verdict == FAILS
    assert not by_optimizer["FCN on MNIST, SGD"].within.met


def test_an_optimizer_like_sgd_does_not_break_the_correlation():
    found = claims_of(known_sweep("sgd", -0.9, 0.9), known_sweep("adam", -0.9, 0.9))
    assert found["breaks"][0].within.verdict == FAILS
    assert found["intact"][0].within.verdict == HOLDS


def test_a_volume_that_does_not_follow_the_error_fails_its_claim():
    assert claims_of(known_sweep("sgd", 0.0, 0.9))["volume"][0].within.verdict == FAILS


def test_the_number_that_decides_is_the_primary_statistic():
    frame = known_sweep("sgd", -0.6, 0.4)
    (claim,) = claims_of(frame)["volume"]
    by_hand = []
    for _, of_draw in frame.groupby("hp.draw"):
        ranks = of_draw.groupby("hp.attack_size")[[VOLUME, ERROR]].rank()
        centred = ranks - (8 + 1) / 2
        by_hand.append(np.arctanh(stats.pearsonr(centred[VOLUME], centred[ERROR]).statistic))
    np.testing.assert_allclose(claim.within.judged.estimate, np.tanh(np.mean(by_hand)), rtol=1e-10)
    pooled = pooled_by_hand(frame, VOLUME)
    np.testing.assert_allclose(claim.paper.judged.estimate, pooled, rtol=1e-10)


def test_the_null_and_the_baselines_stand_beside_the_volume():
    (claim,) = claims_of(known_sweep("sgd", -0.6, 0.4))["volume"]
    labels = " ".join(evidence.label for evidence in claim.evidence)
    for wanted in ("margin: Spearman's ρ within", "beyond all baselines"):
        assert wanted in labels
    for reading in claim.readings.values():
        assert "as many errors at random" in reading.null.label
        assert np.isfinite(reading.null.estimate)


def test_the_authors_link_stands_first_in_the_pooled_reading():
    frame = known_sweep("sgd", -0.6, 0.4)
    probit = "measure.log_volume.probit"
    frame[probit] = -(frame[VOLUME] ** 2)
    (claim,) = claims_of(frame)["volume"]
    assert claim.paper.probit.estimate == pytest.approx(pooled_by_hand(frame, probit))
    assert claim.within.probit is None


def test_ten_classes_are_judged_beside_the_papers_claims_and_leave_them_as_they_are():
    two = known_sweep("sgd", -0.9, 0.9)
    ten = known_sweep("sgd", -0.9, 0.0, experiment="mnist_fcn_classes10")
    alone, both = claims_of(two), claims_of(two, ten)
    assert {key: both[key] for key in alone} == alone
    assert both.keys() - alone.keys() == {"volume_ten", "sharpness_ten", "looser_ten"}
    verdicts = {key: both[key][0].within.verdict for key in both.keys() - alone.keys()}
    assert verdicts == {"volume_ten": HOLDS, "sharpness_ten": FAILS, "looser_ten": HOLDS}
    assert both["volume_ten"][0].subject == "FCN on MNIST, ten classes, SGD"
    for reading in both["volume_ten"][0].readings.values():
        assert "as many errors at random" in reading.null.label


def test_looser_is_the_mean_over_draws_of_the_difference_of_strengths():
    frame = known_sweep("sgd", -0.8, 0.2, noise=0.1)
    (claim,) = claims_of(frame)["looser"]
    strengths = [
        sign * statistics.draw_statistics(frame, column, ERROR)["rho"]
        for column, sign in ((VOLUME, -1), (SHARPNESS, 1))
    ]
    judged = claim.within.judged
    np.testing.assert_allclose(judged.estimate, np.mean(strengths[0] - strengths[1]))
    spread = stats.sem(strengths[0] - strengths[1]) * stats.t.ppf(0.975, 9)
    np.testing.assert_allclose(judged.high - judged.estimate, spread)


def test_sharpness_that_is_a_function_of_the_norm_follows_it_wholly(broken):
    (claim,) = broken["hessian"]
    # Fisher's z ends half a step of the rank sums below 1: six levels of eight networks.
    for reading, spread in ((claim.paper, 48 * (48**2 - 1) / 12), (claim.within, 6 * 8 * 63 / 12)):
        assert reading.verdict == HOLDS
        np.testing.assert_allclose(reading.judged.estimate, 1 - 0.5 / spread)


def rho_by_draw(frame, column, sign):
    pooled = {d: stats.spearmanr(g[column], g[ERROR])[0] for d, g in frame.groupby("hp.draw")}
    return sign * np.array(list(pooled.values()))


def test_one_draw_is_conditional_and_compared_by_its_pooled_number():
    small = known_sweep("sgd", -0.9, 0.9)
    large = known_sweep("sgd", -0.9, 0.9, experiment="mnist_fcn_10k", draws=1)
    found = claims_of(small, large)
    (larger,) = found["larger"]
    assert larger.paper.verdict == "conditional on this S, E"
    means = [rho_by_draw(frame, VOLUME, -1).mean() for frame in (large, small)]
    np.testing.assert_allclose(larger.paper.judged.estimate, means[0] - means[1], atol=1e-12)


def adam_costs(experiment, draws, adams):
    kept, lost = 0.9, adams
    return [
        known_sweep(optimizer, -0.9, sharpness, experiment, draws)
        for optimizer, sharpness in (("sgd", kept), ("adam", lost))
    ]


def test_the_resnet_is_compared_by_what_adam_costs_it():
    fcn, resnet = adam_costs("mnist_fcn", 10, 0.0), adam_costs("cifar_resnet", 12, 0.8)
    (claim,) = claims_of(*fcn, *resnet)["resnet"]
    assert claim.within.verdict == HOLDS
    cost = [
        np.subtract(*(rho_by_draw(frame, SHARPNESS, 1) for frame in frames))
        for frames in (fcn, resnet)
    ]
    welch = stats.ttest_ind(*cost, equal_var=False).confidence_interval(0.95)
    judged = claim.paper.judged
    np.testing.assert_allclose((judged.low, judged.high), welch, rtol=1e-9)
    (alone,) = claims_of(*fcn, *adam_costs("cifar_resnet", 1, 0.8))["resnet"]
    assert alone.within.verdict == "conditional on this S, E"
    assert alone.within.met
    assert alone.within.judged.estimate > 0.5


def test_a_smoke_run_gives_no_verdict():
    found = claims_of(known_sweep("sgd", -0.9, 0.9, scale="smoke"), scale="smoke")
    assert found["volume"][0].paper.verdict == UNDECIDED
    assert found["looser"][0].paper.verdict == UNDECIDED
