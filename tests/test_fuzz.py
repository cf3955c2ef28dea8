"""Malformed input at the public boundary: a result, or a ValueError that names what is wrong.

Never another exception, a crash, or a NaN without a word. Sizes are fixed and tiny, so that few
programs are compiled. The long version is slow: 1,000 examples each.
"""

import contextlib
import copy
import itertools
import json
import math
import re
from collections import namedtuple

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import flatvol_jax as fv
from configs.mnist_fcn import get_config
from flatvol_jax.study.attack_sweep import run_attack_sweep
from flatvol_jax.study.measures import chosen_measures
from flatvol_jax.study.plan import plan_runs

N = 4
KEY = jax.random.key(0)
SIGNS = np.array([1, -1, 1, 1])
X = np.random.default_rng(1).normal(size=(N, 3))
GRAM = X @ X.T + np.eye(N)
FCN = fv.FCN((2,))
PARAMS = FCN.init(KEY, (3,))

FEW, MANY = 25, 1000
CASES = {}


def fuzzed(*strategies, few=FEW):
    """Register a check that is called with drawn arguments."""

    def register(check):
        CASES[check.__name__] = (check, strategies, few)
        return check

    return register


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


@st.composite
def arrays(draw, shapes):
    """An array of one of some shapes, of any dtype, order and kind, with nasty values."""
    shape = draw(st.sampled_from(shapes))
    array = np.random.default_rng(draw(st.integers(0, 9))).normal(size=shape)
    kind = draw(st.sampled_from(["normal", "signs", "gram", "unit", "one nasty", "all nasty"]))
    if kind == "signs":
        array = np.where(array > 0, 1.0, -1.0)
    elif kind == "unit":
        array = np.abs(array) / 9
    elif kind == "gram" and len(shape) == 2 and shape[0] == shape[1]:
        array = array @ array.T
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


def checked_volume(found, settled):
    """Where the status says that all is well, all is a number; log V = -inf is said to be so."""
    if found is None:
        return
    for at in np.ndindex(found.log_volume.shape):
        assert found.log_volume[at] < 1e-6 or str(found.status[at]) not in settled, found
        if str(found.status[at]) in settled:
            finite(found.log_volume[at])
        assert len(str(found.status[at])) > 5


@fuzzed(
    mostly(GRAM, anything((N, N), (N, N + 1), (2, N, N), (1, 1), (0, 0))),
    mostly(SIGNS, anything((N,), (2, N), (N + 1,), (0, N))),
    mostly("heaviside", st.just("probit"), SCALARS),
    mostly("ep", st.sampled_from(["ep_corrected", "certified", "EP"]), SCALARS),
    mostly(KEY, anything((2,))),
    st.one_of(
        st.just({}), st.dictionaries(st.sampled_from(["tolerance", "progress", "start"]), SCALARS)
    ),
    st.one_of(st.just({}), st.fixed_dictionaries({"max_iterations": size(200, 500)})),
    few=60,
)
def log_volume(kernel, labels, link, method, key, more, iterations):
    more = {"particles": 8, "replicates": 2, **more, **iterations}
    found = outcome(lambda: fv.log_volume(kernel, labels, link, method, key, **more))
    checked_volume(found, {"converged", "certified"})


@fuzzed(
    mostly(KEY, anything((2,))),
    mostly(GRAM, anything((N, N))),
    mostly(SIGNS, anything((N,))),
    size(8, 64),
    size(2, 64),
    size(1, 4),
    mostly("auto", st.sampled_from(["ep", "prior"]), SCALARS),
)
def estimate_log_volume(key, kernel, labels, particles, replicates, batch_size, proposal):
    more = {"particles": particles, "replicates": replicates}
    more |= {"batch_size": batch_size, "proposal": proposal}
    checked_volume(
        outcome(lambda: fv.estimate_log_volume(key, kernel, labels, **more)), {"certified"}
    )


@fuzzed(
    mostly(FCN, SCALARS),
    mostly(X, anything((N, 3), (N,), (N, 3, 1))),
    mostly(None, anything((N, 3), (2, 3))),
    mostly(None, st.just(3)),
    mostly(None, st.sampled_from([3, [], b"", 1j, "\0"])),
    few=40,
)
def nngp_kernel(spec, x, x2, progress, cache):
    found = outcome(lambda: fv.nngp_kernel(spec, x, x2, progress=progress, cache=cache))
    if found is not None:
        finite(found)


@fuzzed(
    mostly((2,), st.sampled_from([[2], 2, (2, 2), (0,), (2.0,), (2**62,), "2", (True,)])),
    mostly(1.0),
    mostly(1.0),
    mostly(X, arrays([(N, 3)])),
    few=40,
)
def fcn_and_its_kernel(width, sigma_w, sigma_b, x):
    spec = outcome(lambda: fv.FCN(width, sigma_w, sigma_b))
    if spec is None:
        return
    found = outcome(lambda: fv.nngp_kernel(spec, x))
    if found is not None:
        finite(found)


