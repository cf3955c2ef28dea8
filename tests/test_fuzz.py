"""Malformed input at the public boundary: a result, or a ValueError that names what is wrong.

Never another exception, a crash, or a NaN without a word. Sizes are fixed and tiny, so that few
programs are compiled. The long version is slow: 1,000 examples each.
"""

import copy
import itertools
from collections import namedtuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st
from malformed import (
    FEW,
    KEY,
    MANY,
    SCALARS,
    N,
    anything,
    arrays,
    finite,
    mostly,
    outcome,
    run,
    size,
)

import flatvol_jax as fv

SIGNS = np.array([1, -1, 1, 1])
X = np.random.default_rng(1).normal(size=(N, 3))
GRAM = X @ X.T + np.eye(N)
FCN = fv.FCN((2,))
PARAMS = FCN.init(KEY, (3,))
CERTIFIED = (fv.volume.CERTIFIED, fv.volume.CERTIFIED_GIVEN_KERNEL)
CASES = {}


def fuzzed(*strategies, few=FEW):
    """Register a check that is called with drawn arguments."""

    def register(check):
        CASES[check.__name__] = (check, strategies, few)
        return check

    return register


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
    checked_volume(found, {"converged", *CERTIFIED})


@fuzzed(
    mostly(GRAM, anything((N, N), (N, N + 1), (2, N, N), (1, 1), (0, 0))),
    mostly(X[:, 0], anything((N,), (2, N), (N + 1,), (0, N))),
    mostly(0.1, anything((N,))),
    few=60,
)
def log_evidence(kernel, targets, noise):
    found = outcome(lambda: fv.log_evidence(kernel, targets, noise))
    if found is not None:
        finite(found.log_evidence, found.leave_one_out, found.variances)


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
        outcome(lambda: fv.estimate_log_volume(key, kernel, labels, **more)), set(CERTIFIED)
    )


@fuzzed(
    mostly(GRAM, anything((N, N), (N, N + 1), (2, N, N), (1, 1), (0, 0))),
    mostly(np.array([0, 2, 1, 2]), anything((N,), (2, N), (N, 3), (N + 1,), (0, N))),
    mostly(3, st.sampled_from([1, 2, 0, -1, 3.0, True, "3", None, 4])),
    mostly("ep", st.sampled_from(["ep_corrected", "certified", "EP"]), SCALARS),
    mostly(KEY, anything((2,))),
    st.one_of(
        st.just({}), st.dictionaries(st.sampled_from(["tolerance", "start", "mesh"]), SCALARS)
    ),
    few=60,
)
def log_volume_of_classes(kernel, labels, classes, method, key, more):
    more = {"particles": 8, "replicates": 2, **more}
    found = outcome(
        lambda: fv.log_volume(kernel, labels, method=method, key=key, classes=classes, **more)
    )
    checked_volume(found, {"converged", *CERTIFIED})


@fuzzed(
    mostly(GRAM, anything((N, N), (N, N + 1), (2, N, N), (1, 1), (0, 0))),
    mostly(None, anything((N,), (N + 1,)), SCALARS),
    mostly(KEY, anything((2,))),
    mostly(None, st.sampled_from(["ep", "ep_corrected", "certified", "EP"]), SCALARS),
    few=60,
)
def orthant_probability(covariance, lower, key, method):
    found = outcome(
        lambda: fv.orthant_probability(covariance, lower, key, method, particles=8, replicates=2)
    )
    if found is not None and found.status in ("converged", "exact", *CERTIFIED):
        assert found.log_probability < 1e-6


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


def drawn(key, input_shape):
    return {"a": jax.random.normal(key, (*input_shape, 1))}


def product(params, x):
    return x @ params["a"]


FUNCTIONS = st.sampled_from([lambda: 0, lambda k, s: None, lambda k, s: jnp.ones(2), "f", 3, None])


@fuzzed(
    mostly(product, SCALARS, FUNCTIONS),
    mostly(X, anything((N, 3), (N,))),
    mostly(drawn, FUNCTIONS),
    mostly(None, PARAMETERS),
    mostly(1.0),
    mostly(0.0),
    few=40,
)
def as_model(network, x, init, params, sigma_w, sigma_b):
    found = outcome(
        lambda: fv.as_model(network, x, init=init, params=params, sigma_w=sigma_w, sigma_b=sigma_b)
    )
    if found is not None:
        assert len(repr(found)) < 500


@fuzzed(mostly(drawn, FUNCTIONS), mostly(product, FUNCTIONS), mostly(1.0), mostly(0.0), few=40)
def model(init, apply, sigma_w, sigma_b):
    found = outcome(lambda: fv.Model(init, apply, lambda p, x: x, sigma_w, sigma_b))
    if found is not None:
        assert len(repr(found)) < 500


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
    mostly(FCN, SCALARS),
    mostly(PARAMS, PARAMETERS),
    mostly(X, anything((N, 3), (N,))),
    mostly(SIGNS, anything((N,), (N, 1))),
    mostly(None, arrays([(N, 3), (2, 3)]), SCALARS),
    mostly(None, SCALARS),
    mostly(["baselines"], SCALARS),
    few=40,
)
def measure(model, params, x, y, x_test, y_test, measures):
    if measures is None:  # all of them take long
        measures = []
    found = outcome(lambda: fv.measure(model, params, x, y, x_test, y_test, measures=measures))
    if found is not None:
        assert len(repr(found)) < 4000
        assert len(found.to_dict()) > 4


@fuzzed(
    mostly(FCN, SCALARS),
    mostly(PARAMS, PARAMETERS),
    mostly(SIGNS, anything((N,))),
    mostly(["layer"], SCALARS),
    mostly([2.0], anything((2,))),
    few=25,
)
def symmetry_audit(model, params, y, symmetries, alphas):
    options = {"symmetries": symmetries, "alphas": alphas, "measures": ["baselines"]}
    found = outcome(lambda: fv.symmetry_audit(model, params, X, y, **options))
    assert found is None or len(found.records) > 0


@fuzzed(
    mostly(X, anything((N, 3), (N,), (N, 2, 2))),
    mostly(np.arange(N), anything((N,), (N, 1))),
    mostly("name", SCALARS),
    mostly(None, anything((N,))),
    few=60,
)
def from_arrays(x, y, name, is_test):
    found = outcome(lambda: fv.data.from_arrays(x, y, name, is_test))
    assert found is None or (found.x.dtype == np.float32 and found.y.dtype == np.int32)


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
