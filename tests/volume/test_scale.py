"""The scale of an output says nothing under the hard link; what float64 has lost is said."""

import jax
import numpy as np
import pytest
from scipy import integrate, stats

import flatvol_jax as fv
from flatvol_jax.runtime.faults import NumericalFault
from flatvol_jax.volume import splitting_log_volume

KEY = jax.random.key(0)
N = 30
FEW = {"particles": 64, "replicates": 8}


def scales(n, seed=1):
    """Ten orders of magnitude, so twenty in the variances."""
    return 10.0 ** np.random.default_rng(seed).uniform(-5, 5, n)


def scaled(kernel, d):
    return d[:, None] * kernel * d


def relu_kernel(n=N, column=1.0, seed=0):
    x = np.random.default_rng(seed).normal(size=(n, 13))
    labels = np.where(x[:, 0] + x[:, 1] > 1.2, 1, -1)
    return fv.nngp_kernel(fv.FCN(), x * np.r_[column, np.ones(12)]), labels


def planar(n, seed=0):
    """Inputs in the plane, the labels of a line through 0, and the angle that is left to it."""
    rng = np.random.default_rng(seed)
    x, normal = rng.normal(size=(n, 2)), rng.normal(size=2)
    labels = np.where(x @ normal > 0, 1, -1)
    sides = np.arctan2(*(labels[:, None] * x).T[::-1]) - np.arctan2(*normal[::-1])
    sides = (sides + np.pi) % (2 * np.pi) - np.pi
    return x, labels, np.log((np.pi - (sides.max() - sides.min())) / (2 * np.pi))


@pytest.mark.parametrize("d", [np.ones(12), scales(12)], ids=["unit", "scaled"])
def test_a_planar_classifier_has_the_volume_of_its_angle(d):
    x, labels, exact = planar(12)
    kernel = scaled(x @ x.T, d)
    ours = splitting_log_volume(KEY, kernel, labels, particles=500, steps=4, replicates=32)
    assert abs(ours.log_volume - exact) < 4 * ours.standard_error
    assert ours.standard_error < 0.1
    unit = fv.log_volume(x @ x.T, labels)
    np.testing.assert_allclose(fv.log_volume(kernel, labels).log_volume, unit.log_volume, rtol=1e-4)
    with pytest.raises(NumericalFault, match="another prior"):
        fv.estimate_log_volume(KEY, kernel, labels)


@pytest.mark.parametrize("d", [np.ones(2), scales(2), scales(2)[::-1]])
def test_two_points_in_the_plane_by_every_method(d):
    x, labels, exact = planar(2)
    kernel = scaled(x @ x.T, d)
    ours = fv.log_volume(kernel, labels, method="certified", key=KEY)
    assert abs(ours.log_volume - exact) < 4 * ours.standard_error
    assert abs(ours.ep - exact) < 0.05
    assert abs(ours.corrected - exact) < abs(ours.ep - exact)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_a_planar_classifier_with_the_probit_link_against_quadrature(scale):
    x, labels, _ = planar(6)
    x = scale * x

    grid = np.linspace(-7, 7, 1401)
    u, v = np.meshgrid(grid, grid)
    outputs = np.einsum("i,id,dab->iab", labels, x, np.stack([u, v]))
    values = np.exp(stats.norm.logcdf(outputs).sum(0) - (u**2 + v**2) / 2) / (2 * np.pi)
    exact = np.log(integrate.simpson(integrate.simpson(values, x=grid), x=grid))
    ours = fv.log_volume(x @ x.T, labels, "probit", "certified", KEY)
    assert abs(ours.log_volume - exact) < 4 * ours.standard_error + 2e-3  # of the grid
    assert np.isfinite(ours.cavities.variance).all()
    assert (ours.cavities.variance > 0).all()
    again = fv.log_volume(x @ x.T, labels, "probit", start=ours.cavities)
    np.testing.assert_allclose(again.log_volume, ours.ep, atol=2e-8)


def test_scales_change_no_number_of_the_hard_link():
    kernel, labels = relu_kernel()
    d = scales(N)
    unit, ours = (
        fv.log_volume(k, labels, method="certified", key=KEY, **FEW)
        for k in (kernel, scaled(kernel, d))
    )
    for field in ("log_volume", "ep", "corrected", "standard_error"):
        np.testing.assert_allclose(getattr(ours, field), getattr(unit, field), atol=1e-6)
    np.testing.assert_allclose(ours.cavities.mean, d * unit.cavities.mean, rtol=1e-4)
    np.testing.assert_allclose(ours.cavities.variance, d**2 * unit.cavities.variance, rtol=1e-4)
    np.testing.assert_allclose(ours.sites.precision, unit.sites.precision / d**2, rtol=1e-3)
    warm = fv.log_volume(scaled(kernel, d), labels, start=ours.cavities)
    assert warm.iterations < unit.iterations
    np.testing.assert_allclose(warm.log_volume, unit.ep, atol=1e-6)


