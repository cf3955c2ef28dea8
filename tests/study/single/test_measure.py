"""fv.measure: the numbers of the calls that it makes, for any network, and no part lost."""

import functools

import jax
import numpy as np
import pytest
from flax import nnx
from twin_networks import TWINS, WEIGHTS, Linen, X, Y, outputs, plain

import flatvol_jax as fv
from flatvol_jax.models import Spec
from flatvol_jax.study.measures.flatness import weight_paths
from flatvol_jax.study.measures.layered_spec import with_layers
from flatvol_jax.study.measures.own_problem import KernelChoice, own_problem

KEY = jax.random.key(0)
TRAIN, TEST = slice(0, 8), slice(8, 12)
LABELS = Y.astype(int)
F = np.where(outputs(WEIGHTS, X)[:, 0] > 0, 1, -1)
KERNEL = fv.nngp_kernel(fv.FCN((8, 6), sigma_w=1.0, sigma_b=0.1), X)
SPEC = fv.FCN((4,))
PARAMS = SPEC.init(KEY, (3,))
NO_OTHER = ("log_volume", "log_volume_null", "sharpness", "hessian", "baselines")
CHEAP = {"sharpness": {"method": "sign"}, "log_volume": {"particles": 16, "replicates": 4}}
SMALL = {**CHEAP, "hessian": {"k": 2}, "invariants": {"samples": 2}}


def measured(model, params, **options):
    return fv.measure(model, params, X[TRAIN], LABELS[TRAIN], X[TEST], LABELS[TEST], **options)


@functools.cache
def of_a_twin(name):
    model, params = plain() if name == "plain" else TWINS[name]()
    parts = ("invariants", "hessian")
    return measured(model, params, kernel=KERNEL, measures=CHEAP, leave_out=parts)


@functools.cache
def whole():
    return measured(SPEC, PARAMS, measures=SMALL)


@pytest.mark.parametrize("name", TWINS)
def test_twins_measure_the_same(name):
    found, wanted = of_a_twin(name), of_a_twin("plain")
    assert not found.failed
    assert found.record.keys() == wanted.record.keys()
    for column, value in wanted.record.items():
        if column.startswith(("measure.", "is.")) and value is not None:
            assert found[column] == pytest.approx(value, rel=1e-6), column
    for column in ("measure.sharpness.best", "measure.log_volume.heaviside"):
        assert found[column] == pytest.approx(wanted[column], rel=1e-9)


class Plain(nnx.Module):
    def __init__(self, rngs):
        self.hidden, self.readout = nnx.Linear(3, 5, rngs=rngs), nnx.Linear(5, 1, rngs=rngs)

    def __call__(self, x):
        return self.readout(nnx.relu(self.hidden(x)))


def test_a_network_itself_is_measured():
    network = Plain(nnx.Rngs(0))
    params = {f"Dense_{i}": {"kernel": w, "bias": b} for i, (w, b) in enumerate(WEIGHTS)}
    for model, given, answers in (
        (network, None, network(X)),
        (Linen(), {"params": params}, outputs(WEIGHTS, X)),
    ):
        found = measured(model, given, kernel=KERNEL, measures=["baselines"])
        answers = np.asarray(answers, np.float64)[:, 0]
        signed = LABELS[TRAIN] * answers[TRAIN]
        margin = signed.min() / np.abs(signed).mean()
        assert found["measure.baseline.margin"] == pytest.approx(margin, rel=1e-5)
        f = np.where(answers > 0, 1, -1)
        norm = f @ np.linalg.solve(KERNEL, f)
        assert found["measure.baseline.label_norm"] == pytest.approx(norm, rel=1e-6)


