import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from flatvol_jax.paper.layout import FIGURES
from flatvol_jax.paper.scatter_figures import paper_figure
from flatvol_jax.study.analysis import selection, statistics
from flatvol_jax.study.report import scatter

VOLUME, SHARPNESS = "measure.log_volume.heaviside", "measure.sharpness.best"
ERROR = "measure.error.second_test"
OVERTRAINED = "mnist_fcn_overtrain"


def title(axis):
    return scatter.words_of(axis)


def panels_of(figure):
    """The panels by the paper's letters."""
    return {words[1]: axis for axis in figure.axes if (words := title(axis)).startswith("(")}


def caption(figure):
    return figure.get_supxlabel()


def as_sweep(frame, experiment, optimizer="sgd", scale="cpu", **more):
    """Records of one sweep as `load_sweeps` reads them."""
    name = f"{experiment}_{optimizer}_{scale}"
    return frame.assign(
        **{
            "run_id": name + frame["run_id"],
            "meta.experiment": experiment,
            "meta.scale": scale,
            "meta.workdir": f"runs/{name}",
            "hp.train.optimizer": optimizer,
            **more,
        }
    )


@pytest.fixture(scope="module")
def three_draws(ten_draws):
    return ten_draws[(ten_draws["hp.draw"] < 3) & (ten_draws["hp.attack_size"] % 100 == 0)]


@pytest.fixture(scope="module")
def sgd(three_draws):
    return as_sweep(three_draws, "mnist_fcn")


@pytest.fixture(scope="module")
def overtrained(one_draw):
    """Zero error, then 100 and 200 epochs more, of the runs that had reached it; two lose it."""
    frame = as_sweep(one_draw.reset_index(drop=True), OVERTRAINED, "adam", "paper")
    fitted = frame[frame["is.zero_error"]]
    later = fitted.assign(**{"overtrain": 100, "measure.function.changed": 2.0})
    later.iloc[0, later.columns.get_loc("measure.function.changed")] = 31.0
    later.iloc[[3, 7], later.columns.get_loc("is.zero_error")] = False
    last = fitted.assign(**{"overtrain": 200, "measure.function.changed": 5.0})
    return pd.concat([frame, later, last], ignore_index=True)


def test_table_is_what_the_statistics_say(sgd):
    figure, table = paper_figure(sgd, "3")
    for row, column in ((table.iloc[0], VOLUME), (table.iloc[3], SHARPNESS)):
        runs, left_out = selection.usable(sgd, column, ERROR)
        within = statistics.correlation(runs, column, ERROR)
        pooled = statistics.correlation(runs, column, ERROR, "pooled")
        assert (row["x"], row["y"]) == (column, ERROR)
        assert tuple(row[["within", "within_low", "within_high"]]) == within[:3]
        assert tuple(row[["pooled", "pooled_low", "pooled_high"]]) == pooled[:3]
        rho = [stats.spearmanr(d[column], d[ERROR])[0] for _, d in runs.groupby("hp.draw")]
        assert row["pooled"] == pytest.approx(np.tanh(np.mean(np.arctanh(rho))))
        assert (row["draws"], row["n"], row["scale"]) == (3, len(runs), "cpu")
        for reason, count in left_out.items():
            assert f"{count}: {reason}" in row["left_out"]
        count = f"n = {len(runs)} ({len(sgd) - len(runs)} left out), 3 draws"
        assert count in title(panels_of(figure)[row["letter"]]).split("\n")


