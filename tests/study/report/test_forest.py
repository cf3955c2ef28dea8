import numpy as np
import pandas as pd
import pytest

from flatvol_jax.study.analysis.claims import claims_table
from flatvol_jax.study.report import forest
from flatvol_jax.study.report.forest import forest_figure, forest_panels


@pytest.fixture(scope="module")
def table(ten_draws):
    few = ten_draws[ten_draws["hp.draw"] < 3]
    adam = few.assign(**{"hp.train.optimizer": "adam", "run_id": "adam" + few["run_id"]})
    columns = [name for name in few if "hessian" not in name]
    frame = pd.concat([few, adam], ignore_index=True)[columns]
    return claims_table(frame, "cpu", primary_claims=6)


def drawn(axis, label):
    (bars,) = [c for c in axis.containers if c.get_label() == label]
    points, _, (segments,) = bars
    return points.get_xdata(), np.array([s[:, 0] for s in segments.get_segments()])


def test_dots_and_bars_are_the_numbers_of_the_table(table):
    figure = forest_figure(table)
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["SGD", "Adam"]
    for axis, measure in zip(figure.axes, forest.MEASURES, strict=True):
        rows = table[(table["column"] == measure.name) & (table["family"] == measure.family)]
        assert len(rows) == 2
        for kind in ("within", "pooled"):
            x, bars = drawn(axis, kind)
            np.testing.assert_allclose(x, rows[kind])
            np.testing.assert_allclose(bars, rows[[f"{kind}_low", f"{kind}_high"]])


def test_the_limit_of_the_rules_is_on_the_claimed_side(table):
    limits = [
        line.get_xdata()[0]
        for axis in forest_figure(table).axes
        for line in axis.lines
        if line.get_label() == "limit"
    ]
    assert limits == [-0.3, -0.3, 0.3]


def test_what_was_not_measured_is_said_to_be_undefined(table):
    names = [f"{kind}{end}" for kind in ("within", "pooled") for end in ("", "_low", "_high")]
    missing = table.copy()
    missing.loc[missing["optimizer"] == "adam", names] = np.nan
    texts = [[t.get_text() for t in axis.texts] for axis in forest_figure(missing).axes]
    assert texts == [["not defined"]] * 3
    assert not any(axis.texts for axis in forest_figure(table).axes)


def test_the_legend_says_which_intervals_these_are(table):
    (legend,) = forest_figure(table).legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels[1:] == ["pooled, simultaneous 99.2%", "within |A|, simultaneous 99.2%"]
    (legend,) = forest_figure(table.assign(within_draws=1)).legends
    assert all("this S, E only" in text.get_text() for text in legend.get_texts()[1:])


def test_a_panel_by_itself_is_that_of_the_figure(table):
    figure = forest_figure(table)
    panels = forest_panels(table)
    assert [name for name, _ in panels] == [axis.get_title(loc="left") for axis in figure.axes]
    for axis, (_, alone) in zip(figure.axes, panels, strict=True):
        (own,) = alone.axes
        for kind in ("within", "pooled"):
            np.testing.assert_array_equal(drawn(own, kind)[0], drawn(axis, kind)[0])


def test_without_a_control_there_are_two_panels(table):
    figure = forest_figure(table[table["family"] != "null"])
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    assert titles == ["log V (Heaviside)", "sharpness (best found)"]
