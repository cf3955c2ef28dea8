"""What a spec says of its readout is held against the networks that are drawn."""

import flax.linen as nn
import jax
import numpy as np
import pytest

import flatvol_jax as fv
from flatvol_jax.kernels import monte_carlo_estimate, neural_tangents, prior_check

KEY = jax.random.key(0)


class Net(nn.Module):
    readout: nn.initializers.Initializer = nn.initializers.lecun_normal()
    bias: nn.initializers.Initializer = nn.initializers.zeros

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Dense(16, name="first")(x))
        x = nn.relu(nn.Dense(24, name="second")(x))
        self.sow("intermediates", "last_hidden", x)
        return nn.Dense(1, kernel_init=self.readout, bias_init=self.bias, name="readout")(x)


@pytest.fixture(scope="module")
def inputs():
    return np.random.default_rng(0).random((40, 10)).astype(np.float32)


def kernel_of(x, samples=50, net=None, features="last_hidden", sigma_w=1.0, sigma_b=0.0, **options):
    spec = fv.FlaxModel(net or Net(), features, sigma_w, sigma_b)
    return fv.monte_carlo_kernel(KEY, spec, x, samples, **options)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"features": "second"}, "sigma_w = 1 say"),
        ({"sigma_w": 5.0}, "sigma_w is about (0.9|1)"),
        ({"sigma_w": 0.5}, "sigma_w is about (0.9|1)"),
        ({"sigma_w": 2**0.5}, "sigma_w is about (0.9|1)"),
        ({"sigma_b": 1.0}, "sigma_b = 1 says"),
    ],
)
def test_a_wrong_statement_is_an_error_that_names_both_variances(inputs, wrong, says):
    with pytest.raises(ValueError, match=f"mean square 0.*diagonal.*{says}"):
        kernel_of(inputs, 50, **wrong)


def test_a_bias_that_is_not_stated_is_an_error(inputs):
    with pytest.raises(ValueError, match="sigma_b = 0 says"):
        kernel_of(inputs, net=Net(bias=nn.initializers.normal(1.0)))
    kernel_of(inputs, net=Net(bias=nn.initializers.normal(1.0)), sigma_b=1.0)


@pytest.mark.parametrize("sigma_b", [0.0, 1.0])
@pytest.mark.parametrize("samples", [10, 50])
def test_a_readout_that_starts_at_zero_is_an_error(inputs, samples, sigma_b):
    net = Net(readout=nn.initializers.zeros, bias=nn.initializers.normal(sigma_b))
    with pytest.raises(ValueError, match=r"they are 0 .*sigma_w = 1: give it random weights"):
        kernel_of(inputs, samples, net=net, sigma_b=sigma_b)


@pytest.mark.parametrize("kind", ["normal", "truncated_normal", "uniform"])
def test_only_the_variance_of_a_readout_matters(inputs, kind):
    readout = nn.initializers.variance_scaling(1.0, "fan_in", kind)
    kernel = kernel_of(inputs, 300, net=Net(readout=readout))
    assert np.isfinite(kernel).all()


def right_specs():
    stax = neural_tangents().stax
    network = stax.serial(stax.Dense(30), stax.Erf())
    image = {"image_shape": (4, 4)}
    return {
        "fcn": fv.FCN((20, 30)),
        "fcn without bias": fv.FCN((20,), 1.0, 0.0),
        "boolean": fv.FCN((40, 40), 1.0, 0.1),
        "cnn": fv.CNN((4, 6), **image),
        "resnet": fv.ResNet(18, "cifar", width=2, **image),
        "stax": fv.StaxModel(network, "erf", 1.3, 0.4),
    }


@pytest.mark.parametrize("name", right_specs())
def test_specs_of_the_library_are_right(name):
    x = np.random.default_rng(1).random((30, 16)).astype(np.float32)
    fv.monte_carlo_kernel(KEY, right_specs()[name], x, 40)


