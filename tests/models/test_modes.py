"""Evaluation and training mode by every name that Flax modules give them."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import flatvol_jax as fv

FLAGS = {
    "train": True,
    "training": True,
    "is_training": True,
    "deterministic": False,
    "use_running_average": False,
}
X = np.random.default_rng(0).normal(1, 2, size=(7, 5)).astype(np.float32)


def layers(x, running):
    x = nn.Dense(4, name="hidden")(x)
    x = nn.relu(nn.BatchNorm(running, momentum=0.8, name="norm")(x))
    return nn.Dense(1, name="readout")(nn.Dropout(0.0)(x, deterministic=running))


class Reference(nn.Module):
    @nn.compact
    def __call__(self, x, running):
        return layers(x, running)


def by_argument(name, default):
    """A module whose __call__ takes the flag."""
    means_training = FLAGS[name]

    def call(self, x, flag):
        return layers(x, flag is not means_training)

    scope = {"call": call}
    exec(f"def __call__(self, x, {name}={default}): return call(self, x, {name})", scope)
    return type("Argument", (nn.Module,), {"__call__": nn.compact(scope["__call__"])})()


def by_field(name, value):
    """A module that has the flag as a field."""

    def __call__(self, x):
        return layers(x, getattr(self, name) is not FLAGS[name])

    body = {"__call__": nn.compact(__call__), "__annotations__": {name: bool}, name: value}
    return type("Field", (nn.Module,), body)()


class Merged(nn.Module):
    """Flax's own idiom: the flag as a field or as an argument, not as both."""

    deterministic: bool | None = None

    @nn.compact
    def __call__(self, x, deterministic=None):
        return layers(x, nn.merge_param("deterministic", self.deterministic, deterministic))


class Around(nn.Module):
    """A module that has the switched one as a field, twice the same."""

    inner: nn.Module
    again: nn.Module

    def __call__(self, x):
        return 0.5 * (self.inner(x) + self.again(x))


MODULES = {
    **{f"argument {n}, {d}": by_argument(n, d) for n in FLAGS for d in (True, False)},
    **{f"field {n}, {v}": by_field(n, v) for n in FLAGS for v in (True, False)},
    "merged, argument": Merged(),
    "merged, field": Merged(deterministic=False),
}


def wrapped(module, features="norm"):
    return fv.FlaxModel(module, features, sigma_w=1.0, sigma_b=0.0)


def reference(params, state, running):
    variables = {"params": params, **state}
    if running:
        return Reference().apply(variables, X, running)[:, 0], state
    found, moved = Reference().apply(variables, X, running, mutable=["batch_stats"])
    return found[:, 0], moved


