import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from scipy import stats

from flatvol_jax.study.analysis.columns import LOG_VOLUME, SHARPNESS
from flatvol_jax.study.report import scatter, style


def test_points_are_log10_against_the_error_on_e2(one_draw):
    frame = one_draw[one_draw["is.zero_error"] & one_draw["is.ep_converged"]]
    figure = scatter.attack_sweep_figure(one_draw)
    volume, sharp = figure.axes[:2]
    points = volume.collections[0]
    np.testing.assert_allclose(
        points.get_offsets()[:, 0], frame["measure.log_volume.heaviside"] / np.log(10)
    )
    np.testing.assert_allclose(points.get_offsets()[:, 1], 100 * frame["measure.error.second_test"])
    np.testing.assert_allclose(points.get_array(), frame["hp.attack_size"])
    frame = one_draw[one_draw["is.zero_error"]]
    np.testing.assert_allclose(
        sharp.collections[0].get_offsets()[:, 0], np.log10(frame["measure.sharpness.best"])
    )
    assert "Heaviside" in volume.get_xlabel()
    assert "E2" in volume.get_ylabel()


def test_panel_names_both_correlations_and_who_is_left_out(ten_draws):
    title = scatter.words_of(scatter.panel_figure(ten_draws, LOG_VOLUME).axes[0])
    usable = (ten_draws["is.zero_error"] & ten_draws["is.ep_converged"]).sum()
    assert f"n = {usable} ({len(ten_draws) - usable} left out)" in title
    assert "ρ within |A|: −" in title
    assert "10 draws" in title
    assert "ρ pooled over |A|: −" in title


def test_one_draw_is_marked_conditional(one_draw):
    title = scatter.words_of(scatter.panel_figure(one_draw, LOG_VOLUME).axes[0])
    assert "this S, E only" in title


def test_e1_is_named_where_e2_is_empty(one_draw):
    frame = one_draw.assign(**{"measure.error.second_test": None})
    axis = scatter.panel_figure(frame, LOG_VOLUME).axes[0]
    assert "on E1" in axis.get_ylabel()


def test_sharpness_of_zero_is_counted_not_drawn(one_draw):
    frame = one_draw.reset_index(drop=True)
    frame["is.zero_error"] = True
    frame.loc[0, "measure.sharpness.best"] = 0.0
    axis = scatter.panel_figure(frame, SHARPNESS).axes[0]
    assert "1 at or below 0 not drawn" in scatter.words_of(axis)
    assert f"n = {len(frame)} " in scatter.words_of(axis)


def test_no_usable_run_draws_an_empty_panel(one_draw):
    frame = one_draw.assign(**{"is.zero_error": False})
    axis = scatter.panel_figure(frame, LOG_VOLUME).axes[0]
    assert "not defined" in scatter.words_of(axis)
    text = axis.texts[-1].get_text()
    assert text == f"no usable runs\n{len(frame)}: zero training error not reached"
    assert len(axis.get_xticks()) == len(axis.get_yticks()) == 0


def test_colours_of_every_row_are_those_of_the_bar(one_draw):
    fewer = one_draw[one_draw["hp.attack_size"] <= 100]
    other = fewer.assign(**{"hp.train.optimizer": "adam", "run_id": fewer["run_id"] + "b"})
    *axes, bar = scatter.attack_sweep_figure(pd.concat([one_draw, other])).axes
    assert {axis.collections[0].norm.vmax for axis in axes} == {bar.get_ylim()[1]} == {500}


def test_two_measures_stand_against_each_other(one_draw):
    frame = one_draw[one_draw["is.zero_error"] & one_draw["is.ep_converged"]]
    axis = Figure().subplots()
    numbers = scatter.draw_panel(
        axis,
        one_draw,
        LOG_VOLUME,
        SHARPNESS,
        heading="two measures",
        norm=scatter.attack_size_norm(one_draw),
    )
    points = axis.collections[0].get_offsets()
    np.testing.assert_allclose(points[:, 1], np.log10(frame["measure.sharpness.best"]))
    assert axis.get_ylabel() == SHARPNESS.axis_label
    x, y = frame["measure.log_volume.heaviside"], frame["measure.sharpness.best"]
    assert frame["hp.draw"].nunique() == 1
    assert numbers.pooled.estimate == pytest.approx(stats.spearmanr(x, y).statistic)
    assert scatter.words_of(axis).startswith("two measures\nρ pooled over |A|: ")


def test_long_lines_of_a_title_are_wrapped_between_words(one_draw):
    axis = Figure().subplots()
    look = scatter.Look(line=20)
    norm = scatter.attack_size_norm(one_draw)
    heading = "a heading of many words and 1.25e-3"
    scatter.draw_panel(axis, one_draw, LOG_VOLUME, heading=heading, norm=norm, look=look)
    title = scatter.words_of(axis)
    assert title.startswith("a heading of many\nwords and 1.25e-3\n")
    assert max(map(len, title.split("\n"))) <= 20


def test_files_are_png_at_200_dpi_and_svg_and_repeat(tmp_path, one_draw):
    png, svg = scatter.save_figure(scatter.attack_sweep_figure(one_draw), tmp_path / "fig3.a")
    assert (png.name, svg.name) == ("fig3.a.png", "fig3.a.svg")
    header = png.read_bytes()[:24]
    assert header.startswith(b"\x89PNG")
    width, height = (int.from_bytes(header[i : i + 4], "big") for i in (16, 20))
    assert width == pytest.approx(200 * 2 * style.COLUMN_WIDTH, abs=1)
    assert height == pytest.approx(200 * style.PANEL_HEIGHT, abs=1)
    first = svg.read_text()
    scatter.save_figure(scatter.attack_sweep_figure(one_draw), tmp_path / "fig3.a")
    assert svg.read_text() == first


def test_positions_are_rounded_and_stay_in_the_layout(one_draw):
    figure = scatter.attack_sweep_figure(one_draw)
    scatter.svg_text(figure)
    for axis in figure.axes:
        bounds = axis.get_position(original=True).bounds
        np.testing.assert_allclose(bounds, np.round(bounds, 6), rtol=0, atol=1e-12)
        assert axis.get_in_layout()
    left = [axis.get_position().x0 for axis in figure.axes[:2]]
    assert 0 < left[0] < 0.2 < left[1] < 0.6  # side by side


def test_drawing_changes_no_global_setting(one_draw):
    before = dict(matplotlib.rcParams)
    scatter.svg_text(scatter.panel_figure(one_draw, LOG_VOLUME))
    assert dict(matplotlib.rcParams) == before


def test_one_row_of_panels_an_optimizer(one_draw):
    other = one_draw.assign(**{"hp.train.optimizer": "adam", "run_id": one_draw["run_id"] + "b"})
    figure = scatter.attack_sweep_figure(pd.concat([one_draw, other]))
    titles = [scatter.words_of(axis) for axis in figure.axes[:4]]
    assert [title.split("\n")[0] for title in titles] == ["SGD", "SGD", "Adam", "Adam"]
