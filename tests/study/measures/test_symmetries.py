import flax.linen as nn
import jax
import numpy as np
import pytest

import flatvol_jax as fv
from flatvol_jax.study.measures.symmetries import permute_units

SPECS = {
    "fcn": (fv.FCN((7, 5, 6)), (9,)),
    "cnn": (fv.CNN((3, 4), pooling=None), (5, 5)),
    "cnn with pooling": (fv.CNN((3, 4)), (5, 5)),
}


@pytest.fixture(params=SPECS)
def case(request):
    spec, shape = SPECS[request.param]
    x = np.random.default_rng(0).normal(size=(12, *shape)).astype(np.float32)
    return spec, spec.init(jax.random.key(0), shape), x


@pytest.mark.parametrize("alpha", [2.0**-5, 2.0**5])
def test_the_function_stays_bit_for_bit(case, alpha):
    spec, params, x = case
    for layer in range(1, len(spec.rectified_layers()) + 1):
        scaled = fv.alpha_scale(spec, params, layer, alpha)
        np.testing.assert_array_equal(spec.apply(scaled, x), spec.apply(params, x))
        moved = jax.tree.map(lambda a, b: not np.array_equal(a, b), scaled, params)
        assert moved[f"layer_{layer}"] == {"kernel": True, "bias": True}
        assert moved[f"layer_{layer + 1}"] == {"kernel": True, "bias": False}


def test_units_can_be_scaled_one_by_one_and_permuted(case):
    spec, params, x = case
    rng = np.random.default_rng(1)
    for layer in range(1, len(spec.rectified_layers()) + 1):
        units = params[f"layer_{layer}"]["bias"].size
        scaled = fv.alpha_scale(spec, params, layer, 2.0 ** rng.integers(-3, 4, units))
        np.testing.assert_array_equal(spec.apply(scaled, x), spec.apply(params, x))
        permuted = permute_units(spec, params, layer, rng.permutation(units))
        np.testing.assert_allclose(
            spec.apply(permuted, x), spec.apply(params, x), rtol=1e-4, atol=1e-5
        )


def test_the_equation_of_the_paper():
    spec = fv.FCN((3, 2))
    arrays = [np.random.default_rng(0).normal(size=s) for s in [(4, 3), 3, (3, 2), 2, (2, 1), 1]]
    scaled = spec.params_to_arrays(fv.alpha_scale(spec, spec.params_from_arrays(*arrays), 2, 5.9))
    w1, b1, w2, b2, w3, b3 = (array.astype(np.float32) for array in arrays)
    for found, wanted in zip(scaled, (w1, b1, 5.9 * w2, 5.9 * b2, w3 / 5.9, b3), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=2e-7)


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(1)(nn.relu(nn.Dense(3)(x)))


@pytest.mark.parametrize(
    ("spec", "layer", "alpha", "message"),
    [
        (fv.FCN((3, 2)), 3, 2.0, "1 to 2; the readout is linear"),
        (fv.FCN((3, 2)), 0, 2.0, "at least 1"),
        (fv.FCN((3, 2)), 1, 0.0, "above 0"),
        (fv.FCN((3, 2)), 1, -2.0, "above 0"),
        (fv.FlaxModel(Net(), "Dense_0", 1.0, 0.0), 1, 2.0, "fv.flatness.rescale"),
    ],
)
def test_bad_input_is_named(spec, layer, alpha, message):
    params = spec.init(jax.random.key(0), (4,))
    with pytest.raises(ValueError, match=message):
        fv.alpha_scale(spec, params, layer, alpha)


@pytest.mark.parametrize("spec_shape", SPECS.values())
def test_prior_std_is_that_of_the_initialisation(spec_shape):
    spec, shape = spec_shape
    keys = jax.random.split(jax.random.key(0), 4000)
    drawn = jax.vmap(lambda key: spec.init(key, shape))(keys)
    std = spec.prior_std(shape)
    for layer, arrays in drawn.items():
        for name, leaf in arrays.items():
            spread = np.sqrt(np.mean(np.asarray(leaf) ** 2))
            np.testing.assert_allclose(spread, std[layer][name], rtol=5 * np.sqrt(0.5 / leaf.size))
