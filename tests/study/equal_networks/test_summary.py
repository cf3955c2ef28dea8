"""Planted predictors of simulated equal networks: found, judged, told from their confounders."""

import numpy as np
import pytest
from planted_equal_networks import PLANTED, records
from scipy import stats

from flatvol_jax.study.analysis import columns as col
from flatvol_jax.study.equal_networks import measures as known
from flatvol_jax.study.equal_networks import summary, tables
from flatvol_jax.study.equal_networks.figure import equal_networks_figure
from flatvol_jax.study.equal_networks.published import BENNETT
from flatvol_jax.study.equal_networks.summary import error_reliability, first_sentence, levelled


@pytest.fixture(scope="module")
def frame():
    return records()


@pytest.fixture(scope="module")
def table(frame):
    return summary.measure_table(frame, "cpu")


def row_of(table, measure):
    rows = table[(table["column"] == measure.name) & (table["family"] != "increment")]
    return rows.iloc[0]


@pytest.mark.parametrize("measure", PLANTED, ids=lambda m: m.label)
def test_planted_correlations_are_found_within_cells_and_overall(table, measure):
    row = row_of(table, measure)
    for reading in ("within", "pooled", "partial"):
        assert row[reading] == pytest.approx(PLANTED[measure], abs=0.08)
        assert row[f"{reading}_low"] < PLANTED[measure] < row[f"{reading}_high"]


def test_verdicts_are_those_of_the_rules(table):
    found = {m: row_of(table, m)["within_verdict"] for m in known.JUDGED}
    assert found == {
        col.LOG_VOLUME: "does not hold",
        col.SHARPNESS: "holds",
        col.LEARNING_COEFFICIENT: "does not hold",
        known.MARGIN: "holds",
        known.GP_DISAGREEMENT: "holds",
        known.NN_DISAGREEMENT: "undecided at this scale",
        known.PEER_DISAGREEMENT: "does not hold",
    }
    assert row_of(table, col.LOG_VOLUME)["claimed"] == 0
    assert row_of(table, col.SHARPNESS)["claimed"] == 10
    assert row_of(table, col.LOG_VOLUME)["confidence"] == pytest.approx(1 - 0.05 / 7)
    assert set(table["within_verdict"].dropna()) == set(found.values())


def test_confounders_turn_the_sign_overall_and_not_within_or_given_them():
    table = summary.measure_table(records({col.SHARPNESS: 0.5}, shift=1.0), "cpu")
    row = row_of(table, col.SHARPNESS)
    assert row["pooled_high"] < 0
    assert row["within_low"] < 0.5 < row["within_high"]
    assert row["partial_low"] > 0.3
    of = {m.name: row_of(table, m) for m in known.CONFOUNDERS}
    assert of[known.NOISE]["pooled"] > 0.5
    assert of[known.BATCH_SIZE]["pooled"] < 0 < of[known.LEARNING_RATE]["pooled"]
    assert all(np.isnan(row["within"]) for row in of.values())


def test_where_the_error_on_e1_says_little_functions_are_undecidable():
    planted = PLANTED | {col.CEILING: 0.1}
    table = summary.measure_table(records(planted), "cpu")
    assert row_of(table, col.LOG_VOLUME)["within_verdict"] == "undecidable at this |E1|"
    assert row_of(table, known.PEER_DISAGREEMENT)["within_verdict"] == "undecidable at this |E1|"
    assert row_of(table, col.LEARNING_COEFFICIENT)["within_verdict"] == "does not hold"


@pytest.mark.parametrize(
    ("draws", "scale", "verdict"),
    [
        (9, "cpu", "undecided at this scale"),
        (10, "smoke", "undecided at this scale"),
        (1, "cpu", "conditional on this S, E"),
    ],
)
def test_few_draws_or_a_small_scale_decide_nothing(draws, scale, verdict):
    table = summary.measure_table(records({col.SHARPNESS: 0.9}, draws, 24), scale)
    assert row_of(table, col.SHARPNESS)["within_verdict"] == verdict


def test_the_increment_of_a_copy_of_a_baseline_is_nothing():
    frame = records({known.MARGIN: -0.8, col.SHARPNESS: 0.2})
    frame[col.LOG_VOLUME.name] = 3 * frame[known.MARGIN.name]
    table = summary.measure_table(frame, "cpu")
    (row,) = table[table["family"] == "increment"].to_dict("records")
    assert np.isnan(row["within"]) or abs(row["within"]) < 0.05


def test_reliability_is_the_true_share_of_the_variance():
    frame = records({}, noise=1.0)  # of each half half is noise, of their mean a third
    assert error_reliability(frame) == pytest.approx(2 / 3, abs=0.05)
    # ρ = 1 is pulled in a little by Fisher's z (`draw_statistics`).
    assert error_reliability(records({})) == pytest.approx(1, abs=1e-3)


