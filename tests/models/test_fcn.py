"""The FCN spec: its prior, its parameter convention, its last-hidden features."""

import flax.linen as nn
import jax
import numpy as np
import pytest

import flatvol_jax as fv
from flatvol_jax.models import Spec, parameter_shapes


@pytest.fixture
def small():
    rng = np.random.default_rng(0)
    shapes = [(6, 5), (5,), (5, 4), (4,), (4, 1), (1,)]
    arrays = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    return fv.FCN((5, 4)), arrays, rng.normal(size=(7, 6)).astype(np.float32)


def test_initialisation_has_the_variances_of_the_spec():
    spec = fv.FCN((300, 200), sigma_w=1.3, sigma_b=0.4)
    arrays = spec.params_to_arrays(spec.init(jax.random.key(0), (500,)))
    for weight, bias in zip(arrays[:4:2], arrays[1:4:2], strict=True):
        scaled = weight * np.sqrt(weight.shape[0]) / 1.3
        # The mean square of n standard normals is 1 with standard error sqrt(2/n).
        assert abs(np.mean(scaled**2) - 1) < 5 * np.sqrt(2 / scaled.size)
        assert abs(np.mean(scaled**4) - 3) < 5 * np.sqrt(96 / scaled.size)  # not truncated
        assert abs(np.mean((bias / 0.4) ** 2) - 1) < 5 * np.sqrt(2 / bias.size)
    readouts = jax.vmap(lambda key: spec.init(key, (3,))["layer_3"])(
        jax.random.split(jax.random.key(1), 100)
    )
    weight = np.asarray(readouts["kernel"]) * np.sqrt(200) / 1.3
    bias = np.asarray(readouts["bias"]) / 0.4
    assert abs(np.mean(weight**2) - 1) < 5 * np.sqrt(2 / weight.size)
    assert abs(np.mean(bias**2) - 1) < 5 * np.sqrt(2 / bias.size)


def test_sigma_b_zero_has_no_biases():
    params = fv.FCN((3,), sigma_b=0.0).init(jax.random.key(0), (2,))
    assert not np.any(params["layer_1"]["bias"])
    assert not np.any(params["layer_2"]["bias"])


def test_outputs_are_x_at_w_plus_b(small):
    spec, (w1, b1, w2, b2, w3, b3), x = small
    params = spec.params_from_arrays(w1, b1, w2, b2, w3, b3)
    hidden = np.maximum(np.maximum(x @ w1 + b1, 0) @ w2 + b2, 0)
    np.testing.assert_allclose(spec.features(params, x), hidden, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        spec.apply(params, x), (hidden @ w3 + b3)[:, 0], rtol=1e-5, atol=1e-5
    )
    assert spec.apply(params, x).shape == (7,)


def test_readout_of_features_is_the_output(small):
    spec, _, x = small
    params = spec.init(jax.random.key(2), (6,))
    readout = params["layer_3"]
    output = (spec.features(params, x) @ readout["kernel"] + readout["bias"])[:, 0]
    np.testing.assert_array_equal(spec.apply(params, x), output)


def test_parameters_survive_the_round_trip_through_arrays(small):
    spec, arrays, _ = small
    back = spec.params_to_arrays(spec.params_from_arrays(*arrays))
    for array, again in zip(arrays, back, strict=True):
        np.testing.assert_array_equal(array, again)
    drawn = spec.init(jax.random.key(0), (6,))
    again = spec.params_from_arrays(*spec.params_to_arrays(drawn))
    assert jax.tree.structure(drawn) == jax.tree.structure(again)
    jax.tree.map(np.testing.assert_array_equal, drawn, again)


def test_images_are_flattened_row_by_row(small):
    spec, arrays, x = small
    params = spec.params_from_arrays(*arrays)
    np.testing.assert_array_equal(spec.apply(params, x.reshape(7, 2, 3)), spec.apply(params, x))
    assert parameter_shapes(spec, (2, 3))["layer_1"]["kernel"].shape == (6, 5)


def test_float64_parameters_give_float64_outputs(small):
    spec, arrays, x = small
    with jax.enable_x64(True):
        wide = [array.astype(np.float64) for array in arrays]
        output = np.asarray(spec.apply(spec.params_from_arrays(*wide), x.astype(np.float64)))
        drawn = spec.init(jax.random.key(0), (6,))
    assert output.dtype == np.float64
    w1, b1, w2, b2, w3, b3 = wide
    hidden = np.maximum(np.maximum(x @ w1 + b1, 0) @ w2 + b2, 0)
    np.testing.assert_allclose(output, (hidden @ w3 + b3)[:, 0], rtol=1e-12, atol=1e-12)
    assert {leaf.dtype for leaf in jax.tree.leaves(drawn)} == {np.dtype("float32")}


def test_spec_is_hashable_data():
    assert isinstance(fv.FCN(), Spec)
    assert not isinstance(nn.Dense(1), Spec)
    assert fv.FCN([8, 4]) == fv.FCN((8, 4))
    assert hash(fv.FCN([8, 4])) == hash(fv.FCN((8, 4)))
    assert fv.FCN((8,)).describe() == {
        "model": "fcn",
        "width": [8],
        "sigma_w": 2**0.5,
        "sigma_b": 1.0,
    }
    dense = ("dense", 1.5, 0.0)
    assert fv.FCN((8, 4), 1.5, 0.0).kernel_layers() == (
        dense,
        ("relu",),
        dense,
        ("relu",),
        dense,
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": ()}, "at least one hidden layer"),
        ({"width": (40, 0)}, "width: got 0"),
        ({"width": (4.5,)}, "width: got 4.5"),
        ({"sigma_w": 0.0}, "sigma_w: got 0.0"),
        ({"sigma_w": float("nan")}, "sigma_w: got nan"),
        ({"sigma_b": -1.0}, "sigma_b: got -1.0"),
        ({"sigma_b": float("inf")}, "sigma_b: got inf"),
    ],
)
def test_bad_settings_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        fv.FCN(**changes)


def test_arrays_that_do_not_fit_are_refused(small):
    spec, arrays, _ = small
    w1, b1, w2, b2, w3, b3 = arrays
    with pytest.raises(ValueError, match="got 4, wanted 6"):
        spec.params_from_arrays(*arrays[:4])
    with pytest.raises(ValueError, match=r"layer 2: got W2 \(4, 5\).*transpose"):
        spec.params_from_arrays(w1, b1, w2.T, b2, w3, b3)
    with pytest.raises(ValueError, match=r"b3: got shape \(\)"):
        spec.params_from_arrays(w1, b1, w2, b2, w3, np.float32(0))
    with pytest.raises(ValueError, match="W1: got 1 NaN"):
        spec.params_from_arrays(np.where(w1 == w1.max(), np.nan, w1), b1, w2, b2, w3, b3)


def test_no_inputs_have_no_outputs(small):
    spec, arrays, x = small
    params = spec.params_from_arrays(*arrays)
    assert spec.apply(params, x[:0]).shape == (0,)
    assert spec.apply(params, np.zeros((0, 2, 3), np.float32)).shape == (0,)
