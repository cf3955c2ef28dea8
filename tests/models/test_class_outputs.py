"""Networks of C classes: the same hidden layers and prior, labels by the largest output."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import flatvol_jax as fv
from flatvol_jax.models import cross_entropy, output_labels, tied_outputs, wrong_labels
from flatvol_jax.models.labels import check_labels, label_margins

KEY = jax.random.key(1)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(9, 6)).astype(np.float32)
IMAGES = RNG.normal(size=(3, 8, 8, 1)).astype(np.float32)
SPECS = {
    "fcn": (fv.FCN, {"width": (5,)}, X),
    "cnn": (fv.CNN, {"channels": (2,)}, IMAGES),
    "resnet": (fv.ResNet, {"depth": 18, "width": 1, "stem": "cifar"}, IMAGES),
}


@pytest.mark.parametrize("name", SPECS)
def test_outputs_are_a_readout_each_on_the_same_hidden_layers(name):
    make, fields, x = SPECS[name]
    one, three = make(**fields), make(**fields, outputs=3)
    assert "outputs" not in one.describe()
    assert three.describe() == {**one.describe(), "outputs": 3}

    @jax.jit
    def answered(key):
        params = three.init(key, x.shape[1:])
        readout = params[max(params) if "layer_1" in params else "readout"]
        wanted = three.features(params, x) @ readout["kernel"] + readout["bias"]
        return three.apply(params, x), wanted

    outputs, wanted = answered(KEY)
    assert outputs.shape == (len(x), 3)
    np.testing.assert_allclose(outputs, wanted, rtol=1e-4, atol=1e-5)
    params = jax.eval_shape(lambda key: three.init(key, x.shape[1:]), KEY)
    trained, _ = jax.eval_shape(three.train_apply, params, three.init_state(x.shape[1:]), x)
    assert trained.shape == (len(x), 3)
    params = jax.eval_shape(lambda key: one.init(key, x.shape[1:]), KEY)
    assert jax.eval_shape(one.apply, params, x).shape == (len(x),)


def test_the_binary_network_has_the_name_and_numbers_that_it_had():
    described = {"model": "fcn", "width": [40, 40], "sigma_w": 2**0.5, "sigma_b": 1.0}
    assert fv.FCN().describe() == described
    one, many = (spec.init(KEY, (6,)) for spec in (fv.FCN((5,)), fv.FCN((5,), outputs=4)))
    jax.tree.map(np.testing.assert_array_equal, one["layer_1"], many["layer_1"])
    weights = fv.FCN((5,), outputs=4).params_to_arrays(many)
    again = fv.FCN((5,), outputs=4).params_from_arrays(*weights)
    jax.tree.map(np.testing.assert_array_equal, many, again)
    with pytest.raises(ValueError, match=r"wanted \(5, 1\)"):
        fv.FCN((5,)).params_from_arrays(*weights)


def test_the_kernel_is_that_of_one_output():
    one, many = fv.FCN((64,)), fv.FCN((64,), outputs=5)
    np.testing.assert_array_equal(fv.nngp_kernel(one, X), fv.nngp_kernel(many, X))
    sampled = [fv.monte_carlo_kernel(KEY, spec, X, samples=40) for spec in (one, many)]
    np.testing.assert_array_equal(*sampled)


class Classifier(nn.Module):
    gain: float = 1.0
    tied: bool = False

    @nn.compact
    def __call__(self, x):
        h = nn.relu(nn.Dense(16, name="hidden")(x))
        weights = nn.initializers.variance_scaling(self.gain**2, "fan_in", "normal")
        outputs = nn.Dense(1 if self.tied else 3, kernel_init=weights)(self.hidden(h))
        return jnp.tile(outputs, 3) if self.tied else outputs

    def hidden(self, h):
        return h


def test_sampled_networks_hold_every_output_against_the_prior():
    def model(module):
        return fv.FlaxModel(
            module, lambda p, x: nn.relu(x @ p["hidden"]["kernel"]), 1.0, 0.0, outputs=3
        )

    fv.monte_carlo_kernel(KEY, model(Classifier()), X, samples=128)
    with pytest.raises(ValueError, match=r"sigma_w is about (1\.9|2\.0)"):
        fv.monte_carlo_kernel(KEY, model(Classifier(gain=2.0)), X, samples=128)
    with pytest.raises(ValueError, match="times as much"):  # three outputs that are one
        fv.monte_carlo_kernel(KEY, model(Classifier(tied=True)), X, samples=128)


def test_a_network_of_c_logits_is_told_from_its_outputs():
    model = fv.as_model(nn.Sequential((nn.Dense(8), nn.relu, nn.Dense(4))), X)
    assert model.outputs == 4
    assert model.sigma_w == 1.0
    assert model.apply(model.init(KEY, (6,)), X).shape == (9, 4)
    glorot = nn.Dense(4, kernel_init=nn.initializers.glorot_normal())
    model = fv.as_model(nn.Sequential((nn.Dense(8), nn.relu, glorot)), X)
    assert model.sigma_w == pytest.approx((2 * 8 / (8 + 4)) ** 0.5)
    assert "4 outputs" in repr(model)
    assert model.describe()["outputs"] == 4


def test_labels_errors_ties_and_margins():
    outputs = np.array([[1.0, 3.0, 2.0], [5.0, 5.0, 1.0], [0.0, -1.0, np.nan]])
    y = np.array([1, 0, 0])
    np.testing.assert_array_equal(output_labels(outputs[:2]), [1, 0])
    np.testing.assert_array_equal(tied_outputs(outputs[:2]), [False, True])
    np.testing.assert_array_equal(wrong_labels(outputs, y), [False, False, True])
    np.testing.assert_array_equal(label_margins(outputs[:2], [2, 0]), [-1.0, 0.0])
    single = np.array([0.5, 0.0, -1.0])
    np.testing.assert_array_equal(output_labels(single), [1, -1, -1])
    np.testing.assert_array_equal(tied_outputs(single), [False, True, False])
    np.testing.assert_array_equal(output_labels(jnp.asarray(outputs[:2])), [1, 0])


def test_softmax_of_two_is_the_logistic_loss_of_the_difference():
    with jax.enable_x64(True):
        outputs, y = RNG.normal(size=(50, 2)), RNG.integers(0, 2, 50)
        two = cross_entropy(outputs, y)
        one = cross_entropy(outputs[:, 1] - outputs[:, 0], 2 * y - 1)
        np.testing.assert_allclose(two, one, rtol=1e-13)
        five = RNG.normal(size=(20, 5))
        y = RNG.integers(0, 5, 20)
        wanted = np.log(np.exp(five).sum(axis=1)) - five[np.arange(20), y]
        np.testing.assert_allclose(cross_entropy(five, y), wanted, rtol=1e-13)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="outputs: got 0"):
        fv.FCN(outputs=0)
    with pytest.raises(ValueError, match=r"outputs: got 2\.0"):
        fv.CNN(outputs=2.0)
    module = nn.Dense(3)
    spec = fv.FlaxModel(module, lambda p, x: x, 1.0, 0.0)
    with pytest.raises(ValueError, match=r"outputs of shape \(9, 3\).*outputs=3"):
        spec.apply(spec.init(KEY, (6,)), X)
    spec = fv.FlaxModel(module, lambda p, x: x, 1.0, 0.0, outputs=4)
    with pytest.raises(ValueError, match=r"outputs of shape \(9, 3\).*wanted \(n, 4\)"):
        spec.apply(spec.init(KEY, (6,)), X)
    for y, hint in (([-1, 1], "one output"), ([1, 3], "take 1 off"), ([0.5, 1], "0 to 2")):
        with pytest.raises(ValueError, match=hint):
            check_labels("y", np.array(y), 3)
    with pytest.raises(ValueError, match="outputs=C"):
        check_labels("y", np.array([0, 1]), 1)
