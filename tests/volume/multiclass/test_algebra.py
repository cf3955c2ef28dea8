"""EP class by class is EP on the dense covariance of the differences, number by number."""

import itertools

import jax
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from flatvol_jax.runtime.precision import to_host
from flatvol_jax.volume.correction import second_order_correction
from flatvol_jax.volume.ep import DENSE, Cavities, Sites, expectation_propagation
from flatvol_jax.volume.host_ep import expectation_propagation_on_host, iterated_on_host
from flatvol_jax.volume.multiclass import moments
from flatvol_jax.volume.multiclass.algebra import CLASSES
from flatvol_jax.volume.multiclass.dense import DenseClasses
from flatvol_jax.volume.multiclass.differences import (
    class_problem,
    difference_covariance,
    difference_variances,
    grid_columns,
    starting_cavities,
)
from flatvol_jax.volume.multiclass.host_algebra import HostClasses, mirror_upper
from flatvol_jax.volume.posterior import gaussian_posterior

N, C = 40, 5
RANDOM = np.random.default_rng(4)
FACTOR = RANDOM.normal(size=(N, N + 5))
KERNEL = FACTOR @ FACTOR.T / N + 0.3
LABELS = RANDOM.integers(0, C, N)
CASES = {
    "mixed": LABELS,
    "a class without a point": np.where(LABELS == 2, 1, LABELS),
    "one class": np.full(N, 3),
    "one class but one": np.where(np.arange(N) == 7, 0, 3),
}


def at_fixed_point(labels, rough=None):
    """The problem, its dense covariance, the algebra and EP, in a float64 scope.

    `rough` makes of the algebra what computes the first updates.
    """
    problem = class_problem(KERNEL, labels, C)
    covariance, algebra = difference_covariance(problem), HostClasses(KERNEL, C)
    ep = iterated_on_host(
        difference_variances(problem),
        lambda sites: algebra.marginals(problem, sites),
        np.ones(len(covariance)),
        starting_cavities(problem, None),
        1e-10,
        200,
        rough and rough(problem, algebra),
    )
    return problem, covariance, algebra, to_host(ep)


def test_covariance_of_differences_is_that_of_the_outputs():
    problem = class_problem(KERNEL, LABELS, C)
    rows = np.zeros((len(problem.points), C * N))  # of g in terms of f, class after class
    each = np.arange(len(rows))
    rows[each, LABELS[problem.points] * N + problem.points] += 1
    rows[each, problem.classes * N + problem.points] -= 1
    expected = rows @ np.kron(np.eye(C), KERNEL) @ rows.T
    np.testing.assert_allclose(difference_covariance(problem), expected, atol=1e-13)
    np.testing.assert_allclose(difference_variances(problem), np.diagonal(expected), rtol=1e-13)


