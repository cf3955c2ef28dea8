"""What fv.as_model finds in a network, what it asks for, and fv.Model of plain functions."""

import subprocess
import sys
import textwrap

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from twin_networks import WEIGHTS, X, drawn, hidden, outputs, plain, prior_agrees

import flatvol_jax as fv
from flatvol_jax.models import Spec
from flatvol_jax.models.readout import features_of
from flatvol_jax.runtime.hashing import content_hash

KEY = jax.random.key(0)
IMAGES = np.random.default_rng(0).normal(size=(6, 8, 8, 1)).astype(np.float32)


class Normalised(nn.Module):
    """Convolutions, BatchNorm, dropout, and a readout whose output is indexed."""

    outputs: int = 1
    end: str = "logit"

    @nn.compact
    def __call__(self, x, train=True):
        x = nn.relu(nn.BatchNorm(not train, name="norm")(nn.Conv(5, (3, 3), name="conv")(x)))
        x = nn.Dropout(0.5, deterministic=not train)(x.mean((1, 2)))
        self.sow("intermediates", "features", x)
        z = nn.Dense(self.outputs, bias_init=nn.initializers.normal(0.3), name="readout")(x)
        if self.end == "sigmoid":
            return nn.sigmoid(z)
        return z + x[:, :1] if self.end == "skip" else 3.0 * z


class Attention(nn.Module):
    """Tokens, attention and a mean: the last product with weights is the readout's."""

    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(10, 8)(tokens)
        x = nn.LayerNorm()(x + nn.SelfAttention(2)(x))
        return nn.Dense(1, name="readout")(x[:, 0])


class NnxNet(nnx.Module):
    def __init__(self, rngs, kernel_init=None):
        more = {} if kernel_init is None else {"kernel_init": kernel_init}
        self.conv = nnx.Conv(1, 4, (3, 3), rngs=rngs, **more)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.readout = nnx.Linear(4, 1, rngs=rngs)

    def __call__(self, x):
        x = self.dropout(nnx.relu(self.norm(self.conv(x))))
        return self.readout(x.mean((1, 2)))