def test_one_raw_column_makes_no_kernel_singular():
    kernel, labels = relu_kernel(80, 3e4)
    ours = fv.log_volume(kernel, labels, method="certified", key=jax.random.key(2))
    assert ours.status == "certified given this kernel"
    assert abs(ours.log_volume - -40.08) < 4 * ours.standard_error + 0.02  # 65,536 particles
    assert ours.rounding_error < 1e-5


def test_probit_is_finite_beside_outputs_of_variance_1e14():
    kernel, labels = relu_kernel(80, 1e7)
    assert kernel.max() > 1e13
    ours = fv.log_volume(kernel, labels, "probit")
    assert -80 < ours.log_volume < -40
    assert 1e-3 < ours.rounding_error < 1


def test_the_rounding_error_is_the_spread_over_perturbed_kernels():
    kernel, labels = relu_kernel(N, 1e2)
    scale = np.sqrt(np.diagonal(kernel))
    correlations = kernel / np.outer(scale, scale)
    values, size = [], 1e-9
    for seed in range(40):
        error = np.triu(np.random.default_rng(seed).normal(size=(N, N)), 1) * size
        values.append(fv.log_volume(correlations + error + error.T, labels).log_volume)
    stated = fv.log_volume(kernel, labels).rounding_error * size / np.finfo(np.float64).eps
    # It is an upper bound, and sums of squares bound a norm from above by no large factor.
    assert 0.2 < np.std(values) / stated < 1 + 4 / np.sqrt(2 * 40)


@pytest.mark.parametrize("column", [1e8, 1e9])
def test_rows_that_cannot_be_told_apart_are_an_error(column):
    kernel, labels = relu_kernel(80, column)
    for link in ("heaviside", "probit"):
        with pytest.raises(NumericalFault, match="cannot be told apart"):
            fv.log_volume(kernel, labels, link)
    with pytest.raises(NumericalFault, match="cannot be told apart"):
        splitting_log_volume(KEY, kernel, labels)
    mesh = jax.make_mesh((1,), ("rows",))
    with pytest.raises(NumericalFault, match="cannot be told apart"):
        fv.log_volume(kernel, labels, mesh=mesh)


def test_nearly_repeated_inputs_are_not_one():
    x = np.random.default_rng(0).normal(size=(6, 4))
    x[4] = x[1] * (1 + 1e-9)
    kernel, labels = fv.nngp_kernel(fv.FCN(), x), np.ones(6, int)
    assert np.isfinite(fv.log_volume(kernel, labels).log_volume)
    labels[4] = -1
    with pytest.raises(NumericalFault, match="inputs 1 and 4"):
        fv.log_volume(kernel, labels)
    x[4] = x[1] * (1 + 1e-5)  # enough digits: a small volume, and no zero
    found = fv.log_volume(fv.nngp_kernel(fv.FCN(), x), labels)
    assert -25 < found.log_volume < -8


@pytest.mark.parametrize("d", [np.ones(6), 2.0 ** np.arange(6), scales(6)])
def test_a_repeated_input_with_two_labels_has_no_volume_at_any_scale(d):
    x = np.random.default_rng(0).random((6, 4))
    x[4] = x[1]
    kernel = scaled(fv.nngp_kernel(fv.FCN(), x), d)
    labels = np.array([1, 1, 1, -1, -1, 1])
    ours = fv.log_volume(kernel, labels, method="certified", key=KEY, **FEW)
    assert ours.log_volume == -np.inf
    assert ours.standard_error == 0
    assert ours.status == "impossible: inputs 1 and 4 are one, their labels two"
    assert splitting_log_volume(KEY, kernel, labels).log_volume == -np.inf


def test_what_is_wrong_with_small_outputs_is_seen_beside_large_ones():
    kernel = np.diag([1e12, 1e12, 1e-6, 1e-6])
    kernel[2, 3] = kernel[3, 2] = 2e-6
    with pytest.raises(NumericalFault, match="indefinite.*another prior"):
        fv.log_volume(kernel, np.ones(4))
    kernel[2, 3], kernel[3, 2] = 1e-7, 2e-7
    with pytest.raises(ValueError, match="symmetric"):
        fv.log_volume(kernel, np.ones(4))
