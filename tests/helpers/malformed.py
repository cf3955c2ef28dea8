"""Malformed input drawn by hypothesis, and what may come of it: a result, or a ValueError."""

import math
import re

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import scipy.sparse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FEW, MANY = 25, 1000
N = 4  # of most arrays
KEY = jax.random.key(0)


def run(check, strategies, examples):
    profile = settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    profile(given(*strategies)(check))()


class Refuses:
    """What makes no array."""

    def __array__(self, *_, **__):
        raise RuntimeError("no array of this")


NASTY = [
    *(None, True, False, 0, -1, 1, 2, 3, 2**31, 2**62, 2**63 - 1, 2**63, -(2**63), 10**400),
    *(0.5, -0.0, 2.0, 1e-320, 1e-40, 1e39, 1e300, math.nan, math.inf, -math.inf, 1j),
    *("", "ep", "1", "mnist", "\0", "x" * 300, b"1", object, object(), len, Refuses()),
    *([], [1], [[1, 2], [3]], (), (2, None), {}, {"a": 1}, {"a": 1, 2: 3}, {1}, range(2)),
    *(np.float32(2), np.float64(math.nan), np.int8(3), np.uint64(2**64 - 1), np.str_("ep")),
    *(np.array(2), np.array([2]), np.array(None), np.array("ep"), np.datetime64("2020")),
    *(jnp.asarray(2.0), jnp.asarray(2, jnp.bfloat16), np.ma.masked, np.ma.masked_array([1.0])),
    *(jax.random.key(1), jax.random.split(KEY), jax.random.PRNGKey(2), KEY),
]


@st.composite
def scalars(draw):
    """A strategy with a short name: failures print it."""
    return NASTY[draw(st.integers(0, len(NASTY) - 1))]


SCALARS = scalars()
DTYPES = [
    "f4",
    "f8",
    ">f8",
    "f2",
    "g",
    "i1",
    "i8",
    ">i4",
    "u4",
    "u8",
    "?",
    "c16",
    "O",
    "U3",
    "M8[s]",
]
VALUES = st.sampled_from([-1.0, 0.0, 1.0, 2.0, 1e-320, 1e300, -1e300, math.nan, math.inf, 1e39])


KINDS = [
    *("normal", "signs", "gram", "unit", "one nasty", "all nasty"),
    *("scaled", "scaled gram", "low rank", "repeated", "nearly repeated"),
]


@st.composite
def arrays(draw, shapes):
    """An array of one of some shapes, of any dtype, order and kind, with nasty values."""
    shape = draw(st.sampled_from(shapes))
    array = np.random.default_rng(draw(st.integers(0, 9))).normal(size=shape)
    kind = draw(st.sampled_from(KINDS))
    if kind == "signs":
        array = np.where(array > 0, 1.0, -1.0)
    elif kind == "unit":
        array = np.abs(array) / 9
    elif kind == "gram" and len(shape) == 2 and shape[0] == shape[1]:
        array = array @ array.T
    elif kind == "scaled" and array.size:
        array = array * 10.0 ** np.linspace(-5, 5, array.shape[-1] if array.ndim else 1)
    elif kind == "scaled gram" and len(shape) == 2 and shape[0] == shape[1]:
        scale = 10.0 ** np.linspace(-5, 5, shape[0])
        array = array @ array.T * np.outer(scale, scale)
    elif kind == "low rank" and len(shape) == 2 and array.size:
        array = array[:, :1] @ array[:1, :]
    elif kind in ("repeated", "nearly repeated") and array.size and array.ndim:
        nearly = draw(st.integers(-16, -1)) if kind == "nearly repeated" else None
        array[-1] = array[0] * (1 if nearly is None else 1 + 10.0**nearly)
    elif kind == "one nasty" and array.size:
        array.flat[draw(st.integers(0, array.size - 1))] = draw(VALUES)
    elif kind == "all nasty":
        array = np.full(shape, draw(VALUES))
    with np.errstate(all="ignore"):
        array = np.asarray(array).astype(
            draw(st.sampled_from(["f8", "f8", ml_dtypes.bfloat16, *DTYPES]))
        )
    return draw(st.sampled_from(WRAPS))(array)


def read_only(array):
    array = array.copy()
    array.setflags(write=False)
    return array


def sparse(array):
    known = array.ndim == 2 and array.dtype.kind in "iufb" and array.dtype.itemsize > 1
    known = known and array.dtype.isnative
    return scipy.sparse.csr_array(array) if known and array.dtype.char not in "egE" else array


def on_device(array):
    known = array.dtype.isnative and array.dtype.kind in "fiub" and array.dtype != np.longdouble
    return jnp.asarray(array) if known else array


WRAPS = [
    lambda array: array,
    np.asfortranarray,
    read_only,
    on_device,
    np.ndarray.tolist,
    lambda array: np.ma.masked_array(array, False),
    lambda array: np.ma.masked_array(array, True),
    lambda array: np.repeat(array, 2, axis=-1)[..., ::2] if array.ndim else array,
    lambda array: array[::-1] if array.ndim else array,
    lambda array: list(array) if array.ndim else array,
    sparse,
]


def anything(*shapes):
    return st.one_of(arrays([*shapes, (), (0,), (N, 0), (N, 1, 1)]), arrays([shapes[0]]), SCALARS)


def mostly(good, *strategies):
    """The good value as often as all others together: else no call gets beyond one argument."""
    return st.one_of(st.just(good), st.one_of(*(strategies or (SCALARS,))))


def size(good, most=100):
    """A number of something: what is too much to wait for is left out, what is absurd is not."""
    return mostly(good).filter(lambda n: not isinstance(n, int) or not most < n < 2**40)


def outcome(call):
    """The result of a call, or None for its refusal, which must say what of."""
    try:
        return call()
    except ValueError as error:
        refusal = str(error)
    # Outside the clause: hypothesis tells failures apart by the exceptions that they come from.
    assert len(refusal) >= 20, refusal
    assert re.match(r"[\w.]+[^:\n]{0,80}: ", refusal), refusal
    assert len(refusal) < 1500, refusal[:3000]
    return None


def finite(*values):
    for value in values:
        assert np.isfinite(np.asarray(value, np.float64)).all(), value
