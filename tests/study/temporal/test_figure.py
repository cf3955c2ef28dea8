"""Figures 5, S5, S7, S8, S9: every line is the records' numbers at their epochs."""

import numpy as np
import pandas as pd
import pytest

from flatvol_jax.study.report import scatter
from flatvol_jax.study.temporal import figure as temporal
from flatvol_jax.study.temporal.figure import branches_of, scaling_name, temporal_figure

BLUE, ORANGE = temporal.FLAT, temporal.VOLUME
UP, DOWN = "layer 1, alpha 5.9", "layer 1, alpha 0.169492"


def one_measure(frame):
    return frame.drop(columns=["measure.sharpness.best.1e-05", "measure.hessian.spectral_norm"])


def panels(figure, scaled=True):
    """Error, flatness and volume axes of each panel."""
    return [axes[:3] for axes in all_axes(figure, scaled)]


def all_axes(figure, scaled=True):
    """The same, and of a scaled branch that of the volume around the event."""
    axes, count = figure.axes, 3 + scaled
    return [axes[i : i + count] for i in range(0, len(axes), count)]


def line(axis, colour, style="-"):
    (found,) = [
        line
        for line in axis.lines
        if line.get_color() == colour
        and line.get_linestyle() == style
        and len(line.get_xdata()) > 2
    ]
    return found.get_xdata(), found.get_ydata()


def dashed(axis):
    """Colour and place of each dashed line."""
    return {
        line.get_color(): line.get_xdata()[0] for line in axis.lines if line.get_linestyle() == "--"
    }


def branch_rows(frame, name):
    """Base to the event, then the branch, in the order of time."""
    event = frame["measure.epochs.event"]
    base = frame[(frame["transform"] == "none") & (frame["epoch"] <= event)]
    onwards = frame["epoch"] > event if name == "none" else frame["epoch"] >= event
    later = frame[(frame["transform"] == name) & onwards]
    return base, later


def test_the_ascent_of_table_1_is_a_dot_where_it_was_measured(temporal_frame):
    frame = one_measure(temporal_frame())
    assert "SGD ascent (table 1)" not in labels(temporal_figure(frame))
    measured = frame["epoch"] % 4 == 0
    frame["measure.sharpness.sgd"] = (0.8 * frame["measure.sharpness.best"]).where(measured)
    figure = temporal_figure(frame)
    assert "SGD ascent (table 1)" in labels(figure)
    for (_, flat, _), name in zip(panels(figure), (UP, DOWN), strict=True):
        (dots,) = [line for line in flat.lines if line.get_marker() == "."]
        rows = pd.concat(branch_rows(frame, name))
        rows = rows[rows["epoch"] % 4 == 0]
        np.testing.assert_array_equal(dots.get_xdata(), rows["epoch"])
        wanted = np.log10(0.8 * rows["measure.sharpness.best"])
        np.testing.assert_allclose(dots.get_ydata(), wanted)


