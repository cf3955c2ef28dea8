import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flatvol_jax.flatness import hessian
from flatvol_jax.flatness._composed import composed
from flatvol_jax.flatness._relative_flatness import relative_flatness
from flatvol_jax.flatness.objective import OPERATORS

LAYERS = [(f"layer_{i}", "kernel") for i in range(3)]
KEY = jax.random.key(0)


def written_out(hessian, weights):
    """κ_Tr by pairs of neurons, ‖W‖² Tr H and ‖W‖² λ, ascending; W is (inputs, outputs)."""
    by_neurons = hessian.reshape(weights.shape * 2)
    kappa = sum(
        weights[:, s] @ weights[:, t] * np.trace(by_neurons[:, s, :, t])
        for s in range(weights.shape[1])
        for t in range(weights.shape[1])
    )
    norm = np.sum(weights**2)
    return kappa, norm * np.trace(hessian), norm * np.linalg.eigvalsh(hessian)


@pytest.fixture(scope="module")
def definitions(relu):
    """κ_Tr, ‖W‖² Tr H and ‖W‖² λ, ascending, of each layer of params(0)."""
    params = relu.params(0)
    with jax.enable_x64(True):
        flat, unravel = jax.flatten_util.ravel_pytree(params)
        numbers = jax.tree.map(np.asarray, unravel(jnp.arange(flat.size, dtype=flat.dtype)))
    found = {}
    for name, leaf in LAYERS:
        index = numbers[name][leaf].ravel().astype(int)
        found[name, leaf] = written_out(relu.hessian[np.ix_(index, index)], params[name][leaf])
    return found


@pytest.mark.parametrize(
    ("dense", "options", "layer"),
    [
        (True, {}, LAYERS[0]),
        (True, {}, LAYERS[1]),
        (True, {}, LAYERS[2]),
        (False, {}, LAYERS[1]),
        (True, {"operator": "gauss_newton"}, LAYERS[0]),
        (False, {"operator": "gauss_newton"}, LAYERS[1]),
        (True, {"operator": "gauss_newton", "example": True}, LAYERS[1]),
    ],
)
def test_every_operator_against_the_written_out_definitions(
    relu, definitions, monkeypatch, dense, options, layer
):
    if not dense:
        monkeypatch.setattr(hessian, "DENSE_UP_TO", 1)
    if "example" in options:
        options = options | {"example": relu.example}
    kappa, trace, values = definitions[layer]
    found = relative_flatness(KEY, relu.loss, relu.params(0), layer, **options)
    assert abs(found.value - kappa) <= 4 * found.standard_error + 1e-10 * kappa
    assert abs(found.norm_trace - trace) <= 4 * found.norm_trace_se + 1e-10 * trace
    np.testing.assert_allclose(found.norm_lambda_max, values[-1], rtol=1e-9)
    assert found.converged
    if dense or options:
        assert found.standard_error == found.norm_trace_se == 0.0
    if options.get("operator") == "gauss_newton":
        options = options | {"lambda_max": False}
        traces = relative_flatness(KEY, relu.loss, relu.params(0), layer, **options)
        assert (traces.value, traces.norm_trace) == (found.value, found.norm_trace)
        assert np.isnan(traces.norm_lambda_max)
    else:
        with pytest.raises(ValueError, match="lambda_max: got False"):
            relative_flatness(KEY, relu.loss, relu.params(0), layer, lambda_max=False)


@pytest.mark.parametrize("factor", [7.0, 1e-3])
@pytest.mark.parametrize("scaled_layer", [0, 1])
@pytest.mark.parametrize("layer", LAYERS)
def test_all_are_unchanged_under_layer_wise_scaling(relu, layer, scaled_layer, factor):
    params = relu.params(1)
    before, after = (
        relative_flatness(KEY, relu.loss, p, layer)
        for p in (params, relu.scaled(params, scaled_layer, factor))
    )
    for name in ("value", "norm_trace", "norm_lambda_max"):
        np.testing.assert_allclose(getattr(after, name), getattr(before, name), rtol=1e-9)


@pytest.mark.parametrize("layer", [0, 1])
def test_scaling_the_layers_own_neurons_moves_the_norms_but_not_kappa(relu, layer):
    params = relu.params(2)
    factor = np.exp(np.random.default_rng(4).normal(size=relu.sizes[layer + 1]))
    before, after = (
        relative_flatness(KEY, relu.loss, p, LAYERS[layer])
        for p in (params, relu.scaled(params, layer, factor))
    )
    np.testing.assert_allclose(after.value, before.value, rtol=1e-10)
    assert abs(after.norm_trace / before.norm_trace - 1) > 0.1
    assert abs(after.norm_lambda_max / before.norm_lambda_max - 1) > 0.1


@pytest.mark.parametrize("layer", [1, 2])
def test_scaling_the_neurons_before_the_layer_moves_kappa(relu, layer):
    params = relu.params(2)
    factor = np.exp(np.random.default_rng(4).normal(size=relu.sizes[layer]))
    before, after = (
        relative_flatness(KEY, relu.loss, p, LAYERS[layer])
        for p in (params, relu.scaled(params, layer - 1, factor))
    )
    assert abs(after.value / before.value - 1) > 0.1