@fuzzed(SCALARS, mostly(1.0), mostly(1.0), few=100)
def fcn(width, sigma_w, sigma_b):
    outcome(lambda: fv.FCN(width, sigma_w, sigma_b))


@fuzzed(
    mostly(KEY, anything((2,))),
    mostly(FCN, SCALARS),
    mostly(X, anything((N, 3), (N,))),
    size(4),
    mostly(None, st.sampled_from([3, [], b"", 1j, "\0"])),
    st.one_of(st.none(), size(2)),
    mostly(None, anything((2, 3), (3, 2))),
)
def monte_carlo_kernel(key, spec, x, samples, cache, block, reference):
    found = outcome(
        lambda: fv.monte_carlo_kernel(
            key, spec, x, samples, cache, block=block, reference=reference
        )
    )
    if found is not None:
        finite(found)


def square(params):
    return sum(jnp.sum(jnp.asarray(leaf, float) ** 2) for leaf in jax.tree.leaves(params))


def batch_square(params, batch):
    return square(params) + jnp.sum(jnp.asarray(jax.tree.leaves(batch)[0], float))


LOSSES = st.sampled_from(
    [
        *(None, 3, "loss", lambda p: p, lambda p: jnp.nan, lambda p: jnp.ones(2), lambda p: None),
        *(lambda p: 3, lambda p: "3", lambda p: 1j, lambda: 0, lambda p, q, r: 0, lambda p: -2.0),
        *(
            lambda p, *q: jnp.inf,
            lambda p, *q: -jnp.inf,
            lambda p, *q: 10**400,
            lambda p, *q: [1.0],
        ),
        *(lambda p, *q: 1e300 * square(p), lambda p, *q: jnp.int32(2), lambda p, *q: jnp.bool_(1)),
    ]
)
PARAMETERS = st.one_of(
    anything((3,)),
    st.builds(lambda a, b: {"a": a, "b": b}, anything((3,)), anything((2,))),
    st.builds(lambda a, b: [a, {1: b}], anything((3,)), anything((2,))),
)
POINT = {"a": np.ones(3)}


@fuzzed(
    mostly(square, LOSSES),
    mostly(POINT, PARAMETERS),
    mostly(1e-3),
    mostly("sign", st.sampled_from(["best", "lbfgsb"]), SCALARS),
    mostly(KEY, anything((2,))),
    few=40,
)
def sharpness(loss, params, epsilon, method, key):
    found = outcome(lambda: fv.sharpness(loss, params, epsilon, method, key))
    if found is not None:
        finite(*(value for value in found if not isinstance(value, bool)))


@fuzzed(
    mostly(KEY, anything((2,))),
    mostly(batch_square, LOSSES),
    mostly(POINT, PARAMETERS),
    mostly((np.ones(N),), PARAMETERS),
    mostly(1e-3),
    size(2),
    mostly(1e-3),
    size(2, 4),
    few=40,
)
def sgd_sharpness(key, loss, params, data, epsilon, batch_size, learning_rate, epochs):
    arguments = key, loss, params, data, epsilon, batch_size, learning_rate, epochs
    found = outcome(lambda: fv.sgd_sharpness(*arguments))
    if found is not None:
        finite(*(value for value in found if not isinstance(value, bool)))


@fuzzed(
    mostly(KEY, anything((2,))),
    mostly(square, LOSSES),
    mostly(POINT, PARAMETERS),
    mostly(2),
    mostly("hessian", st.just("gauss_newton"), SCALARS),
    few=40,
)
def hessian_eigenvalues(key, loss, params, k, operator):
    found = outcome(lambda: fv.hessian_eigenvalues(key, loss, params, k, operator))
    if found is not None:
        assert not np.isnan(found.values[found.converged]).any()
        finite(found.values[found.converged], found.residuals[found.converged])


@fuzzed(
    mostly(-10.0, anything((2,))),
    mostly(100),
    mostly(0.05),
    mostly(None, st.just(50), SCALARS),
    few=60,
)
def prior_bound(log_volume, train_size, delta, test_size):
    found = outcome(lambda: fv.prior_bound(log_volume, train_size, delta, test_size))
    if found is not None:
        finite(found)


def with_leaf(path, leaf):
    """FCN parameters with one leaf that is something else."""
    params = copy.deepcopy(jax.tree.map(np.asarray, PARAMS))
    params[path[0]][path[1]] = leaf
    return params


PATHS = list(itertools.product(["layer_1", "layer_2"], ["kernel", "bias"]))


@fuzzed(
    mostly(FCN),
    mostly(
        PARAMS,
        PARAMETERS,
        st.builds(with_leaf, st.sampled_from(PATHS), anything((3, 2), (2,), (2, 1))),
    ),
    mostly(1),
    mostly(2.0, anything((2,))),
    few=80,
)
def alpha_scale(spec, params, layer, alpha):
    found = outcome(lambda: fv.alpha_scale(spec, params, layer, alpha))
    if found is not None:
        finite(*jax.tree.leaves(found))


