"""Gaps, trends and verdicts of records whose numbers are planted."""

import numpy as np
import pandas as pd
import pytest
from planted_posterior import NETWORKS, records

from flatvol_jax.study.posterior import summary
from flatvol_jax.study.posterior.figure import posterior_figure
from flatvol_jax.study.posterior.margin_figure import margin_figure
from flatvol_jax.study.posterior.published import PELEG_HEIN, Published
from flatvol_jax.study.posterior.summary import (
    claim_table,
    first_sentence,
    gap_table,
    margin_table,
    posterior_summary,
    published_table,
    size_table,
    slopes,
)


def test_planted_trends_are_found_and_judged():
    claims = claim_table(records()).set_index("name")
    wanted = {
        "is better than a random network that fits S": (4.0, "holds"),
        "equals the vote of such networks": (-6.0, "does not hold"),
        "gap narrows, a doubling of |S|": (1.0, "holds"),
        "gap narrows, a doubling of the width": (0.5, "holds"),
        "gap narrows, a layer more": (-0.75, "does not hold"),
        "is better than guessed networks of its margin": (3.0, "holds"),
        "guessed networks gain, a doubling of the margin": (1.0, "holds"),
    }
    assert claims["estimate"].to_dict() == pytest.approx(
        {name: value for name, (value, _) in wanted.items()}, abs=0.1
    )
    assert claims["verdict"].to_dict() == {name: verdict for name, (_, verdict) in wanted.items()}
    assert ((claims["low"] < claims["estimate"]) & (claims["estimate"] < claims["high"])).all()


def test_the_family_is_what_varies_whatever_was_found():
    """Without a second |S|, width, depth or a guess a claim is not asked; without a value it is."""
    frame = records()
    plain = frame[frame["meta.part"].isin(["infinite", "trained"])]
    base = plain[plain["is.base"].astype(bool) & (plain["hp.train_size"] == 4)]
    assert set(claim_table(frame)["family"]) == {7}
    assert set(claim_table(plain)["family"]) == {5}
    assert set(claim_table(base)["family"]) == {len(claim_table(base))} == {2}
    unmatched = frame.assign(**{"measure.gap.matched": None})
    assert set(claim_table(unmatched)["family"]) == {7}
    (line,) = [line for line in posterior_summary(unmatched) if "of its margin" in line]
    assert line.endswith("of its margin: no draw has a value; undecided at this scale")
    ends = [claim_table(own).set_index("name").loc[:, ["low", "high"]] for own in (frame, plain)]
    widths = [own["high"] - own["low"] for own in ends]
    assert (widths[1] < widths[0][widths[1].index]).all()


def test_the_gap_at_equal_margin_weights_by_matched_networks():
    frame = records(draws=1)
    over = frame["meta.part"] == "overtrained"
    frame.loc[over, "measure.gap.matched"] = [0.03, 0.09]
    frame.loc[over, "measure.networks.matched"] = [5, 1]
    claims = claim_table(frame).set_index("name")["estimate"]
    assert claims["is better than guessed networks of its margin"] == pytest.approx(4.0)


def test_depths_are_compared_at_the_width_that_has_most_of_them():
    """Peleg and Hein's base width has one depth; the depths are at a third of it."""
    networks = ((4, 1.0), (4, 1 / 6), *((depth, 1 / 3) for depth in (1, 2, 3, 4)))
    claims = claim_table(records(sizes=(24,), networks=networks)).set_index("name")["estimate"]
    assert claims["gap narrows, a layer more"] == pytest.approx(-0.75, abs=0.1)
    assert claims["gap narrows, a doubling of the width"] == pytest.approx(0.5, abs=0.15)


def test_networks_of_one_margin_stand_in_a_table_by_epoch():
    table = margin_table(records())
    assert table["after"].tolist() == [0, 100]
    assert table["gap"].tolist() == pytest.approx([3, 3], abs=0.2)
    assert table["log_margin"].tolist() == pytest.approx([1, 3])
    assert table["matched"].tolist() == [50, 10]
    assert table["networks"].tolist() == [50, 50]
    assert margin_table(records(sizes=(4,)).query("`meta.part` != 'overtrained'")).empty


