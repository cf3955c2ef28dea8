import numpy as np
import pytest

from flatvol_jax.study.boolean import posterior_figure as boolean_posterior
from flatvol_jax.study.report import scatter

FOUND, BAYES = "measure.log_p_optimizer", "measure.log_p_bayes"
KEYS = ["meta.system", "target.name", "hp.train.optimizer"]
PANELS = [
    (*target, optimizer)
    for target in (("boolean", "f1"), ("boolean", "f2"), ("mnist", "S=100"))
    for optimizer in ("sgd", "adam")
]
NAMES = {"direct": "P_B by direct sampling", "nngp": "P_B of the NNGP"}


@pytest.fixture(scope="module")
def axes(boolean):
    return dict(zip(PANELS, boolean_posterior.posterior_figure(boolean).axes, strict=True))


def of(frame, part, key):
    return frame[(frame["meta.part"] == part) & (frame[KEYS] == list(key)).all(axis=1)]


def drawn(axis):
    """Label -> points and half lengths of the bars, (n, 2) each."""
    found = {}
    for container in axis.containers:
        line, _, (across, up) = container.lines
        across, up = (np.array(bars.get_segments()) for bars in (across, up))
        halves = [np.ptp(across[:, :, 0], axis=1) / 2, np.ptp(up[:, :, 1], axis=1) / 2]
        found[container.get_label()] = line, np.stack(halves, axis=1)
    return found


@pytest.mark.parametrize("key", PANELS)
def test_functions_with_both_probabilities_are_points(boolean, axes, key):
    rows = of(boolean, "posterior", key)
    shown = drawn(axes[key])
    references = ["nngp"] if key[0] == "mnist" else ["direct", "nngp"]
    assert list(shown) == [NAMES[reference] for reference in references]
    for reference in references:
        column = f"{BAYES}.{reference}"
        known = rows[rows[column].notna()]
        assert len(known) > 10
        assert (reference == "nngp") == (len(known) == len(rows))  # some were never drawn
        line, bars = shown[NAMES[reference]]
        wanted = known[[column, FOUND]].to_numpy(float) / np.log(10)
        np.testing.assert_allclose(line.get_xydata(), wanted)
        np.testing.assert_allclose(
            bars, known[[f"{column}.se", f"{FOUND}.se"]].to_numpy(float) / np.log(10)
        )
        assert (line.get_markerfacecolor() == "none") == (reference == "nngp")


def test_the_line_is_equality(axes):
    for axis in axes.values():
        (line,) = [line for line in axis.lines if line.get_linestyle() == "--"]
        assert line.get_slope() == 1
        assert line.get_xy1()[0] == line.get_xy1()[1]


def heading(key):
    system, target, optimizer = key
    name = {"sgd": "SGD", "adam": "Adam"}[optimizer]
    return f"{name} on a part of {target} ({system})"


@pytest.mark.parametrize("key", PANELS)
def test_titles_are_the_summary(boolean, axes, key):
    (row,) = of(boolean, "posterior_summary", key).to_dict("records")
    lines = scatter.words_of(axes[key]).split("\n")
    assert lines[0] == heading(key)
    assert lines[1] == "1987 of 2000 seeds at zero error"
    names = {"nngp": "NNGP"} if key[0] == "mnist" else {"direct": "direct", "nngp": "NNGP"}
    assert len(lines) >= 2 + len(names)
    for line, (reference, name) in zip(lines[2:], names.items(), strict=False):
        slope = row[f"measure.slope.{reference}"]
        variation = row[f"measure.total_variation.{reference}"]
        assert line == (
            f"{name}: slope {slope:.3f} ± 0.031, n = 21; TV {variation:.2g}, null 0.061 to 0.11"
        )


def test_summaries_are_in_log10_and_complete(boolean):
    table = boolean_posterior.posterior_table(boolean)
    keys = list(zip(table["system"], table["target"], table["optimizer"], strict=True))
    assert list(dict.fromkeys(keys)) == PANELS
    first, last = table.iloc[0], table.iloc[-1]
    assert first["train"] == pytest.approx(np.log10(5e-5))
    assert first["train_se"] == pytest.approx(0.045 / np.log(10))
    assert (first["seeds"], first["zero_error"], first["matching"]) == (2000, 1987, 500)
    assert np.isnan(last["train"])
    names = table.groupby(["system", "target", "optimizer"], sort=False)["name"].agg(list)
    assert names[PANELS[0]] == ["direct", "NNGP"]
    assert names[PANELS[-1]] == ["NNGP"]


def test_a_missing_part_a_missing_column_a_missing_panel(boolean):
    draw = boolean_posterior.posterior_figure
    assert draw(boolean[boolean["meta.part"] != "posterior"]) is None
    for column in ("meta.part", FOUND, *KEYS):
        assert draw(boolean.drop(columns=column)) is None
    assert boolean_posterior.posterior_table(boolean.drop(columns=KEYS[0])).empty
    gone = of(boolean, "posterior", PANELS[1]).index
    axis = draw(boolean.drop(index=gone)).axes[1]
    assert not axis.containers
    assert "no functions" in [text.get_text() for text in axis.texts]


def test_a_title_without_a_summary_is_the_name(boolean):
    figure = boolean_posterior.posterior_figure(boolean[boolean["meta.part"] == "posterior"])
    titles = [scatter.words_of(axis) for axis in figure.axes]
    assert [title.split("\n")[0] for title in titles] == [heading(key) for key in PANELS]
    assert "found once, twice, ..." in " ".join("".join(titles).split())


def test_only_the_nngp_where_nothing_was_sampled(boolean):
    frame = boolean.drop(columns=f"{BAYES}.direct")
    figure = boolean_posterior.posterior_figure(frame)
    assert all(list(drawn(axis)) == [NAMES["nngp"]] for axis in figure.axes)
