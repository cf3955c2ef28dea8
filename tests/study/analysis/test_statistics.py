import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats import multitest

from flatvol_jax.study.analysis import comparison, resampling, selection, statistics, verdicts


def frame_of(x, y, draws=None, sizes=None, **columns):
    x = np.asarray(x, float)
    data = {
        "hp.draw": np.zeros(len(x), int) if draws is None else draws,
        "hp.attack_size": np.zeros(len(x), int) if sizes is None else sizes,
        "hp.train.optimizer": "sgd",
        "x": x,
        "y": y,
        "is.zero_error": True,
    }
    return pd.DataFrame(data | columns)


def normal_frame(generator, rho, draws=10, levels=11, runs=5, shift=0.0):
    """Bivariate normal within levels; both means move by `shift` from level to level."""
    shape = (draws, levels, runs)
    x = generator.normal(size=shape)
    y = rho * x + np.sqrt(1 - rho**2) * generator.normal(size=shape)
    draw, level, _ = np.indices(shape)
    return frame_of(
        (x + shift * level).ravel(), (y + shift * level).ravel(), draw.ravel(), level.ravel()
    )


def expected_spearman(rho, runs):
    """E of the sample Spearman correlation of a bivariate normal (Moran 1948)."""
    inner = np.arcsin(rho) + (runs - 2) * np.arcsin(rho / 2)
    return 6 / np.pi / (runs + 1) * inner


@pytest.mark.parametrize(
    ("kind", "reference"),
    [
        ("pearson", stats.pearsonr),
        ("spearman", stats.spearmanr),
        ("kendall", stats.kendalltau),
    ],
)
def test_one_level_is_scipy_with_ties(kind, reference):
    generator = np.random.default_rng(0)
    x = generator.integers(0, 6, 40).astype(float)
    y = x + generator.integers(0, 6, 40)
    expected = reference(x, y).statistic
    assert statistics.within_level(x, y, np.zeros(40), kind) == pytest.approx(expected)
    assert statistics.plain_estimate(x, y, kind) == pytest.approx(expected)


def test_mid_ranks_are_scipys_level_by_level():
    generator = np.random.default_rng(1)
    values, levels = generator.integers(0, 5, 30), generator.integers(0, 3, 30)
    ranks = statistics.mid_ranks(values, levels)
    for level in range(3):
        wanted = stats.rankdata(values[levels == level])
        np.testing.assert_array_equal(ranks[levels == level], wanted)
    assert statistics.mid_ranks(values[:0], levels[:0]).shape == (0,)


@pytest.mark.parametrize("reading", statistics.READINGS)
@pytest.mark.parametrize("kind", statistics.KINDS)
def test_draws_at_once_are_the_correlations_of_each_draw(kind, reading):
    generator = np.random.default_rng(20)
    x, y = generator.normal(size=(2, 90)).round(1)
    draws, sizes = generator.integers(0, 4, 90), generator.integers(0, 5, 90)
    y[draws == 2] = 0.3  # no correlation there
    table = statistics.draw_statistics(
        frame_of(x, y, draws, sizes), "x", "y", kind, reading=reading
    )
    for row in table.itertuples():
        own = draws == row.draw
        levels = sizes[own] if reading == "within" else np.zeros(own.sum())
        shared = statistics.levels_shared(levels)
        wanted = statistics.within_level(x[own][shared], y[own][shared], levels[shared], kind)
        assert row.rho == pytest.approx(wanted, nan_ok=True)
        assert (row.runs, row.levels) == (shared.sum(), len(np.unique(levels[shared])))
    assert table["rho"].isna().tolist() == [False, False, True, False]


def test_two_levels_by_hand():
    # Level 0: ranks (1, 2, 3) and (1, 3, 2). Level 1: ranks (1, 2) and (2, 1). Scaled by 1/4
    # and 1/3: Σ xy = 1/16 · 1 + 1/9 · (-1/2), Σ x² = Σ y² = 1/16 · 2 + 1/9 · 1/2.
    x = np.array([10.0, 20, 30, 1, 2])
    y = np.array([1.0, 3, 2, 9, 8])
    levels = np.array([0, 0, 0, 1, 1])
    top, bottom = 1 / 16 - 1 / 18, 2 / 16 + 1 / 18
    assert statistics.within_level(x, y, levels) == pytest.approx(top / bottom)
    # Pairs: concordant 2, discordant 1 in level 0; discordant 1 in level 1.
    assert statistics.within_level(x, y, levels, "kendall") == pytest.approx(0)
    # Centred: x (-10, 0, 10, -.5, .5), y (-1, 1, 0, .5, -.5).
    pearson = (10 - 0.5) / np.sqrt((200 + 0.5) * (2 + 0.5))
    assert statistics.within_level(x, y, levels, "pearson") == pytest.approx(pearson)


