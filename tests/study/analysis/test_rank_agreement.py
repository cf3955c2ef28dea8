"""Kendall's τ against scipy, ψ and Ψ against a small table by hand and against loops."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from flatvol_jax.study.analysis.network_pairs import one_factor_pairs, pairs_within_draws
from flatvol_jax.study.analysis.rank_agreement import granulated_taus, kendall_tau, overall_taus

FACTORS = ("width", "rate")


def grid(draws=3, levels=(3, 3), seed=0):
    """A full grid of two factors, a measure and an error that agree by chance alone."""
    random, rows = np.random.default_rng(seed), []
    for draw in range(draws):
        for width, rate in itertools.product(range(levels[0]), range(levels[1])):
            x, error = random.normal(size=2)
            rows.append({"hp.draw": draw, "width": width, "rate": rate, "x": x, "error": error})
    return pd.DataFrame(rows).sample(frac=1, random_state=seed).reset_index(drop=True)


@pytest.mark.parametrize("count", [2, 3, 40])
def test_without_ties_tau_is_scipys(count):
    x, y = np.random.default_rng(count).normal(size=(2, count))
    assert kendall_tau(x, y) == pytest.approx(stats.kendalltau(x, y).statistic)


def test_ties_count_as_nothing():
    x, y = np.random.default_rng(0).integers(0, 3, size=(2, 12))
    wanted = [np.sign(x[i] - x[j]) * np.sign(y[i] - y[j]) for i in range(12) for j in range(i)]
    assert kendall_tau(x, y) == pytest.approx(np.mean(wanted))
    assert kendall_tau(np.ones(5), np.arange(5)) == 0
    assert np.isnan(kendall_tau(np.ones(1), np.ones(1)))


def test_psi_by_hand():
    # Width orders the error as x at rate 0 and against x at rate 1; rate as x at both widths.
    rows = [(0, 0, 1, 1), (1, 0, 2, 2), (0, 1, 3, 6), (1, 1, 4, 5)]
    frame = pd.DataFrame(rows, columns=["width", "rate", "x", "error"]).assign(**{"hp.draw": 0})
    psi = granulated_taus(frame, "x", "error", FACTORS)
    assert psi.loc[0].to_dict() == {"width": 0.0, "rate": 1.0}
    assert overall_taus(frame, "x", "error").tolist() == pytest.approx([4 / 6])


def test_psi_is_the_mean_over_groups_by_loops():
    frame = grid()
    psi = granulated_taus(frame, "x", "error", FACTORS)
    for draw, own in frame.groupby("hp.draw"):
        for factor, other in (FACTORS, FACTORS[::-1]):
            taus = [stats.kendalltau(g["x"], g["error"]).statistic for _, g in own.groupby(other)]
            assert psi.loc[draw, factor] == pytest.approx(np.mean(taus))


def test_missing_values_leave_a_network_out_and_what_does_not_vary_has_no_psi():
    frame = grid(draws=1).assign(depth=2)
    gap = frame["width"] == 1
    frame.loc[gap, "x"] = np.nan
    whole = granulated_taus(frame[~gap], "x", "error", (*FACTORS, "depth"))
    found = granulated_taus(frame, "x", "error", (*FACTORS, "depth"))
    pd.testing.assert_frame_equal(found, whole)
    assert np.isnan(found.loc[0, "depth"])


def test_pairs_are_of_one_draw_and_differ_in_one_factor_lower_level_first():
    frame = grid(draws=2, levels=(2, 3)).assign(sample=0)
    again = pd.concat([frame, frame.assign(sample=1)], ignore_index=True)
    pairs = one_factor_pairs(again, FACTORS)
    assert len(pairs) == 2 * 4 * (1 * 3 + 3 * 2)  # draws, seeds of both, pairs of either factor
    for row in pairs.itertuples():
        first, second = again.loc[row.first], again.loc[row.second]
        differs = [name for name in FACTORS if first[name] != second[name]]
        assert differs == [row.factor]
        assert (first[row.factor], second[row.factor]) == (row.low, row.high)
        assert row.low < row.high
        assert first["hp.draw"] == second["hp.draw"] == row.draw
    every = pairs_within_draws(frame)
    assert len(every.first) == 2 * 15
    assert (frame["hp.draw"].to_numpy()[every.first] == every.draw).all()
    assert len(set(zip(every.first, every.second, strict=True))) == 30