def test_least_squares_has_the_closed_form():
    # One output: κ_Tr = ‖w‖² Tr H, H = 2 X'X / n.
    rng = np.random.default_rng(0)
    x, y, w = rng.normal(size=(20, 6)), rng.normal(size=20), rng.normal(size=(6, 1))
    loss = composed(lambda f: jnp.mean((f - y) ** 2), lambda p: (x @ p["w"])[:, 0])
    for operator in OPERATORS:
        found = relative_flatness(KEY, loss, {"w": w}, ("w",), operator)
        exact = np.sum(w**2) * 2 * np.sum(x**2) / 20
        np.testing.assert_allclose([found.value, found.norm_trace], exact, rtol=1e-12)
        top = np.sum(w**2) * 2 * np.linalg.norm(x, 2) ** 2 / 20
        np.testing.assert_allclose(found.norm_lambda_max, top, rtol=1e-10)


def test_a_smooth_network_needs_the_hessian():
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(20, 3)), rng.normal(size=(3, 4))
    loss = composed(lambda f: jnp.mean((f - 1.0) ** 2), lambda p: jnp.tanh(x @ p["w"]).sum(1))
    with jax.enable_x64(True):
        matrix = np.asarray(jax.jit(jax.hessian(lambda w: loss({"w": w})))(jnp.asarray(w)))
    kappa, trace, _ = written_out(matrix.reshape(12, 12), w)
    found = relative_flatness(KEY, loss, {"w": w}, ("w",))
    np.testing.assert_allclose([found.value, found.norm_trace], [kappa, trace], rtol=1e-10)
    approximate = relative_flatness(KEY, loss, {"w": w}, ("w",), "gauss_newton")
    assert abs(approximate.value / kappa - 1) > 0.1


def test_cut_short_the_errors_are_calibrated_and_the_residual_bounds(
    relu, definitions, monkeypatch
):
    monkeypatch.setattr(hessian, "DENSE_UP_TO", 1)
    monkeypatch.setattr(hessian, "_MAX_DEPTH", 3)  # so that the probes carry a part
    layer = LAYERS[1]
    kappa, trace, values = definitions[layer]
    runs = [
        relative_flatness(jax.random.key(s), relu.loss, relu.params(0), layer) for s in range(40)
    ]
    for exact, value, error in [
        (kappa, "value", "standard_error"),
        (trace, "norm_trace", "norm_trace_se"),
    ]:
        scores = [(getattr(r, value) - exact) / getattr(r, error) for r in runs]
        assert 0.7 < np.std(scores) < 1.5
        assert abs(np.mean(scores)) < 4 / np.sqrt(len(runs))
    for run in runs:
        assert not run.converged
        # An eigenvalue lies within the residual, the largest one above the Ritz value.
        assert np.abs(values - run.norm_lambda_max).min() <= run.residual
        assert run.norm_lambda_max < values[-1]


def test_a_convolution_is_a_matrix_of_patches_by_channels():
    rng = np.random.default_rng(0)
    images, kernel = rng.normal(size=(6, 4, 4, 2)), rng.normal(size=(3, 3, 2, 4))

    def convolved(p):
        dimensions = ("NHWC", "HWIO", "NHWC")
        y = jax.lax.conv_general_dilated(
            images, p["k"], (1, 1), "VALID", dimension_numbers=dimensions
        )
        return jax.nn.relu(y).sum(axis=(1, 2, 3))

    def by_patches(p):
        patches = np.lib.stride_tricks.sliding_window_view(images, (3, 3), axis=(1, 2))
        patches = np.moveaxis(patches, 3, -1).reshape(6, 2, 2, 18)
        return jax.nn.relu(patches @ p["k"]).sum(axis=(1, 2, 3))

    def outer(f):
        return jnp.mean(f**2)

    found = relative_flatness(KEY, composed(outer, convolved), {"k": kernel}, ("k",))
    exact = relative_flatness(
        KEY, composed(outer, by_patches), {"k": kernel.reshape(18, 4)}, ("k",)
    )
    np.testing.assert_allclose(found[:5], exact[:5], rtol=1e-10)


@pytest.mark.parametrize("x64", [False, True])
def test_float64_whatever_the_callers_setting(relu, definitions, x64):
    with jax.enable_x64(x64):
        found = relative_flatness(KEY, relu.loss, relu.params(0), LAYERS[0])
    np.testing.assert_allclose(found.value, definitions[LAYERS[0]][0], rtol=1e-10)
    assert isinstance(found.value, float)


@pytest.mark.parametrize(
    ("path", "options", "message"),
    [
        (("layer_9", "kernel"), {}, r"\('layer_0', 'kernel'\)"),
        (("layer_0", "bias"), {}, "path of a kernel"),
        (LAYERS[0], {"operator": "hesian"}, "Did you mean 'hessian'"),
        (LAYERS[0], {"example": lambda params, i: params}, "gauss_newton"),
    ],
)
def test_bad_arguments_are_named(relu, path, options, message):
    with pytest.raises(ValueError, match=message):
        relative_flatness(KEY, relu.loss, relu.params(0), path, **options)


@pytest.mark.parametrize(
    ("loss", "operator", "message"),
    [
        (lambda p: jnp.sum(p["w"]), "gauss_newton", "wanted flatness.composed"),
        (lambda p: p["w"], "hessian", "one scalar"),
    ],
)
def test_a_loss_that_does_not_fit_is_named(loss, operator, message):
    with pytest.raises(ValueError, match=message):
        relative_flatness(KEY, loss, {"w": np.ones((2, 2))}, ("w",), operator)