class NnxDefault(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(1, 4, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.readout = nnx.Linear(4, 1, rngs=rngs)

    def __call__(self, x):
        x = self.dropout(nnx.relu(self.norm(self.conv(x))))
        return self.readout(x.mean((1, 2)))


def test_a_linen_module_needs_no_sow_and_its_scale_is_that_of_the_output():
    module = Normalised()
    variables = module.init(KEY, IMAGES, train=False)
    model = fv.as_model(module, IMAGES, params=variables)
    assert isinstance(model, Spec)
    wanted, kept = module.apply(variables, IMAGES, train=False, mutable=["intermediates"])
    found = model.apply(model.params, IMAGES, model.state)
    np.testing.assert_allclose(found, wanted[:, 0], rtol=1e-6, atol=1e-6)
    features = model.features(model.params, IMAGES, model.state)
    np.testing.assert_array_equal(features, kept["intermediates"]["features"][0])
    assert model.sigma_w == pytest.approx(3.0, rel=0.005)  # 3 z, LeCun's weights
    assert model.sigma_b == pytest.approx(0.9, rel=0.01)
    prior_agrees(model, IMAGES)


def test_tokens_and_attention():
    tokens = np.random.default_rng(0).integers(0, 10, size=(6, 5))
    model = fv.as_model(Attention(), tokens)
    assert (model.sigma_w, model.sigma_b) == (1.0, 0.0)
    params = model.init(KEY, (5,))
    assert model.features(params, tokens).shape == (6, 8)
    readout = params["readout"]
    wanted = model.features(params, tokens) @ readout["kernel"] + readout["bias"]
    np.testing.assert_allclose(wanted[:, 0], model.apply(params, tokens), rtol=1e-5, atol=1e-6)


def test_an_nnx_module_is_put_into_evaluation_and_stays_as_it_is():
    network = NnxDefault(nnx.Rngs(0))
    network.train()
    model = fv.as_model(network, IMAGES)
    assert (model.sigma_w, model.sigma_b) == (1.0, 0.0)
    found = model.apply(model.params, IMAGES, model.state)
    assert not network.dropout.deterministic
    network.eval()
    np.testing.assert_allclose(found, network(IMAGES)[:, 0], rtol=1e-5, atol=1e-6)
    assert set(model.state["norm"]) == {"mean", "var"}
    prior_agrees(model, IMAGES)


def test_an_nnx_module_with_initialisers_of_its_own_is_asked_for_them():
    normal = nn.initializers.normal(0.2)
    network = NnxNet(nnx.Rngs(0), normal)
    with pytest.raises(ValueError, match=r"NnxNet does not say .*init=lambda key: NnxNet\("):
        fv.as_model(network, IMAGES)
    model = fv.as_model(network, IMAGES, init=lambda key: NnxNet(nnx.Rngs(key), normal))
    drawn_kernels = [
        model.init(key, (8, 8, 1))["conv"]["kernel"] for key in jax.random.split(KEY, 50)
    ]
    assert np.std(drawn_kernels) == pytest.approx(0.2, rel=0.1)


def test_a_stax_network_of_neural_tangents_keeps_its_kernel():
    stax = fv.kernels.neural_tangents().stax
    network = stax.serial(stax.Dense(32), stax.Relu(), stax.Dense(1, W_std=1.5, b_std=0.2))
    model = fv.as_model(network, X)
    assert model.sigma_w == pytest.approx(1.5, rel=0.005)
    assert model.sigma_b == pytest.approx(0.2, rel=0.01)
    kernel = fv.nngp_kernel(model, X)
    np.testing.assert_allclose(kernel, network[2](X, None, "nngp"), rtol=1e-5)


def test_plain_functions_as_a_model():
    model, params = plain()
    assert isinstance(model, Spec)
    np.testing.assert_array_equal(model.apply(params, X), outputs(params, X)[:, 0])
    np.testing.assert_array_equal(model.features(params, X), hidden(params, X))
    kernel = fv.monte_carlo_kernel(KEY, model, X, 200)
    assert kernel.shape == (12, 12)
    assert repr(model) == (
        "Model(outputs, plain functions; prior by init, sigma_w=1 (given), sigma_b=0 (given))"
    )
    with pytest.raises(AttributeError, match="frozen"):
        model.sigma_w = 2.0
    wrong = fv.Model(lambda k, s: drawn(k), outputs, hidden, sigma_w=2.0, sigma_b=0.0)
    with pytest.raises(ValueError, match="spec: got networks whose outputs have mean square"):
        fv.monte_carlo_kernel(KEY, wrong, X, 200)


def test_the_readout_is_found_in_any_writing():
    """(out, in) weights, a mapped network, a nested jit, einsum: the same features."""

    def transposed(params, x):
        return hidden(params, x) @ params[-1][0].T.T + params[-1][1]

    def mapped(params, x):
        return jax.vmap(lambda one: params[-1][0].T @ hidden(params, one) + params[-1][1])(x)

    @jax.jit
    def compiled(params, x):
        return jax.checkpoint(lambda p, h: jnp.einsum("nh,ho->no", h, p[-1][0]) - p[-1][1])(
            params, hidden(params, x)
        )

    def normalised(params, x):
        weight = params[-1][0]
        return hidden(params, x) @ (weight / jnp.linalg.norm(weight))

    for apply in (transposed, mapped, compiled, normalised):
        found = features_of(lambda p, x, state, apply=apply: apply(p, x), WEIGHTS, X, {})
        np.testing.assert_allclose(found, hidden(WEIGHTS, X), rtol=1e-6)


def test_without_example_inputs_vectors_are_tried():
    module = nn.Dense(1)
    model = fv.as_model(module, params={"kernel": np.ones((7, 1)), "bias": np.zeros(1)})
    assert model.apply(model.params, np.ones((2, 7), np.float32)).shape == (2,)
    with pytest.raises(ValueError, match=r"x: got None.*as_model\(network, x\)"):
        fv.as_model(nn.Dense(1))


@pytest.mark.parametrize("end", ["sigmoid", "skip"])
def test_a_readout_that_is_not_found_is_asked_for(end):
    module = Normalised(end=end)
    with pytest.raises(
        ValueError, match=r"features: got `\w+` of \d activations.*features=.*sigma_w="
    ):
        fv.as_model(module, IMAGES)
    with pytest.raises(ValueError, match="sigma_w: features= are your own"):
        fv.as_model(module, IMAGES, features=lambda params, x: x)
    model = fv.as_model(
        module, IMAGES, features=lambda p, x: x.reshape(len(x), -1), sigma_w=1.0, sigma_b=0.0
    )
    assert model.features(model.init(KEY, (8, 8, 1)), IMAGES).shape == (6, 64)


def test_what_is_no_network_is_refused_with_what_to_pass():
    cases = [
        (lambda: fv.as_model(3), "network: got 3, wanted a linen or nnx module"),
        (lambda: fv.as_model(nn.Dense), "network: got the class Dense, wanted a network"),
        (lambda: fv.as_model(outputs, X), "init: got None beside a function"),
        (lambda: fv.as_model(nn.Dense(1), np.ones(3)), r"x: got shape \(3,\)"),
        (lambda: fv.as_model(nn.Dense(1), X, init=drawn), "init: .*linen modules draw themselves"),
        (lambda: fv.as_model(nn.Dense(1), X, features=3), "features: got 3, wanted a function"),
        (lambda: fv.Model(1, outputs, hidden, 1.0, 0.0), "init: got 1, wanted a function"),
        (lambda: fv.Model(drawn, outputs, hidden, 0.0, 0.0), "sigma_w: got 0.0"),
        (lambda: fv.Model(drawn, outputs, hidden, 1.0, -1.0), "sigma_b: got -1.0"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()
    zero = nn.Dense(1, kernel_init=nn.initializers.zeros)
    with pytest.raises(ValueError, match="sigma_w: the readout's weights are zero"):
        fv.as_model(zero, X)
    params = {"kernel": np.ones((7, 1)), "bias": np.zeros(1)}
    with pytest.raises(ValueError, match=r"params: got \['kernel'\] of shape \(7, 1\), where init"):
        fv.as_model(nn.Dense(1), X, params=params)


def test_leaves_that_are_no_arrays_are_named():
    class Scale:
        """An object that is no pytree."""

    params = [*WEIGHTS[:-1], (WEIGHTS[-1][0], Scale())]
    with pytest.raises(
        ValueError, match=r"params: got a leaf of type Scale at \[2\]\[1\].*register"
    ):
        fv.as_model(outputs, X, init=lambda key, shape: drawn(key), params=params)
    with pytest.raises(ValueError, match="init: got a leaf of type str"):
        fv.as_model(outputs, X, init=lambda key, shape: ["a"])


def test_networks_are_described_apart_and_twice_alike():
    from jax.example_libraries import stax

    def network(width, scale=1.0):
        return stax.serial(
            stax.Dense(width), stax.Tanh, stax.Dense(1, nn.initializers.normal(scale))
        )

    def shifted(offset):
        return lambda params, x: outputs(params, x + offset)

    def init(key, shape):
        return drawn(key)

    cases = [network(4), network(5), network(4, 2.0)]
    models = [fv.as_model(case, X, sigma_w=1.0, sigma_b=0.0) for case in cases]
    for offset in (np.zeros(3), np.array([0.0, 0.0, 1.0])):
        models.append(fv.as_model(shifted(offset), X, init=init, sigma_w=1.0, sigma_b=0.0))
    hashes = [content_hash(model.describe()) for model in models]
    assert len(set(hashes)) == len(models)
    again = fv.as_model(network(4), X, sigma_w=1.0, sigma_b=0.0)
    assert content_hash(again.describe()) == hashes[0]


def test_a_spec_is_returned_as_it_is():
    spec = fv.FCN((4,))
    assert fv.as_model(spec) is spec


def test_a_network_that_sees_its_batch_is_refused():
    def centred(params, x):
        return outputs(params, x - x.mean(0))

    model = fv.as_model(centred, X, init=lambda key, shape: drawn(key), params=WEIGHTS)
    with pytest.raises(ValueError, match="depend on that input alone"):
        model.apply(WEIGHTS, X)


def test_no_framework_is_imported_before_a_network_is_of_it():
    script = """
    import sys, jax, numpy as np, flax.linen as nn, flatvol_jax as fv
    fv.as_model(nn.Dense(1), np.ones((2, 3), np.float32))
    draw = lambda key, shape: jax.random.normal(key, (*shape, 1))
    fv.as_model(lambda p, x: x @ p, np.ones((2, 3)), init=draw)
    loaded = {"torch", "torchax", "equinox", "haiku"} & set(sys.modules)
    assert not loaded, loaded
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True)
