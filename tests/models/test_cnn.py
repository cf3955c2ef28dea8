"""The CNN spec: its prior, its outputs by hand, what its readout sees, errors."""

import json

import jax
import numpy as np
import pytest

import flatvol_jax as fv
from flatvol_jax.models import Spec, parameter_shapes


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).normal(size=(6, 5, 4, 2)).astype(np.float32)


def convolution(x, kernel, bias, stride, pad):
    """Cross-correlation, written out, of images padded by ((top, bottom), (left, right))."""
    x = np.pad(x.astype(np.float64), [(0, 0), *pad, (0, 0)])
    rows, columns = kernel.shape[:2]
    down, across = stride
    height = (x.shape[1] - rows) // down + 1
    width = (x.shape[2] - columns) // across + 1
    out = np.empty((len(x), height, width, kernel.shape[-1]))
    for i in range(height):
        for j in range(width):
            patch = x[:, i * down : i * down + rows, j * across : j * across + columns]
            out[:, i, j] = np.einsum("nrci,rcio->no", patch, kernel) + bias
    return out


@pytest.mark.parametrize(
    ("settings", "pad"),
    [
        ({}, ((1, 1), (1, 1))),
        ({"filter": (2, 3)}, ((0, 1), (1, 1))),
        ({"padding": "VALID", "stride": (1, 2), "filter": (2, 1)}, ((0, 0), (0, 0))),
    ],
)
@pytest.mark.parametrize("pooling", ["global", None])
def test_outputs_are_convolutions_pooled_and_read_out(images, settings, pad, pooling):
    spec = fv.CNN((7, 3), pooling=pooling, **settings)
    params = spec.init(jax.random.key(0), images.shape[1:])
    hidden = images
    for name in ("layer_1", "layer_2"):
        layer = jax.tree.map(np.asarray, params[name])
        hidden = convolution(hidden, layer["kernel"], layer["bias"], spec.stride, pad)
        hidden = np.maximum(hidden, 0)
    seen = hidden.mean(axis=(1, 2)) if pooling else hidden.reshape(6, -1)
    features = spec.features(params, images)
    np.testing.assert_allclose(features, seen, rtol=1e-4, atol=1e-5)
    readout = params["layer_3"]
    output = spec.apply(params, images)
    assert output.shape == (6,)
    np.testing.assert_array_equal((features @ readout["kernel"] + readout["bias"])[:, 0], output)


def test_initialisation_has_the_variances_of_the_spec():
    spec = fv.CNN((200, 100), filter=(5, 3), sigma_w=1.3, sigma_b=0.4, pooling=None)
    params = spec.init(jax.random.key(0), (8, 6, 10))
    fans = {"layer_1": 5 * 3 * 10, "layer_2": 5 * 3 * 200, "layer_3": 8 * 6 * 100}
    for name, fan_in in fans.items():
        weight = np.asarray(params[name]["kernel"])
        assert weight.size == fan_in * weight.shape[-1]
        scaled = weight * np.sqrt(fan_in) / 1.3
        # The mean square of n standard normals is 1 with standard error sqrt(2/n).
        assert abs(np.mean(scaled**2) - 1) < 5 * np.sqrt(2 / scaled.size)
        assert abs(np.mean(scaled**4) - 3) < 5 * np.sqrt(96 / scaled.size)  # not truncated
    bias = np.concatenate([params["layer_1"]["bias"], params["layer_2"]["bias"]]) / 0.4
    assert abs(np.mean(bias**2) - 1) < 5 * np.sqrt(2 / bias.size)


def test_with_pooling_the_fan_in_of_the_readout_is_its_channels():
    spec = fv.CNN((400,), sigma_w=1.3)
    weight = spec.init(jax.random.key(0), (8, 6))["layer_2"]["kernel"]
    assert weight.shape == (400, 1)
    scaled = np.asarray(weight) * np.sqrt(400) / 1.3
    assert abs(np.mean(scaled**2) - 1) < 5 * np.sqrt(2 / 400)


def test_with_pooling_images_of_any_size_are_read_and_shifts_in_a_dark_frame_change_nothing():
    spec = fv.CNN((4, 4))
    digit = np.random.default_rng(1).normal(size=(1, 4, 4)).astype(np.float32)
    params = spec.init(jax.random.key(0), (16, 16))
    left = np.pad(digit, [(0, 0), (4, 8), (4, 8)])
    right = np.pad(digit, [(0, 0), (6, 6), (7, 5)])
    np.testing.assert_allclose(spec.apply(params, left), spec.apply(params, right), rtol=1e-4)
    assert spec.apply(params, digit).shape == (1,)


