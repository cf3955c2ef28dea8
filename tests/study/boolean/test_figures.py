import numpy as np
import pandas as pd
import pytest
from scipy import stats

from flatvol_jax.study.boolean import figures
from flatvol_jax.study.boolean.summary import boolean_sentence
from flatvol_jax.study.report import formatting, scatter

VOLUME, BEST = "measure.log_volume.direct", "measure.sharpness.best"
ASCENT, NORM = "measure.sharpness.sgd", "measure.hessian.spectral_norm"
COMPLEXITY = "measure.complexity.lempel_ziv"
FIGURES = {
    "2": (figures.volume_sharpness_figure, [(VOLUME, BEST), (VOLUME, ASCENT)]),
    "S1": (figures.sharpness_norm_figure, [(BEST, NORM)]),
    "S2": (figures.volume_norm_figure, [(VOLUME, NORM)]),
    "complexity": (figures.complexity_figure, [(COMPLEXITY, VOLUME)]),
}


@pytest.fixture(scope="module")
def functions(boolean):
    return boolean[boolean["meta.part"] == "function"]


def log10(rows, column):
    values = rows[column].to_numpy(float)
    if column == COMPLEXITY:
        return values
    return values / np.log(10) if column == VOLUME else np.log10(values)


def signed(rows, x, y):
    rho = stats.spearmanr(rows[x], rows[y]).statistic
    return f"{rho:+.2f} (n = {len(rows)})".replace("-", "−")


def points(axis):
    """The functions that are not constant, the constants."""
    return [collection.get_offsets() for collection in axis.collections[-2:]]


@pytest.mark.parametrize("name", FIGURES)
def test_every_function_with_both_quantities_is_a_point(boolean, functions, name):
    draw, panels = FIGURES[name]
    axes = draw(boolean).axes
    assert len(axes) == len(panels)
    for axis, (x, y) in zip(axes, panels, strict=True):
        rows = functions[functions[x].notna() & functions[y].notna()]
        star = rows["function.minority"] == 0
        assert star.sum() == 2
        for drawn, which in zip(points(axis), (~star, star), strict=True):
            wanted = np.stack([log10(rows[which], x), log10(rows[which], y)], axis=1)
            np.testing.assert_allclose(drawn, wanted)


@pytest.mark.parametrize("name", FIGURES)
def test_titles_have_the_correlations_of_all_and_of_each_parity(boolean, functions, name):
    draw, panels = FIGURES[name]
    for axis, (x, y) in zip(draw(boolean).axes, panels, strict=True):
        rows = functions[functions[x].notna() & functions[y].notna()]
        minority = rows["function.minority"]
        even, odd = (rows[(minority > 0) & (minority % 2 == parity)] for parity in (0, 1))
        title = scatter.words_of(axis)
        assert f"Spearman ρ {signed(rows, x, y)}, 2 of them constant" in title
        assert f"even {signed(even, x, y)}; odd {signed(odd, x, y)}" in title
    first = " ".join(scatter.words_of(draw(boolean).axes[0]).split())
    assert ("stripes: functions that differ by the order" in first) == (VOLUME in panels[0])


def test_titles_say_how_many_are_left_out_and_why(boolean, functions):
    tried = functions["measure.minima.tried"] > 0
    stuck, untrained = (tried & (functions["measure.minima"] == 0)).sum(), (~tried).sum()
    assert (stuck, untrained) == (24, 60)
    for draw in (figures.volume_sharpness_figure, figures.volume_norm_figure):
        title = scatter.words_of(draw(boolean).axes[0])
        assert f"left out: {untrained} not trained for, {stuck} without a minimum" in title
    assert "left out: none" in scatter.words_of(figures.complexity_figure(boolean).axes[0])
    holes = boolean.copy()
    holes.loc[functions.index[:7], VOLUME] = None
    title = scatter.words_of(figures.complexity_figure(holes).axes[0])
    assert f"left out: 7 without {VOLUME}" in " ".join(title.split())


def test_colours_are_the_parity_of_the_minority(boolean, functions):
    figure = figures.complexity_figure(boolean)
    rows = functions[functions["function.minority"] > 0]
    colours = figure.axes[0].collections[-2].get_facecolors()
    blue, orange = ((colours[:, 2] > colours[:, 0]), (colours[:, 0] > colours[:, 2]))
    np.testing.assert_array_equal(blue, rows["function.minority"] % 2 == 0)
    np.testing.assert_array_equal(orange, rows["function.minority"] % 2 == 1)
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["minority even", "minority odd", "constant"]


def test_bars_are_one_standard_error_on_both_axes(boolean, functions):
    axis = figures.volume_sharpness_figure(boolean).axes[0]
    rows = functions[functions[BEST].notna()]
    across, up = (np.array(bars.get_segments()) for bars in axis.collections[:2])
    wide = rows[f"{VOLUME}.se"] / np.log(10)
    np.testing.assert_allclose(across[:, 1, 0] - across[:, 0, 0], 2 * wide)
    high = rows[f"{BEST}.se"] / rows[BEST] / np.log(10)  # d log10 s = ds / (s ln 10)
    np.testing.assert_allclose(up[:, 1, 1] - up[:, 0, 1], 2 * high)


