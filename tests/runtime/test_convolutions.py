"""Convolutions with channels last give what JAX's own give, wherever they stand in a program."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import flatvol_jax as fv
from flatvol_jax.runtime.convolutions import _convolves, _programs, fast_convolutions

LAYOUTS = {"first": ("NCHW", "OIHW", "NCHW"), "last": ("NHWC", "HWIO", "NHWC")}
OPTIONS = {
    "plain": {},
    "strided": {"window_strides": (2, 3), "padding": ((1, 2), (0, 1))},
    "dilated": {"rhs_dilation": (2, 1), "padding": "SAME"},
    "transposed": {"lhs_dilation": (2, 2), "padding": ((1, 0), (2, 1))},
    "grouped": {"feature_group_count": 2},
}


def problem(layout, options):
    """A function of images and weights, and both."""
    options = {"window_strides": (1, 1), "padding": "VALID", **options}
    groups = options.get("feature_group_count", 1)
    rng = np.random.default_rng(0)
    sizes = {"N": 3, "C": 4, "H": 7, "W": 8}
    x = rng.normal(size=[sizes[name] for name in layout[0]])
    sizes = {"O": 6, "I": 4 // groups, "H": 3, "W": 2}
    w = rng.normal(size=[sizes[name] for name in layout[1]])

    def convolved(x, w):
        return jax.lax.conv_general_dilated(x, w, dimension_numbers=layout, **options)

    return convolved, x, w


def layouts(jaxpr):
    """Yield where each convolution of a program, and of the programs in it, has its channels."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "conv_general_dilated":
            numbers = equation.params["dimension_numbers"]
            yield numbers.lhs_spec, numbers.rhs_spec, numbers.out_spec
        for option in equation.params.values():
            for inner in _programs(option):
                yield from layouts(inner)


LAST = {((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2))}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_values_and_both_derivatives_are_those_of_jax(layout, options):
    with jax.enable_x64(True):
        convolved, x, w = problem(layout, options)

        def curved(x, w):
            return jnp.sum(jnp.sin(convolved(x, w)))

        def twice(x, w):
            return jax.jvp(jax.grad(curved, (0, 1)), (x, w), (jnp.cos(x), jnp.cos(w)))

        for function in (convolved, twice):  # `twice` has the gradient beside its derivative
            fast = jax.jit(fast_convolutions(function))
            given, wanted = (
                jax.tree.leaves(program(x, w)) for program in (fast, jax.jit(function))
            )
            for a, b in zip(given, wanted, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
        found = set(layouts(jax.make_jaxpr(jax.jit(fast_convolutions(twice)))(x, w).jaxpr))
        if "feature_group_count" not in options:
            assert found == LAST


def in_scan(step, x):
    return jax.lax.scan(lambda x, _: (step(x), None), x, length=3)[0]


def in_while(step, x):
    return jax.lax.while_loop(lambda c: c[1] < 3, lambda c: (step(c[0]), c[1] + 1), (x, 0))[0]


def in_branch(step, x):
    return jax.lax.cond(x.sum() < 1e9, step, lambda x: x, x)


def in_map(step, x):
    return jax.lax.map(lambda row: step(row[None])[0], x, batch_size=2)


PLACES = {
    "scan": in_scan,
    "while": in_while,
    "branch": in_branch,
    "map": in_map,
    "jit": lambda step, x: jax.jit(step)(x),
    "checkpoint": lambda step, x: jax.checkpoint(step)(x),
    "custom derivative": lambda step, x: jax.nn.relu(step(x)),
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_in_whatever_part_of_a_program_they_stand(place):
    rng = np.random.default_rng(1)
    x, w = (rng.normal(size=size).astype(np.float32) for size in ((5, 3, 6, 6), (3, 3, 3, 3)))

    def step(x):
        return 0.1 * jax.lax.conv_general_dilated(x, w, (1, 1), "SAME")  # channels first

    function = functools.partial(place, step)
    fast = jax.jit(fast_convolutions(function))
    np.testing.assert_allclose(fast(x), jax.jit(function)(x), rtol=1e-4, atol=1e-6)
    assert set(layouts(jax.make_jaxpr(fast)(x).jaxpr)) == LAST


def test_one_dimension():
    x, w = np.ones((2, 3, 9)), np.arange(12.0).reshape(2, 3, 2)

    def convolved(x, w):
        return jax.lax.conv_general_dilated(x, w, (2,), "VALID")

    with jax.enable_x64(True):
        given = jax.jit(fast_convolutions(jax.jacrev(convolved)))(x, w)
        np.testing.assert_allclose(given, jax.jacrev(convolved)(x, w))


def test_a_program_without_convolutions_stays():
    def loss(params, x, power, scale=2.0):
        return jnp.sum(jax.nn.relu(x @ params) ** power) * scale

    arguments = jnp.ones((3, 2)), jnp.ones((4, 3))
    programs = [
        str(jax.make_jaxpr(jax.jit(function, static_argnums=2), static_argnums=2)(*arguments, 3))
        for function in (loss, fast_convolutions(loss))
    ]
    assert programs[0] == programs[1]


def test_outside_of_a_program_it_is_the_function():
    calls = []
    assert fast_convolutions(lambda x: calls.append(x) or x)(3) == 3
    assert calls == [3]


def test_training_and_curvature_of_a_network_have_none_in_another_layout():
    spec = fv.ResNet(depth=18, width=2)
    images = np.random.default_rng(2).normal(size=(6, 8, 8, 3)).astype(np.float32)
    params, state = spec.init(jax.random.key(0), (8, 8, 3)), spec.init_state((8, 8, 3))

    def gradient(params):
        return jax.grad(lambda p: spec.apply(p, images, state).sum())(params)

    before, after = (
        set(layouts(jax.make_jaxpr(jax.jit(function))(params).jaxpr))
        for function in (gradient, fast_convolutions(gradient))
    )
    assert len(before) > 1
    assert after == LAST
    assert _convolves(jax.make_jaxpr(gradient)(params).jaxpr)
