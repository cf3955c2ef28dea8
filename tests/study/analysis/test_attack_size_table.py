"""Correlations at one size of A are those of the networks of that size alone."""

import numpy as np
from known_sweeps import ERROR, SHARPNESS, VOLUME, known_sweep
from scipy import stats

from flatvol_jax.study.analysis.attack_size_table import attack_size_table, sizes_of


def test_a_sign_that_turns_is_seen_at_its_size():
    frame = known_sweep("sgd", -0.9, 0.5, draws=10, levels=3, samples=8)
    at_zero = frame["hp.attack_size"] == 0
    centre = frame.loc[at_zero, VOLUME].mean()
    frame.loc[at_zero, VOLUME] = 2 * centre - frame.loc[at_zero, VOLUME]
    table = attack_size_table(frame)
    assert sizes_of(table) == ["0", "100", "200"]
    (volume,) = table[table["column"] == VOLUME].to_dict("records")
    assert volume["0_low"] > 0 > volume["100_high"]


def test_each_number_is_fishers_mean_over_draws():
    frame = known_sweep("adam", -0.5, 0.5, draws=10, levels=2, samples=8)
    table = attack_size_table(frame)
    (sharpness,) = table[table["column"] == SHARPNESS].to_dict("records")
    level = frame[frame["hp.attack_size"] == 100]
    rho = [stats.spearmanr(g[SHARPNESS], g[ERROR])[0] for _, g in level.groupby("hp.draw")]
    z = np.arctanh(rho)
    reach = stats.t.ppf(0.975, 9) * stats.sem(z)
    np.testing.assert_allclose(sharpness["100"], np.tanh(z.mean()), rtol=1e-12)
    np.testing.assert_allclose(sharpness["100_high"], np.tanh(z.mean() + reach), rtol=1e-12)
