"""Malformed input at the public boundary: a result, or a ValueError that names what is wrong.

Never another exception, a crash, or a NaN without a word. Sizes are fixed and tiny, so that few
programs are compiled. The long version runs on request.
"""

import copy
import json
import math
import os

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

LONG = os.environ.get("FLATVOL_FUZZ")  # examples of each test, for hours of it
PROFILE = settings(
    max_examples=int(LONG or 25),
    derandomize=not LONG,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
N = 4


def read_only(array):
    array.setflags(write=False)
    return array


SCALARS = st.sampled_from(
    [
        None,
        True,
        0,
        -1,
        1,
        2,
        2**31,
        2**63,
        10**400,
        0.5,
        -0.0,
        1e-320,
        1e300,
        math.nan,
        math.inf,
        -math.inf,
        1j,
        "",
        "ep",
        "1",
        b"1",
        [],
        [1],
        [[1, 2], [3]],
        {},
        {"a": 1},
        object,
        np.float32(2),
        np.int8(3),
        np.array(2),
        np.array(None),
        jnp.asarray(2.0),
    ]
)
DTYPES = ["f4", "f8", ">f8", "f2", "i1", "i8", "u4", "?", "c16", "O", "U3", ml_dtypes.bfloat16]
VALUES = st.sampled_from([-1.0, 0.0, 1.0, 2.0, 1e-320, 1e300, math.nan, math.inf, 1e39])


@st.composite
def arrays(draw, shapes):
    """An array of one of some shapes, of any dtype, order and kind, with nasty values."""
    shape = draw(st.sampled_from(shapes))
    seed = draw(st.integers(0, 9))
    array = np.random.default_rng(seed).normal(size=shape)
    kind = draw(st.sampled_from(["normal", "signs", "gram", "one nasty", "all nasty"]))
    if kind == "signs":
        array = np.where(array > 0, 1.0, -1.0)
    elif kind == "gram" and len(shape) == 2 and shape[0] == shape[1]:
        array = array @ array.T
    elif kind == "one nasty" and array.size:
        array.flat[draw(st.integers(0, array.size - 1))] = draw(VALUES)
    elif kind == "all nasty":
        array = np.full(shape, draw(VALUES))
    with np.errstate(all="ignore"):
        array = array.astype(draw(st.sampled_from(DTYPES)))
    wrap = draw(st.sampled_from(["", "", "F", "read only", "masked", "jax", "list", "strided"]))
    if wrap == "F":
        return np.asfortranarray(array)
    if wrap == "read only":
        return read_only(array.copy())
    if wrap == "masked":
        return np.ma.masked_array(array, draw(st.booleans()))
    if wrap == "list":
        return array.tolist()
    if wrap == "strided":
        return np.repeat(array, 2, axis=-1)[..., ::2] if array.ndim else array
    if wrap == "jax" and array.dtype.isnative and array.dtype.kind in "fiub":
        return jnp.asarray(array)
    return array


def anything(*shapes):
    return st.one_of(arrays([*shapes, (), (0,), (N, 1, 1)]), arrays([shapes[0]]), SCALARS)


def mostly(good, strategy):
    """The good value as often as all others together: else no call gets beyond one argument."""
    return st.one_of(st.just(good), strategy)


def outcome(call, *finite):
    """The result of a call, whose named fields are finite or explained; or its refusal, checked."""
    refusal = None
    try:
        result = call()
    except ValueError as error:
        refusal = str(error)
    if refusal is not None:
        assert len(refusal) >= 20, refusal
        assert ":" in refusal or "got" in refusal, refusal
        return None
    for name in finite:
        value = np.asarray(getattr(result, name), np.float64)
        told = getattr(result, "status", None)
        assert np.isfinite(value).all() or np.size(told), (name, value)
        assert not np.isnan(value).any(), (name, value)
    return result


def gram():
    x = np.random.default_rng(0).normal(size=(N, 3))
    return x @ x.T + np.eye(N)


SIGNS = np.array([1, -1, 1, 1])
KEY = jax.random.key(0)
X = np.random.default_rng(1).normal(size=(N, 3))
PARAMS = fv.FCN((2,)).init(KEY, (3,))


@PROFILE
@given(
    mostly(gram(), anything((N, N), (N, N + 1), (2, N, N))),
    mostly(SIGNS, anything((N,), (2, N), (N + 1,))),
    mostly("heaviside", SCALARS),
    mostly("ep", st.one_of(st.sampled_from(["ep_corrected", "EP"]), SCALARS)),
    st.one_of(st.none(), mostly(1e-10, SCALARS)),
)
def test_log_volume(kernel, labels, link, method, tolerance):
    more = {} if tolerance is None else {"tolerance": tolerance}
    outcome(lambda: fv.log_volume(kernel, labels, link, method, KEY, **more), "log_volume")


@PROFILE
@given(
    mostly(KEY, anything((2,))),
    mostly(gram(), anything((N, N))),
    mostly(SIGNS, anything((N,))),
    mostly(8, SCALARS),
)
def test_estimate_log_volume(key, kernel, labels, particles):
    small = isinstance(particles, int) and particles > 64
    more = {"particles": 8 if small and particles < 2**62 else particles, "replicates": 2}
    outcome(lambda: fv.estimate_log_volume(key, kernel, labels, **more), "log_volume")


@PROFILE
@given(mostly(X, anything((N, 3), (N,))), st.one_of(st.none(), anything((N, 3), (2, 3))))
def test_nngp_kernel(x, x2):
    found = outcome(lambda: fv.nngp_kernel(fv.FCN((2,)), x, x2))
    assert found is None or np.isfinite(found).all()


@PROFILE
@given(mostly(KEY, anything((2,))), mostly(X, anything((N, 3), (N,))), mostly(4, SCALARS))
def test_monte_carlo_kernel(key, x, samples):
    if isinstance(samples, int) and 100 < samples < 2**62:
        samples = 5
    found = outcome(lambda: fv.monte_carlo_kernel(key, fv.FCN((2,)), x, samples))
    assert found is None or np.isfinite(found).all()


def loss(params):
    return sum(jnp.sum(jnp.asarray(leaf, float) ** 2) for leaf in jax.tree.leaves(params))


PARAMETERS = st.one_of(
    anything((3,)), st.builds(lambda a, b: {"a": a, "b": b}, anything((3,)), anything((2,)))
)


@PROFILE
@given(
    mostly({"a": np.ones(3)}, PARAMETERS),
    mostly(1e-3, SCALARS),
    mostly("sign", SCALARS),
    mostly(loss, st.sampled_from([None, 3, lambda p: p, lambda p: jnp.nan, lambda p: jnp.ones(2)])),
)
def test_sharpness(params, epsilon, method, function):
    outcome(lambda: fv.sharpness(function, params, epsilon, method), "value")


@PROFILE
@given(mostly(KEY, anything((2,))), mostly({"a": np.ones(3)}, PARAMETERS), mostly(2, SCALARS))
def test_hessian_eigenvalues(key, params, k):
    outcome(lambda: fv.hessian_eigenvalues(key, loss, params, k), "values")


@PROFILE
@given(
    mostly(-10.0, anything((2,))),
    mostly(100, SCALARS),
    mostly(0.05, SCALARS),
    st.one_of(st.none(), mostly(50, SCALARS)),
)
def test_prior_bound(log_volume, train_size, delta, test_size):
    found = outcome(lambda: fv.prior_bound(log_volume, train_size, delta, test_size))
    assert found is None or not np.isnan(found).any()


@PROFILE
@given(mostly(PARAMS, PARAMETERS), mostly(1, SCALARS), mostly(2.0, SCALARS))
def test_alpha_scale(params, layer, alpha):
    outcome(lambda: fv.alpha_scale(fv.FCN((2,)), params, layer, alpha))


@PROFILE
@given(
    mostly(KEY, anything((2,))),
    mostly(X, anything((N, 3), (N,))),
    mostly(8, SCALARS),
    st.one_of(st.none(), SCALARS),
)
def test_sample_functions(key, x, samples, top):
    if isinstance(samples, int) and 100 < samples < 2**62:
        samples = 9
    spec = fv.FCN((2,))
    found = outcome(lambda: fv.sample_functions(key, spec, x, samples, top, chunk_size=16))
    assert found is None or found.counts.sum() <= samples


@PROFILE
@given(mostly((2,), SCALARS), mostly(1.0, SCALARS), mostly(1.0, SCALARS))
def test_specs(width, sigma_w, sigma_b):
    outcome(lambda: fv.FCN(width, sigma_w, sigma_b))


@PROFILE
@given(mostly("mnist5k", SCALARS), mostly([0, 1], SCALARS), mostly([2, 3], SCALARS))
def test_data(name, negative, positive):
    dataset = outcome(lambda: fv.data.load(name))
    if dataset is not None:
        outcome(lambda: fv.data.binarise(dataset, negative, positive))


@PROFILE
@given(mostly(X, anything((N, 3), (N,))), mostly("unit", SCALARS))
def test_preprocess(x, kind):
    found = outcome(lambda: fv.data.preprocess(x, kind))
    assert found is None or np.isfinite(found).all()


CONFIG = json.loads(get_config("smoke").to_json())


def leaves(tree, at=()):
    for name, value in tree.items():
        yield (*at, name)
        if isinstance(value, dict):
            yield from leaves(value, (*at, name))


@pytest.fixture(scope="module")
def stopped():
    """A progress callback that ends a sweep which got beyond its checks."""

    class Accepted(Exception):
        pass

    def progress(done, total, text):
        raise Accepted

    return Accepted, progress


@settings(PROFILE, max_examples=int(LONG or 120))
@given(
    st.sampled_from(list(leaves(CONFIG))),
    st.one_of(SCALARS, st.sampled_from(["missing", "unknown"])),
)
def test_a_config_with_one_wrong_entry(stopped, tmp_path_factory, path, value):
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
    accepted, progress = stopped
    outcome(lambda: chosen_measures(config))
    runs = outcome(lambda: plan_runs(config) if _few(config) else [])
    if runs is None or len(runs) > 100 or not _few(config):
        return
    workdir = tmp_path_factory.mktemp("fuzz")
    try:
        outcome(lambda: run_attack_sweep(config, workdir / "w", progress=progress))
    except accepted:
        return


def _few(config):
    """Not a plan of billions of runs, which is no mistake of the program's."""
    try:
        sweep = config["sweep"]
        return sweep["draws"] * sweep["samples"] * len(sweep["attack_sizes"]) < 1000
    except (KeyError, TypeError):
        return True
