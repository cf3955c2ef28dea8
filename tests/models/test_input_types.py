"""Inputs keep their type: tokens are a one-hot twin, pixels of uint8 the same numbers as floats."""

import types

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import sparse

import flatvol_jax as fv
from flatvol_jax.kernels import monte_carlo_estimate
from flatvol_jax.models import network_inputs
from flatvol_jax.study.measures.trained import batch_loss, train_loss, train_losses
from flatvol_jax.training import TrainSettings, advance_trajectory, begin_trajectory, train_ensemble

WORDS, LENGTH = 11, 5
KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
TOKENS = RNG.integers(0, WORDS, size=(30, LENGTH)).astype(np.int32)
ONE_HOT = np.eye(WORDS, dtype=np.float32)[TOKENS]
Y = np.where(TOKENS[:, 0] > 4, 1, -1).astype(np.int8)
PIXELS = RNG.integers(0, 256, size=(30, 6, 6, 1)).astype(np.uint8)


class OfTokens(nn.Module):
    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(WORDS, 8, embedding_init=nn.initializers.normal(), name="words")(tokens)
        hidden = nn.tanh(x.mean(1))
        self.sow("intermediates", "hidden", hidden)
        return nn.Dense(1, name="readout")(hidden)


class OfOneHot(nn.Module):
    @nn.compact
    def __call__(self, x):
        hidden = nn.tanh(nn.Dense(8, use_bias=False, name="words")(x).mean(1))
        self.sow("intermediates", "hidden", hidden)
        return nn.Dense(1, name="readout")(hidden)


class OfPixels(nn.Module):
    scale: float = 1.0

    @nn.compact
    def __call__(self, x):
        hidden = nn.relu(nn.Conv(4, (3, 3), name="conv")(x / self.scale)).mean((1, 2))
        self.sow("intermediates", "hidden", hidden)
        return nn.Dense(1, name="readout")(hidden)


class Dtype(nn.Module):
    """Its outputs say which dtype it got."""

    @nn.compact
    def __call__(self, x):
        whole = not jnp.issubdtype(x.dtype, jnp.floating)
        self.sow("intermediates", "hidden", jnp.full((len(x), 2), 1.0 + whole) * x[:, :1])
        return nn.Dense(1, name="readout")(jnp.full((len(x), 1), 1.0 + whole))


def spec_of(module):
    return fv.FlaxModel(module, "hidden", sigma_w=1.0, sigma_b=0.0)


T, H = spec_of(OfTokens()), spec_of(OfOneHot())


def twin(params):
    """Parameters of the one-hot network with the embedding as its weights."""
    return {**params, "words": {"kernel": params["words"]["embedding"]}}


def problem_of(spec, x):
    return types.SimpleNamespace(
        spec=spec,
        train_x=x,
        train_y=Y,
        batch_size=7,
        batch_norm="running",
        classes=None,
        loss="cross_entropy",
    )


def test_outputs_and_features_of_tokens_are_those_of_the_one_hot_twin():
    params = T.init(KEY, (LENGTH,))
    assert params["words"]["embedding"].shape == (WORDS, 8)
    assert T.apply(params, TOKENS).shape == (30,)
    for call in ("apply", "features"):
        found = getattr(T, call)(params, TOKENS)
        wanted = getattr(H, call)(twin(params), ONE_HOT)
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
        for tokens in (TOKENS.astype(np.int64), TOKENS.astype(np.uint8), jnp.asarray(TOKENS)):
            np.testing.assert_array_equal(getattr(T, call)(params, tokens), found)
    np.testing.assert_array_equal(T.apply(params, TOKENS.tolist()), T.apply(params, TOKENS))


def test_the_kernel_of_tokens_is_the_product_of_their_features():
    one = jax.jit(lambda key: T.features(T.init(key, (LENGTH,)), TOKENS))
    hidden = [np.asarray(one(key), float) for key in jax.random.split(KEY, 400)]
    hidden = np.concatenate(hidden, axis=1)
    own = hidden @ hidden.T / hidden.shape[1]
    found = monte_carlo_estimate(KEY, T, TOKENS, samples=400, groups=10)
    apart = np.abs(found.kernel - own) / found.standard_error
    assert np.sqrt(np.mean(apart**2)) < 3
    wide = fv.monte_carlo_kernel(KEY, T, TOKENS.astype(np.int64), samples=400)
    np.testing.assert_array_equal(wide, fv.monte_carlo_kernel(KEY, T, TOKENS, samples=400))


def test_losses_and_the_spectrum_of_tokens_are_those_of_the_twin():
    params = jax.tree.map(np.asarray, T.init(KEY, (LENGTH,)))
    losses = train_loss(problem_of(T, TOKENS), {}), train_loss(problem_of(H, ONE_HOT), {})
    spectra = [
        fv.hessian_eigenvalues(KEY, loss, p, 2).values
        for loss, p in zip(losses, (params, twin(params)), strict=True)
    ]
    np.testing.assert_allclose(spectra[0], spectra[1], rtol=1e-9)
    with jax.enable_x64(True):
        each = train_losses(problem_of(T, TOKENS), {})(params)
        part = batch_loss(problem_of(T, TOKENS), {}, 4)(params, (TOKENS, Y.astype(float)))
        whole = losses[0](params)
        np.testing.assert_allclose([each.mean(), part], whole, rtol=1e-12)