@fuzzed(
    mostly(KEY, anything((2,))),
    mostly(FCN),
    mostly(X, anything((N, 3), (N,))),
    size(8),
    mostly(None),
    size(1, 4),
    size(16),
    mostly(False, st.just(True)),
    few=40,
)
def sample_functions(key, spec, x, samples, top, readouts, chunk_size, symmetric):
    more = {"readouts": readouts, "chunk_size": chunk_size, "symmetric": symmetric}
    found = outcome(lambda: fv.sample_functions(key, spec, x, samples, top, **more))
    if found is not None:
        assert 0 < found.counts.sum() <= samples == found.samples
        finite(found.log_volume, found.standard_error)


@fuzzed(st.one_of(mostly("boolean2"), st.sampled_from(["mnist5k", "Mnist5k"])), SCALARS)
def load(name, data_dir):
    found = outcome(lambda: fv.data.load(name, data_dir))
    assert found is None or (found.x.dtype == np.float32 and len(found.x) == len(found.y))


Five = namedtuple("Five", "x y name")  # as a Dataset, but another class
DATASETS = st.one_of(
    SCALARS,
    st.builds(
        fv.data.Dataset,
        mostly(X, anything((N, 3), (N,))),
        mostly(np.arange(N), anything((N,))),
        mostly("name"),
    ),
    st.just(Five(X, SIGNS, "five")),
    st.just((X, SIGNS, "tuple")),
)


@fuzzed(
    mostly(fv.data.Dataset(X, np.arange(N), "name"), DATASETS),
    mostly([0, 1], anything((2,))),
    mostly([2, 3], anything((2,))),
    few=60,
)
def binarise(dataset, negative, positive):
    found = outcome(lambda: fv.data.binarise(dataset, negative, positive))
    assert found is None or set(found.y) == {-1, 1}


@fuzzed(
    mostly(KEY, anything((2,))),
    mostly(fv.data.Dataset(X, SIGNS, "name"), DATASETS),
    mostly(1),
    mostly(1),
    mostly(1),
    mostly(None),
    few=60,
)
def draw(key, dataset, train, attack, test, second):
    found = outcome(lambda: fv.data.draw(key, dataset, train, attack, test, second))
    if found is not None:
        rows = np.concatenate([part.index for part in found])
        assert len(set(rows)) == len(rows)
        finite(*(part.x for part in found))


@fuzzed(
    mostly(np.abs(X) / 9, anything((N, 3), (N,), (2, 2, 2, 1))),
    mostly("unit", st.just("standardise"), SCALARS),
    mostly(X, anything((N, 3), (2, 2, 2, 1))),
    few=100,
)
def preprocess(x, name, reference):
    found = outcome(lambda: fv.data.preprocess(x, name, reference))
    if found is not None:
        finite(found)


@pytest.mark.parametrize("name", CASES)
def test_every_outcome_is_a_result_or_a_refusal(name):
    run(*CASES[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_so_are_many(name):
    run(*CASES[name][:2], MANY)


CONFIG = json.loads(get_config("smoke").to_json())


def entries(tree, at=()):
    for name, value in tree.items():
        yield (*at, name)
        if isinstance(value, dict):
            yield from entries(value, (*at, name))


ENTRIES = list(entries(CONFIG))


class Accepted(BaseException):
    """Ends a sweep that got beyond its checks."""


def accepted(done, total, text):
    raise Accepted


def mutated(path, value):
    config = copy.deepcopy(CONFIG)
    inner = config
    for name in path[:-1]:
        inner = inner[name]
    if value == "missing":
        del inner[path[-1]]
    elif value == "unknown":
        inner[f"{path[-1]}_"] = 1
    else:
        inner[path[-1]] = value
    return config


def check_config(folder, config):
    outcome(lambda: chosen_measures(config))
    outcome(lambda: plan_runs(config))
    with contextlib.suppress(Accepted):
        outcome(lambda: run_attack_sweep(config, folder / "w", progress=accepted))


CHANGES = st.one_of(SCALARS, st.sampled_from(["missing", "unknown", [0], [0, 0], {"on": True}]))


@pytest.mark.parametrize("examples", [150, pytest.param(MANY, marks=pytest.mark.slow)])
def test_a_config_with_one_wrong_entry(tmp_path_factory, examples):
    def check(path, value):
        check_config(tmp_path_factory.mktemp("fuzz"), mutated(path, value))

    run(check, (st.sampled_from(ENTRIES), CHANGES), examples)


@pytest.mark.parametrize("config", [None, {}, [], "config", {"hp": 3}, {"sweep": {}}, 3])
def test_what_is_no_config_is_refused(tmp_path, config):
    for call in (chosen_measures, plan_runs, lambda it: run_attack_sweep(it, tmp_path / "w")):
        assert outcome(lambda call=call: call(config)) is None


def test_every_group_may_miss_each_of_its_entries(tmp_path):
    for number, path in enumerate(ENTRIES):
        check_config(tmp_path / str(number), mutated(path, "missing"))