def labels(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_lines_of_one_network_are_its_records(temporal_frame):
    frame = one_measure(temporal_frame())
    assert branches_of(frame) == [UP, DOWN]
    figure = temporal_figure(frame)
    assert len(panels(figure)) == 2
    for (above, flat, volume), name in zip(panels(figure), (UP, DOWN), strict=True):
        base, later = branch_rows(frame, name)
        both = [*base.index, *later.index]
        rows = frame.loc[both]
        x, y = line(flat, BLUE)
        np.testing.assert_array_equal(x, rows["epoch"])
        np.testing.assert_allclose(y, np.log10(rows["measure.sharpness.best"]))
        for column, style in (("heaviside", "-"), ("probit", ":")):
            x, y = line(volume, ORANGE, style)
            np.testing.assert_array_equal(x, rows["epoch"])
            np.testing.assert_allclose(y, rows[f"measure.log_volume.{column}"] / np.log(10))
        x, y = line(above, temporal.TRAIN)
        np.testing.assert_allclose(y, 100 * rows["measure.error.train"])
        base, later = branch_rows(frame, "none")
        x, y = line(flat, temporal.PLAIN)
        np.testing.assert_array_equal(x, [*base["epoch"], *later["epoch"]])


def test_dashed_lines_stand_at_zero_error_and_at_the_event(temporal_frame):
    _, flat, _ = panels(temporal_figure(one_measure(temporal_frame())))[0]
    marks = dashed(flat)
    assert marks == {temporal.AT_ZERO: 4, temporal.AT_EVENT: 9}
    assert flat.get_xlabel() == "epoch"


def test_the_panel_at_the_bottom_is_the_volume_around_the_event(temporal_frame):
    frame = one_measure(temporal_frame(epochs=80))
    for (*_, around), name in zip(all_axes(temporal_figure(frame)), (UP, DOWN), strict=True):
        x, y = line(around, ORANGE)
        base, later = branch_rows(frame, name)
        rows = frame.loc[[*base.index, *later.index]]
        rows = rows[(rows["epoch"] >= 4) & (rows["epoch"] <= 59)]
        np.testing.assert_array_equal(x, rows["epoch"])
        np.testing.assert_allclose(y, rows["measure.log_volume.heaviside"] / np.log(10))


def test_several_networks_are_a_median_and_a_band_from_zero_error(temporal_frame):
    frame = one_measure(temporal_frame(networks=3))
    _, flat, _ = panels(temporal_figure(frame))[0]
    assert flat.get_xlabel() == "epochs after zero error"
    x, y = line(flat, BLUE)
    first = frame.groupby("run_id")["measure.epochs.zero_error"].transform("max")
    frame = frame.assign(since=frame["epoch"] - first)
    for since in (-4, 0, 5, 17):
        rows = frame[(frame["since"] == since) & frame["transform"].isin(["none", UP])]
        rows = rows[rows["transform"] == ("none" if since < 5 else UP)]
        values = np.log10(rows["measure.sharpness.best"])
        place = np.flatnonzero(x == since)[-1]
        assert y[place] == pytest.approx(np.median(values))
        (low, high) = flat.collections[-1].get_datalim(flat.transData).intervaly
        assert low <= values.min()
        assert high >= values.max()
    marks = dashed(flat)
    assert marks == {temporal.AT_ZERO: 0, temporal.AT_EVENT: 5}


def test_a_column_a_flatness_measure_larger_boxes_first(temporal_frame):
    frame = temporal_frame()
    figure = temporal_figure(frame)
    labels = [flat.get_ylabel() for _, flat, _ in panels(figure)]
    assert labels == 2 * [
        "log₁₀ sharpness, ε = 0.0001",
        "log₁₀ sharpness, ε = 1e-05",
        "log₁₀ spectral norm of the Hessian",
    ]
    _, flat, _ = panels(figure)[2]
    x, _ = line(flat, BLUE)  # the Hessian has a stride of its own
    assert set(x) == {0, 2, 4, 6, 8, 9, 10, 12, 14, 16, 18, 20}


def test_without_scaling_there_is_one_line_and_no_event(temporal_frame):
    frame = temporal_frame(alphas=())
    figure = temporal_figure(frame)
    above, flat, _ = panels(figure, scaled=False)[0]
    x, _ = line(flat, BLUE)
    assert list(x) == list(range(22))
    assert temporal.AT_EVENT not in dashed(flat)
    assert scatter.words_of(above).startswith("(a) without scaling")


def test_titles_say_what_scaling_did(temporal_frame):
    titles = [
        f"{scatter.words_of(above)}\n{scatter.words_of(around)}"
        for above, _, _, around in all_axes(
            temporal_figure(one_measure(temporal_frame(networks=2)))
        )
    ]
    assert titles[0].startswith("(a) W1 × 5.9, W2 / 5.9 (eq. 8)")
    assert titles[1].startswith("(b) W1 / 5.9, W2 × 5.9 (as the public code)")
    titles = [" ".join(title.split()) for title in titles]
    assert "2 networks, zero error at epoch 4 to 5" in titles[0]
    assert "f unchanged in 2 of 2, outputs moved by at most 1e−06, least |output| 0.03" in titles[0]
    assert "labels unlike f at the event: at most 0 of 600" in titles[0]
    assert "at most 40 of 600, at the end 0" in titles[1]


def test_what_cannot_be_drawn_is_not(temporal_frame):
    assert temporal_figure(temporal_frame(alphas=(2.0, 3.0, 4.0, 5.0, 6.0))) is None
    assert temporal_figure(temporal_frame().drop(columns="measure.log_volume.heaviside")) is None
    frame = temporal_frame()
    before = frame[frame["measure.epochs.zero_error"].isna()].assign(
        **{"measure.epochs.event": None}
    )
    _, flat, _ = panels(temporal_figure(before), scaled=False)[0]
    assert list(line(flat, BLUE)[0]) == [0, 1, 2, 3]
    assert "1 network, 0 with zero error" in scatter.words_of(flat)


def test_directions_have_names():
    assert scaling_name(1, 5.9) == "W1 × 5.9, W2 / 5.9"
    assert scaling_name(2, 0.25) == "W2 / 4, W3 × 4"
