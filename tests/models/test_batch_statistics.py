"""The state of batch statistics against means and variances taken layer by layer."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import flatvol_jax as fv
from flatvol_jax.models import batch_state, check_running_statistics
from flatvol_jax.models.modes import interceptor

EPSILON = 1e-5
MOMENTA = {"first": 0.99, "second": 0.3}
SHAPE = (8, 8, 3)
RESNET = fv.ResNet(18, "cifar", width=2, momentum=0.7)


class TwoNorms(nn.Module):
    """Two BatchNorms whose running statistics move at different rates."""

    @nn.compact
    def __call__(self, x, train=False):
        for name, momentum in MOMENTA.items():
            x = nn.Dense(5, name=f"{name}_dense")(x)
            x = nn.BatchNorm(not train, momentum=momentum, epsilon=EPSILON, name=name)(x)
            x = nn.relu(x)
        self.sow("intermediates", "hidden", x)
        return nn.Dense(1, name="readout")(x)


class Fixed(nn.Module):
    """A network whose state is not of running statistics alone."""

    momentum: float = 0.9
    kind: str | None = None

    @nn.compact
    def __call__(self, x, train=False):
        if self.kind == "constant":
            x = x * self.variable("constants", "scale", lambda: jnp.full(3, 2.0)).value
        if self.kind == "counter":
            self.variable("counts", "calls", lambda: jnp.int32(0))
        return nn.Dense(1)(nn.BatchNorm(not train, momentum=self.momentum, name="norm")(x))


FLAX = fv.FlaxModel(TwoNorms(), "hidden", 1.0, 0.0)


@pytest.fixture(scope="module")
def inputs():
    return 3 + np.random.default_rng(0).normal(size=(20, 4))


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).normal(size=(6, *SHAPE))


@functools.cache
def moved(spec, shape):
    """Parameters and running statistics as training might leave them, float64."""
    rng = np.random.default_rng(2)

    def move(leaf):
        return np.asarray(leaf, np.float64) + rng.uniform(0.1, 0.3, np.shape(leaf))

    return jax.tree.map(move, (spec.init(jax.random.key(0), shape), spec.init_state(shape)))


def written_out(params, x):
    """The statistics of TwoNorms by NumPy, and its hidden activations."""
    statistics = {}
    for name in MOMENTA:
        x = x @ params[f"{name}_dense"]["kernel"] + params[f"{name}_dense"]["bias"]
        mean, var = x.mean(axis=0), ((x - x.mean(axis=0)) ** 2).mean(axis=0)
        statistics[name] = {"mean": mean, "var": var}
        x = (x - mean) / np.sqrt(var + EPSILON)
        x = np.maximum(params[name]["scale"] * x + params[name]["bias"], 0)
    return {"batch_stats": statistics}, x


def close(found, wanted, rtol):
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=rtol, atol=rtol), found, wanted)


def test_layers_of_different_momenta_have_mean_and_biased_variance(inputs):
    params, state = moved(FLAX, (4,))
    wanted, hidden = written_out(params, inputs)
    with jax.enable_x64(True):
        found = batch_state(FLAX, params, state, inputs)
        close(found, wanted, 1e-11)
        np.testing.assert_allclose(FLAX.features(params, inputs, found), hidden, atol=1e-10)
    single = batch_state(
        FLAX, *jax.tree.map(np.float32, (params, state)), inputs.astype(np.float32)
    )
    assert {leaf.dtype for leaf in jax.tree.leaves(single)} == {np.dtype("float32")}
    close(single, wanted, 1e-5)


def test_every_layer_of_a_residual_network_has_those_of_its_convolution(images):
    params, state = moved(RESNET, SHAPE)

    @jax.jit
    def convolved(params, state, x):
        outputs = {}

        def record(call, args, kwargs, context):
            output = call(*args, **kwargs)
            if isinstance(context.module, nn.Conv):
                outputs["/".join(context.module.path[:-1])] = output
            return output

        with nn.intercept_methods(record):
            RESNET.train_apply(params, state, x)
        return outputs

    with jax.enable_x64(True):
        outputs = jax.tree.map(np.asarray, convolved(params, state, images))
        found = jax.jit(batch_state, static_argnums=0)(RESNET, params, state, images)
    assert len(outputs) == len(RESNET.normalised_layers()) == 20
    for path, output in outputs.items():
        statistics = found["batch_stats"]
        for key in (*path.split("/"), "norm"):
            statistics = statistics[key]
        wanted = {"mean": output.mean((0, 1, 2)), "var": output.var((0, 1, 2))}
        close(statistics, wanted, 1e-9)


@pytest.mark.parametrize("spec", [FLAX, RESNET], ids=["flax", "resnet"])
def test_with_it_inference_mode_gives_the_outputs_of_training_mode(spec, inputs, images):
    x = inputs if spec is FLAX else images
    params, state = moved(spec, x.shape[1:])
    with jax.enable_x64(True):
        found = jax.jit(batch_state, static_argnums=0)(spec, params, state, x)
        again = jax.jit(batch_state, static_argnums=0)(spec, params, found, x)
        apply = jax.jit(spec.apply)
        outputs = apply(params, x, found)
        trained, _ = jax.jit(spec.train_apply)(params, state, x)
        np.testing.assert_allclose(outputs, trained, rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(apply(params, x[:2], found), outputs[:2], rtol=1e-9)
        assert np.abs(apply(params, x, state) - outputs).max() > 1e-2
    jax.tree.map(np.testing.assert_array_equal, found, again)  # whatever the state was


def test_statistics_follow_the_parameters_in_derivatives(inputs):
    params, state = moved(FLAX, (4,))

    def output(scale, follow):
        layer = {name: scale * leaf for name, leaf in params["first_dense"].items()}
        scaled = {**params, "first_dense": layer}
        fixed = batch_state(FLAX, params, state, inputs)
        statistics = batch_state(FLAX, scaled, state, inputs) if follow else fixed
        return FLAX.apply(scaled, inputs, statistics)

    with jax.enable_x64(True):
        slopes = [
            np.asarray(jax.jacobian(functools.partial(output, follow=follow))(1.0))
            for follow in (True, False)
        ]
    # The scale before a BatchNorm is divided out but for epsilon.
    assert np.abs(slopes[0]).max() < 100 * EPSILON
    assert np.abs(slopes[1]).max() > 0.1


class Stopped(nn.Module):
    """A norm of its own whose update hides the state from derivatives."""

    @nn.compact
    def __call__(self, x, train=False):
        mean = self.variable("batch_stats", "mean", lambda: jnp.zeros(3))
        centre = x.mean(0) if train else mean.value
        if train:
            mean.value = jax.lax.stop_gradient(0.9 * mean.value + 0.1 * centre)
        return nn.Dense(1)(x - centre)


def test_statistics_that_hide_from_derivatives_are_an_error_and_those_of_nnx_do_not(inputs):
    x = inputs[:, :3].astype(np.float32)
    with pytest.raises(ValueError, match=r"\['mean'\]: got .* derivative is not its change"):
        check_running_statistics(fv.FlaxModel(Stopped(), "norm", 1.0, 0.0), x)
    module = nnx.bridge.to_linen(nnx.BatchNorm, 3, momentum=0.8)
    state = {"batch_stats": {"mean": jnp.ones(3), "var": jnp.ones(3)}}
    with nn.intercept_methods(interceptor(train=True)):
        momentum = jax.jvp(
            lambda state: module.apply(
                {"params": {"scale": jnp.ones(3), "bias": jnp.zeros(3)}, **state},
                x,
                mutable=["batch_stats"],
            )[1],
            (state,),
            (jax.tree.map(jnp.ones_like, state),),
        )[1]
    close(momentum, jax.tree.map(lambda leaf: 0.8 * leaf, state), 1e-6)


def test_a_network_without_a_state_has_none(inputs):
    spec = fv.FCN((3,))
    assert batch_state(spec, spec.init(jax.random.key(0), (4,)), {}, inputs) == {}


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Fixed(momentum=1.0), r"state\['batch_stats'\]\['norm'\]\['mean'\].*does not move"),
        (Fixed(kind="constant"), r"state\['constants'\]\['scale'\].*does not move"),
        (Fixed(kind="counter"), r"state\['counts'\]\['calls'\]: got dtype int32"),
    ],
)
def test_what_is_no_running_statistic_is_an_error_by_name(inputs, module, message):
    spec, x = fv.FlaxModel(module, "norm", 1.0, 0.0), inputs[:, :3].astype(np.float32)
    params, state = spec.init(jax.random.key(0), (3,)), spec.init_state((3,))
    with pytest.raises(ValueError, match=message):
        batch_state(spec, params, state, x)
    if module.kind is None:
        traced = jax.jit(batch_state, static_argnums=0)(spec, params, state, x)
        assert all(np.isnan(leaf).all() for leaf in jax.tree.leaves(traced))
