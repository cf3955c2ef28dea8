"""Our own recursion for dense ReLU networks: equal to neural-tangents, and used where it is not."""

import subprocess
import sys
import textwrap

import jax
import mpmath
import numpy as np
import pytest

import flatvol_jax as fv
from flatvol_jax.kernels.analytic import _kernel_function
from flatvol_jax.kernels.relu_recursion import dense_relu_kernel, is_dense_relu

RNG = np.random.default_rng(0)
X = np.concatenate([RNG.normal(size=(20, 7)), RNG.random((20, 7)), 1e-3 * RNG.normal(size=(4, 7))])
NEAR = np.concatenate([X[:3], X[:3] * (1 + 1e-9), X[:3] + 1e-7, -X[:3]])

SPECS = [
    fv.FCN((40,), 1.0, 0.1),
    fv.FCN((40, 40)),
    fv.FCN((9, 9, 9), 1.3, 0.0),
    fv.FCN((5,) * 12, 2**0.5, 0.0),
]


@pytest.mark.parametrize("spec", SPECS, ids=str)
@pytest.mark.parametrize("x", [X, NEAR], ids=["any", "nearly equal and opposite"])
def test_it_equals_neural_tangents(spec, x):
    layers = spec.kernel_layers()
    with jax.enable_x64(True):
        ours, theirs = (
            np.asarray(function(x, x[::-1].copy()))
            for function in (dense_relu_kernel(layers), _kernel_function(layers))
        )
    np.testing.assert_allclose(ours, theirs, rtol=1e-13)


def test_it_is_the_gaussian_mean_of_the_products_of_relus():
    """One hidden layer: K = σ_b² + σ_w² E[relu(u) relu(v)], here an integral in 30 digits."""
    x = np.array([[0.3, -1.2], [0.9, 0.4]])
    with jax.enable_x64(True):
        found = np.asarray(dense_relu_kernel(fv.FCN((9,), 1.3, 0.2).kernel_layers())(x, x))
    with mpmath.workdps(30):
        c = mpmath.matrix((0.04 + 1.69 * x @ x.T / 2).tolist())
        slope = c[0, 1] / c[0, 0]
        rest = mpmath.sqrt(c[1, 1] - c[0, 1] * slope)

        def inner(u):  # E[relu(v) | u], a normal of mean slope u and deviation rest
            m = slope * u
            return m * mpmath.ncdf(m / rest) + rest * mpmath.npdf(m / rest)

        scale = mpmath.sqrt(c[0, 0])
        mean = mpmath.quad(
            lambda z: z * scale * inner(z * scale) * mpmath.npdf(z), mpmath.linspace(0, 14, 8)
        )
        wanted = float(0.04 + 1.69 * mean)
    assert found[0, 1] == pytest.approx(wanted, rel=1e-13)


def test_it_knows_what_it_is_of():
    dense, relu = ("dense", 1.0, 0.0), ("relu",)
    assert is_dense_relu((dense,))
    assert is_dense_relu((dense, relu, dense))
    for layers in ((dense, dense), (relu, dense), (dense, relu), (("flatten",), relu, dense), ()):
        assert not is_dense_relu(layers)


def test_without_neural_tangents_a_dense_network_has_its_kernel_and_another_the_line_to_type(
    tmp_path,
):
    script = """
    import sys
    sys.modules["neural_tangents"] = None  # importing it is then an ImportError
    import numpy as np, flatvol_jax as fv
    x = np.random.default_rng(0).normal(size=(6, 4, 4))
    np.save(sys.argv[1], fv.nngp_kernel(fv.FCN((40, 40)), x, x[:3]))
    try:
        fv.nngp_kernel(fv.CNN(pooling=None), x)
    except ImportError as error:
        assert "pip install --no-deps neural-tangents==0.6.5" in str(error)
    else:
        raise AssertionError("no ImportError")
    """
    file = str(tmp_path / "kernel.npy")
    subprocess.run([sys.executable, "-c", textwrap.dedent(script), file], check=True)
    found = np.load(file)
    x = np.random.default_rng(0).normal(size=(6, 4, 4))
    np.testing.assert_allclose(found, fv.nngp_kernel(fv.FCN((40, 40)), x, x[:3]), rtol=1e-13)