def test_rows_are_images_of_the_shape_given(images):
    spec = fv.CNN((4,), image_shape=(5, 4, 2), pooling=None)
    params = spec.init(jax.random.key(0), (5, 4, 2))
    rows = images.reshape(6, -1)
    np.testing.assert_array_equal(spec.apply(params, rows), spec.apply(params, images))
    np.testing.assert_array_equal(
        spec.apply(params, rows), fv.CNN((4,), pooling=None).apply(params, images)
    )
    assert parameter_shapes(spec, (40,)) == parameter_shapes(spec, (5, 4, 2))
    grey = fv.CNN((4,), image_shape=(5, 4))
    params = grey.init(jax.random.key(0), (20,))
    np.testing.assert_array_equal(
        grey.apply(params, images[..., 0].reshape(6, 20)), grey.apply(params, images[..., :1])
    )


def test_float64_parameters_give_float64_outputs(images):
    spec = fv.CNN((4, 3))
    with jax.enable_x64(True):
        drawn = spec.init(jax.random.key(0), images.shape[1:])
        wide = jax.tree.map(lambda leaf: leaf.astype(np.float64), drawn)
        output = np.asarray(spec.apply(wide, images.astype(np.float64)))
    assert {leaf.dtype for leaf in jax.tree.leaves(drawn)} == {np.dtype("float32")}
    assert output.dtype == np.float64
    np.testing.assert_allclose(output, spec.apply(drawn, images), rtol=1e-4, atol=1e-5)


def test_spec_is_hashable_data():
    spec = fv.CNN([8, 4], filter=3, stride=[1, 2], image_shape=[28, 28])
    assert isinstance(spec, Spec)
    assert spec == fv.CNN((8, 4), (3, 3), (1, 2), image_shape=(28, 28))
    assert hash(spec) == hash(fv.CNN((8, 4), (3, 3), (1, 2), image_shape=(28, 28)))
    assert fv.CNN(5).channels == (5,)
    described = spec.describe()
    assert described == json.loads(json.dumps(described))
    assert described == {
        "model": "cnn",
        "channels": [8, 4],
        "filter": [3, 3],
        "stride": [1, 2],
        "padding": "SAME",
        "pooling": "global",
        "sigma_w": 2**0.5,
        "sigma_b": 1.0,
        "image_shape": [28, 28],
    }
    conv = ("conv", (3, 3), (1, 2), "SAME", 2**0.5, 1.0)
    assert spec.kernel_layers() == (
        ("images", (28, 28)),
        conv,
        ("relu",),
        conv,
        ("relu",),
        ("global_average_pool",),
        ("dense", 2**0.5, 1.0),
    )
    assert fv.CNN(pooling=None).kernel_layers()[-2] == ("flatten",)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": ()}, "no convolution"),
        ({"channels": (8, 0)}, "channels: got 0"),
        ({"filter": (3, 3, 3)}, r"filter: got \(3, 3, 3\), wanted two"),
        ({"filter": 0}, "filter: got 0"),
        ({"stride": (1, 0)}, "stride: got 0"),
        ({"padding": "same"}, "padding: got 'same', wanted one of SAME, VALID"),
        ({"padding": "CIRCULAR"}, "padding: got 'CIRCULAR'"),
        ({"pooling": "max"}, "pooling: got 'max'"),
        ({"sigma_w": 0.0}, "sigma_w: got 0.0"),
        ({"sigma_b": -1.0}, "sigma_b: got -1.0"),
        ({"image_shape": (784,)}, r"image_shape: got \(784,\), wanted \(h, w\)"),
        ({"image_shape": (28, 0)}, "image_shape: got 0"),
    ],
)
def test_bad_settings_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        fv.CNN(**changes)


def test_inputs_that_do_not_fit_are_refused(images):
    with pytest.raises(ValueError, match=r"\(784,\), wanted images.*image_shape=\(28, 28\)"):
        fv.CNN().init(jax.random.key(0), (784,))
    with pytest.raises(ValueError, match=r"\(39,\), wanted \(5, 4, 2\).*rows of 40"):
        fv.CNN(image_shape=(5, 4, 2)).init(jax.random.key(0), (39,))
    with pytest.raises(ValueError, match=r"layer 1 gets images of 5 x 4 pixels.*\(3, 5\)"):
        fv.CNN(filter=(3, 5), padding="VALID").init(jax.random.key(0), (5, 4, 2))
