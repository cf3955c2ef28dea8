"""The simulated sweeps have the correlations they claim, and the intervals cover them."""

import numpy as np
import pytest

from flatvol_jax.study.analysis import comparison, statistics
from flatvol_jax.study.analysis.design import (
    BROKEN,
    ERROR,
    FLATNESS,
    MEASURE,
    Design,
    Population,
    design_table,
    markdown,
    power_table,
    simulated_runs,
)

SHAPE = Design(10, 4, 6)


def expected_spearman(rho, networks):
    """Mean correlation within a level of m networks where that of endless ones is rho (Moran 1948).

    6/(π (m + 1)) (asin r + (m - 2) asin(r/2)), r = 2 sin(π rho / 6).
    """
    r = 2 * np.sin(np.pi * rho / 6)
    return 6 / np.pi / (networks + 1) * (np.arcsin(r) + (networks - 2) * np.arcsin(r / 2))


@pytest.mark.parametrize("within", [-0.5, 0.0, 0.8])
def test_endless_networks_have_the_correlations_of_the_population(within):
    population = Population(within, 0.4, error_share=0.9, spread=0.0)
    frame = simulated_runs(np.random.default_rng(0), Design(1, 5, 40_000), population)
    pooled = np.corrcoef(frame[MEASURE], frame[ERROR])[0, 1]
    assert pooled == pytest.approx(0.4, abs=0.01)
    assert statistics.combined_estimate(frame, MEASURE, ERROR) == pytest.approx(within, abs=0.01)
    between = frame.groupby("hp.attack_size")[ERROR].mean().var(ddof=0)
    assert between / frame[ERROR].var() == pytest.approx(0.9, abs=0.01)


@pytest.mark.parametrize("networks", [2, 3, 8])
def test_attenuation_is_moran_s(networks):
    frame = simulated_runs(
        np.random.default_rng(1), Design(6000, 4, networks), Population(0.6, 0.6, spread=0.0)
    )
    rho = statistics.draw_statistics(frame, MEASURE, ERROR)["rho"]
    error = rho.std() / np.sqrt(len(rho))
    assert abs(rho.mean() - expected_spearman(0.6, networks)) < 4 * error
    assert expected_spearman(0.6, 10**6) == pytest.approx(0.6, abs=1e-5)


def test_the_spread_over_draws_is_of_the_correlation_within():
    wide, none = (
        statistics.draw_statistics(
            simulated_runs(
                np.random.default_rng(2), Design(300, 5, 400), Population(0.5, 0.5, spread=spread)
            ),
            MEASURE,
            ERROR,
            "pearson",
        )["z"].std()
        for spread in (0.3, 0.0)
    )
    assert none < 0.03
    assert wide == pytest.approx(0.3, abs=0.04)


def coverage(simulations, seed):
    """Share of intervals with the design's own expectation: both readings, then differences."""
    endless = SHAPE._replace(draws=10_000)
    wanted = {}
    for reading in statistics.READINGS:
        tables = [
            statistics.draw_statistics(
                simulated_runs(np.random.default_rng([seed, i]), endless, population),
                *(MEASURE, ERROR),
                reading=reading,
            )
            for i, population in enumerate((FLATNESS, BROKEN))
        ]
        wanted[reading] = np.tanh(tables[0]["z"].mean())
        wanted[f"{reading} difference"] = tables[0]["rho"].mean() - tables[1]["rho"].mean()
    covered = dict.fromkeys(wanted, 0)
    generator = np.random.default_rng([seed, 2])
    for _ in range(simulations):
        one, other = (simulated_runs(generator, SHAPE, p) for p in (FLATNESS, BROKEN))
        for reading in statistics.READINGS:
            found = {
                reading: statistics.correlation(one, MEASURE, ERROR, reading),
                f"{reading} difference": comparison.paired_difference(
                    one, other, MEASURE, ERROR, 1, reading=reading
                ),
            }
            for name, interval in found.items():
                covered[name] += interval.low <= wanted[name] <= interval.high
    return {name: count / simulations for name, count in covered.items()}


def test_intervals_of_both_readings_cover_what_they_should():
    limit = 3 * np.sqrt(0.95 * 0.05 / 200)  # three binomial standard errors
    for name, share in coverage(200, 3).items():
        assert abs(share - 0.95) < limit, name


@pytest.mark.slow
def test_intervals_of_both_readings_cover_in_two_thousand_data_sets():
    for name, share in coverage(2000, 4).items():
        assert abs(share - 0.95) < 0.02, name


def test_more_draws_and_networks_decide_more():
    designs = [Design(10, 3, 3), Design(20, 4, 8)]
    table = design_table(designs, 6, simulations=12)
    assert table["draws"].tolist() == [10, 10, 20, 20]
    small, large = (rows.set_index("reading") for _, rows in table.groupby("draws"))
    for name in ("correlation", "correlation_0", "difference"):
        assert (large[name] < small[name]).all()
    for name in ("correlates", "none", "breaks", "unchanged"):
        assert (large[name] >= small[name]).all()
    again = design_table(designs[:1], 6, simulations=12)
    assert again.equals(table[:2])


def test_power_rises_from_refuted_to_found():
    table = power_table([Design(20, 4, 8)], 2, simulations=12, truths=(0.0, 0.9))
    assert table["fails"].tolist() == [1.0, 0.0]
    assert table["holds"].tolist() == [0.0, 1.0]
    assert markdown(table).count("\n") == 3


def test_what_cannot_be_simulated_is_refused():
    generator = np.random.default_rng(0)
    with pytest.raises(ValueError, match="pooled: got 0.99, wanted at most"):
        simulated_runs(generator, SHAPE, Population(0.0, 0.99, error_share=0.5))
    with pytest.raises(ValueError, match="draws"):
        simulated_runs(generator, Design(0, 4, 6), FLATNESS)
    with pytest.raises(ValueError, match="Try: 27x5x8"):
        Design.parse("27x5")
    assert Design.parse("27x5x8") == (27, 5, 8)


def test_progress_counts_every_simulated_sweep_and_changes_no_number():
    designs, told = [Design(10, 3, 3), Design(10, 3, 4)], []
    table = design_table(designs, 2, 3, progress=lambda *said: told.append(said))
    assert table.equals(design_table(designs, 2, 3))
    assert told == [(n + 1, 6, f"10x3x{3 + n // 3}") for n in range(6)]
    told.clear()
    power_table(designs, 2, 2, truths=(0.1, 0.2), progress=lambda *said: told.append(said))
    assert [done for done, _, _ in told] == list(range(1, 9))