def test_correlations_of_ranks_that_are_known(sgd):
    sharp = sgd.assign(**{SHARPNESS: np.exp(sgd[ERROR]), VOLUME: -sgd[ERROR]})
    _, table = paper_figure(sharp, "3")
    assert table["pooled"][0] == pytest.approx(-1, abs=1e-3)
    assert table["pooled"][3] == pytest.approx(1, abs=1e-3)
    # ±1 is pulled in by half a step of the ranks (statistics.draw_statistics).
    assert -1 < table["within"][0] < -0.99
    assert table["within"][3] == pytest.approx(-table["within"][0], abs=0.005)
    _, table = paper_figure(sharp, "S6")
    assert (table["x"][0], table["y"][0]) == (VOLUME, SHARPNESS)
    assert table["pooled"][0] == pytest.approx(-1, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("3", ["mnist_fcn sgd|cifar_fcn sgd|cifar_resnet sgd"] * 2),
        ("4", ["mnist_fcn entropy_sgd|mnist_fcn adam|cifar_fcn adam"] * 2),
        ("S3", ["mnist_fcn sgd|" * 2 + "mnist_fcn sgd"] * 2 + ["mnist_fcn adam|" * 3] * 2),
        ("S16", ["cifar_resnet adam|cifar_resnet adam"]),
        ("S17", ["mnist_fcn gd|mnist_fcn adagrad|mnist_fcn momentum|mnist_fcn rmsprop"] * 2),
        ("S18", ["mnist_fcn_10k sgd|" * 3, "mnist_fcn_10k adam|" * 3]),
    ],
)
def test_panels_stand_where_the_paper_has_them(sgd, three_draws, name, rows):
    wanted = [row.rstrip("|").split("|") for row in rows]
    systems = dict.fromkeys(system for row in wanted for system in row)
    frame = pd.concat([as_sweep(three_draws, *system.split(" ")) for system in systems])
    figure, table = paper_figure(frame, name)
    letters = "abcdefghijkl"[: sum(map(len, wanted))]
    assert "".join(table["letter"]) == letters == "".join(panels_of(figure))
    places = [(i, j) for i, row in enumerate(wanted) for j in range(len(row))]
    for (i, j), row in zip(places, table.itertuples(), strict=True):
        place = panels_of(figure)[row.letter].get_subplotspec()
        assert (place.rowspan.start, place.colspan.start) == (i, j)
        assert f"{row.experiment} {row.optimizer}" == wanted[i][j]
    assert "Not drawn" not in caption(figure)


def test_panels_without_records_are_named_and_the_others_stand_side_by_side(sgd):
    figure, table = paper_figure(sgd, "3")
    assert list(panels_of(figure)) == ["a", "d"]
    places = [axis.get_subplotspec() for axis in panels_of(figure).values()]
    assert [(p.rowspan.start, p.colspan.start) for p in places] == [(0, 0), (0, 1)]
    said = " ".join(caption(figure).split())
    assert "records: (b, e) FCN on CIFAR-10, SGD; (c, f) ResNet on CIFAR-10, SGD." in said
    assert "".join(table["letter"]) == "abcdef"


def test_measures_stand_where_the_paper_has_them(sgd):
    _, table = paper_figure(sgd, "S3")
    hessian = [f"measure.hessian.{n}" for n in ("spectral_norm", "log_product", "frobenius_norm")]
    assert list(table["x"]) == hessian * 4
    assert list(table["y"]) == [ERROR] * 3 + [SHARPNESS] * 3 + ["error"] * 3 + [SHARPNESS] * 3
    _, table = paper_figure(sgd, "S16")
    assert list(table["x"]) == [SHARPNESS, VOLUME]
    _, table = paper_figure(sgd, "S18")
    assert list(table["x"]) == [VOLUME, SHARPNESS, VOLUME] * 2
    assert list(table["y"]) == ["error", "error", SHARPNESS] * 2


def test_the_table_says_which_command_makes_what_is_missing(sgd):
    figure, table = paper_figure(sgd, "4")
    assert (table["n"] == 0).all()
    assert table["within"].isna().all()
    command = "python -m experiments.attack_sweep --config=configs/cifar_fcn.py:adam"
    assert table["left_out"][5] == f"no records: {command}"
    assert figure.axes == []  # no panel, and no colour bar: there is nothing to colour
    assert "(c, f) FCN on CIFAR-10, Adam" in " ".join(caption(figure).split())


