"""Ordinary inputs of the kinds that measuring instruments get wrong without a word.

Precision, types, scale, rank, modes, repeated inputs, interruption. What comes is right, or a
ValueError that says what it is.
"""

import errno
import itertools
import json
import tempfile
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import scipy.sparse
from hypothesis import strategies as st
from malformed import KEY, MANY, N, outcome, run

import flatvol_jax as fv
from flatvol_jax.runtime import files
from flatvol_jax.study.engine.record_merge import merge_rows, row_key
from flatvol_jax.study.engine.records import load_records, write_records

X = np.random.default_rng(1).normal(size=(N, 3))
SIGNS = np.array([1, -1, 1, 1])
KERNEL = fv.nngp_kernel(fv.FCN((2,)), X)
ORDERS = st.lists(st.floats(-5, 5), min_size=N, max_size=N)  # of ten, each input its own
CASES = {}


def fuzzed(*strategies, few=25):
    """Register a check that is called with drawn arguments."""

    def register(check):
        CASES[check.__name__] = (check, strategies, few)
        return check

    return register


def exact_loss(weights):
    return np.logaddexp(0, -SIGNS * (X @ weights)).mean()


@fuzzed(
    st.sampled_from(["float64", "float32", "bfloat16", "float16"]),
    st.sampled_from(["parameters", "outputs", "value", "inputs"]),
    st.sampled_from([1e-2, 1e-3, 1e-5]),
    few=20,
)
def the_precision_of_a_loss(dtype, place, epsilon):
    """The maximum over a box of a linear model: seen by ascent on the signs of the gradient."""

    def cast(array, here):
        return array.astype(dtype) if here == place else array

    def loss(weights):
        outputs = cast(jnp.asarray(X), "inputs") @ cast(weights, "parameters")
        return cast(jax.nn.softplus(-SIGNS * cast(outputs, "outputs")).mean(), "value")

    weights = np.array([0.5, -0.25, 0.125])
    found = outcome(lambda: fv.sharpness(loss, weights, epsilon, "sign"))
    if dtype == "float64":
        assert found is not None
    if found is None or not found.converged:
        return
    corners = itertools.product((-1, 1), repeat=3)  # the loss is convex: its maximum is at one
    moved = [weights + epsilon * (np.abs(weights) + 1) * np.array(corner) for corner in corners]
    rise = max(exact_loss(corner) for corner in moved) - exact_loss(weights)
    np.testing.assert_allclose(found.value, 100 * rise / (1 + exact_loss(weights)), rtol=1e-2)


TYPES = {
    **{name: np.dtype(name).type for name in ("f4", "f8", "f2", "i1", "i4", "i8", "u1", "u2", "?")},
    "bfloat16": ml_dtypes.bfloat16,
    "text": lambda array: array.astype("U3"),
    "object": lambda array: array.astype(object),
    "csr": scipy.sparse.csr_matrix,
    "coo": scipy.sparse.coo_array,
    "complex": lambda array: array.astype("c16"),
}


@fuzzed(st.sampled_from(sorted(TYPES)), st.integers(0, 99))
def the_type_of_inputs(name, seed):
    """Small whole numbers have the same kernel in every type that can be used."""
    x = np.random.default_rng(seed).integers(0, 2, size=(N, 3))
    typed = TYPES[name](x)
    found = outcome(lambda: fv.nngp_kernel(fv.FCN((2,)), typed))
    if name in ("text", "complex"):
        assert found is None
    if found is not None:
        wanted = fv.nngp_kernel(fv.FCN((2,)), x.astype(np.float64))
        np.testing.assert_allclose(found, wanted, rtol=1e-12)


@fuzzed(ORDERS, st.sampled_from(["ep", "ep_corrected"]), few=40)
def the_scale_of_outputs(orders, method):
    """With the hard link log V does not change under K -> D K D."""
    scale = 10.0 ** np.array(orders)
    wanted = fv.log_volume(KERNEL, SIGNS, method=method).log_volume
    found = fv.log_volume(KERNEL * np.outer(scale, scale), SIGNS, method=method)
    np.testing.assert_allclose(found.log_volume, wanted, rtol=1e-6)


@fuzzed(ORDERS, st.floats(-0.999, 0.999), st.sampled_from([1, -1]), few=15)
def two_outputs_in_closed_form(orders, correlation, sign):
    """P(z_1 > 0, s z_2 > 0) = 1/4 + asin(s ρ) / 2π, whatever the variances."""
    scale = 10.0 ** np.array(orders[:2])
    kernel = np.array([[1, correlation], [correlation, 1]]) * np.outer(scale, scale)
    found = fv.log_volume(kernel, np.array([1, sign]), method="certified", key=KEY)
    wanted = np.log(0.25 + np.arcsin(sign * correlation) / (2 * np.pi))
    assert abs(found.log_volume - wanted) < 6 * found.estimate.standard_error + 1e-6


