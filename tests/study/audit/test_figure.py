import numpy as np
import pandas as pd
import pytest

from flatvol_jax.study.audit.figure import FLAT, symmetry_audit_figure
from flatvol_jax.study.report import scatter

ALPHAS = (1 / 16, 1 / 4, 4.0, 16.0)


def _row(symmetry, layer, alpha):
    """Power laws of one α: a Hessian of α² + α⁻², what is invariant constant."""
    scale = 1.0 if alpha is None else alpha
    steep = (scale**2 + scale**-2) / 2
    of_units = steep if symmetry == "unit" else 1.0
    return {
        "transform": f"{symmetry} {layer} {alpha}",
        "transform.symmetry": symmetry,
        "transform.layer": layer,
        "transform.alpha": alpha,
        "is.function_unchanged": True,
        "measure.log_volume.heaviside": -232.0,
        "measure.sharpness.best": 2.0 * (scale + 1 / scale) / 2,
        "measure.sharpness.sgd": 2.5 * (scale + 1 / scale) / 2,
        "measure.hessian.spectral_norm": 30.0 * steep,
        "measure.hessian.lambda_max": 30.0 * steep,
        "measure.hessian.log_product": 12.0 + 10 * np.log(steep),
        "measure.hessian.log_product.count": 10,
        "measure.hessian.trace": 90.0 * steep * (1.02 if scale > 1 else 1.0),
        "measure.adaptive_sharpness.inf": 0.5 * (1 + 1e-5 * scale),
        "measure.average_sharpness.adaptive": 0.1 + (0.01 if scale > 1 else 0.0),
        "measure.average_sharpness.adaptive.se": 0.01,
        "measure.relative_flatness": 3.5 * of_units,
        "measure.relative_flatness.layer_1.norm_trace": 850.0 * of_units,
        "measure.normalized_sharpness": 38.0,
        "measure.fisher_rao": 0.35,
        "measure.baseline.parameter_norm": 15.0 * np.sqrt(scale**2 + 4),
        "measure.baseline.margin": 0.05,
    }


@pytest.fixture
def audit():
    rows = [_row("none", None, None)]
    rows += [_row(kind, layer, a) for kind in ("layer", "unit") for layer in (1, 2) for a in ALPHAS]
    rows += [_row("permutation", layer, None) for layer in (1, 2)]
    return pd.DataFrame(rows)


def legend(figure):
    (entries,) = figure.legends
    return {
        text.get_text(): handle.get_color()
        for text, handle in zip(entries.get_texts(), entries.get_lines(), strict=True)
    }


def line(figure, axis, label):
    colour = legend(figure)[label]
    (found,) = (found for found in axis.lines if found.get_color() == colour)
    return found


def test_one_panel_a_symmetry_and_layer_without_permutations(audit):
    titles = [scatter.words_of(axis) for axis in symmetry_audit_figure(audit).axes]
    assert [title.split("\n")[0] for title in titles] == [
        "layer 1 scaled by α",
        "layer 2 scaled by α",
        "units of layer 1 scaled by αᶻ, z in [−1, 1]",
        "units of layer 2 scaled by αᶻ, z in [−1, 1]",
    ]
    assert all("function unchanged at 4 of 4 α" in title for title in titles)


def test_lines_are_the_ratio_to_the_network_as_trained(audit):
    figure = symmetry_audit_figure(audit)
    axis = figure.axes[0]
    assert (axis.get_xscale(), axis.get_yscale()) == ("log", "log")
    alphas = np.array([1 / 16, 1 / 4, 1, 4, 16])
    steep = (alphas**2 + alphas**-2) / 2
    for label, ratio in (
        ("Hessian λ max", steep),
        ("Hessian geometric mean eigenvalue", steep),
        ("sharpness (best found)", (alphas + 1 / alphas) / 2),
        ("parameter norm", np.sqrt((alphas**2 + 4) / 5)),
    ):
        x, y = line(figure, axis, label).get_data()
        np.testing.assert_array_equal(x, alphas)
        np.testing.assert_allclose(y, ratio, rtol=1e-12)


def test_log_volume_is_the_thick_line_at_one(audit):
    figure = symmetry_audit_figure(audit)
    for axis in figure.axes:
        found = line(figure, axis, "log V (Heaviside), ratio of logs")
        np.testing.assert_array_equal(found.get_ydata(), np.ones(5))
        assert found.get_color() == "black"


def test_what_does_not_move_is_grey_and_named(audit):
    layer, *_, unit, _ = symmetry_audit_figure(audit).axes
    for axis, count in ((layer, 6), (unit, 4)):
        assert sum(found.get_color() == FLAT["color"] for found in axis.lines) == count
    title = scatter.words_of(layer).replace("\n", " ")
    assert "grey, constant: adaptive sharpness (worst), relative flatness κ" in title
    assert "grey, within error: adaptive sharpness (mean)" in title
    assert "κ" not in scatter.words_of(unit)
    assert "margin" not in title  # of the function alone


def test_legend_names_each_changing_measure_once_in_its_own_colour(audit):
    names = legend(symmetry_audit_figure(audit))
    assert len(set(names.values())) == len(names)
    assert "relative flatness κ" in names  # moves under units
    assert "Fisher-Rao norm" not in names
    assert "Hessian spectral norm" not in names


def test_missing_columns_and_values_leave_lines_out(audit):
    frame = audit.drop(columns=["measure.hessian.trace", "is.function_unchanged"])
    frame.loc[2, "measure.sharpness.best"] = None
    frame["measure.fisher_rao"] = None
    figure = symmetry_audit_figure(frame)
    assert "Hessian trace" not in legend(figure)
    title = scatter.words_of(figure.axes[0])
    assert "unchanged at" not in title
    assert "Fisher-Rao" not in title
    ydata = line(figure, figure.axes[0], "sharpness (best found)").get_ydata()
    np.testing.assert_array_equal(np.isnan(ydata), [False, True, False, False, False])


def test_one_group_is_one_panel(audit):
    frame = audit[audit["transform.symmetry"].isin(["none", "layer"])]
    frame = frame[frame["transform.layer"] != 2]
    assert len(symmetry_audit_figure(frame).axes) == 1


def test_a_row_without_layer_or_alpha_is_passed_over(audit):
    frame = pd.concat([audit, pd.DataFrame([_row("layer", None, 4.0), _row("unit", 1, None)])])
    axes = symmetry_audit_figure(frame.reset_index(drop=True)).axes
    assert len(axes) == 4
    assert all(len(found.get_xdata()) == 5 for axis in axes for found in axis.lines)


def test_records_that_are_no_audit_are_refused(audit):
    with pytest.raises(ValueError, match=r"transform\.alpha"):
        symmetry_audit_figure(audit.drop(columns="transform.alpha"))
    with pytest.raises(ValueError, match="no row with transform.symmetry"):
        symmetry_audit_figure(audit[audit["transform.symmetry"] != "none"])
    with pytest.raises(ValueError, match="no row with an α"):
        symmetry_audit_figure(audit[audit["transform.alpha"].isna()])


def test_the_same_records_give_the_same_file(audit):
    first, second = (scatter.svg_text(symmetry_audit_figure(audit)) for _ in "ab")
    assert first == second
