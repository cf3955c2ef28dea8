"""The cache of kernels: read when intact, computed again when damaged, keyed by what counts."""

import numpy as np
import pytest

import flatvol_jax as fv
from flatvol_jax.kernels import analytic


@pytest.fixture(scope="module")
def inputs():
    return np.random.default_rng(0).random((200, 6))


@pytest.fixture
def computed(monkeypatch):
    """The shapes of the inputs of each kernel that was computed, not read."""
    shapes, in_blocks = [], analytic.in_blocks

    def counted(function, x, x2, progress):
        shapes.append((x.shape, x2 if x2 is None else x2.shape))
        return in_blocks(function, x, x2, progress)

    monkeypatch.setattr(analytic, "in_blocks", counted)
    return shapes


def test_a_kernel_is_computed_once(inputs, computed, tmp_path):
    reports = []
    first = fv.nngp_kernel(
        fv.FCN(), inputs, cache=tmp_path, progress=lambda *report: reports.append(report)
    )
    assert reports == [(1, 1)]
    again = fv.nngp_kernel(
        fv.FCN(), inputs, cache=tmp_path, progress=lambda *report: reports.append(report)
    )
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first, fv.nngp_kernel(fv.FCN(), inputs))
    assert again.dtype == np.float64
    assert len(reports) == 1
    assert len(computed) == 2  # with the one that has no cache


def test_spec_and_inputs_name_the_file(inputs, computed, tmp_path):
    calls = [
        (fv.FCN(), inputs),
        (fv.FCN(sigma_b=0.5), inputs),
        (fv.FCN((40, 40, 40)), inputs),
        (fv.FCN(), inputs[::-1]),
        (fv.FCN(), inputs, inputs),
        (fv.FCN(), inputs[:100], inputs[100:]),
        (fv.CNN(image_shape=(2, 3)), inputs[:5]),
        (fv.CNN(image_shape=(2, 3), pooling=None), inputs[:5]),
    ]
    kernels = [fv.nngp_kernel(*call, cache=tmp_path) for call in calls]
    assert len(computed) == len(calls)
    assert len(list(tmp_path.iterdir())) == len(calls)
    for call, kernel in zip(calls, kernels, strict=True):
        np.testing.assert_array_equal(fv.nngp_kernel(*call, cache=tmp_path), kernel)
    assert len(computed) == len(calls)
    np.testing.assert_array_equal(kernels[5], fv.nngp_kernel(fv.FCN(), inputs[:100], inputs[100:]))


def flipped(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize(
    "damage",
    [flipped, lambda content: content[: len(content) // 2], lambda content: content[:-1]],
    ids=["a flipped bit", "half", "all but a byte"],
)
def test_a_damaged_kernel_is_noticed_and_computed_again(inputs, computed, tmp_path, damage):
    first = fv.nngp_kernel(fv.FCN(), inputs, cache=tmp_path)
    (stored,) = tmp_path.iterdir()
    whole = stored.read_bytes()
    assert len(whole) > first.nbytes  # so that its middle is within the numbers
    stored.write_bytes(damage(whole))
    with pytest.warns(UserWarning, match="damaged, computed again"):
        again = fv.nngp_kernel(fv.FCN(), inputs, cache=tmp_path)
    np.testing.assert_array_equal(again, first)
    assert len(computed) == 2
    np.testing.assert_array_equal(fv.nngp_kernel(fv.FCN(), inputs, cache=tmp_path), first)
    assert len(computed) == 2  # the damaged file was replaced


def test_bad_input_is_named_on_a_hit_too(inputs, tmp_path):
    fv.nngp_kernel(fv.FCN(), inputs, cache=tmp_path)
    with pytest.raises(ValueError, match="NaN"):
        fv.nngp_kernel(fv.FCN(), np.where(inputs == inputs.max(), np.nan, inputs), cache=tmp_path)
