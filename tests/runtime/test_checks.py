"""Checks at the boundary: what passes comes back as it should, what fails is named."""

import fractions
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flatvol_jax.runtime import checks


class Refuses:
    def __array__(self, *_, **__):
        raise RuntimeError("no array of this\nat all")

    def __repr__(self):
        raise RuntimeError("nor a text")


@pytest.mark.parametrize("value", [[[1, 2], [3]], Refuses(), np.ma.masked_array([1, 2], [0, 1])])
def test_what_makes_no_array_is_named(value):
    with pytest.raises(ValueError, match="^weights: got "):
        checks.concrete("weights", value)


def test_other_byte_orders_and_long_doubles_become_the_machines():
    for dtype in (">f8", ">i4", "<f4", np.longdouble):
        found = checks.finite("x", np.array([1, 2], dtype))
        assert found.dtype.isnative
        assert found.dtype.itemsize <= 8
        assert list(found) == [1, 2]
    with pytest.raises(ValueError, match="x: got 1 NaN or infinite entries"):
        checks.finite("x", np.array([np.longdouble("1e4000")]))


def test_masked_arrays_without_a_masked_entry_are_arrays():
    assert type(checks.concrete("x", np.ma.masked_array([1, 2]))) is np.ndarray


@pytest.mark.parametrize("value", [["a"], [None], [1j], {}, "1", np.array([{}]), [fractions]])
def test_what_is_no_number_is_named(value):
    with pytest.raises(ValueError, match="^x: got dtype .*, wanted real numbers"):
        checks.finite("x", value)


def test_numbers_beyond_float32_are_named():
    assert checks.float32("x", [1e-300, 1e38]).dtype == np.float32
    with pytest.raises(ValueError, match=r"^x: got numbers up to 1e\+39, which overflow float32"):
        checks.float32("x", [1.0, -1e39])


@pytest.mark.parametrize(
    "value", [2, 2.0, np.float32(2), np.array(2), jnp.asarray(2.0), fractions.Fraction(2)]
)
def test_one_number_of_any_kind(value):
    for check in (checks.number, checks.positive, checks.non_negative):
        found = check("x", value)
        assert type(found) is float
        assert found == 2.0


NO_NUMBERS = [None, True, "2", [2], np.ones(1), 2j, math.nan, math.inf, 10**400, {}, Refuses()]


@pytest.mark.parametrize("value", NO_NUMBERS)
def test_what_is_not_one_finite_number_is_named(value):
    for check in (checks.number, checks.positive, checks.non_negative, checks.chance):
        with pytest.raises(ValueError, match="^x: got .*, wanted a "):
            check("x", value)


@pytest.mark.parametrize("value", [*NO_NUMBERS, 1.5, np.float64(2), 0, -1, 2**63, np.array(2)])
def test_what_is_no_count_is_named(value):
    with pytest.raises(ValueError, match="^x: got .*, wanted a"):
        checks.count("x", value)
    assert checks.count("x", np.int8(2)) == 2


@pytest.mark.parametrize("value", [None, 1, ["a"], np.array(["a", "b"]), "A", Refuses()])
def test_what_is_no_option_is_named(value):
    with pytest.raises(ValueError, match="^x: got .*, wanted one of a, b"):
        checks.one_of("x", value, ("a", "b"))


def test_a_chance_lies_between_0_and_1():
    assert checks.chance("x", np.float64(0.5)) == 0.5
    for value in (0, 1, -0.1, 2):
        with pytest.raises(ValueError, match="^x: got .*, wanted a probability strictly between"):
            checks.chance("x", value)


def test_keys_of_both_kinds_are_one():
    typed, data = jax.random.key(3), jax.random.PRNGKey(3)
    for key in (typed, data, np.asarray(data)):
        found = checks.random_key("key", key)
        assert jax.random.key_data(found).tolist() == jax.random.key_data(typed).tolist()
    assert checks.random_key("key", jax.random.key(3, impl="rbg")).dtype != typed.dtype


@pytest.mark.parametrize(
    "value",
    [None, 0, "key", np.zeros(2), np.zeros(3, np.uint32), jax.random.split(jax.random.key(0))],
)
def test_what_is_no_key_is_named(value):
    with pytest.raises(ValueError, match=r"^key: got .*, wanted one JAX random key. Try jax"):
        checks.random_key("key", value)


def test_a_tracer_is_told_where_the_boundary_is():
    for check in (checks.concrete, checks.finite, checks.positive, checks.random_key):
        with pytest.raises(ValueError, match="x: got a JAX tracer .* call it outside jit"):
            jax.jit(lambda value, check=check: check("x", value))(jnp.ones(()))


def test_functions_and_folders_may_be_left_out(tmp_path):
    assert checks.function("progress", None) is None
    assert checks.folder("cache", None) is None
    assert checks.folder("cache", str(tmp_path)) == tmp_path
    with pytest.raises(ValueError, match="^progress: got 3, wanted a function, or None"):
        checks.function("progress", 3)
    with pytest.raises(ValueError, match="^cache: got 3, wanted a path, or None"):
        checks.folder("cache", 3)
