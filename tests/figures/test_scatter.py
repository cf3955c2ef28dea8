import matplotlib
import numpy as np
import pandas as pd
import pytest

from flatvol_jax.figures import scatter, style


def test_points_are_log10_against_accuracy_on_e2(one_draw):
    frame = one_draw[one_draw["is.zero_error"] & one_draw["is.ep_converged"]]
    figure = scatter.attack_sweep_figure(one_draw)
    volume, sharp = figure.axes[:2]
    points = volume.collections[0]
    np.testing.assert_allclose(
        points.get_offsets()[:, 0], frame["measure.log_volume.heaviside"] / np.log(10)
    )
    np.testing.assert_allclose(
        points.get_offsets()[:, 1], 100 * (1 - frame["measure.error.second_test"])
    )
    np.testing.assert_allclose(points.get_array(), frame["hp.attack_size"])
    frame = one_draw[one_draw["is.zero_error"]]
    np.testing.assert_allclose(
        sharp.collections[0].get_offsets()[:, 0], np.log10(frame["measure.sharpness.best"])
    )
    assert "Heaviside" in volume.get_xlabel()
    assert "E2" in volume.get_ylabel()


def test_panel_names_both_correlations_and_who_is_left_out(ten_draws):
    title = scatter.panel_figure(ten_draws, scatter.VOLUME).axes[0].get_title(loc="left")
    usable = (ten_draws["is.zero_error"] & ten_draws["is.ep_converged"]).sum()
    assert f"n = {usable} ({len(ten_draws) - usable} left out)" in title
    assert "within |A|: −" in title
    assert "(10 draws)" in title
    assert "pooled: −" in title


def test_one_draw_is_marked_conditional(one_draw):
    title = scatter.panel_figure(one_draw, scatter.VOLUME).axes[0].get_title(loc="left")
    assert "this S, E only" in title


def test_e1_is_named_where_e2_is_empty(one_draw):
    frame = one_draw.assign(**{"measure.error.second_test": None})
    axis = scatter.panel_figure(frame, scatter.VOLUME).axes[0]
    assert "on E1" in axis.get_ylabel()


def test_sharpness_of_zero_is_counted_not_drawn(one_draw):
    frame = one_draw.reset_index(drop=True)
    frame["is.zero_error"] = True
    frame.loc[0, "measure.sharpness.best"] = 0.0
    axis = scatter.panel_figure(frame, scatter.SHARPNESS).axes[0]
    assert "1 at or below 0 not drawn" in axis.get_title(loc="left")
    assert f"n = {len(frame)} " in axis.get_title(loc="left")


def test_no_usable_run_draws_an_empty_panel(one_draw):
    frame = one_draw.assign(**{"is.zero_error": False})
    axis = scatter.panel_figure(frame, scatter.VOLUME).axes[0]
    assert "not defined" in axis.get_title(loc="left")
    assert axis.texts[0].get_text() == "no usable runs"


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


def test_drawing_changes_no_global_setting(one_draw):
    before = dict(matplotlib.rcParams)
    scatter.svg_text(scatter.panel_figure(one_draw, scatter.VOLUME))
    assert dict(matplotlib.rcParams) == before


def test_one_row_of_panels_an_optimizer(one_draw):
    other = one_draw.assign(**{"hp.train.optimizer": "adam", "run_id": one_draw["run_id"] + "b"})
    figure = scatter.attack_sweep_figure(pd.concat([one_draw, other]))
    titles = [axis.get_title(loc="left") for axis in figure.axes[:4]]
    assert [title.split(":")[0] for title in titles] == ["sgd", "sgd", "adam", "adam"]