def test_the_numbers_are_those_of_the_single_calls():
    found, kernel = whole(), fv.nngp_kernel(SPEC, X)
    f = np.where(np.asarray(SPEC.apply(PARAMS, X)) > 0, 1, -1)
    for link in ("heaviside", "probit"):
        volume = fv.log_volume(kernel, f, link, "ep_corrected")
        name = f"measure.log_volume.{link}"
        assert found[name] == pytest.approx(volume.ep, abs=1e-3)
        sampled, error = found[f"{name}.estimate"], found[f"{name}.estimate.se"]
        assert abs(sampled - volume.log_volume) < 5 * error + 0.05
    x, y = X[TRAIN].astype(np.float64), LABELS[TRAIN]

    def loss(p):
        return jax.nn.softplus(-y * SPEC.apply(p, x)).mean()

    sharp = fv.sharpness(loss, PARAMS, 1e-4, method="sign")
    name = "measure.sharpness.best"
    assert found[name] == pytest.approx(sharp.value, rel=1e-9)
    parts = [found[f"{name}.{part}"] for part in ("first_order", "second_order", "remainder")]
    assert sum(parts) == pytest.approx(sharp.value, rel=1e-9)
    with jax.enable_x64(True):
        flat, back = jax.flatten_util.ravel_pytree(
            jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), PARAMS)
        )
        matrix = np.asarray(jax.hessian(lambda w: loss(back(w)))(flat))
        slope = np.asarray(jax.grad(lambda w: loss(back(w)))(flat))
    values = np.linalg.eigvalsh(matrix)
    assert found["measure.hessian.spectral_norm"] == pytest.approx(np.abs(values).max(), rel=1e-6)
    assert found["measure.hessian.trace"] == pytest.approx(values.sum(), rel=1e-6)
    np.testing.assert_allclose(found["measure.hessian.eigenvalues"], values[::-1][:2], rtol=1e-6)
    assert found["measure.sharpness.best.first_order"] <= 1e-2 * np.abs(slope).sum() * (
        1 + np.abs(flat).max()
    )
    assert found["measure.error.test"] == np.mean(f[TEST] != LABELS[TEST])
    assert found["measure.baseline.label_norm"] == pytest.approx(
        f @ np.linalg.solve(kernel, f), rel=1e-6
    )


def test_it_prints_a_table_and_converts():
    found = whole()
    text = repr(found)
    assert 15 <= len(text.splitlines()) <= 30
    assert max(map(len, text.splitlines())) < 180
    for said in (
        "log V, Heaviside, sampled",
        "± covers sampling",
        "first order",
        "kernel: analytic",
    ):
        assert said in text
    page = found._repr_html_()
    assert page.count("<tr>") == len(found.rows) + 1
    frame = found.to_frame()
    assert list(frame.columns) == ["measure", "column", "value", "error", "unit", "status"]
    flat = found.to_dict()
    assert all(name.startswith(("measure.", "is.", "meta.")) for name in flat)
    assert all(np.ndim(value) == 0 for value in flat.values())
    assert {row.column for row in found.rows if row.value is not None} <= flat.keys()
    with pytest.raises(KeyError, match="measure.sharpness.best"):
        found["measure.sharpnes"]


def test_the_error_of_a_sampled_kernel_is_in_the_error_bar():
    found = measured(SPEC, PARAMS, kernel="monte_carlo", samples=200, measures=["log_volume"])
    name = "measure.log_volume.heaviside.estimate"
    assert found[f"{name}.se"] >= found[f"{name}.kernel_se"] > 0
    exact = whole()[name]
    assert abs(found[name] - exact) < 5 * found[f"{name}.se"]
    (row,) = [row for row in found.rows if row.column == name]
    assert "sampling and kernel" in row.status
    (row,) = [row for row in found.rows if row.column == "measure.log_volume.heaviside"]
    assert row.error is None
    assert "given the sampled kernel" in row.status
    assert "Monte Carlo, 200 networks" in repr(found)
    by_ep = measured(
        SPEC,
        PARAMS,
        kernel="monte_carlo",
        samples=200,
        measures={"log_volume": {"estimator": "ep"}},
        leave_out=("log_volume_null", "sharpness", "hessian", "invariants", "baselines"),
    )
    (row,) = [row for row in by_ep.rows if row.column == "measure.log_volume.heaviside"]
    assert row.error > 0
    assert "covers the kernel (bias" in row.status


def test_a_part_that_fails_says_so_and_loses_no_other():
    model, params = plain()
    found = measured(model, params, kernel=KERNEL, measures=["basin_volume", "baselines"])
    assert list(found.failed) == ["basin_volume"]
    row = next(row for row in found.rows if row.measure == "basin volume")
    assert row.value is None
    assert row.status.startswith("failed: spec: got Model, whose prior is not known")
    assert "failed: " in repr(found)
    assert found["is.fault.basin_volume"] is True
    assert found["measure.baseline.margin"] == of_a_twin("plain")["measure.baseline.margin"]


def test_a_kernel_that_is_a_matrix_is_no_estimate():
    choice = KernelChoice(KERNEL, None, KEY)
    problem, _ = own_problem(SPEC, PARAMS, (X[TRAIN], LABELS[TRAIN], X[TEST], None), choice)
    np.testing.assert_array_equal(problem.kernel, KERNEL)
    with pytest.raises(ValueError, match="got a matrix, whose sampling error is not known"):
        _ = problem.kernel_estimate