@pytest.mark.parametrize(("draws", "scale"), [(9, "cpu"), (10, "smoke")])
def test_few_draws_or_a_small_scale_decide_nothing(draws, scale):
    assert set(claim_table(records(draws, scale))["verdict"]) == {"undecided at this scale"}


def test_the_gap_is_of_one_draw_size_and_depth():
    frame = records(draws=2)
    table = gap_table(frame)
    assert len(table) == 2 * 3 * len(NETWORKS)
    assert table["base"].sum() == 6
    shuffled = gap_table(frame.sample(frac=1, random_state=1))
    keys = ["draw", "size", "depth", "factor"]
    pd.testing.assert_frame_equal(
        table.sort_values(keys, ignore_index=True), shuffled.sort_values(keys, ignore_index=True)
    )
    np.testing.assert_allclose(table["gap"] - table["vote_gap"], 10)


def test_a_trend_over_widths_uses_only_sizes_that_all_widths_have():
    table = pd.DataFrame(
        {
            "draw": 0,
            "size": [4, 4, 64],
            "factor": [1.0, 4.0, 1.0],
            "gap": [6.0, 5.0, 100.0],
        }
    )
    assert slopes(table, "factor") == pytest.approx([-0.5])
    assert np.isnan(slopes(table[table["factor"] == 4], "factor")).all()


def test_the_sentence_is_of_the_largest_size_that_sgd_fitted():
    frame = records(draws=1)
    frame.loc[
        (frame["hp.train_size"] == 64) & (frame["meta.part"] == "trained"), "measure.accuracy"
    ] = None
    row = size_table(frame).set_index("size").loc[16]
    assert first_sentence(frame) == (
        f"At |S| = 16, SGD's network is right on {row['sgd']:.1%} of unseen digits, a random "
        f"network that fits S on {row['random']:.1%}, a vote of such on {row['vote']:.1%} "
        "(1 draw of S)."
    )
    assert posterior_summary(frame)[0] == first_sentence(frame)
    alone = frame[frame["meta.part"] == "infinite"]
    assert first_sentence(alone) == "No network was trained to zero error."
    assert posterior_figure(alone) is not None


def test_networks_of_margins_are_drawn_from_zero_error_on():
    frame = records()
    errors, gaps = margin_figure(frame).axes
    line, guessed = errors.get_lines()
    np.testing.assert_allclose(line.get_ydata(), [40, 35])
    np.testing.assert_allclose(line.get_xdata(), np.exp([1, 3]))
    np.testing.assert_allclose(guessed.get_ydata(), [45])
    assert [tick.get_text() for tick in gaps.get_xticklabels()] == ["0", "100"]
    for part in ("overtrained", "guessed"):
        assert margin_figure(frame[frame["meta.part"] != part]) is None
    assert posterior_figure(frame[frame["hp.train_size"] == 4]) is None


def test_published_rows_stand_beside_ours_of_the_same_digits_and_network():
    networks = ((4, 1.0), (1, 1 / 3))
    table = published_table(records(sizes=(24,), networks=networks, groups="mnist_0_7"))
    assert table["said_guessed"].tolist() == [0.836, 0.869]
    assert table["depth"].tolist() == [4, 1]
    longer = records(sizes=(24,), networks=((2, 1.0),), groups="mnist_0_7")
    line = Published("mnist_0_7", 2, 1.0, 0.8, 0.9)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(summary, "PELEG_HEIN", (line,))
        (row,) = published_table(longer).to_dict("records")
    assert (row["after"], row["later"]) == (100, pytest.approx(0.65))
    assert published_table(records(sizes=(24,), networks=networks)).empty
    assert {line.groups for line in PELEG_HEIN} == {"mnist_0_7", "mnist_3_5"}