@pytest.mark.parametrize("kind", statistics.KINDS)
def test_simpson_pooled_is_large_and_within_is_zero(kind):
    frame = normal_frame(np.random.default_rng(2), rho=0.0, shift=5.0)
    x, y = frame["x"].to_numpy(), frame["y"].to_numpy()
    within = statistics.combined_estimate(frame, "x", "y", kind=kind)
    assert statistics.plain_estimate(x, y, kind) > 0.85
    assert statistics.combined_estimate(frame, "x", "y", "pooled", kind) > 0.85
    assert abs(within) < 4 / np.sqrt(440)  # four standard errors at 440 degrees of freedom


def test_a_monotone_map_within_levels_leaves_the_primary_statistic():
    frame = normal_frame(np.random.default_rng(3), rho=0.6, draws=3)
    moved = frame.assign(x=np.exp(frame["x"]) + 100 * frame["hp.attack_size"])
    one = statistics.correlation(frame, "x", "y")
    other = statistics.correlation(moved, "x", "y")
    assert other == one


def test_fishers_z_over_draws_by_hand():
    frame = normal_frame(np.random.default_rng(4), rho=0.5, draws=6)
    z = np.array([])
    for _, draw in frame.groupby("hp.draw"):
        levels = [level for _, level in draw.groupby("hp.attack_size")]
        # Equal sizes, no ties: the mean of the levels' Spearman correlations.
        z = np.append(z, np.arctanh(np.mean([stats.spearmanr(a["x"], a["y"])[0] for a in levels])))
    expected = np.tanh(stats.t.interval(0.9, 5, z.mean(), stats.sem(z)))
    result = statistics.correlation(frame, "x", "y", confidence=0.9)
    np.testing.assert_allclose((result.low, result.high), expected)
    assert result.estimate == pytest.approx(np.tanh(z.mean()))
    assert (result.draws, result.freedom, result.undefined, result.runs) == (6, 5, 0, 330)


def test_the_pooled_reading_is_scipys_of_each_draw_combined_by_fishers_z():
    frame = normal_frame(np.random.default_rng(21), rho=0.3, draws=5, shift=0.4)
    rho = [stats.spearmanr(draw["x"], draw["y"])[0] for _, draw in frame.groupby("hp.draw")]
    z = np.arctanh(rho)
    result = statistics.correlation(frame, "x", "y", "pooled", confidence=0.99)
    expected = np.tanh([z.mean(), *stats.t.interval(0.99, 4, z.mean(), stats.sem(z))])
    np.testing.assert_allclose(result[:3], expected)
    assert (result.draws, result.runs, result.basis) == (5, 275, "5 draws")


@pytest.mark.parametrize("rho", [0.0, 0.6])
def test_interval_over_draws_covers_at_its_level(rho):
    generator = np.random.default_rng(5)
    target, repeats, covered = expected_spearman(rho, 5), 250, 0
    for _ in range(repeats):
        result = statistics.correlation(normal_frame(generator, rho, draws=10, levels=6), "x", "y")
        covered += result.low <= target <= result.high
    # 0.95 ± three binomial standard errors (0.0138 each).
    assert abs(covered / repeats - 0.95) < 3 * np.sqrt(0.95 * 0.05 / repeats)


def test_conditional_interval_covers_at_its_level():
    generator = np.random.default_rng(6)
    target, repeats, covered = expected_spearman(0.6, 5), 120, 0
    for _ in range(repeats):
        frame = normal_frame(generator, 0.6, draws=1, levels=8)
        result = statistics.correlation(frame, "x", "y")
        assert result.basis == statistics.CONDITIONAL
        covered += result.low <= target <= result.high
    assert abs(covered / repeats - 0.95) < 3 * np.sqrt(0.95 * 0.05 / repeats)


