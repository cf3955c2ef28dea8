"""Points of a picture know their networks."""

import numpy as np
import pytest

from flatvol_jax.study.analysis.columns import LOG_VOLUME, SHARPNESS
from flatvol_jax.study.report import network_points, page, scatter


@pytest.mark.parametrize("x", [LOG_VOLUME, SHARPNESS])
def test_a_point_stands_where_its_network_has_its_numbers(ten_draws, x):
    frame = ten_draws.reset_index(drop=True)
    runs = frame[frame["hp.draw"] < 4]
    figure = scatter.panel_figure(runs, x)
    page.inline_figure(figure, "p", "a panel")
    places = network_points.network_places(figure, frame, runs, x)
    usable = runs[runs["is.zero_error"] & ((x != LOG_VOLUME) | runs["is.ep_converged"])]
    assert [row for *_, row in places] == usable.index.tolist()
    axis = figure.axes[0]
    for across, down, row in places[::40]:
        part = np.array([across, network_points.PARTS - down]) / network_points.PARTS
        there = axis.transData.inverted().transform(part * figure.bbox.size)
        record = frame.loc[[row]]
        reach = 2e-4 * np.array([np.ptp(axis.get_xlim()), np.ptp(axis.get_ylim())])
        assert abs(there[0] - x.drawn(record)[0][0]) < reach[0]
        assert abs(there[1] - 100 * record["measure.error.second_test"].iloc[0]) < reach[1]


def test_a_card_has_what_is_known_and_what_is_to_be_doubted(ten_draws):
    frame = ten_draws.reset_index(drop=True)
    cards = network_points.network_cards(frame)
    place = cards["labels"].index
    failed = int(np.flatnonzero(~frame["is.ep_converged"].astype(bool))[0])
    for row in (0, failed):
        text = cards["rows"][row][place("log V (Heaviside)")]
        assert ("EP did not converge" in text) == (row == failed)
        number = float(text.split(" ")[0].replace("−", "-"))
        assert number == pytest.approx(frame["measure.log_volume.heaviside"][row], rel=1e-3)
    assert [cards["labels"][i] for i in cards["short"]][:2] == ["optimizer", "draw"]
    assert all(len(row) == len(cards["labels"]) for row in cards["rows"])
