"""Condition number, ranks and jitter, on matrices of known spectrum."""

import numpy as np
import pytest

import flatvol_jax as fv
from flatvol_jax.kernels import add_jitter, conditioning


def with_spectrum(values):
    rng = np.random.default_rng(0)
    basis, _ = np.linalg.qr(rng.normal(size=(len(values), len(values))))
    kernel = basis * np.asarray(values, np.float64) @ basis.T
    return 0.5 * (kernel + kernel.T)


def test_extreme_eigenvalues_and_condition_number():
    found = conditioning(with_spectrum([1e-6, 0.5, 3.0, 40.0]))
    np.testing.assert_allclose([found.least, found.largest], [1e-6, 40.0], rtol=1e-8)
    np.testing.assert_allclose(found.condition_number, 4e7, rtol=1e-8)
    assert found.numerical_rank == 4


@pytest.mark.parametrize("share", [0.5, 0.9, 1 - 1e-9])
def test_effective_rank_is_the_exponential_of_the_entropy(share):
    # Of a Bernoulli variable here, by its closed form.
    wanted = share**-share * (1 - share) ** (share - 1)
    found = conditioning(with_spectrum([7 * share, 7 * (1 - share)]))
    np.testing.assert_allclose(found.effective_rank, wanted, rtol=1e-9)


def test_effective_rank_is_n_for_the_identity_and_1_for_rank_one():
    assert conditioning(3.0 * np.eye(20)).effective_rank == pytest.approx(20, rel=1e-12)
    assert conditioning(np.ones((20, 20))).effective_rank == pytest.approx(1, rel=1e-12)


def test_a_repeated_input_makes_the_kernel_singular():
    x = np.random.default_rng(0).random((30, 5))
    assert conditioning(fv.nngp_kernel(fv.FCN(), x)).numerical_rank == 30
    x[7] = x[3]
    repeated = conditioning(fv.nngp_kernel(fv.FCN(), x))
    assert repeated.numerical_rank == 29
    assert repeated.condition_number > 1e14


def test_no_jitter_is_added_where_none_is_needed():
    kernel = with_spectrum([1e-8, 1.0, 2.0])
    found = add_jitter(kernel)
    assert found.jitter == 0
    np.testing.assert_array_equal(found.kernel, kernel)


def test_the_jitter_that_is_needed_is_added_and_told():
    kernel = with_spectrum([-3e-11, 0.5, 1.0, 2.5])  # mean diagonal 1
    found = add_jitter(kernel)
    np.testing.assert_allclose(found.jitter, 1e-10, rtol=1e-9)
    np.testing.assert_allclose(found.kernel - kernel, found.jitter * np.eye(4), atol=1e-15)
    np.linalg.cholesky(found.kernel)
    assert fv.log_volume(found.kernel, np.ones(4)).converged


def test_a_jitter_asked_for_is_that_share_of_the_mean_diagonal():
    kernel = with_spectrum([1.0, 2.0, 9.0])
    found = add_jitter(kernel, relative=0.01)
    assert found.jitter == pytest.approx(0.04, rel=1e-12)
    np.testing.assert_allclose(
        np.linalg.eigvalsh(found.kernel), np.array([1.0, 2.0, 9.0]) + found.jitter, rtol=1e-12
    )
    np.testing.assert_allclose(kernel, with_spectrum([1.0, 2.0, 9.0]), rtol=0)  # left alone


def test_bad_kernels_are_named():
    with pytest.raises(ValueError, match=r"got shape \(2, 3\)"):
        conditioning(np.ones((2, 3)))
    with pytest.raises(ValueError, match="not symmetric"):
        add_jitter(np.array([[1.0, 0.5], [0.2, 1.0]]))
    with pytest.raises(ValueError, match="NaN"):
        conditioning(np.full((2, 2), np.nan))
    with pytest.raises(ValueError, match="above 0"):
        conditioning(-np.eye(2))
    with pytest.raises(ValueError, match="least eigenvalue -0.1 at mean diagonal 0.45"):
        add_jitter(np.diag([1.0, -0.1]))
    with pytest.raises(ValueError, match="relative: got 0"):
        add_jitter(np.eye(2), relative=0.0)
