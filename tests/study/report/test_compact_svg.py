"""Fewer bytes, the same picture."""

import base64
import io
import re

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from flatvol_jax.study.report import compact_svg, page, scatter


def points_of(path):
    """The points of a path of M, L, l in absolute coordinates."""
    found, here = [], np.zeros(2)
    for command, numbers in re.findall(r"([MLl])([^MLl]*)", path):
        step = np.array(re.findall(r"-?\d*\.?\d+", numbers), float)
        here = here + step if command == "l" else step
        found.append(here)
    return np.array(found)


def test_a_line_is_where_it_was_to_a_tenth_of_a_point_at_every_point():
    generator = np.random.default_rng(0)
    points = np.cumsum(generator.normal(0, 0.7, (500, 2)), axis=0) + 50
    path = f"M {points[0, 0]} {points[0, 1]} " + " ".join(f"L {x} {y}" for x, y in points[1:])
    short = re.search(r'd="([^"]*)"', compact_svg.compact_svg(f'<path d="{path}"/>'))[1]
    assert len(short) < len(path) / 4
    found = points_of(short)
    distances = np.abs(points[:, None] - found[None]).max(axis=2).min(axis=1)
    assert distances.max() <= 0.0501
    np.testing.assert_allclose(found[-1], points[-1], atol=0.0501)


@pytest.mark.parametrize(
    ("path", "short"),
    [
        ("M 0 0 L 0 3.5", "M0 0l0 3.5"),
        ("M 1 1 L 1 1", "M1 1l0 0"),
        ("M 10.04 2 L -5.06 2.31 z", "M10 2l-15.1 0.3 z"),
        ("M 1.23456 2 C 1 2.5 3.00001 4 5 6", "M 1.23 2 C 1 2.5 3 4 5 6"),
    ],
)
def test_paths_that_are_known(path, short):
    assert compact_svg.compact_svg(f'<path d="{path}"/>') == f'<path d="{short}"/>'


def test_a_cloud_is_a_small_picture_of_the_same_points():
    figure = Figure(figsize=(3, 3))
    axis = figure.subplots()
    points = axis.scatter(*np.random.default_rng(0).random((2, 400)), c=np.arange(400) // 100)
    small = page.inline_figure(figure, "a", "a cloud")
    points.set_rasterized(True)
    found = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("RGBA"), float)
        for text in (
            re.search(r"data:image/png;base64,([^\"]*)", scatter.svg_text(figure, True))[1],
            re.search(r"data:image/webp;base64,([^\"]*)", small)[1],
        )
    ]
    assert len(small) < 0.75 * len(scatter.svg_text(figure, True))
    assert found[0].shape == found[1].shape
    np.testing.assert_array_equal(found[0][..., 3] > 128, found[1][..., 3] > 128)
    inside = found[0][..., 3] == 255
    assert np.abs(found[0] - found[1])[inside].mean() < 10  # of 255


def test_words_stay_words_in_a_font_that_every_reader_has():
    figure = Figure(figsize=(3, 3))
    figure.subplots().set_title("Spearman ρ of f")
    small = page.inline_figure(figure, "a", "words")
    assert ">Spearman ρ of f</text>" in small
    assert "sans-serif" in small
    assert "Spearman ρ of f" not in re.sub(r"<!--.*?-->", "", scatter.svg_text(figure))
