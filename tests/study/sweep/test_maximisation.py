import numpy as np
import pandas as pd
import pytest

from flatvol_jax.study.report import scatter
from flatvol_jax.study.sweep import maximisation

LOSS = 0.05
SGD = np.array([0.9, 0.99, 0.99, 1.0])  # of a rise of 0.01, after each epoch
BEST = np.array([0.0, 0.5, 1.0])  # begins with L(w)


@pytest.fixture
def swept(tmp_path):
    """Three networks; the second ascent did not converge, the third network has no arrays."""
    rows = []
    for number, size in enumerate((0, 100, 50)):
        row = {
            "hp.attack_size": size,
            "measure.loss.train": LOSS,
            "is.sgd_sharpness_converged": number != 1,
            "is.sharpness_converged": True,
        }
        if number < 2:
            for stage, name, course in (
                ("sgd_sharpness", "sgd.history", SGD),
                ("sharpness", "best.trace", BEST),
            ):
                path = f"{stage}{number}.npz"
                np.savez(tmp_path / path, **{f"measure.sharpness.{name}": LOSS + 0.01 * course})
                row[f"meta.arrays.{stage}"] = path
        rows.append(row)
    return pd.DataFrame(rows), tmp_path


def curves(axis):
    return [line for line in axis.lines if len(line.get_xdata()) > 2]


def test_lines_are_the_share_of_the_rise_that_is_missing(swept):
    sgd, best = maximisation.maximisation_figure(*swept).axes[:2]
    assert len(curves(sgd)) == len(curves(best)) == 2
    line = curves(sgd)[0]
    np.testing.assert_array_equal(line.get_xdata(), [0, 1, 2, 3, 4])
    np.testing.assert_allclose(line.get_ydata()[:4], [1, 0.1, 0.01, 0.01])
    assert line.get_ydata()[4] < sgd.get_ylim()[0]  # arrived: out of the panel
    np.testing.assert_allclose(curves(best)[0].get_ydata()[:2], [1, 0.5])
    first, second = (line.get_color() for line in curves(sgd))
    assert first != second  # coloured by |A|


def test_loss_of_the_ascent_comes_before_that_of_the_search(swept):
    frame, workdir = swept
    frame = frame.assign(**{"measure.sharpness.sgd.loss": [LOSS - 0.01, None, None]})
    axis = maximisation.maximisation_figure(frame, workdir).axes[0]
    first, second = (line.get_ydata() for line in curves(axis))
    np.testing.assert_allclose(first[:2], [1, 0.001 / 0.02])
    np.testing.assert_allclose(second[:2], [1, 0.1])


def test_titles_count_who_did_not_converge(swept):
    sgd, best = maximisation.maximisation_figure(*swept).axes[:2]
    assert "SGD ascent (table 1), 2 networks\n1 of 3 did not" in scatter.words_of(sgd)
    assert "best found, 2 networks\n0 of 3 did not" in scatter.words_of(best)
    assert "epochs" in sgd.get_xlabel()
    assert "evaluations" in best.get_xlabel()
    assert "missing" in sgd.get_ylabel()


def test_a_loss_that_did_not_rise_is_counted_not_drawn(swept):
    frame, workdir = swept
    frame.loc[0, "measure.loss.train"] = LOSS + 0.01
    frame.loc[1, "measure.loss.train"] = None
    axis = maximisation.maximisation_figure(frame, workdir).axes[0]
    assert curves(axis) == []
    assert "0 networks" in scatter.words_of(axis)
    assert "2 did not rise, not drawn" in " ".join(scatter.words_of(axis).split())


def test_one_stage_one_panel_no_arrays_no_figure(swept):
    frame, workdir = swept
    figure = maximisation.maximisation_figure(frame.drop(columns="meta.arrays.sharpness"), workdir)
    assert [scatter.words_of(axis)[:3] for axis in figure.axes] == ["SGD", ""]  # colour bar
    bare = frame.drop(columns=["meta.arrays.sharpness", "meta.arrays.sgd_sharpness"])
    assert maximisation.maximisation_figure(bare, workdir) is None
    assert maximisation.maximisation_figure(frame.tail(1), workdir) is None


def test_the_same_records_give_the_same_file(swept):
    first, second = (scatter.svg_text(maximisation.maximisation_figure(*swept)) for _ in "ab")
    assert first == second
