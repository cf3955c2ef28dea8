"""Preprocessing: the statistics are those of the reference, one pair for each channel."""

import numpy as np
import pytest

from flatvol_jax.data import preprocess

RANDOM = np.random.default_rng(0)
IMAGES = (RANDOM.random((20, 5, 4, 3)) * [1, 0.5, 0.1]).astype(np.float32)
FLAT = RANDOM.random((20, 6), np.float32)


def test_unit_leaves_inputs_alone():
    assert np.array_equal(preprocess(FLAT, "unit"), FLAT)
    assert np.array_equal(preprocess(IMAGES, "unit", reference=IMAGES[:3]), IMAGES)
    assert preprocess(np.eye(3), "unit").dtype == np.float32


def test_flat_inputs_share_one_scalar_pair():
    # Mean 1/2 and standard deviation 1/2, both exact.
    result = preprocess(np.array([[0.0, 1.0], [0.75, 0.5]]), "standardise", np.array([[0, 1.0]]))
    assert np.array_equal(result, [[-1, 1], [0.5, 0]])
    assert result.dtype == np.float32


def test_images_have_one_pair_a_channel():
    result = preprocess(IMAGES, "standardise", reference=IMAGES)
    for channel in range(3):
        values = result[..., channel].astype(np.float64).ravel()
        assert abs(values.mean()) < 1e-6
        assert abs((values**2).mean() - 1) < 1e-6


def test_statistics_come_from_the_reference_alone():
    reference = IMAGES[:8].astype(np.float64)
    result = preprocess(IMAGES, "standardise", reference=IMAGES[:8])
    for channel in range(3):
        seen = reference[..., channel]
        expected = (IMAGES[..., channel] - seen.mean()) / seen.std()
        np.testing.assert_allclose(result[..., channel], expected, rtol=1e-5, atol=1e-6)
    alone = preprocess(IMAGES[:1], "standardise", reference=IMAGES[:8])
    assert np.array_equal(alone, result[:1])


def test_reference_on_another_scale_gives_the_same():
    one = preprocess(FLAT, "standardise", FLAT)
    other = preprocess(FLAT * 4 + 8, "standardise", FLAT * 4 + 8)
    np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize(
    ("x", "name", "reference", "message"),
    [
        (FLAT, "standardize", FLAT, "Did you mean 'standardise'"),
        (FLAT, "standardise", None, "draw.train.x"),
        (FLAT, "standardise", FLAT[:, :5], r"wanted at least one example of shape \(6,\)"),
        (FLAT, "standardise", FLAT[:0], "at least one example"),
        (FLAT, "standardise", IMAGES, "reference: got shape"),
        (FLAT, "standardise", np.full((4, 6), 0.1), "standard deviation"),
        (FLAT, "standardise", np.full((4, 6), np.nan), "NaN or infinite"),
        (IMAGES[..., 0], "standardise", IMAGES[..., 0], "height, width, channels"),
        (FLAT * 255, "unit", None, r"wanted \[0, 1\]"),
        (FLAT - 0.5, "unit", None, r"wanted \[0, 1\]"),
        (FLAT[0], "unit", None, "one example a row"),
        (np.where(FLAT > 0.9, np.inf, FLAT), "unit", None, "NaN or infinite"),
        (FLAT.astype(str), "unit", None, "real numbers"),
    ],
)
def test_bad_input(x, name, reference, message):
    with pytest.raises(ValueError, match=message):
        preprocess(x, name, reference)


def test_channel_that_is_constant():
    dull = IMAGES.copy()
    dull[..., 1] = 0.1
    with pytest.raises(ValueError, match="standard deviation"):
        preprocess(IMAGES, "standardise", dull)