@pytest.mark.parametrize("labels", CASES.values(), ids=CASES)
@pytest.mark.parametrize("smallest", [1e-2, 1e-7])
def test_marginals_are_those_of_the_dense_covariance(labels, smallest):
    problem = class_problem(KERNEL, labels, C)
    covariance, random = difference_covariance(problem), np.random.default_rng(1)
    size = len(covariance)
    precision = smallest * 10 ** random.uniform(0, 3, size)
    sites = Sites(precision, precision**0.5 * random.normal(size=size))
    found = HostClasses(KERNEL, C).marginals(problem, sites)
    with jax.enable_x64(True):
        root = precision**0.5
        dense = DENSE.marginals(covariance, root, *sites)
        compiled = jax.jit(CLASSES.marginals)(problem, root, *sites)
    for one, two, three in zip(found, compiled, dense, strict=True):
        np.testing.assert_allclose(one, three, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(two, three, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("labels", CASES.values(), ids=CASES)
def test_log_z_is_that_of_the_dense_reduction(labels):
    with jax.enable_x64(True):
        problem, covariance, _, ep = at_fixed_point(labels)
        ones, start = np.ones(len(covariance)), starting_cavities(problem, None)
        dense = to_host(expectation_propagation_on_host(covariance, ones, start, 1e-10, 200))
        compiled = to_host(expectation_propagation(problem, ones, start, 1e-10, 200, CLASSES))
    assert bool(ep.converged)
    assert abs(ep.log_volume - dense.log_volume) < 5e-11 * max(1, abs(dense.log_volume))
    assert abs(compiled.log_volume - dense.log_volume) < 5e-11 * max(1, abs(dense.log_volume))
    assert int(ep.iterations) == int(dense.iterations)


def in_single(problem, algebra):
    return lambda sites: algebra.rough_marginals(problem, sites)


def leading_nowhere(problem, algebra):
    return lambda sites: algebra.marginals(problem, sites)._replace(mean=np.nan * sites.shift)


@pytest.mark.parametrize("rough", [in_single, leading_nowhere])
def test_first_updates_of_few_digits_lead_to_the_same_fixed_point(rough):
    calls = []

    def counted(problem, algebra):
        marginals = rough(problem, algebra)
        return lambda sites: calls.append(0) or marginals(sites)

    with jax.enable_x64(True):
        exact, found = at_fixed_point(LABELS)[-1], at_fixed_point(LABELS, counted)[-1]
    assert bool(found.converged)
    np.testing.assert_allclose(found.log_volume, exact.log_volume, atol=1e-9)
    np.testing.assert_allclose(found.increments, exact.increments, atol=1e-4)
    of_full_precision = int(found.iterations) - len(calls)
    assert len(calls) >= 2
    if rough is in_single:
        assert of_full_precision <= int(exact.iterations) - 3
    else:  # they begin anew
        assert of_full_precision == int(exact.iterations)


def test_rough_marginals_have_the_digits_that_they_say():
    problem = class_problem(KERNEL, LABELS, C)
    size = len(problem.points)
    precision = 10 ** RANDOM.uniform(-3, 1, size)
    sites = Sites(precision, precision**0.5 * RANDOM.normal(size=size))
    algebra = HostClasses(KERNEL, C)
    rough, exact = algebra.rough_marginals(problem, sites), algebra.marginals(problem, sites)
    assert rough.mean.dtype == np.float64
    np.testing.assert_allclose(rough.mean, exact.mean, atol=1e-4)
    np.testing.assert_allclose(rough.uncertainty, exact.uncertainty, atol=3e-6)
    np.testing.assert_allclose(rough.half_log_determinant, exact.half_log_determinant, rtol=1e-5)
    assert np.abs(rough.uncertainty - exact.uncertainty).max() > 1e-9  # it was float32


def test_covariance_and_correction_are_the_dense_ones():
    with jax.enable_x64(True):
        problem, covariance, algebra, ep = at_fixed_point(LABELS)
        pieces = algebra.pieces(problem, ep.sites)
        rotations = moments.weighted_rotations(problem, ep, pieces)
        found = moments.class_posterior(problem, ep, pieces, rotations)
        correction = moments.class_correction(problem, ep, rotations)
        single = moments.class_correction(problem, ep, rotations, np.float32)
        small = 1e-14  # times all variances: their fourth powers are none in float32
        ep_small = ep._replace(
            sites=Sites(ep.sites.precision / small, ep.sites.shift / small**0.5),
            cavities=Cavities(ep.cavities.mean * small**0.5, ep.cavities.variance * small),
        )
        scaled = moments.class_correction(
            problem._replace(kernel=KERNEL * small), ep_small, rotations * small**0.5, np.float32
        )
        dense = gaussian_posterior(covariance, *ep.sites)
        expected = second_order_correction(dense.covariance, np.ones(len(covariance)), ep.cavities)
    np.testing.assert_allclose(found.covariance, dense.covariance, atol=1e-12)
    np.testing.assert_allclose(found.mean, dense.mean, atol=1e-11)
    np.testing.assert_allclose(found.log_normaliser, dense.log_normaliser, rtol=1e-12)
    np.testing.assert_allclose(correction[:2], expected[:2], rtol=1e-8)
    np.testing.assert_allclose(single[:2], expected[:2], rtol=1e-5)
    np.testing.assert_allclose(scaled[:2], expected[:2], rtol=1e-5)


def test_increments_are_orthants_under_the_other_labels():
    """Within EP's error, of the orthant of each input's differences without its own sites."""
    with jax.enable_x64(True):
        problem, covariance, algebra, ep = at_fixed_point(LABELS)
        pieces = algebra.pieces(problem, ep.sites)
        uncertainty = moments.joint_uncertainty(problem, ep, pieces)
        np.testing.assert_allclose(
            uncertainty, DenseClasses(problem).uncertainty(problem, ep), atol=1e-12
        )
        found = moments.point_increments(problem, ep, pieces.marginals.mean, uncertainty)
        for i in (0, 7, 21):
            mine = problem.points == i
            rest = gaussian_posterior(covariance, *(np.where(mine, 0.0, leaf) for leaf in ep.sites))
            mean, spread = np.asarray(rest.mean)[mine], np.asarray(rest.covariance)
            orthant = multivariate_normal.logcdf(mean, cov=spread[np.ix_(mine, mine)])
            assert abs(found[i] - orthant) < 0.01
            assert abs(found[i] - np.sum(ep.increments[mine])) > 0.05  # they are not independent


def test_start_keeps_what_a_labelling_shares():
    problem = class_problem(KERNEL, LABELS, C)
    values = RANDOM.uniform(0.5, 2.0, len(problem.points))
    start = type(starting_cavities(problem, None))(
        grid_columns(problem, -values), grid_columns(problem, values)
    )
    found = starting_cavities(problem, start)
    np.testing.assert_array_equal(found.mean, -values)
    other = class_problem(KERNEL, np.where(np.arange(N) == 3, (LABELS + 1) % C, LABELS), C)
    found, cold = starting_cavities(other, start), starting_cavities(other, None)
    changed = other.points == 3
    np.testing.assert_array_equal(found.variance[changed], cold.variance[changed])
    np.testing.assert_array_equal(found.mean[~changed], -values[problem.points != 3])


def test_mirror():
    for size, seed in itertools.product((1, 255, 256, 600), (0, 1)):
        matrix = np.random.default_rng(seed).normal(size=(size, size))
        expected = np.triu(matrix) + np.triu(matrix, 1).T
        mirror_upper(matrix)
        np.testing.assert_array_equal(matrix, expected)
