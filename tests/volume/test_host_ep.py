"""EP with LAPACK on the host is the compiled EP, update by update."""

import jax
import numpy as np
import pytest

from flatvol_jax.volume import host_ep
from flatvol_jax.volume.ep import (
    DENSE,
    Cavities,
    Sites,
    expectation_propagation,
    prior_cavities,
)
from flatvol_jax.volume.host_ep import expectation_propagation_on_host, lapack_marginals

RANDOM = np.random.default_rng(3)
N = 40
FACTOR = RANDOM.normal(size=(N, N + 5))
KERNEL = FACTOR @ FACTOR.T / N + 0.3
LABELS = np.where(RANDOM.random(N) < 0.4, -1.0, 1.0)


@pytest.mark.parametrize("labels", [LABELS, np.ones(N), np.where(np.arange(N) == 3, -1.0, 1.0)])
@pytest.mark.parametrize("tolerance", [1e-10, 1e-3])
def test_equals_the_compiled_ep(labels, tolerance):
    with jax.enable_x64(True):
        start = jax.tree.map(np.asarray, prior_cavities(KERNEL))
        host = expectation_propagation_on_host(KERNEL, labels, start, tolerance, 200)
        compiled = expectation_propagation(KERNEL, labels, start, tolerance, 200)
    assert int(host.iterations) == int(compiled.iterations)
    assert bool(host.converged)
    assert bool(compiled.converged)
    for one, other in zip(jax.tree.leaves(host), jax.tree.leaves(compiled), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-7, atol=1e-9)


def test_marginals_are_those_of_the_dense_inverse():
    precision, shift = RANDOM.uniform(0.1, 3.0, N), RANDOM.normal(size=N)
    found = lapack_marginals(KERNEL, LABELS, Sites(precision, shift))
    root = np.sqrt(precision)
    b = np.eye(N) + root[:, None] * KERNEL * root
    np.testing.assert_allclose(found.uncertainty, np.diagonal(np.linalg.inv(b)), rtol=1e-10)
    np.testing.assert_allclose(found.half_log_determinant, np.linalg.slogdet(b)[1] / 2, rtol=1e-12)
    mean = np.linalg.solve(np.linalg.inv(KERNEL) + np.diag(precision), LABELS * shift)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-8, atol=1e-10)
    with jax.enable_x64(True):
        dense = DENSE.marginals(KERNEL, LABELS * root, precision, LABELS * shift)
    for one, other in zip(found, dense, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-11)


def test_stops_at_the_most_iterations_and_says_so():
    with jax.enable_x64(True):
        start = Cavities(np.zeros(N), np.diagonal(KERNEL) / np.e)
        found = expectation_propagation_on_host(KERNEL, LABELS, start, 1e-12, 2)
        programs = host_ep._next_iterate._cache_size()
        again = expectation_propagation_on_host(KERNEL, LABELS, start, 1e-12, 3)
    assert int(found.iterations) == 2
    assert not bool(found.converged)
    assert int(again.iterations) == 3
    assert host_ep._next_iterate._cache_size() == programs  # a limit is no part of a program


def test_a_matrix_without_a_factor_is_no_number():
    broken = np.where(np.eye(N) > 0, np.nan, KERNEL)
    found = lapack_marginals(broken, LABELS, Sites(np.ones(N), np.zeros(N)))
    assert np.isnan(found.half_log_determinant)