def test_a_measure_that_no_run_has_says_which_command_adds_it(sgd):
    figure, table = paper_figure(sgd.drop(columns="measure.hessian.log_product"), "S3")
    text = " ".join(figure.axes[4].texts[-1].get_text().split())
    assert text.startswith("not measured: measure.hessian.log_product python -m")
    assert text.endswith("--config=configs/mnist_fcn.py:cpu --config.measures.hessian.on=True")
    assert f"{sgd['is.zero_error'].sum()}: no value of" in table["left_out"][4]
    assert "not measured" not in "".join(text.get_text() for text in figure.axes[3].texts)


def test_two_sweeps_of_a_system_are_never_mixed(sgd, three_draws):
    paper = as_sweep(three_draws, "mnist_fcn", scale="paper", **{"hp.data.test_size": 77})
    both = pd.concat([sgd, paper])
    with pytest.raises(ValueError, match=r"mnist_fcn with sgd: got 2 sweeps \(cpu in runs/.*scale"):
        paper_figure(both, "3")
    figure, table = paper_figure(both, "3", scale="paper")
    assert table["scale"][0] == "paper"
    assert table["n"][0] == paper_figure(paper, "3")[1]["n"][0]
    assert "scale paper, 3 draws, mnist5k, |S| = 500, |E1| = 77" in caption(figure)
    again = sgd.assign(**{"meta.workdir": "runs/again"})
    with pytest.raises(ValueError, match=r"cpu in runs/again.*--workdir=runs/mnist_fcn_sgd_cpu"):
        paper_figure(pd.concat([sgd, again]), "3", scale="cpu")
    with pytest.raises(ValueError, match="scale: got 'cup', wanted one of cpu, paper"):
        paper_figure(both, "3", scale="cup")


def test_other_sweeps_beside_it_change_no_number(sgd, three_draws):
    beside = [as_sweep(three_draws, "mnist_fcn", name) for name in ("adam", "gd")]
    alone, among = (paper_figure(frame, "3")[1] for frame in (sgd, pd.concat([sgd, *beside])))
    pd.testing.assert_frame_equal(alone, among)


def test_transformed_networks_and_those_of_an_audit_do_not_enter(sgd):
    scaled = sgd.assign(transform="layer 1, alpha 4")
    audited = sgd.assign(**{"transform.symmetry": "none", "meta.workdir": "runs/audit"})
    expected = paper_figure(sgd, "3")[1]
    pd.testing.assert_frame_equal(paper_figure(pd.concat([sgd, scaled, audited]), "3")[1], expected)


def test_a_run_that_is_left_out_moves_the_counts_and_the_points(sgd):
    frame = sgd.reset_index(drop=True)
    used = selection.usable(frame, VOLUME, ERROR)[0]
    frame.loc[used.index[0], "is.zero_error"] = False
    figure, table = paper_figure(frame, "3")
    assert table["n"][0] == len(used) - 1 == len(figure.axes[0].collections[0].get_offsets())
    stuck = int((~frame["is.zero_error"]).sum())
    assert f"{stuck}: zero training error not reached" in table["left_out"][0]


def test_values_without_a_logarithm_count_in_the_ranks_only(sgd):
    frame = sgd.reset_index(drop=True)
    used = selection.usable(frame, SHARPNESS, ERROR)[0]
    frame.loc[used.index[:2], SHARPNESS] = 0.0
    figure, table = paper_figure(frame, "3")
    assert (table["n"][3], table["not_drawn"][3]) == (len(used), 2)
    assert "2 at or below 0 not drawn" in title(panels_of(figure)["d"])
    assert table["not_drawn"][0] == 0


