import numpy as np
import pandas as pd
import pytest

from flatvol_jax.study.boolean import width_figure as boolean_width
from flatvol_jax.study.report import scatter

VOLUME, WIDTH = "measure.log_volume.direct", "hp.model.width"
COLUMNS = ["10", "40", "160", "∞", "EP"]


@pytest.fixture(scope="module")
def figure(boolean):
    return boolean_width.width_figure(boolean)


def value(frame, part, rank, column, width=None):
    rows = frame[(frame["meta.part"] == part) & (frame["function.rank"] == rank)]
    if part == "width":
        rows = rows[rows[WIDTH].isna() if width is None else rows[WIDTH] == width]
    (found,) = rows[column]
    return found


def test_differences_are_direct_minus_estimate_in_log10(boolean):
    differences, errors = boolean_width.width_differences(boolean)
    assert list(differences) == list(errors) == COLUMNS
    assert list(differences.index) == [rank for rank in range(30) if rank != 7]  # not seen at 10
    estimate = "measure.log_volume.estimate"
    for rank in (0, 4, 29):
        reference = value(boolean, "function", rank, estimate)
        for name, width in zip(COLUMNS, (10, 40, 160, None), strict=False):
            d = value(boolean, "width", rank, VOLUME, width) - reference
            assert differences.loc[rank, name] == pytest.approx(d / np.log(10))
            se = np.hypot(value(boolean, "width", rank, f"{VOLUME}.se", width), 0.02)
            assert errors.loc[rank, name] == pytest.approx(se / np.log(10))
        ep = value(boolean, "function", rank, "measure.log_volume.heaviside") - reference
        assert differences.loc[rank, "EP"] == pytest.approx(ep / np.log(10))
        assert errors.loc[rank, "EP"] == pytest.approx(0.02 / np.log(10))
    assert np.isnan(differences.loc[5, "EP"])  # did not converge
    assert differences.drop(index=5).notna().all(axis=None)


def test_the_table_separates_the_difference_from_the_errors():
    """Planted: a difference of 0.5 with errors of 0.3 over many functions."""
    generator = np.random.default_rng(0)
    ids = [f"{i:04x}" for i in range(20_000)]
    functions = pd.DataFrame({"function.id": ids, "function.rank": range(len(ids))})
    functions["meta.part"] = "function"
    functions["measure.log_volume.estimate"] = 0.0
    functions["measure.log_volume.estimate.se"] = 0.1
    functions["measure.log_volume.heaviside"] = 0.7
    rows = []
    for width, planted in ((8, 0.5), (64, 0.0)):
        noise = 0.3 * generator.normal(size=len(ids))
        signs = generator.choice([-1, 1], len(ids))
        rows.append(
            functions[["function.id"]].assign(
                **{
                    "meta.part": "width",
                    WIDTH: width,
                    VOLUME: planted * signs + noise,
                    f"{VOLUME}.se": np.sqrt(0.3**2 - 0.1**2),
                    "meta.samples": 10 * width,
                }
            )
        )
    table = boolean_width.width_table(pd.concat([functions, *rows])).set_index("name")
    assert list(table.index) == ["8", "64", "EP"]
    assert table["functions"].eq(len(ids)).all()
    np.testing.assert_allclose(table["samples"], [80, 640, np.nan])
    ln10 = np.log(10)
    np.testing.assert_allclose(ln10 * table["explained"], [0.3, 0.3, 0.1])
    assert ln10 * table.loc["8", "beyond"] == pytest.approx(0.5, abs=0.01)
    assert ln10 * table.loc["64", "beyond"] < 0.05
    assert ln10 * table.loc["EP", "beyond"] == pytest.approx(np.sqrt(0.7**2 - 0.1**2))
    np.testing.assert_allclose(ln10 * table["mean"], [0, 0, 0.7], atol=0.02)
    assert ln10 * table.loc["EP", "largest"] == pytest.approx(0.7)


def test_lines_are_the_most_frequent_functions(boolean, figure):
    differences, errors = boolean_width.width_differences(boolean)
    axis = figure.axes[0]
    lines = [container for container in axis.containers if len(container[0].get_xdata()) == 4]
    assert len(lines) == boolean_width.SHOWN
    for container, (rank, d) in zip(lines, differences.head(12).iterrows(), strict=True):
        np.testing.assert_allclose(container[0].get_ydata(), d[:4])
        bars = np.array(container[2][0].get_segments())
        np.testing.assert_allclose(np.ptp(bars[:, :, 1], axis=1), 2 * errors.loc[rank][:4])
    assert "the 12 most frequent functions" in scatter.words_of(axis)


def test_the_infinite_network_and_ep_stand_right_of_every_width(figure):
    for axis in (figure.axes[0], figure.axes[1]):
        assert [label.get_text() for label in axis.get_xticklabels()] == COLUMNS
        np.testing.assert_allclose(axis.get_xticks(), [10, 40, 160, 480, 1440])
        assert axis.get_xscale() == "log"


def test_the_second_panel_is_the_table(boolean, figure):
    table = boolean_width.width_table(boolean).set_index("name")
    lines = {line.get_label(): line.get_ydata() for line in figure.axes[1].lines}
    for column, words in (
        ("beyond", "beyond the errors"),
        ("explained", "what the errors explain"),
    ):
        np.testing.assert_allclose(lines[f"direct, {words}"], table[column][COLUMNS[:4]])
        np.testing.assert_allclose(lines[f"EP, {words}"], table[column][["EP"]])
    assert (
        scatter.words_of(figure.axes[1])
        == "29 functions\nleft out: 1 without a value at every width"
    )


@pytest.mark.parametrize(
    "column", ["meta.part", WIDTH, VOLUME, "measure.log_volume.estimate", "function.id"]
)
def test_nothing_without_widths_volumes_or_a_reference(boolean, column):
    frame = boolean.drop(columns=column)
    assert boolean_width.width_figure(frame) is None
    assert boolean_width.width_table(frame).empty


def test_nothing_without_the_part(boolean):
    for part in ("width", "function"):
        assert boolean_width.width_figure(boolean[boolean["meta.part"] != part]) is None


def test_what_is_absent_has_no_place(boolean):
    infinite = (boolean["meta.part"] == "width") & boolean[WIDTH].isna()
    frame = boolean[~infinite].drop(columns="measure.log_volume.heaviside")
    assert list(boolean_width.width_differences(frame)[0]) == COLUMNS[:3]
    figure = boolean_width.width_figure(frame)
    assert not any("EP" in line.get_label() for line in figure.axes[1].lines)
    only = boolean[(boolean["meta.part"] != "width") | infinite]
    assert list(boolean_width.width_differences(only)[0]) == ["∞", "EP"]
    assert boolean_width.width_figure(only) is not None
