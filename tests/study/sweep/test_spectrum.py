import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats

from flatvol_jax.study.report import scatter
from flatvol_jax.study.sweep import spectrum

NAME = "measure.spectral_density"
NODES = np.array([[-0.5, 0.0, 2.0], [-0.4, 0.1, 2.0]])
WEIGHTS = np.array([[0.25, 0.5, 0.25], [0.2, 0.6, 0.2]])


@pytest.fixture
def swept(tmp_path):
    """Five networks: |A| = 50 first, two of |A| = 0, one short of zero error, one not measured."""
    rows = []
    for number, size in enumerate((50, 0, 0, 100, 200)):
        row = {
            "run_id": f"{number:02x}",
            "hp.draw": 0,
            "hp.attack_size": size,
            "hp.train.optimizer": "sgd",
            "is.zero_error": size != 100,
            f"{NAME}.size": 200.0,
            f"{NAME}.negative_share": 0.125,
            f"{NAME}.negative_share.se": 0.004,
            f"{NAME}.positive_share": 0.0,
            f"{NAME}.positive_share.se": None,
        }
        if size != 200:
            path, top = f"{number}.npz", f"top{number}.npz"
            scale = 1 + number
            np.savez(
                tmp_path / path, **{f"{NAME}.nodes": scale * NODES, f"{NAME}.weights": WEIGHTS}
            )
            np.savez(tmp_path / top, **{"measure.hessian.eigenvalues": [2.0 * scale, 0.3]})
            row |= {"meta.arrays.spectral_density": path, "meta.arrays.hessian": top}
        rows.append(row)
    return pd.DataFrame(rows), tmp_path


def density(axis):
    x, y = (np.concatenate([line.get_data()[i] for line in axis.lines[:3]]) for i in (0, 1))
    return x, y


def test_one_panel_a_level_in_order_first_usable_run(swept):
    figure = spectrum.spectrum_figure(*swept)
    assert [axis.get_title(loc="left") for axis in figure.axes] == [
        "sgd, |A| = 0",
        "sgd, |A| = 50",
    ]
    np.testing.assert_array_equal(figure.axes[0].lines[3].get_xdata(), [4.0, 0.3])  # run 1, not 2


def test_density_is_the_quadrature_convolved_and_integrates_to_one(swept):
    axis = spectrum.spectrum_figure(*swept).axes[1]
    x, y = density(axis)
    width = 0.01 * 4.0  # 1% of the largest node of both panels
    assert integrate.trapezoid(y, x) == pytest.approx(1, abs=1e-6)
    expected = sum(
        weight * stats.norm.pdf(x, node, width)
        for nodes, weights in zip(NODES, WEIGHTS, strict=True)
        for node, weight in zip(nodes, weights, strict=True)
    )
    np.testing.assert_allclose(y, expected / 2, rtol=1e-12)


def test_the_peak_of_zero_eigenvalues_has_no_sign(swept):
    negative, near, positive = spectrum.spectrum_figure(*swept).axes[1].lines[:3]
    assert negative.get_xdata().max() < -0.12 + 0.01
    assert np.abs(near.get_xdata()).max() <= 0.12
    assert positive.get_xdata().min() > 0.12 - 0.01


def test_axis_ends_at_a_tenth_of_one_eigenvalue(swept):
    axis = spectrum.spectrum_figure(*swept).axes[0]
    assert axis.get_yscale() == "log"
    assert axis.get_ylim()[0] == pytest.approx(0.1 / 200 * stats.norm.pdf(0, 0, 0.04))


def test_shares_with_their_errors_are_in_the_legend(swept):
    frame, workdir = swept
    axis = spectrum.spectrum_figure(frame, workdir).axes[0]
    texts = [text.get_text() for text in axis.get_legend().get_texts()]
    assert texts == ["λ < 0: 12.5 ± 0.4%", "|λ| ≤ 3σ", "λ > 0: 0.0%", "top 2 eigenvalues"]
    shares = [column for column in frame if "_share" in column]
    frame = frame.drop(columns=[*shares, "meta.arrays.hessian"])
    axis = spectrum.spectrum_figure(frame, workdir).axes[0]
    texts = [text.get_text() for text in axis.get_legend().get_texts()]
    assert texts == ["λ < 0", "|λ| ≤ 3σ", "λ > 0"]


def test_none_without_a_quadrature_of_a_usable_run(swept):
    frame, workdir = swept
    assert spectrum.spectrum_figure(frame[frame["hp.attack_size"] >= 100], workdir) is None
    without = frame.drop(columns="meta.arrays.spectral_density")
    assert spectrum.spectrum_figure(without, workdir) is None
    assert spectrum.spectrum_figure(frame.assign(**{f"{NAME}.size": None}), workdir) is None


def test_a_quadrature_with_nan_gives_way_to_the_next_run(swept):
    frame, workdir = swept
    broken = {f"{NAME}.nodes": NODES * np.nan, f"{NAME}.weights": WEIGHTS}
    np.savez(workdir / "1.npz", **broken)
    axis = spectrum.spectrum_figure(frame, workdir).axes[0]
    np.testing.assert_array_equal(axis.lines[3].get_xdata(), [6.0, 0.3])


def test_the_same_records_give_the_same_file(swept):
    first, second = (scatter.svg_text(spectrum.spectrum_figure(*swept)) for _ in "ab")
    assert first == second