@fuzzed(ORDERS, few=20)
def probit_is_finite(orders):
    scale = 10.0 ** np.array(orders)
    found = fv.log_volume(KERNEL * np.outer(scale, scale), SIGNS, link="probit")
    assert np.isfinite(found.log_volume)
    assert found.log_volume < 0


@fuzzed(st.lists(st.floats(-3, 3), min_size=1, max_size=8), st.integers(8, 12), st.integers(0, 99))
def the_rank_of_a_hessian(logs, size, seed):
    """½ p'Hp with a known spectrum: what is not there is neither counted nor multiplied."""
    basis = np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))[0]
    basis = basis[:, : len(logs)] * np.sqrt(10.0 ** np.array(logs))

    def loss(params):
        return jnp.sum((params @ basis) ** 2) / 2

    found = fv.hessian_measures(KEY, loss, np.ones(size), size)
    assert found.log_product_count == len(logs)
    assert (found.log_product_status == "complete") == (len(logs) == size)
    np.testing.assert_allclose(found.log_product, np.log(10) * np.sum(logs), rtol=1e-6, atol=1e-6)


MODES = ("train", "training", "is_training", "deterministic", "use_running_average")


def module(name, place, layer):
    """A network with a mode by that name, as an argument of its call or as a field."""
    evaluates = name in ("deterministic", "use_running_average")

    def layers(self, x, mode):
        training = mode != evaluates
        x = nn.Dense(4)(x)
        if layer == "batch_norm":
            x = nn.BatchNorm(use_running_average=not training)(x)
        else:
            x = nn.Dropout(0.5, deterministic=not training)(x)
        x = nn.relu(x)
        self.sow("intermediates", "last_hidden", x)
        return nn.Dense(1, name="readout")(x)

    if place == "field":
        body = {"__annotations__": {name: bool}, name: evaluates}
        body["__call__"] = nn.compact(lambda self, x: layers(self, x, getattr(self, name)))
    else:
        scope = {"layers": layers}
        exec(f"def call(self, x, {name}={evaluates}): return layers(self, x, {name})", scope)
        body = {"__call__": nn.compact(scope["call"])}
    return type("Net", (nn.Module,), body)


@fuzzed(
    st.sampled_from(MODES),
    st.sampled_from(["argument", "field"]),
    st.sampled_from(["batch_norm", "dropout"]),
    st.booleans(),
    few=20,
)
def the_mode_of_a_network(name, place, layer, as_set):
    """In evaluation an output depends on its own input alone; training moves what it says it does.

    A field may have been set to training by the user.
    """
    made = module(name, place, layer)
    options = {name: name not in ("deterministic", "use_running_average")}
    net = made(**options) if place == "field" and as_set else made()
    spec = outcome(lambda: fv.FlaxModel(net, "last_hidden", 1.0, 1.0))
    if spec is None:
        return
    x = np.random.default_rng(2).normal(1, 2, size=(6, 3)).astype(np.float32)
    kernel = outcome(lambda: fv.monte_carlo_kernel(KEY, spec, x, 6, reference=x))
    if kernel is None:
        return
    assert np.ptp(np.diagonal(kernel)) > 1e-3  # it varies between inputs
    params = spec.init(KEY, (3,))
    together = np.asarray(spec.apply(params, x))
    alone = np.concatenate([np.asarray(spec.apply(params, x[i : i + 1])) for i in range(6)])
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(together, np.asarray(spec.apply(params, x)))


@fuzzed(st.integers(0, N - 1), st.sampled_from([1, -1]), ORDERS, few=20)
def a_repeated_input(place, sign, orders):
    """A second copy with the same label adds nothing; with the other label V is 0, and so said."""
    scale = 10.0 ** np.array([*orders, orders[place]])
    rows = [*range(N), place]
    kernel = KERNEL[np.ix_(rows, rows)] * np.outer(scale, scale)
    labels = np.append(SIGNS, sign * SIGNS[place])
    found = outcome(lambda: fv.log_volume(kernel, labels))
    if found is None:
        return
    if sign < 0:
        assert found.log_volume == -np.inf
        assert "impossible" in str(found.status)
    else:
        wanted = fv.log_volume(KERNEL, SIGNS).log_volume
        np.testing.assert_allclose(found.log_volume, wanted, rtol=1e-4)