def test_a_column_for_every_epoch_of_the_records(overtrained):
    figure, table = paper_figure(overtrained, "S11")
    assert list(table["overtrain"]) == [0, 100, 200] * 3
    assert "".join(table["letter"]) == "abcdefghi"
    assert list(table["x"]) == [SHARPNESS] * 3 + [VOLUME] * 6
    assert list(table["y"]) == [ERROR] * 6 + [SHARPNESS] * 3
    fitted = int((overtrained["is.zero_error"] & (overtrained["overtrain"] == 200)).sum())
    assert list(table["n"][:3]) == [fitted, fitted - 2, fitted]
    words = [title(axis).split("\n") for axis in figure.axes[:3]]
    assert [lines[0] for lines in words] == [
        "(a) at zero error",
        "(b) 100 epochs after zero error",
        "(c) 200 epochs after zero error",
    ]
    assert words[1][-3:] == [
        "labels changed of 1500:",
        "median 2, at most 31",
        f"zero error lost in 2 of {fitted} runs",
    ]
    assert words[2][-2:] == ["median 5, at most 5", f"zero error lost in 0 of {fitted} runs"]


def test_without_overtraining_there_is_the_column_of_zero_error(sgd):
    sgd = sgd.assign(**{"meta.experiment": OVERTRAINED})
    _, table = paper_figure(sgd, "S10")
    assert list(table["overtrain"]) == [0, 0, 0]
    expected = paper_figure(sgd.assign(overtrain=0.0), "S10")[1]
    pd.testing.assert_frame_equal(table, expected)


def test_overtrained_rows_do_not_enter_the_other_figures(overtrained):
    overtrained = overtrained.assign(**{"meta.experiment": "mnist_fcn"})
    at_zero = overtrained[overtrained["overtrain"].isna()]
    pd.testing.assert_frame_equal(*(paper_figure(f, "4")[1] for f in (overtrained, at_zero)))


def test_bottom_line_says_the_size_of_what_is_shown(sgd, three_draws):
    facts = {"hp.data.name": "cifar10", "hp.data.train_size": 1000, "hp.data.test_size": 200}
    empty = {"measure.error.second_test": None, "hp.data.second_test_size": 0}
    resnet = {**facts, **empty, "hp.model.depth": 18}
    frame = pd.concat([sgd, as_sweep(three_draws, "cifar_resnet", **resnet)])
    figure, table = paper_figure(frame, "3")
    lines = " ".join(caption(figure).split())
    assert "FCN on MNIST (SGD): scale cpu, 3 draws, mnist5k, |S| = 500, |E1| = 1000, " in lines
    assert "|E1| = 1000, error on E2, all data that are left." in lines
    assert (
        "ResNet on CIFAR-10 (SGD): scale cpu, 3 draws, cifar10, 18 layers, |S| = 1000, "
        "|E1| = 200, |E2| = 0, error on E1, which log V has seen." in lines
    )
    assert list(table["y"]) == [ERROR, "error", "measure.error.test"] * 2
    assert "on E1" in panels_of(figure)["c"].get_ylabel()


def test_size_of_e2_is_said_where_it_is_set(sgd):
    figure, _ = paper_figure(sgd.assign(**{"hp.data.second_test_size": 3000}), "3")
    assert "|E2| = 3000, error on E2." in " ".join(caption(figure).split())


def test_size_of_the_product_is_said_where_it_is_drawn(sgd):
    frame = sgd.assign(**{"measure.hessian.log_product.count": 10, "meta.experiment": OVERTRAINED})
    assert "10 eigenvalues in the product" in caption(paper_figure(frame, "S13")[0])
    assert "eigenvalues" not in caption(paper_figure(frame, "S12")[0])
    frame["measure.hessian.log_product.count"] = np.where(np.arange(len(frame)) % 2, 10, 7)
    said = " ".join(caption(paper_figure(frame, "S13")[0]).split())
    assert "7 to 10 eigenvalues in the product, which are not comparable" in said