def test_where_log_v_cannot_be_sampled_it_is_by_ep():
    singular = X @ X.T.astype(np.float64)
    found = measured(SPEC, PARAMS, kernel=singular, measures=["log_volume"])
    assert list(found.failed) == ["log_volume_sampling"]
    assert "singular" in found.failed["log_volume_sampling"]
    assert np.isfinite(found["measure.log_volume.heaviside"])
    assert "measure.log_volume.heaviside.estimate" not in found.record


def test_without_test_inputs_the_function_is_that_on_the_training_inputs():
    found = fv.measure(SPEC, PARAMS, X, LABELS, measures=["log_volume", "log_volume_null"])
    assert found["measure.error.test"] is None
    assert "measure.bound.random_split" not in found.record
    assert "it needs x_test" in repr(found)
    unknown = fv.measure(SPEC, PARAMS, X[TRAIN], LABELS[TRAIN], X[TEST], measures=["log_volume"])
    name = "measure.log_volume.heaviside"
    assert unknown[name] == pytest.approx(found[name], abs=1e-3)
    assert unknown["measure.error.test"] is None


def test_a_regression_network_has_the_evidence_of_its_process():
    targets, noise = np.sin(X.sum(1)).astype(np.float64), 0.1
    found = fv.measure(
        SPEC,
        PARAMS,
        X[TRAIN],
        targets[TRAIN],
        X[TEST],
        targets[TEST],
        noise=noise,
        measures=CHEAP_REGRESSION,
        leave_out=("hessian", "invariants"),
    )
    kernel, f = fv.nngp_kernel(SPEC, X), np.asarray(SPEC.apply(PARAMS, X), np.float64)
    assert not found.failed
    evidence = fv.log_evidence(kernel[TRAIN, TRAIN], targets[TRAIN], noise)
    assert found["measure.log_evidence.targets"] == pytest.approx(evidence.log_evidence)
    function = fv.log_evidence(kernel, f, noise).log_evidence
    assert found["measure.log_evidence.function"] == pytest.approx(function, rel=1e-6)
    error = np.sqrt(np.mean((f[TRAIN] - targets[TRAIN]) ** 2))
    assert found["measure.root_mean_square.train"] == pytest.approx(error, rel=1e-6)
    assert found["measure.loss.train"] == pytest.approx(error**2, rel=1e-6)
    weights = np.linalg.solve(kernel[TRAIN, TRAIN] + noise * np.eye(8), targets[TRAIN])
    difference = f[TEST] - kernel[TEST, TRAIN] @ weights
    assert found["measure.baseline.gp_difference"] == pytest.approx(
        np.sqrt(np.mean(difference**2)), rel=1e-6
    )
    assert "log evidence of the targets" in repr(found)


CHEAP_REGRESSION = {"sharpness": {"method": "sign"}}


def test_the_layers_of_a_network_are_the_users_to_name():
    model, params = TWINS["linen"]()
    kernels = [(f"Dense_{i}", "kernel") for i in range(3)]
    biases = [(f"Dense_{i}", "bias") for i in range(3)]
    layers = [([kernels[i], biases[i]], [kernels[i + 1]]) for i in range(2)]
    known = with_layers(model, params, layers)
    assert isinstance(known, Spec)
    assert weight_paths(known) == kernels
    assert known == with_layers(model, params, layers)
    assert hash(known) == hash(with_layers(model, params, layers))
    scaled = fv.alpha_scale(known, params, 1, 4.0)
    np.testing.assert_array_equal(known.apply(scaled, X), model.apply(params, X))
    assert not np.array_equal(scaled["Dense_0"]["kernel"], params["Dense_0"]["kernel"])
    found = measured(
        model, params, kernel=KERNEL, measures={"invariants": {"samples": 2}}, leave_out=NO_OTHER
    )
    assert found["measure.adaptive_sharpness.inf"] > 0
    assert "measure.relative_flatness" not in found.record
    assert "the network does not know its layers" in repr(found)
    for wrong in ([([("Dense_9", "kernel")], [kernels[1]])], [kernels[0]], [], 3, [([], [])]):
        with pytest.raises(ValueError, match="layers: got"):
            measured(model, params, layers=wrong)