@fuzzed(st.integers(0, N - 1), st.sampled_from([1, -1]), st.floats(-14, -1), few=40)
def a_nearly_repeated_input(place, sign, order):
    """Inputs that differ have V > 0 with any labels; where rounding hides it, an error says so."""
    step = 10.0**order * np.array([1.0, -1.0, 0.5])
    x = np.concatenate([X, X[place : place + 1] + step])
    labels = np.append(SIGNS, sign * SIGNS[place])
    kernel = fv.nngp_kernel(fv.FCN((2,)), x)
    found = outcome(lambda: fv.log_volume(kernel, labels, method="certified", key=KEY))
    if found is None:
        return
    assert np.isfinite(found.log_volume) or "impossible" not in str(found.status)
    error = found.estimate.standard_error
    whole = fv.log_volume(KERNEL, SIGNS, method="certified", key=KEY)
    assert found.log_volume < whole.log_volume + 6 * np.hypot(error, whole.estimate.standard_error)
    if sign > 0 and order < -4:  # the copy's label follows from its twin's, but for its distance
        lost = whole.log_volume - found.log_volume
        assert lost < 6 * np.hypot(error, whole.estimate.standard_error) + 0.05


NUMBERS = st.sampled_from([None, 0.5, 1.5])
ROWS = st.builds(
    lambda name, epoch, transform, event, columns: {
        "run_id": name,
        "overtrain": epoch,
        "epoch": 3 + epoch,
        "transform": transform,
        "measure.epochs.event": event,
        **columns,
    },
    st.sampled_from("ab"),
    st.sampled_from([0, 5]),
    st.sampled_from(["none", "layer 1, alpha 4"]),
    st.sampled_from([None, 7, 9]),
    st.dictionaries(st.sampled_from(["measure.x", "measure.y", "meta.z"]), NUMBERS),
)
BOOLEAN = st.builds(
    lambda part, name, settings, value: {
        "meta.part": part,
        "meta.experiment": "boolean",
        "function.id": name,
        "meta.settings": settings,
        "measure.x": value,
    },
    st.sampled_from(["function", "width"]),
    st.sampled_from("ab"),
    st.sampled_from([None, "1:a", "1:b"]),
    NUMBERS,
)
FOREIGN = st.builds(lambda x: {"meta.experiment": "foreign", "x": x}, NUMBERS)
TABLES = st.lists(st.one_of(ROWS, BOOLEAN, FOREIGN), max_size=6)


@fuzzed(TABLES, st.lists(st.tuples(st.one_of(ROWS, BOOLEAN, FOREIGN), st.booleans())), few=300)
def an_interruption_and_the_rows_before(old, new):
    """Rows stay by their names; what is unfinished takes no number away."""
    old = list({row_key(row) or json.dumps(row): row for row in old}.values())
    rows = list({row_key(row): (row, whole) for row, whole in new if row_key(row)}.values())
    merged = merge_rows(old, [row for row, _ in rows], [whole for _, whole in rows])
    after = {row_key(row): row for row in merged}
    finished = {row_key(row) for row, whole in rows if whole}
    tables = {row_key(row)[:3] for row, whole in rows if whole and "meta.part" in row}
    branches = {row_key(row)[:2] for row, whole in rows if whole and "run_id" in row}
    for row in old:
        key = row_key(row)
        if key is None:
            assert merged.count(row) >= old.count(row)
            continue
        replaced = key in finished or key[:3] in tables or key[:2] in branches
        assert key in after or replaced, "a row went that was not computed anew"
        if not replaced:
            numbers = {name: row[name] for name in row if name.startswith("measure.")}
            assert numbers.items() <= after[key].items()
    again = merge_rows(merged, [row for row, _ in rows], [whole for _, whole in rows])
    assert sorted(map(json.dumps, map(dict, again))) == sorted(map(json.dumps, map(dict, merged)))


@fuzzed(TABLES, TABLES, few=40)
def an_interruption_of_the_write(old, new):
    """A write that fails leaves the file as it was; the next one has the rows of both."""

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        write_records(folder, old)
        path = Path(folder) / "records.jsonl"
        before = path.read_bytes()
        patch.setattr(files, "_write_beside", full)
        try:
            write_records(folder, new)
        except OSError:
            assert path.read_bytes() == before
        assert path.exists()
        patch.undo()
        write_records(folder, new)
        if old or new:
            names = {row_key(row) for row in load_records_of(folder)}
            assert {row_key(row) for row in new} <= names


def load_records_of(folder):
    load_records(folder)
    return [json.loads(line) for line in (Path(folder) / "records.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", CASES)
def test_it_is_right_or_refused(name):
    run(*CASES[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_so_are_many(name):
    run(*CASES[name][:2], MANY)