def test_one_bar_for_the_colours_of_all_panels(sgd, three_draws):
    figure, _ = paper_figure(sgd, "3")
    bar = figure.axes[-1]
    assert bar.get_xlabel() == "attack set size |A|"
    assert bar.get_xlim() == (0, 500)
    larger = {"hp.data.train_size": 5000, "hp.attack_size": 10 * three_draws["hp.attack_size"]}
    figure, _ = paper_figure(pd.concat([sgd, as_sweep(three_draws, "cifar_fcn", **larger)]), "3")
    bar = figure.axes[-1]
    assert bar.get_xlabel() == "attack set size |A| / |S|"
    assert bar.get_xlim() == (0, 1)
    mnist, cifar = (axis.collections[0] for axis in figure.axes[:2])
    assert (mnist.norm.vmax, cifar.norm.vmax) == (500, 5000)
    np.testing.assert_array_equal(mnist.to_rgba(250.0), cifar.to_rgba(2500.0))


def test_errors_of_one_experiment_share_their_range(sgd, three_draws):
    shifted = three_draws[ERROR] / 2
    frame = pd.concat(
        [
            as_sweep(three_draws, "mnist_fcn", "adam"),
            as_sweep(three_draws, "mnist_fcn", "entropy_sgd", **{ERROR: shifted}),
            as_sweep(three_draws, "cifar_fcn", "adam", **{ERROR: shifted}),
        ]
    )
    entropy, adam, cifar = paper_figure(frame, "4")[0].axes[:3]
    assert entropy.get_ylim() == adam.get_ylim() != cifar.get_ylim()
    for axis in (entropy, adam, cifar):
        heights = axis.collections[0].get_offsets()[:, 1]
        assert axis.get_ylim()[0] < heights.min() < heights.max() < axis.get_ylim()[1]


@pytest.mark.parametrize("name", ["4", "S3", "S11", "S14"])
def test_no_text_is_cut_off_or_lies_on_another_panels(overtrained, name):
    """Also with two epochs more than the paper, no run left in one panel, no record in others."""
    epochs = [overtrained[overtrained["overtrain"] == 100].assign(overtrain=e) for e in (300, 400)]
    epochs.append(overtrained[overtrained["overtrain"] == 200].assign(overtrain=500))
    epochs[-1] = epochs[-1].assign(**{"is.zero_error": False})
    later = pd.concat([overtrained, *epochs])
    plain = overtrained.assign(**{"meta.experiment": "mnist_fcn"})
    figure, _ = paper_figure(pd.concat([later, plain]), name)
    figure.draw_without_rendering()
    boxes = [axis._left_title.get_window_extent() for axis in figure.axes]
    boxes += [text.get_window_extent() for axis in figure.axes for text in axis.texts]
    boxes += [axis.xaxis.label.get_window_extent() for axis in figure.axes]
    boxes += [figure._supxlabel.get_window_extent()]
    boxes = [box for box in boxes if box.width > 0]
    width, height = figure.canvas.get_width_height()
    for box in boxes:
        assert 0 <= box.x0 < box.x1 <= width
        assert 0 <= box.y0 < box.y1 <= height
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))


def test_the_same_records_give_the_same_files(sgd, tmp_path):
    png, svg = scatter.save_figure(paper_figure(sgd, "3")[0], tmp_path / "figure_3")
    assert png.read_bytes().startswith(b"\x89PNG")
    first = svg.read_bytes()
    scatter.save_figure(paper_figure(sgd, "3")[0], tmp_path / "figure_3")
    assert svg.read_bytes() == first


def test_unknown_figure_and_foreign_records_are_refused(sgd):
    with pytest.raises(ValueError, match="figure: got 'S33', wanted one of 3, 4, C1, S10, .*'S3'"):
        paper_figure(sgd, "S33")
    with pytest.raises(ValueError, match="got no column meta.experiment"):
        paper_figure(sgd.drop(columns="meta.experiment"), "3")


def test_every_figure_is_drawn_from_few_records(overtrained):
    few = overtrained[overtrained["hp.attack_size"] <= 50]
    for name in FIGURES:
        figure, table = paper_figure(few, name)
        drawn = len(panels_of(figure))
        assert drawn >= table["scale"].notna().sum()
        assert len(figure.axes) == drawn + (drawn > 0)
