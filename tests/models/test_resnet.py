"""The ResNet spec: its size, its outputs written out, batch statistics, the layers they follow."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import tree_flatten_with_path

import flatvol_jax as fv
from flatvol_jax.models import Spec, parameter_shapes

SHAPE = (8, 8, 3)
SPEC = fv.ResNet(18, "cifar", width=4, sigma_b=0.5, image_shape=SHAPE, momentum=0.7)
APPLY, TRAIN = jax.jit(SPEC.apply), jax.jit(SPEC.train_apply)  # compiled once a shape for all tests


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).normal(size=(6, *SHAPE))


@functools.cache
def moved(spec=SPEC):
    """Parameters and statistics as training might leave them, float64."""
    rng = np.random.default_rng(1)
    variables = {"params": spec.init(jax.random.key(0), SHAPE), **spec.init_state(SHAPE)}

    def move(path, leaf):
        leaf = np.asarray(leaf, np.float64)
        if path[-1].key in ("scale", "var"):
            return leaf * rng.uniform(0.5, 1.5, leaf.shape)
        return leaf + (leaf.ndim == 1) * rng.normal(0, 0.3, leaf.shape)

    variables = jax.tree.map_with_path(move, variables)
    return variables["params"], {"batch_stats": variables["batch_stats"]}


def convolution(x, kernel, stride, start=0.0, window=None):
    """Cross-correlation, or the maximum over a window, with a border of `start`, written out."""
    size = window or len(kernel)
    x = np.pad(x, [(0, 0), *[(size // 2,) * 2] * 2, (0, 0)], constant_values=start)
    patches = np.lib.stride_tricks.sliding_window_view(x, (size, size), (1, 2))
    patches = patches[:, ::stride, ::stride]
    if window:
        return patches.max(axis=(-2, -1))
    return np.einsum("nhwcij,ijco->nhwo", patches, kernel)


def written_out(depth, stem, params, statistics, x, epsilon=1e-5):
    """Outputs and pooled activations by NumPy, from the tables of He et al."""

    def layer(x, *path, stride=1):
        p, s = params, statistics
        for key in path:
            p, s = p[key], s[key]
        z = convolution(x, p["conv"]["kernel"], stride)
        z = (z - s["norm"]["mean"]) / np.sqrt(s["norm"]["var"] + epsilon)
        return p["norm"]["scale"] * z + p["norm"]["bias"]

    def relu(x):
        return np.maximum(x, 0)

    x = relu(layer(x, "stem", stride=2 if stem == "imagenet" else 1))
    if stem == "imagenet":
        x = convolution(x, None, 2, -np.inf, window=3)
    for stage, blocks in enumerate({18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}[depth], start=1):
        for block in range(1, blocks + 1):
            name = f"stage_{stage}_block_{block}"
            stride = 2 if stage > 1 and block == 1 else 1
            strides = {18: (stride, 1), 50: (1, stride, 1)}[depth]
            h = x
            for i, step in enumerate(strides, start=1):
                h = layer(relu(h) if i > 1 else h, name, f"layer_{i}", stride=step)
            x = layer(x, name, "shortcut", stride=stride) if "shortcut" in params[name] else x
            x = relu(h + x)
    x = x.mean(axis=(1, 2))
    return (x @ params["readout"]["kernel"] + params["readout"]["bias"])[:, 0], x


@pytest.mark.parametrize(
    ("depth", "wanted"),
    # torchvision's networks have 11,689,512, 21,797,672, 25,557,032, 44,549,160 and 60,192,808
    # parameters with a readout of 1,000 outputs.
    [
        (18, 11_689_512 - 999 * 513),
        (34, 21_797_672 - 999 * 513),
        (50, 25_557_032 - 999 * 2049),
        (101, 44_549_160 - 999 * 2049),
        (152, 60_192_808 - 999 * 2049),
    ],
)
def test_numbers_of_parameters_are_those_of_the_standard_networks(depth, wanted):
    shapes = parameter_shapes(fv.ResNet(depth), (224, 224, 3))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == wanted
    layers = len(fv.ResNet(depth).normalised_layers())
    assert layers == depth - 1 + (3 if depth < 50 else 4)  # a shortcut where the shape changes


def test_the_readout_of_depth_50_multiplies_2048_activations():
    spec = fv.ResNet(50)
    params = parameter_shapes(spec, (32, 32, 3))
    x = jax.ShapeDtypeStruct((5, 32, 32, 3), jnp.float32)
    assert jax.eval_shape(spec.features, params, x).shape == (5, 2048)
    assert jax.eval_shape(spec.apply, params, x).shape == (5,)


@pytest.mark.parametrize(
    ("depth", "stem"),
    [(18, "cifar"), (18, "imagenet"), pytest.param(50, "imagenet", marks=pytest.mark.slow)],
)
def test_outputs_are_the_network_written_out(images, depth, stem):
    spec = fv.ResNet(depth, stem, width=4)
    params, state = moved(spec)
    output, features = written_out(depth, stem, params, state["batch_stats"], images)
    with jax.enable_x64(True):
        both = jax.jit(lambda *a: (spec.apply(*a), spec.features(*a)))(params, images, state)
    np.testing.assert_allclose(both[0], output, rtol=1e-10)
    np.testing.assert_allclose(both[1], features, rtol=1e-10, atol=1e-12)


def test_at_initialisation_batch_norm_divides_by_the_root_of_one_plus_epsilon(images):
    params = SPEC.init(jax.random.key(0), SHAPE)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype("float32")}
    state = SPEC.init_state(SHAPE)
    identity = jax.tree.map_with_path(
        lambda path, leaf: np.full(leaf.shape, path[-1].key == "var", np.float32), state
    )
    jax.tree.map(np.testing.assert_array_equal, state, identity)
    x = images.astype(np.float32)
    outputs = np.asarray(APPLY(params, x))
    # The default state is a constant that the compiler folds: another program, other rounding.
    np.testing.assert_allclose(APPLY(params, x, state), outputs, rtol=1e-5)
    # The same network without normalisation: mean 0, variance 1 and epsilon 0.
    plain, _ = written_out(18, "cifar", params, state["batch_stats"], images, epsilon=0.0)
    np.testing.assert_allclose(outputs, plain, rtol=2e-4)


def test_a_row_sees_no_other_row_in_inference_mode_and_the_state_moves_it(images):
    params, state = moved()
    with jax.enable_x64(True):
        outputs = APPLY(params, images, state)
        np.testing.assert_allclose(APPLY(params, images[:1], state), outputs[:1], rtol=1e-12)
        start = SPEC.init_state(SHAPE)
        assert np.abs(outputs - APPLY(params, images, start)).min() > 1e-3


def test_rows_are_images_of_the_shape_given(images):
    params, state = moved()
    with jax.enable_x64(True):
        outputs = [APPLY(params, x, state) for x in (images, images.reshape(6, -1))]
    np.testing.assert_array_equal(*outputs)
    assert parameter_shapes(SPEC, (192,)) == parameter_shapes(SPEC, SHAPE)


def test_masked_rows_enter_no_statistics(images):
    params, state = moved()
    padded = np.concatenate([images, 100 * images[:2]])[[6, 0, 1, 2, 7, 3, 4, 5]]
    mask = np.array([False, True, True, True, False, True, True, True])
    with jax.enable_x64(True):
        outputs, after = TRAIN(params, state, padded, mask)
        wanted, wanted_after = TRAIN(params, state, images)
        _, unmasked = TRAIN(params, state, padded, np.ones(8, bool))
        after, wanted_after, unmasked = jax.tree.map(np.asarray, (after, wanted_after, unmasked))
    np.testing.assert_allclose(outputs[mask], wanted, rtol=1e-9)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-12)
    jax.tree.map(close, after, wanted_after)
    stem = [s["batch_stats"]["stem"]["norm"]["var"] for s in (after, unmasked)]
    assert (stem[1] > 10 * stem[0]).all()


def test_running_statistics_keep_momentum_of_themselves(images):
    params, state = moved()
    with jax.enable_x64(True):
        outputs, after = TRAIN(params, state, images)
    assert outputs.shape == (6,)
    assert jax.tree.structure(after) == jax.tree.structure(state)
    z = convolution(images, params["stem"]["conv"]["kernel"], 1)
    old, new = (s["batch_stats"]["stem"]["norm"] for s in (state, after))
    np.testing.assert_allclose(new["mean"], 0.7 * old["mean"] + 0.3 * z.mean((0, 1, 2)), rtol=1e-9)
    np.testing.assert_allclose(new["var"], 0.7 * old["var"] + 0.3 * z.var((0, 1, 2)), rtol=1e-9)


def test_the_outputs_of_training_are_those_of_the_statistics_of_the_batch(images):
    params, state = moved()
    with jax.enable_x64(True):
        outputs, after = TRAIN(params, state, images)
        # What the new state has of the batch, beside 0.7 of the old.
        batch = jax.tree.map(lambda new, old: (np.asarray(new) - 0.7 * old) / 0.3, after, state)
        batch = batch["batch_stats"]
    wanted, _ = written_out(18, "cifar", params, batch, images)
    np.testing.assert_allclose(outputs, wanted, rtol=1e-9)


def test_the_scale_before_each_batch_norm_is_forgotten_with_the_statistics(images):
    params, state = moved()
    rng = np.random.default_rng(2)
    with jax.enable_x64(True):
        outputs = APPLY(params, images, state)
        scaled = params, state
        for layer in SPEC.normalised_layers():
            one = fv.flatness.rescale_normalised(params, state, *layer[:3], 0.3, layer.epsilon)
            np.testing.assert_allclose(APPLY(one[0], images, one[1]), outputs, rtol=1e-9)
            assert np.abs(APPLY(one[0], images, state) / outputs - 1).max() > 1e-3
            units = _units(params, layer.incoming[0])
            alpha = 10 ** rng.uniform(-1, 1, units)
            scaled = fv.flatness.rescale_normalised(*scaled, *layer[:3], alpha, layer.epsilon)
        np.testing.assert_allclose(APPLY(scaled[0], images, scaled[1]), outputs, rtol=1e-9)
    same = jax.tree.map(np.array_equal, params, scaled[0])
    kept = {path[-1].key for path, equal in tree_flatten_with_path(same)[0] if equal}
    assert kept == {"scale", "bias", "kernel"}
    assert all(same["readout"].values())


def _units(params, path):
    for key in path:
        params = params[key]
    return params.shape[-1]


def test_gradients_through_a_masked_batch_are_finite_and_reach_every_parameter(images):
    params = SPEC.init(jax.random.key(3), SHAPE)
    x = np.concatenate([images, 1e3 * images[:2]]).astype(np.float32)
    mask = np.arange(8) < 6

    def loss(params, state):
        outputs, state = SPEC.train_apply(params, state, x, mask)
        return jnp.where(mask, jax.nn.softplus(-outputs), 0.0).sum(), state

    gradient, state = jax.jit(jax.grad(loss, has_aux=True))(params, SPEC.init_state(SHAPE))
    for leaf in jax.tree.leaves(gradient):
        assert np.isfinite(leaf).all()
        assert np.any(leaf)
    assert {leaf.dtype for leaf in jax.tree.leaves(state)} == {np.dtype("float32")}


def test_initialisation_has_the_variances_of_the_spec():
    spec = fv.ResNet(18, width=8, sigma_w=1.3, sigma_b=0.4)
    params = jax.tree.map(np.asarray, spec.init(jax.random.key(0), SHAPE))
    kernels = [leaf for leaf in jax.tree.leaves(params) if leaf.ndim == 4]
    for weight in [*kernels, params["readout"]["kernel"]]:
        scaled = weight * np.sqrt(np.prod(weight.shape[:-1])) / 1.3
        # The mean square of n standard normals is 1 with standard error sqrt(2/n).
        assert abs(np.mean(scaled**2) - 1) < 5 * np.sqrt(2 / scaled.size)
    narrow = fv.ResNet(18, width=1, sigma_b=0.4)
    init = jax.jit(jax.vmap(lambda key: narrow.init(key, SHAPE)["readout"]["bias"]))
    bias = np.asarray(init(jax.random.split(jax.random.key(1), 400))) / 0.4
    assert abs(np.mean(bias**2) - 1) < 5 * np.sqrt(2 / bias.size)


def test_spec_is_hashable_data():
    spec = fv.ResNet(18, "cifar", 8, image_shape=[8, 8, 3])
    assert isinstance(spec, Spec)
    assert spec == fv.ResNet(18, "cifar", 8, image_shape=(8, 8, 3))
    assert hash(spec) == hash(fv.ResNet(18, "cifar", 8, image_shape=(8, 8, 3)))
    described = spec.describe()
    assert described == json.loads(json.dumps(described))
    assert described == {
        "model": "resnet",
        "depth": 18,
        "stem": "cifar",
        "width": 8,
        "sigma_w": 2**0.5,
        "sigma_b": 1.0,
        "image_shape": [8, 8, 3],
        "epsilon": 1e-5,
        "momentum": 0.9,
    }
    assert spec.kernel_layers() is None
    assert spec.rectified_layers() is None
    assert spec.prior_std((8, 8, 3)) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depth": 20}, "depth: got 20, wanted one of 18, 34, 50, 101, 152"),
        ({"stem": "cifar10"}, "stem: got 'cifar10'.*Did you mean 'cifar'"),
        ({"width": 0}, "width: got 0"),
        ({"sigma_w": 0.0}, "sigma_w: got 0.0"),
        ({"sigma_b": -1.0}, "sigma_b: got -1.0"),
        ({"image_shape": (3072,)}, r"image_shape: got \(3072,\)"),
        ({"epsilon": 0.0}, "epsilon: got 0.0"),
        ({"momentum": 1.0}, "momentum: got 1.0, wanted a number below 1"),
        ({"momentum": -0.1}, "momentum: got -0.1"),
    ],
)
def test_bad_settings_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        fv.ResNet(**changes)


def test_rows_without_a_shape_are_refused():
    with pytest.raises(ValueError, match=r"\(3072,\), wanted images"):
        fv.ResNet(18).init(jax.random.key(0), (3072,))
