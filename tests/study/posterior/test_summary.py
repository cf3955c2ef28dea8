"""Gaps, trends and verdicts of records whose numbers are planted."""

import numpy as np
import pandas as pd
import pytest
from planted_posterior import NETWORKS, records

from flatvol_jax.study.posterior import summary
from flatvol_jax.study.posterior.figure import posterior_figure
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
        "is better than a random network that fits S": 4.0,
        "gap narrows, a doubling of |S|": 1.0,
        "gap narrows, a doubling of the width": 0.5,
        "gap narrows, a layer more": -0.75,
        "equals the vote of such networks": -6.0,
        "is better than guessed networks of its margin": 3.0,
        "guessed networks gain, a doubling of the margin": 1.0,
    }
    assert claims["estimate"].to_dict() == pytest.approx(wanted, abs=0.1)
    assert claims["verdict"].tolist() == ["holds"] * 3 + ["does not hold"] * 2 + ["holds"] * 2
    assert ((claims["low"] < claims["estimate"]) & (claims["estimate"] < claims["high"])).all()


def test_claims_without_records_are_not_in_the_family():
    """Bonferroni's share is that of the claims that are asked: five of one seven."""
    frame = records()
    plain = frame[frame["meta.part"].isin(["infinite", "trained"])]
    wide, narrow = (claim_table(own).set_index("name") for own in (frame, plain))
    assert len(narrow) == 5
    width = wide["high"] - wide["low"]
    assert ((narrow["high"] - narrow["low"]) < width[narrow.index]).all()


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
