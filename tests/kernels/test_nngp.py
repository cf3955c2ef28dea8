import subprocess
import sys

import jax
import numpy as np
import pytest

import flatvol_jax as fv
from flatvol_jax.kernels.blocks import BLOCK_BYTES


def arc_cosine(x, depth, sigma_w, sigma_b):
    """The recursion of a ReLU network, written out (Cho and Saul 2009)."""
    kernel = sigma_b**2 + sigma_w**2 * x @ x.T / x.shape[1]
    for _ in range(depth):
        scale = np.sqrt(np.diag(kernel))
        norm = np.outer(scale, scale)
        angle = np.arccos(np.clip(kernel / norm, -1, 1))
        kernel = sigma_b**2 + sigma_w**2 / (2 * np.pi) * norm * (
            np.sin(angle) + (np.pi - angle) * np.cos(angle)
        )
    return kernel


@pytest.fixture(scope="module")
def inputs():
    return np.random.default_rng(0).random((30, 12)).astype(np.float32)


@pytest.mark.parametrize(
    ("width", "sigma_w", "sigma_b"),
    [
        ((40,), 1.0, 0.1),
        ((40, 40), 2**0.5, 1.0),
        ((9, 9, 9), 1.3, 0.0),
        ((9,) * 4, 1.0, 0.1),
        ((9,) * 5, 2**0.5, 1.0),
    ],
)
def test_the_kernel_is_the_arc_cosine_recursion(inputs, width, sigma_w, sigma_b):
    spec = fv.FCN(width, sigma_w=sigma_w, sigma_b=sigma_b)
    kernel = fv.nngp_kernel(spec, inputs)
    expected = arc_cosine(inputs.astype(np.float64), len(width), sigma_w, sigma_b)
    assert kernel.dtype == np.float64
    np.testing.assert_array_equal(kernel, kernel.T)
    # np.arccos near 1 costs the reference half its digits on the diagonal, to third order.
    np.testing.assert_allclose(kernel, expected, rtol=1e-11)


def test_blocks_of_two_input_sets_agree_with_the_square_kernel(inputs):
    spec = fv.FCN()
    np.testing.assert_allclose(
        fv.nngp_kernel(spec, inputs[:10], inputs[10:]),
        fv.nngp_kernel(spec, inputs)[:10, 10:],
        rtol=1e-13,
    )


def test_wide_networks_at_initialisation_have_this_covariance(inputs):
    spec = fv.FCN((256, 256), sigma_w=1.2, sigma_b=0.5)
    keys = jax.random.split(jax.random.key(0), 1000)
    outputs = jax.jit(jax.vmap(lambda key: spec.apply(spec.init(key, (12,)), inputs[:4])))(keys)
    outputs = np.asarray(outputs, np.float64)
    kernel = fv.nngp_kernel(spec, inputs[:4])
    products = np.einsum("si,sj->sij", outputs, outputs)
    error = products.std(axis=0) / np.sqrt(len(keys))
    assert (np.abs(products.mean(axis=0) - kernel) < 5 * error + 0.01 * kernel).all()  # 1/width


def test_the_monte_carlo_kernel_is_unbiased_and_falls_to_the_analytic_one(inputs):
    spec = fv.FCN((256, 256))
    analytic = fv.nngp_kernel(spec, inputs)
    errors = [
        np.abs(fv.monte_carlo_kernel(jax.random.key(7), spec, inputs, m) / analytic - 1).mean()
        for m in (4, 60)
    ]
    assert errors[1] < 0.03
    assert errors[1] < 0.5 * errors[0]


def test_the_monte_carlo_kernel_is_the_sum_of_feature_products(inputs):
    spec, key = fv.FCN((20, 30), sigma_w=1.1, sigma_b=0.3), jax.random.key(3)
    many = [fv.monte_carlo_kernel(jax.random.fold_in(key, i), spec, inputs, 50) for i in range(4)]

    def features(key):
        return spec.features(spec.init(key, (12,)), inputs)

    drawn = jax.jit(jax.vmap(features))(jax.random.split(jax.random.key(4), 1000))
    drawn = np.asarray(drawn, np.float64)
    products = 1.1**2 * np.einsum("snc,smc->snm", drawn, drawn) / 30 + 0.3**2
    error = products.std(axis=0) * np.sqrt(1 / 200 + 1 / 1000)
    assert (np.abs(np.mean(many, axis=0) - products.mean(axis=0)) < 5 * error).all()


@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize("products", [None, "bfloat16", "BF16_BF16_F32"])
def test_the_callers_precision_changes_nothing(inputs, x64, products):
    with jax.enable_x64(x64), jax.default_matmul_precision(products):
        kernel = fv.nngp_kernel(fv.FCN(), inputs)
    assert kernel.dtype == np.float64
    np.testing.assert_allclose(kernel, arc_cosine(inputs.astype(float), 2, 2**0.5, 1), rtol=1e-11)


def test_importing_neural_tangents_leaves_jax_as_it_was():
    script = """
import sys, jax, jax.core, jax.interpreters.ad as ad
from flatvol_jax.kernels.neural_tangents_import import neural_tangents
def state():
    names = ("jax.util", "neural_tangents.experimental")
    return [dir(jax.core), dir(ad), hasattr(jax, "util"), [n in sys.modules for n in names]]
before = state()
assert neural_tangents().stax.Dense
assert state() == before, "jax was left changed"
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_bad_input_is_named(inputs):
    with pytest.raises(ValueError, match="NaN"):
        fv.nngp_kernel(fv.FCN(), np.full((2, 3), np.nan))
    with pytest.raises(ValueError, match="sigma_b = 0"):
        fv.nngp_kernel(fv.FCN(sigma_b=0.0), np.zeros((2, 3)))
    with pytest.raises(ValueError, match="12"):
        fv.nngp_kernel(fv.FCN(), np.ones((2, 3)), inputs)
    with pytest.raises(ValueError, match="M N_L = 10 n"):
        fv.monte_carlo_kernel(jax.random.key(0), fv.FCN((4, 4)), inputs, 2)


def test_what_does_not_fit_into_memory_is_refused_before_it_starts(free, tmp_path):
    x = np.random.default_rng(0).random((9000, 2))
    square, half = 8 * 9000**2, 8 * 9000 * 4500
    block = 1.2 * BLOCK_BYTES
    refused = pytest.raises(ValueError, match="x: got n = 9000.* n = 8999. Take .* x2")
    free(square + block - 1)
    with refused:
        fv.nngp_kernel(fv.FCN(), x)
    free(2 * square - 1)
    with refused:
        fv.nngp_kernel(fv.FCN(), x, cache=tmp_path)
    free(half + block - 1)
    with refused:
        fv.nngp_kernel(fv.FCN(), x, x[:4500])
    free(8 * 30**2 + block)
    assert fv.nngp_kernel(fv.FCN(), x[:30]).shape == (30, 30)


def test_a_missing_neural_tangents_names_the_command(monkeypatch):
    from flatvol_jax.kernels import neural_tangents_import

    def refuse(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(neural_tangents_import.importlib, "import_module", refuse)
    neural_tangents_import.neural_tangents.cache_clear()
    with pytest.raises(ImportError, match="pip install --no-deps neural-tangents"):
        neural_tangents_import.neural_tangents()
    monkeypatch.undo()
    neural_tangents_import.neural_tangents.cache_clear()