def test_a_value_at_or_below_zero_has_a_rank_and_no_place(boolean, functions):
    frame = boolean.copy()
    frame.loc[functions.index[3:6], ASCENT] = -1e-9
    first, second = figures.volume_sharpness_figure(frame).axes
    rows = frame[(frame["meta.part"] == "function") & frame[ASCENT].notna()]
    title = scatter.words_of(second)
    assert f"Spearman ρ {signed(rows, VOLUME, ASCENT)}" in title
    assert "3 at or below 0 not drawn" in title
    assert "not drawn" not in scatter.words_of(first)


@pytest.mark.parametrize("name", FIGURES)
def test_no_figure_without_its_part_or_its_columns(boolean, name):
    draw, panels = FIGURES[name]
    assert draw(boolean[boolean["meta.part"] != "function"]) is None
    assert draw(boolean.drop(columns="meta.part")) is None
    assert draw(boolean.drop(columns=[y for _, y in panels])) is None


def test_a_panel_without_a_point_is_left_out(boolean):
    (axis,) = figures.volume_sharpness_figure(boolean.drop(columns=ASCENT)).axes
    assert "best found" in axis.get_ylabel()


def test_bands_need_the_number_in_the_minority(boolean, functions):
    figure = figures.complexity_figure(boolean.drop(columns="function.minority"))
    others, constants = points(figure.axes[0])
    assert (len(others), len(constants)) == (len(functions), 0)
    assert "even" not in scatter.words_of(figure.axes[0])
    (text,) = figure.legends[0].get_texts()
    assert text.get_text() == "minority not recorded"


def test_ranks_are_those_of_the_counts_sorted():
    counts = np.array([900, 40, 40, 7, 7, 7, 2, 1, 1, 1, 1])
    found, functions = np.unique(counts, return_counts=True)
    frame = pd.DataFrame(
        {
            "meta.part": "frequency",
            "frequency.count": found,
            "frequency.functions": functions,
            "meta.samples": 2000,
        }
    ).sample(frac=1, random_state=0)
    axis = figures.rank_figure(frame).axes[0]
    ranks, probability = axis.lines[0].get_data()
    every = np.arange(1, len(counts) + 1)
    np.testing.assert_allclose(np.interp(every, ranks, probability), counts / 2000)
    assert (ranks[0], ranks[-1]) == (1, 11)
    assert (axis.get_xscale(), axis.get_yscale()) == ("log", "log")
    title = scatter.words_of(axis)
    assert "11 functions in 2,000 draws" in title
    assert "seen once: 4, 0.2% of the draws" in title


def test_no_rank_plot_without_counts(boolean):
    assert figures.rank_figure(boolean) is not None
    assert figures.rank_figure(boolean[boolean["meta.part"] != "frequency"]) is None
    assert figures.rank_figure(boolean.drop(columns="frequency.count")) is None


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (-0.99996, 0.00014, "−0.99996 ± 0.00014"),
        (1.0723, 0.031, "1.072 ± 0.031"),
        (-4.3, 12.0, "−4 ± 12"),
        (-2.34567, np.nan, "−2.346"),
        (-2.0, 0.0, "−2"),
        (np.nan, 0.1, "—"),
        (None, None, "—"),
    ],
)
def test_values_are_written_to_the_second_digit_of_their_error(value, error, text):
    assert formatting.measured(value, error) == text


def test_the_same_records_give_the_same_file(boolean):
    first, second = (scatter.svg_text(figures.complexity_figure(boolean)) for _ in "ab")
    assert first == second


def test_each_epoch_of_the_minima_has_its_row_of_panels(boolean):
    functions = boolean["meta.part"] == "function"
    later = boolean[functions].assign(overtrain=30)
    for column in (BEST, ASCENT):
        later[column] *= 1e-3
    both = pd.concat([boolean.assign(overtrain=np.where(functions, 0.0, np.nan)), later])
    axes = figures.volume_sharpness_figure(both).axes
    assert len(axes) == 4
    titles = [scatter.words_of(axis).splitlines()[0].split(", ")[1] for axis in axes]
    assert titles == ["at zero error"] * 2 + ["30 epochs after zero error"] * 2
    first, second = (points(axes[i])[0] for i in (0, 2))
    np.testing.assert_allclose(second[:, 1], first[:, 1] - 3)
    assert len(figures.complexity_figure(both).axes) == 1


def test_the_sentence_is_of_the_functions_that_have_minima(boolean, functions):
    found = functions[functions[BEST].notna()]
    assert 2 < len(found) < len(functions)
    rho = stats.spearmanr(found[VOLUME], found[BEST]).statistic
    said = f"{rho:+.2f} over {len(found)} functions"
    assert said.replace("-", "−") in boolean_sentence(boolean)