def test_jackknife_of_a_mean_of_level_means_is_the_textbook_standard_error():
    generator = np.random.default_rng(7)
    values, levels = generator.normal(size=15), np.repeat([0, 1, 2], 5)

    def statistic(kept):
        return sum(values[kept][levels[kept] == level].mean() for level in range(3))

    expected = np.sqrt(sum(values[levels == level].var(ddof=1) / 5 for level in range(3)))
    assert resampling.stratified_jackknife(statistic, levels) == pytest.approx(expected)


def test_permutation_p_is_exact_on_a_small_case_and_seeded():
    # One level of 5 in perfect order: 2 of 120 orders are as extreme.
    x = np.arange(5) - 2.0
    p = resampling.permutation_p_value(0, x, x, np.zeros(5), permutations=20000)
    assert p == pytest.approx(2 / 120, abs=4 * np.sqrt(2 / 120 / 20000))
    assert p == resampling.permutation_p_value(0, x, x, np.zeros(5), permutations=20000)


def test_permutation_p_is_blind_to_levels():
    frame = normal_frame(np.random.default_rng(8), rho=0.0, shift=5.0, draws=2)
    assert statistics.within_p_value(0, frame, "x", "y") > 0.01
    frame = normal_frame(np.random.default_rng(8), rho=0.7, shift=-5.0, draws=2)
    assert statistics.within_p_value(0, frame, "x", "y") < 0.001


def test_copies_of_runs_add_no_draws():
    # What counts is ten draws: with every run twice the pooled interval stays what it was.
    frame = normal_frame(np.random.default_rng(9), rho=0.5, levels=3)
    once, twice = (
        statistics.correlation(pd.concat([frame] * copies), "x", "y", "pooled", "pearson")
        for copies in (1, 2)
    )
    np.testing.assert_allclose(once[:3], twice[:3], rtol=1e-9)
    assert twice.runs == 2 * once.runs


def test_bootstrap_of_a_mean_is_students_interval():
    values = np.random.default_rng(10).normal(size=12)
    low, high = resampling.draw_bootstrap(
        0, lambda kept: values[kept].mean(), np.arange(12), 0.95, resamples=20000
    )
    expected = stats.t.interval(0.95, 11, values.mean(), stats.sem(values))
    np.testing.assert_allclose((low, high), expected, atol=0.15 * (high - low))


def test_partial_correlation_is_the_formula_for_one_baseline():
    generator = np.random.default_rng(11)
    x, y, baseline = generator.normal(size=(3, 30)) + generator.normal(size=30)
    r = stats.spearmanr(np.stack([x, y, baseline], axis=1)).statistic
    expected = (r[0, 1] - r[0, 2] * r[1, 2]) / np.sqrt((1 - r[0, 2] ** 2) * (1 - r[1, 2] ** 2))
    frame = frame_of(x, y, b=baseline, c=1.0)
    result = statistics.draw_statistics(frame, "x", "y", given=("b", "c"))
    assert result["rho"].iloc[0] == pytest.approx(expected)


def test_increment_vanishes_where_the_baseline_explains_the_measure():
    frame = normal_frame(np.random.default_rng(12), rho=0.7, draws=100, shift=3.0)
    noise = np.random.default_rng(13).normal(size=len(frame))
    frame = frame.assign(b=frame["x"], x=frame["x"] + noise)
    assert statistics.correlation(frame, "x", "y").low > 0.3
    pearson = statistics.correlation(frame, "x", "y", kind="pearson", given=("b",))
    assert abs(pearson.estimate) < 3 * pearson.z_standard_error
    ranks = statistics.correlation(frame, "x", "y", given=("b",))
    assert abs(ranks.estimate) < 0.05 + 3 * ranks.z_standard_error  # see within_level
    copy = statistics.correlation(frame.assign(x=frame["b"]), "x", "y", given=("b",))
    assert (copy.draws, copy.undefined) == (0, 100)
    assert np.isnan(copy.estimate)


def test_undefined_draws_are_counted():
    frame = normal_frame(np.random.default_rng(14), rho=0.5, draws=4)
    frame.loc[frame["hp.draw"] == 2, "y"] = 0.1
    for kind in statistics.KINDS:
        result = statistics.correlation(frame, "x", "y", kind=kind)
        assert (result.draws, result.undefined, result.runs) == (3, 1, 165)


def test_levels_of_one_run_drop_out():
    frame = normal_frame(np.random.default_rng(15), rho=0.5, draws=1)
    alone = frame_of([99.0], [-99.0], sizes=[77])
    one = statistics.correlation(frame, "x", "y")
    assert statistics.correlation(pd.concat([frame, alone]), "x", "y") == one