def test_batch_statistics_leave_the_readout_as_it_is():
    x = np.random.default_rng(1).normal(size=(16, 4, 4)).astype(np.float32)
    fv.monte_carlo_kernel(KEY, fv.ResNet(18, "cifar", width=2), x, 20, reference=x)


def draws(rng, networks, width, sigma_w, sigma_b, readout="normal"):
    """Features and outputs of networks of one hidden layer, in NumPy."""
    x = rng.normal(size=(12, 5)) + 1.0
    h = np.maximum(np.einsum("id,mdn->min", x, rng.normal(size=(networks, 5, width))), 0)
    if readout == "normal":
        w = rng.normal(size=(networks, width))
    else:  # as heavy a tail as an initialiser has
        w = rng.laplace(size=(networks, width)) / 2**0.5
    outputs = np.einsum("min,mn->mi", h, w) * sigma_w / width**0.5
    return h, outputs + sigma_b * rng.normal(size=(networks, 1))


@pytest.mark.parametrize("readout", ["normal", "laplace"])
@pytest.mark.parametrize(("networks", "width"), [(3, 8), (20, 8), (20, 40)])
def test_right_specs_are_refused_as_rarely_as_the_level_says(monkeypatch, networks, width, readout):
    level, trials, refused = 0.05, 200, 0
    monkeypatch.setattr(prior_check, "_LEVEL", level)
    rng = np.random.default_rng(0)
    spec = fv.FCN((width,), 1.3, 0.5)
    for _ in range(trials):
        sums = prior_check.network_sums(*draws(rng, networks, width, 1.3, 0.5, readout), 1.3, 0.5)
        try:
            prior_check.check_prior(sums, spec)
        except ValueError:
            refused += 1
    chance = level / 2  # one look of two
    assert refused < trials * chance + 4 * np.sqrt(trials * chance)


def test_the_statistics_have_the_moments_that_are_stated():
    rng, width = np.random.default_rng(0), 6
    sums = prior_check.network_sums(*draws(rng, 20_000, width, 1.3, 0.5), 1.3, 0.5) / 20_000
    _, square, diagonal, t, mean, _, half, _, tt, tm, mm, b, *_ = sums
    variance = tt - 2 * tm + mm
    assert abs(square / diagonal - 1) < 5 * np.sqrt(2 / 20_000)
    assert abs(t - mean) < 5 * np.sqrt(variance / 20_000)
    assert abs(variance / (2 * half) - 1) < 0.1
    assert abs(b - 1) < 5 * np.sqrt(2 / 20_000)


def test_sums_that_were_kept_are_checked_again(inputs, tmp_path):
    """A kernel that is read, or continued, knows the networks of the call before it."""
    wrong = {"sigma_w": 1.4, "cache": tmp_path, "block": 10}
    with pytest.raises(ValueError, match="sigma_w is about"):
        kernel_of(inputs, 50, **wrong)
    with pytest.raises(ValueError, match="sigma_w is about"):
        kernel_of(inputs, 50, **wrong)
    right = {"cache": tmp_path, "block": 10}
    np.testing.assert_array_equal(kernel_of(inputs, 50, **right), kernel_of(inputs, 50, **right))


def test_groups_are_looked_at_together(inputs):
    spec = fv.FlaxModel(Net(), "last_hidden", 1.0, 1.0)
    with pytest.raises(ValueError, match="sigma_b = 1 says"):
        monte_carlo_estimate(KEY, spec, inputs, 30, groups=10)


class Constant(nn.Module):
    """Features that know nothing of the input."""

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Dense(16)(0.0 * x))
        self.sow("intermediates", "last_hidden", x)
        return nn.Dense(1, name="readout")(x)


def test_a_kernel_that_does_not_vary_is_an_error(inputs):
    with pytest.raises(ValueError, match="kernel that is 0 for every pair"):
        kernel_of(inputs, net=Constant())
    same = np.repeat(inputs[:1], 3, axis=0)
    assert np.ptp(kernel_of(same)) < 1e-7