def test_the_sentence_names_each_judged_measure_once(frame, table):
    sentence = first_sentence(table, frame)
    for measure in known.JUDGED:
        assert sentence.count(f"{measure.label} (") == 1
    assert sentence.count("the opposite of what is claimed") == 1
    assert "10 draws of S, 1000 networks" in sentence
    assert summary.equal_networks_summary(frame, "cpu")[0] == sentence
    nothing = frame.assign(**{"is.zero_error": False})
    assert first_sentence(summary.measure_table(nothing, "cpu"), nothing).startswith("No corr")


def test_records_of_an_attack_sweep_are_refused(frame):
    with pytest.raises(ValueError, match=r"\|A\| in \[0, 50\]"):
        levelled(frame.assign(**{"hp.attack_size": np.where(frame["hp.draw"] == 0, 50, 0)}))
    with pytest.raises(ValueError, match=r"no column hp\.train\.batch_size"):
        levelled(frame.drop(columns=known.BATCH_SIZE))


def test_cells_have_the_same_number_in_every_draw(frame):
    levels = levelled(frame.sample(frac=1, random_state=0))
    recipe = levels.groupby("hp.attack_size")[[known.BATCH_SIZE, known.LEARNING_RATE]].nunique()
    assert (recipe == 1).all(axis=None)
    assert sorted(recipe.index) == [0, 1, 2, 3]


def test_published_numbers_agree_with_their_p_value_and_stand_beside_ours(frame, table):
    weakness = next(line for line in BENNETT if line.name == "weakness")

    def p_value(rho):
        return 2 * stats.t.sf(rho * np.sqrt(98 / (1 - rho**2)), 98)

    # What rounds to the printed ρ can have the p-value that is printed beside it, 0.00012.
    ends = p_value(weakness.with_accuracy + 0.0005), p_value(weakness.with_accuracy - 0.0005)
    assert ends[0] < 0.000125
    assert ends[1] > 0.000115
    low, high = weakness.interval()
    assert low < weakness.with_error == -0.374 < high < 0
    both = tables.published_table(frame, table).set_index("name")
    assert both["said"].to_dict() == {"sharpness": 0.226, "weakness": -0.374}
    assert both["claimed"].to_dict() == {"sharpness": 10, "weakness": 0}
    assert (both["least"] < both["pooled"]).all()
    assert tables.published_table(frame.assign(**{"hp.data.name": "cifar10"}), table).empty


def test_tables_of_cells_and_draws_are_of_networks_that_fit(frame):
    failed = frame["hp.sample"] == 0
    frame = frame.assign(**{"is.zero_error": ~failed})
    frame.loc[failed, col.SECOND_TEST_ERROR] = 0.9
    cells, draws = tables.cell_table(frame), tables.draw_table(frame)
    assert cells["runs"].tolist() == [250] * 4
    assert cells["fitted"].tolist() == [240, 250, 250, 250]
    assert cells["error"].max() < 0.2
    assert draws["runs"].tolist() == [99] * 10
    assert draws["train_volume"].tolist() == [-300.0 - draw for draw in range(10)]
    own = frame[(frame["hp.draw"] == 3) & ~failed]
    error = own[col.SECOND_TEST_ERROR]
    assert draws["spread"][3] == pytest.approx(error.std())
    rho = stats.spearmanr(own[col.LOG_VOLUME.name], error)[0]
    assert draws["log_volume_pooled"][3] == pytest.approx(rho)


def test_tables_leave_out_what_did_not_converge(frame):
    failed = frame["hp.sample"] < 8
    wrong = [m.name for m in (col.LOG_VOLUME, col.SHARPNESS, col.LEARNING_COEFFICIENT)]
    flags = ("is.ep_converged", "is.sharpness_converged", "is.learning_coefficient_ok")
    spoiled = frame.assign(**dict.fromkeys(flags, ~failed))
    spoiled.loc[failed, [*wrong, known.CONDITIONAL]] = 1e6
    without, found = tables.cell_table(frame[~failed]), tables.cell_table(spoiled)
    for name in ("log_volume", "sharpness", "coefficient"):
        np.testing.assert_allclose(found[name], without[name])
    assert found["fitted"].tolist() == [250] * 4
    assert tables.draw_table(spoiled)["conditional"].tolist() == [0.0] * 10


def test_halves_repeat_what_is_judged(frame):
    halves = summary.halves_table(frame, "cpu")
    assert len(halves) == 2 * len(known.JUDGED)
    whole = summary.measure_table(frame, "cpu")
    same = halves.groupby("column")["within"].first()
    for measure in known.JUDGED:
        assert same[measure.name] == pytest.approx(row_of(whole, measure)["within"])


def test_the_figure_has_a_line_a_measure_and_a_dot_a_network(frame):
    left, right = equal_networks_figure(frame, "cpu").axes
    assert [label.get_text() for label in left.get_yticklabels()][:7] == [
        measure.label for measure in known.JUDGED
    ]
    assert sum(len(line.get_xdata()) for line in right.lines) == len(frame)
    assert equal_networks_figure(frame.assign(**{"is.zero_error": False}), "cpu") is None