def test_perfect_order_is_finite_and_two_runs_say_nothing():
    frame = frame_of(np.arange(6.0), np.arange(6.0), sizes=[0, 0, 0, 1, 1, 1])
    z = statistics.draw_statistics(frame, "x", "y")["z"].iloc[0]
    assert z == pytest.approx(np.arctanh(1 - 0.5 / 4))  # spread 2 (9·3 - 3)/12 = 4
    assert np.isnan(statistics.correlation(frame_of([1, 2], [1, 2]), "x", "y").estimate)


def test_usable_counts_each_run_once_with_its_reason():
    frame = frame_of(np.arange(5.0), 0.1)
    frame["measure.log_volume.heaviside"] = [-1.0, -2, np.nan, -4, -np.inf]
    frame["is.zero_error"] = [True, False, True, True, True]
    frame["is.ep_converged"] = [True, False, True, False, None]
    runs, left_out = selection.usable(frame, "measure.log_volume.heaviside")
    assert list(runs.index) == [0]
    assert left_out == {
        "zero training error not reached": 1,
        "no value of measure.log_volume.heaviside": 2,
        "EP did not converge": 1,
    }
    assert len(selection.usable(frame.drop(columns="is.zero_error"))[0]) == 0


def test_usable_refuses_several_rows_of_a_run_and_foreign_frames():
    with pytest.raises(ValueError, match="one row a run"):
        selection.usable(frame_of([1, 2], [1, 2], run_id=["a", "a"]))
    with pytest.raises(ValueError, match=r"hp\.draw"):
        selection.usable(pd.DataFrame({"x": [1.0]}))


def test_error_is_e2_where_there_is_one():
    frame = frame_of([1, 2], [1, 2])
    frame["measure.error.test"] = 0.1
    assert selection.error_column(frame) == ("measure.error.test", "E1")
    frame["measure.error.second_test"] = [None, None]
    assert selection.error_column(frame) == ("measure.error.test", "E1")
    frame["measure.error.second_test"] = [0.2, None]
    assert selection.error_column(frame) == ("measure.error.second_test", "E2")


def test_a_pooled_difference_is_of_the_pooled_correlations():
    generator = np.random.default_rng(22)
    first, second = (normal_frame(generator, rho, draws=6, shift=0.3) for rho in (0.7, 0.0))
    rho = [
        [stats.spearmanr(draw["x"], draw["y"])[0] for _, draw in frame.groupby("hp.draw")]
        for frame in (first, second)
    ]
    values = np.subtract(*rho)
    result = comparison.paired_difference(first, second, "x", "y", 1, 0.9, reading="pooled")
    expected = stats.t.interval(0.9, 5, values.mean(), stats.sem(values))
    np.testing.assert_allclose((result.low, result.high), expected)


def test_paired_difference_by_hand_and_pairs_by_draw():
    generator = np.random.default_rng(16)
    first = normal_frame(generator, rho=-0.8, draws=8)
    second = normal_frame(generator, rho=-0.2, draws=9).sample(frac=1, random_state=0)
    rhos = [
        statistics.draw_statistics(group, "x", "y").set_index("draw")["rho"]
        for group in (first, second)
    ]
    values = -(rhos[0] - rhos[1]).loc[:7].to_numpy()
    expected = stats.t.interval(0.95, 7, values.mean(), stats.sem(values))
    result = comparison.paired_difference(first, second, "x", "y", sign=-1)
    assert result.estimate == pytest.approx(values.mean())
    np.testing.assert_allclose((result.low, result.high), expected)
    assert (result.draws, result.undefined) == (8, 1)
    assert result.low > 0.2


def test_equivalence_is_scipys_two_one_sided_tests():
    values = np.random.default_rng(17).normal(0.05, 0.1, 12)
    difference = comparison.Difference(
        values.mean(), np.nan, np.nan, 0.95, stats.sem(values), 11, 12, 0
    )
    expected = max(
        stats.ttest_1samp(values, 0.2, alternative="less").pvalue,
        stats.ttest_1samp(values, -0.2, alternative="greater").pvalue,
    )
    assert verdicts.p_value(verdicts.within(0.2), difference) == pytest.approx(expected)


