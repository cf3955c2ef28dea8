import numpy as np
import pandas as pd
import pytest

from flatvol_jax.study.analysis import selection, statistics
from flatvol_jax.study.report import scatter
from flatvol_jax.study.sweep import local_volume

BASIN, COEFFICIENT = "measure.basin_volume", "measure.learning_coefficient"


@pytest.fixture(scope="module")
def local(one_draw):
    """A sweep whose basin volume follows log V, the learning coefficient the error."""
    volume = one_draw["measure.log_volume.heaviside"]
    frame = one_draw.assign(
        **{
            BASIN: 20 * volume,
            f"{BASIN}.effective_directions": 3.0,
            "is.basin_volume_ok": one_draw["hp.sample"] == 0,
            COEFFICIENT: 2 + one_draw["measure.error.test"],
            f"{COEFFICIENT}.se": 0.25,
            "is.learning_coefficient_ok": True,
        }
    ).reset_index(drop=True)
    frame["is.zero_error"] = frame["is.ep_converged"] = True
    return frame


def panels(figure):
    return [axis for axis in figure.axes if axis.get_title(loc="left")]


def offsets(axis):
    return axis.collections[-1].get_offsets().T


def test_points_of_all_six_panels(local):
    figure = local_volume.local_volume_figure(local)
    volume, basin, coefficient, sharp, basin_volume, coefficient_volume = panels(figure)
    error = 100 * local["measure.error.second_test"]
    log_volume = local["measure.log_volume.heaviside"] / np.log(10)
    for axis, values in (
        (volume, log_volume),
        (basin, 20 * log_volume),
        (coefficient, local[COEFFICIENT]),
        (sharp, np.log10(local["measure.sharpness.best"])),
    ):
        x, y = offsets(axis)
        np.testing.assert_allclose(x, values)
        np.testing.assert_allclose(y, error)
        assert "E2" in axis.get_ylabel()
        np.testing.assert_allclose(axis.collections[-1].get_array(), local["hp.attack_size"])
    np.testing.assert_allclose(offsets(basin_volume), [log_volume, 20 * log_volume])
    np.testing.assert_allclose(offsets(coefficient_volume), [log_volume, local[COEFFICIENT]])


def test_titles_have_both_correlations(local):
    titles = [scatter.words_of(axis) for axis in panels(local_volume.local_volume_figure(local))]
    assert "ρ pooled over |A|: 1.00" in titles[4]  # the same order
    within = statistics.correlation(local, COEFFICIENT, "measure.error.second_test")
    assert f"ρ within |A|: {within.estimate:.2f} [" in titles[2]


def test_bars_are_one_standard_error_where_there_is_one(local):
    figure = local_volume.local_volume_figure(local)
    volume, _, coefficient, *_, against = panels(figure)
    assert len(volume.collections) == 1
    bars = np.array(coefficient.collections[0].get_segments())
    np.testing.assert_allclose(bars[:, 1, 0] - bars[:, 0, 0], 0.5)
    bars = np.array(against.collections[0].get_segments())
    np.testing.assert_allclose(bars[:, 1, 1] - bars[:, 0, 1], 0.5)


def test_basin_volume_says_how_little_of_it_was_seen(local):
    label = panels(local_volume.local_volume_figure(local))[1].get_xlabel()
    ok = int((local["hp.sample"] == 0).sum())
    assert "from below" in label
    assert f"3 effective directions; ok: {ok} of {len(local)}" in label


def test_all_panels_show_the_same_networks(local):
    frame = local.copy()
    frame.loc[:2, "is.learning_coefficient_ok"] = False
    frame.loc[3, BASIN] = None
    frame.loc[4, "measure.sharpness.best"] = np.nan
    figure = local_volume.local_volume_figure(frame)
    assert {len(offsets(axis)[0]) for axis in panels(figure)} == {len(frame) - 5}
    text = figure.get_supxlabel()
    assert f"the same {len(frame) - 5} of {len(frame)} networks" in text
    assert "3 out: the learning coefficient did not settle" in text
    _, left_out = selection.usable(frame, COEFFICIENT)
    assert sum(left_out.values()) == 3


@pytest.mark.parametrize("missing", [BASIN, COEFFICIENT])
def test_a_missing_or_unusable_measure_leaves_its_panels_out(local, missing):
    for frame in (local.drop(columns=missing), local.assign(**{missing: None})):
        axes = panels(local_volume.local_volume_figure(frame))
        labels = " ".join(axis.get_xlabel() + axis.get_ylabel() for axis in axes)
        assert len(axes) == 4
        assert ("basin" in labels) == (missing != BASIN)
    without = local.drop(columns="measure.log_volume.heaviside")
    assert len(panels(local_volume.local_volume_figure(without))) == 3


def test_none_without_a_local_measure(one_draw, local):
    assert local_volume.local_volume_figure(one_draw) is None
    assert local_volume.local_volume_figure(local.assign(**{"is.zero_error": False})) is None


def test_each_optimizer_has_its_own_panels(local):
    other = local.assign(**{"hp.train.optimizer": "adam", "run_id": local["run_id"] + "b"})
    axes = panels(local_volume.local_volume_figure(pd.concat([local, other])))
    names = [scatter.words_of(axis).split("\n")[0] for axis in axes]
    assert names == ["SGD"] * 6 + ["Adam"] * 6


def test_the_same_records_give_the_same_file(local):
    first, second = (scatter.svg_text(local_volume.local_volume_figure(local)) for _ in "ab")
    assert first == second