def test_progress_is_told_and_nothing_is_printed(capfd):
    told = []
    measured(
        SPEC,
        PARAMS,
        measures=["baselines"],
        progress=lambda done, total, text: told.append((done, total, text)),
    )
    assert told[-1] == (1, 1, "done")
    assert any("kernel" in text for _, _, text in told)
    assert capfd.readouterr() == ("", "")
    measured(SPEC, PARAMS, measures=["baselines"], progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "done: 100%" in err


def test_the_first_compilation_is_announced_and_there_is_no_second():
    def texts(spec):
        told = []
        params = spec.init(KEY, (3,))
        measured(
            spec, params, measures=CHEAP_REGRESSION, leave_out=LEFT_OUT, progress=told_by(told)
        )
        return [text for text in told if "compiled" in text]

    def told_by(told):
        return lambda done, total, text: told.append(text)

    assert texts(fv.FCN((3,))) == ["sharpness (its programs are compiled first)"]
    count = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda name, *_, **__: count.append(name) if "backend_compile" in name else None
    )
    assert texts(fv.FCN((3,))) == []
    assert count == []


LEFT_OUT = ("log_volume", "log_volume_null", "hessian", "invariants", "baselines")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"y": (LABELS > 0).astype(int)},
            r"y: got labels 0, 1, wanted -1 and \+1. Take 2 \* y - 1",
        ),
        ({"y": X[:, 0]}, r"y: got labels .*Real targets are those of regression: pass noise="),
        ({"y": LABELS[:5]}, r"y: got shape \(5,\), wanted \(12,\)"),
        ({"x": X[:, 0]}, r"x: got shape \(12,\), wanted inputs"),
        ({"x_test": X[:, :2]}, r"x_test: got shape \(12, 2\)"),
        ({"y_test": LABELS}, "x_test: got None beside y_test"),
        ({"params": None}, "params: got None, and the network brought none"),
        ({"params": {"a": np.ones(3)}}, "network: got parameters"),
        ({"model": "fcn"}, "network: got 'fcn'"),
        ({"kernel": np.eye(3)}, r"kernel: got shape \(3, 3\), wanted \(12, 12\)"),
        ({"kernel": "ntk"}, "kernel: got 'ntk'"),
        ({"samples": 10}, "samples: got a number with an analytic kernel"),
        ({"measures": ["sharpnes"]}, "measures: got 'sharpnes'.*sharpness"),
        ({"measures": {"sharpness": {"eps": 1}}}, "measures.sharpness: got 'eps'.*epsilon"),
        ({"measures": "sharpness"}, "measures: got 'sharpness', wanted a list"),
        ({"noise": -1.0}, "noise: got -1"),
        ({"progress": 3}, "progress: got 3"),
        ({"key": 3}, "key: got 3"),
        ({"quick": "yes"}, "quick: got 'yes'"),
    ],
)
def test_bad_input_says_what_to_pass(change, message):
    given = {"model": SPEC, "params": PARAMS, "x": X, "y": LABELS, **change}
    with pytest.raises(ValueError, match=message):
        fv.measure(**given)


def test_a_state_is_asked_for_where_a_network_has_one():
    spec = fv.ResNet(depth=18, stem="cifar", width=2)
    x = np.zeros((4, 8, 8, 3), np.float32)
    with pytest.raises(ValueError, match="state: got None; wanted .*running statistics"):
        fv.measure(spec, spec.init(KEY, (8, 8, 3)), x, [1, -1, 1, -1])


def test_of_c_outputs_the_largest_is_the_label():
    spec = fv.FCN((4,), outputs=3)
    params = spec.init(KEY, (3,))
    outputs = np.asarray(spec.apply(params, X))
    labels = np.arange(12) % 3
    found = fv.measure(
        spec,
        params,
        X[TRAIN],
        labels[TRAIN],
        X[TEST],
        labels[TEST],
        measures={"log_volume": {"estimator": "ep_corrected"}, "sharpness": {"method": "sign"}},
        leave_out=("hessian", "invariants"),
    )
    assert not found.failed
    f = outputs.argmax(1)
    assert found["measure.error.train"] == np.mean(f[TRAIN] != labels[TRAIN])
    volume = fv.log_volume(fv.nngp_kernel(spec, X), f, classes=3).log_volume
    assert found["measure.log_volume.heaviside"] == pytest.approx(volume, abs=1e-3)
    own = outputs[np.arange(8), labels[TRAIN]].astype(np.float64)
    loss = np.mean(np.log(np.exp(outputs[TRAIN].astype(np.float64)).sum(1)) - own)
    assert found["measure.loss.train"] == pytest.approx(loss, rel=1e-6)
    with pytest.raises(ValueError, match="y: got the values .* wanted whole numbers 0 to 2"):
        fv.measure(spec, params, X, labels + 1)