def test_threshold_p_agrees_with_the_interval():
    frame = normal_frame(np.random.default_rng(18), rho=-0.6)
    result = statistics.correlation(frame, "x", "y", confidence=0.9)
    # The one-sided p-value at an end of a 90% interval is 5%.
    at_its_end = verdicts.Criterion(-np.inf, result.high, "")
    assert verdicts.p_value(at_its_end, result) == pytest.approx(0.05)


def test_holm_by_hand():
    adjusted = comparison.holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert adjusted == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02})
    unknown = comparison.holm({"a": 0.02, "b": np.nan, "c": 0.6})
    assert unknown["a"] == pytest.approx(0.06)
    assert unknown["c"] == 1
    assert np.isnan(unknown["b"])
    assert comparison.simultaneous_confidence(4) == pytest.approx(1 - 0.05 / 4)
    for size in (1, 2, 26, 300):
        assert comparison.family_size(comparison.simultaneous_confidence(size)) == size


@pytest.mark.parametrize("claims", [1, 2, 9])
def test_holm_is_that_of_statsmodels(claims):
    p = np.random.default_rng(claims).uniform(size=claims) ** 2
    expected = multitest.multipletests(p, method="holm")[1]
    np.testing.assert_allclose(list(comparison.holm(dict(enumerate(p))).values()), expected)


def test_the_percentiles_behind_the_bootstrap_are_scipys():
    # At many draws the expanded percentiles are the plain ones of scipy's bootstrap.
    values = np.random.default_rng(23).exponential(size=400)
    low, high = resampling.draw_bootstrap(
        0, lambda kept: values[kept].mean(), np.arange(400), 0.9, resamples=4000
    )
    plain = stats.bootstrap(
        (values,), np.mean, confidence_level=0.9, n_resamples=4000, method="percentile", rng=1
    ).confidence_interval
    np.testing.assert_allclose((low, high), plain, atol=0.06 * (high - low))


def test_permutations_are_scipys():
    generator = np.random.default_rng(24)
    x, y = generator.normal(size=(2, 12))
    x, y = x - x.mean(), y + 0.4 * x
    y = y - y.mean()
    p = resampling.permutation_p_value(0, x, y, np.zeros(12), permutations=9999)
    expected = stats.permutation_test(
        (y,),
        lambda permuted: abs(permuted @ x),
        permutation_type="pairings",
        n_resamples=9999,
        alternative="greater",
        rng=1,
    ).pvalue
    assert p == pytest.approx(expected, abs=4 * np.sqrt(2 * expected / 9999))


def test_common_levels_keep_what_all_optimizers_complete():
    frame = frame_of(np.arange(8.0), 0.0, sizes=[0, 0, 50, 50] * 2)
    frame["hp.train.optimizer"] = ["sgd"] * 4 + ["adam"] * 4
    frame["is.zero_error"] = [True] * 7 + [False]
    assert set(comparison.common_levels(frame)["hp.attack_size"]) == {0}
    assert len(comparison.common_levels(frame)) == 4
    assert len(comparison.common_levels(frame.iloc[:6])) == 4  # adam never ran at 50


def test_bad_arguments_say_what_to_try():
    x = np.arange(6.0)
    with pytest.raises(ValueError, match="spearman"):
        statistics.within_level(x, x, np.zeros(6), "speerman")
    with pytest.raises(ValueError, match="one draw"):
        resampling.draw_bootstrap(0, np.sum, np.zeros(5), 0.95)
    frame = frame_of(x, x)
    with pytest.raises(ValueError, match="sign"):
        comparison.paired_difference(frame, frame, "x", "y", sign=0)
    with pytest.raises(ValueError, match="reading"):
        statistics.correlation(frame, "x", "y", "between")


def test_an_order_that_no_run_disturbs_has_no_interval():
    frame = pd.DataFrame(
        {
            "hp.draw": 0,
            "hp.attack_size": [0, 0, 1, 1],
            "x": [1.0, 2, 3, 4],
            "e": [0.1, 0.2, 0.3, 0.4],
        }
    )
    found = statistics.correlation(frame, "x", "e", "pooled")
    assert found.estimate == pytest.approx(1 - 0.5 / 5)  # spread (4·16 - 4)/12 = 5
    assert np.isnan([found.low, found.high]).all()
    disturbed = frame.assign(e=[0.1, 0.3, 0.2, 0.4])
    found = statistics.correlation(disturbed, "x", "e", "pooled")
    assert found.low < found.estimate < found.high