def test_an_ensemble_learns_from_tokens():
    keys, use = jax.random.split(KEY, 2), np.ones((2, 30), bool)
    settings = TrainSettings(learning_rate=4.0, max_epochs=300, batch_size=8)
    found = train_ensemble(keys, T, TOKENS, Y, use, settings, 30)
    assert found.zero_error.all()
    for member in range(2):
        params = jax.tree.map(lambda leaf, member=member: leaf[member], found.params)
        np.testing.assert_array_equal(np.where(T.apply(params, TOKENS) > 0, 1, -1), Y)
    begun = begin_trajectory(keys, T, TOKENS, Y, settings)
    after, epochs = advance_trajectory(keys, T, TOKENS, Y, settings, begun, 2)
    assert after.params["words"]["embedding"].shape == (2, WORDS, 8)
    np.testing.assert_allclose(epochs.loss, found.loss[:, 1:3], rtol=1e-5)


def test_functions_on_tokens_are_drawn():
    sample = fv.sample_functions(KEY, T, TOKENS[:4], samples=64)
    assert sample.functions.shape[1] == 4
    assert len(sample.counts) > 1


@pytest.mark.parametrize("scale", [1.0, 255.0])
def test_pixels_of_uint8_are_the_same_numbers(scale):
    spec, floats = spec_of(OfPixels(scale)), PIXELS.astype(np.float32)
    params = spec.init(KEY, (6, 6, 1))
    np.testing.assert_array_equal(spec.apply(params, PIXELS), spec.apply(params, floats))
    kernels = [fv.monte_carlo_kernel(KEY, spec, x, samples=20) for x in (PIXELS, floats)]
    np.testing.assert_allclose(*kernels, rtol=1e-5)
    losses = [train_loss(problem_of(spec, x), {}) for x in (PIXELS, floats)]
    with jax.enable_x64(True):
        slopes = [jax.jit(jax.grad(loss))(jax.tree.map(np.float64, params)) for loss in losses]
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9), *slopes)


def test_the_networks_of_this_library_see_numbers_of_any_type():
    spec, x = fv.FCN((6,)), RNG.integers(0, 5, size=(8, 3))
    kernels = [fv.nngp_kernel(spec, x), fv.nngp_kernel(spec, x.astype(np.float32))]
    np.testing.assert_array_equal(*kernels)
    samples = [fv.sample_functions(KEY, spec, part, 256) for part in (x, x.astype(np.float32))]
    np.testing.assert_array_equal(samples[0].functions, samples[1].functions)
    assert network_inputs(spec, "x", x).dtype == np.float32


@pytest.mark.parametrize("dtype", [bool, "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"])
def test_integers_reach_the_network_as_integers(dtype):
    spec, x = spec_of(Dtype()), np.ones((6, 3), dtype)
    params = {"readout": {"kernel": np.ones((1, 1), np.float32), "bias": np.zeros(1, np.float32)}}
    np.testing.assert_array_equal(spec.apply(params, x), 2)
    np.testing.assert_array_equal(fv.monte_carlo_kernel(KEY, spec, x, 6), 4)
    np.testing.assert_array_equal(spec.apply(params, x.astype("f4")), 1)
    with jax.enable_x64(True):
        network = network_inputs(spec, "x", x)
        np.testing.assert_array_equal(spec.apply(params, network), 2)


def boundaries(spec, x):
    """The calls that take inputs."""
    params = T.init(KEY, (LENGTH,))
    keys, use = jax.random.split(KEY, 1), np.ones((1, 30), bool)
    calls = {
        "apply": lambda: spec.apply(params, x),
        "features": lambda: spec.features(params, x),
        "train_apply": lambda: spec.train_apply(params, {}, x),
        "kernel": lambda: fv.monte_carlo_kernel(KEY, spec, x, 20),
        "reference": lambda: fv.monte_carlo_kernel(KEY, spec, TOKENS, 20, reference=x),
        "analytic": lambda: fv.nngp_kernel(fv.FCN((3,)), x),
        "analytic, second": lambda: fv.nngp_kernel(fv.FCN((3,)), TOKENS, x),
        "ensemble": lambda: train_ensemble(keys, spec, x, Y, use, TrainSettings(), 30),
        "trajectory": lambda: begin_trajectory(keys, spec, x, Y, TrainSettings()),
        "functions": lambda: fv.sample_functions(KEY, spec, x, 8),
        "preprocess": lambda: fv.data.preprocess(x, "unit"),
        "draw": lambda: fv.data.draw(KEY, fv.data.Dataset(x, Y, "own"), 4, 0, 4, 0),
    }
    return calls


WRONG = {
    "text": (np.array([["a", "b"]] * 30), "dtype <U1, wanted real numbers. Turn text into numbers"),
    "bytes": (np.array([[b"a"]] * 30), "wanted real numbers. Turn text into numbers"),
    "objects": (
        np.array([[1], [1, 2]] * 15, dtype=object),
        "dtype object, wanted real numbers. Give one array of numbers, rows of equal length",
    ),
    "lists of unequal lengths": ([[1], [1, 2]] * 15, "wanted an array or nested lists of equal"),
    "sparse matrix": (
        sparse.csr_matrix(np.eye(30)),
        r"a sparse csr_matrix of shape \(30, 30\), wanted a dense array: x.toarray\(\)",
    ),
    "sparse array": (sparse.coo_array(np.eye(30)), "a sparse coo_array of shape"),
    "complex": (np.ones((30, 2), complex), "dtype complex128, wanted real numbers"),
    "large": (np.full((30, 2), 2**40), r"integers from 1099511627776.*wanted at most 32 bits"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_no_number_is_refused_by_name(kind):
    x, message = WRONG[kind]
    for name, call in boundaries(T, x).items():
        real = name in ("analytic", "analytic, second", "preprocess", "draw")
        if kind == "large" and real:
            continue  # they are real numbers there
        with pytest.raises(ValueError, match=message):
            call()


def test_a_reference_of_another_kind_is_refused():
    with pytest.raises(ValueError, match="reference: got float32 where x has int32"):
        fv.monte_carlo_kernel(KEY, T, TOKENS, 20, reference=TOKENS.astype(np.float32))