@pytest.mark.parametrize("name", MODULES)
def test_every_name_of_a_mode_is_switched(name):
    spec = wrapped(MODULES[name])
    params, state = spec.init(jax.random.key(0), (5,)), spec.init_state((5,))
    (outputs, after), (wanted, moved) = (
        spec.train_apply(params, state, X),
        reference(params, state, False),
    )
    np.testing.assert_array_equal(outputs, wanted)
    jax.tree.map(np.testing.assert_array_equal, after, dict(moved))
    found = spec.apply(params, X, after)
    np.testing.assert_array_equal(found, reference(params, after, True)[0])
    one = np.concatenate([spec.apply(params, row[None], after) for row in X])
    np.testing.assert_allclose(found, one, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("value", [True, False])
def test_the_fields_of_a_field_are_switched_and_stay_one_module(value):
    inner = by_field("train", value)
    spec = wrapped(Around(inner, inner))
    params, state = spec.init(jax.random.key(0), (5,)), spec.init_state((5,))
    assert set(params) == {"inner"}  # shared
    outputs, after = spec.train_apply(params, state, X)
    inside = state["batch_stats"]["inner"]
    wanted, _ = reference(params["inner"], {"batch_stats": inside}, False)
    np.testing.assert_allclose(outputs, wanted, rtol=1e-5, atol=1e-6)
    inside = after["batch_stats"]["inner"]
    wanted, _ = reference(params["inner"], {"batch_stats": inside}, True)
    np.testing.assert_allclose(spec.apply(params, X, after), wanted, rtol=1e-5, atol=1e-6)


def test_modules_in_a_tuple_are_switched():
    sequence = nn.Sequential((nn.Dense(4), nn.BatchNorm(use_running_average=False), nn.Dense(1)))
    spec = wrapped(sequence, "layers_1")
    params, state = spec.init(jax.random.key(0), (5,)), spec.init_state((5,))
    _, after = spec.train_apply(params, state, X)
    found = spec.apply(params, X, after)
    one = np.concatenate([spec.apply(params, row[None], after) for row in X])
    np.testing.assert_allclose(found, one, rtol=1e-5, atol=1e-6)
    assert np.abs(spec.apply(params, X) - found).max() > 1e-3


class Drops(nn.Module):
    """Dropout that nothing switches off."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(1, name="readout")(nn.Dropout(0.5, deterministic=False)(x))


class DropsByField(nn.Module):
    deterministic: bool = False

    @nn.compact
    def __call__(self, x):
        return nn.Dense(1, name="readout")(nn.Dropout(0.5)(x, deterministic=self.deterministic))


def test_dropout_without_a_key_is_switched_off_or_refused_by_name():
    spec = wrapped(DropsByField(), "readout")
    params = spec.init(jax.random.key(0), (5,))
    wanted = X @ params["readout"]["kernel"] + params["readout"]["bias"]
    np.testing.assert_allclose(spec.apply(params, X), wanted[:, 0], rtol=1e-5, atol=1e-6)
    spec = wrapped(Drops(), "readout")
    for call in (spec.apply, spec.features):
        with pytest.raises(ValueError, match="Drops draws random numbers in evaluation.*a flag"):
            call(params, X)


class NnxNetwork(nnx.Module):
    """The reference as nnx has it, with a dropout."""

    def __init__(self, rngs, rate=0.0):
        self.hidden = nnx.Linear(5, 4, rngs=rngs)
        self.norm = nnx.BatchNorm(4, momentum=0.8, rngs=rngs)
        self.drop = nnx.Dropout(rate, rngs=rngs)
        self.readout = nnx.Linear(4, 1, rngs=rngs)

    def embed(self, x):
        return nnx.relu(self.norm(self.hidden(x)))

    def __call__(self, x):
        return self.readout(self.drop(self.embed(x)))


class Within(nn.Module):
    """An nnx network within a linen one."""

    @nn.compact
    def __call__(self, x):
        return nnx.bridge.to_linen(NnxNetwork, name="inside")(x)


def nnx_spec(rate=0.0):
    return wrapped(nnx.bridge.to_linen(NnxNetwork, rate=rate), "embed")


def test_an_nnx_module_is_switched_in_both_modes_and_masked():
    spec = nnx_spec()
    params, state = spec.init(jax.random.key(0), (5,)), spec.init_state((5,))
    outputs, after = jax.jit(spec.train_apply)(params, state, X)
    wanted, moved = reference(params, state, False)
    np.testing.assert_allclose(outputs, wanted, rtol=1e-5, atol=1e-6)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
    jax.tree.map(close, after, dict(moved))
    close(spec.apply(params, X, after), reference(params, after, True)[0])
    padded, mask = np.concatenate([1e3 * X[:2], X]), np.arange(9) >= 2
    outputs, masked = jax.jit(spec.train_apply)(params, state, padded, mask)
    close(outputs[mask], wanted, rtol=1e-4, atol=1e-5)
    jax.tree.map(close, masked, dict(moved))
    hidden = spec.features(params, X, after)
    readout = params["readout"]
    close((hidden @ readout["kernel"] + readout["bias"])[:, 0], spec.apply(params, X, after))


def test_an_nnx_module_within_a_linen_one_is_switched():
    spec = wrapped(Within(), "inside")
    params, state = spec.init(jax.random.key(0), (5,)), spec.init_state((5,))
    _, after = spec.train_apply(params, state, X)
    inside = {"batch_stats": state["batch_stats"]["inside"]}
    _, moved = reference(params["inside"], inside, False)
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6),
        after["batch_stats"]["inside"],
        moved["batch_stats"],
    )
    found = spec.apply(params, X, after)
    one = np.concatenate([spec.apply(params, row[None], after) for row in X])
    np.testing.assert_allclose(found, one, rtol=1e-5, atol=1e-6)


class NnxByAttribute(NnxNetwork):
    """Switched by an attribute of its own and by an argument."""

    def __init__(self, rngs):
        super().__init__(rngs)
        self.is_training = True

    def __call__(self, x, deterministic=False):
        running = not self.is_training
        x = nnx.relu(self.norm(self.hidden(x), use_running_average=running))
        return self.readout(self.norm(self.hidden(X[:2]), deterministic).mean() * 0 + x)


def test_attributes_and_arguments_of_an_nnx_module_are_switched():
    spec = wrapped(nnx.bridge.to_linen(NnxByAttribute), "embed")
    params, state = spec.init(jax.random.key(0), (5,)), spec.init_state((5,))
    found = spec.apply(params, X, state)
    np.testing.assert_allclose(found, reference(params, state, True)[0], rtol=1e-5, atol=1e-6)
    assert np.abs(spec.train_apply(params, state, X)[0] - found).max() > 1e-3


class Noisy(NnxNetwork):
    """The same noise on each input, whatever the mode."""

    def __call__(self, x):
        return super().__call__(x + jax.random.normal(self.drop.rngs(), x.shape[1:]))


def test_random_numbers_of_an_nnx_module_are_refused():
    spec = nnx_spec(rate=0.5)
    params, state = spec.init(jax.random.key(0), (5,)), spec.init_state((5,))
    same = nnx_spec().apply(params, X, state)
    np.testing.assert_array_equal(spec.apply(params, X, state), same)
    with pytest.raises(ValueError, match="NnxNetwork draws random numbers in training mode"):
        spec.train_apply(params, state, X)
    noisy = wrapped(nnx.bridge.to_linen(Noisy, rate=0.5), "embed")
    for call in (noisy.apply, jax.jit(noisy.apply)):
        with pytest.raises(ValueError, match="Noisy draws random numbers in evaluation"):
            call(params, X, state)


def test_another_nnx_class_is_another_description():
    described = nnx_spec().describe()
    assert "class NnxNetwork" in described["source"]
    assert wrapped(nnx.bridge.to_linen(Noisy), "embed").describe() != described


def test_a_mask_that_does_not_fit_an_nnx_norm_is_named():
    class Parts(NnxNetwork):
        def embed(self, x):
            hidden = self.hidden(x)
            return self.norm(jnp.concatenate([hidden, hidden]))[: len(x)]

    spec = wrapped(nnx.bridge.to_linen(Parts), "embed")
    params, state = spec.init(jax.random.key(0), (5,)), spec.init_state((5,))
    with pytest.raises(ValueError, match=r"BatchNorm .*\(14, 4\) for 7 inputs.*take `mask`"):
        spec.train_apply(params, state, X, np.ones(7, bool))
