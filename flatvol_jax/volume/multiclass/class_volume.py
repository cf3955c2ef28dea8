"""log V(f) of labels 0..C-1: EP over differences, its correction, sampling; the results joined."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from flatvol_jax.runtime import checks
from flatvol_jax.runtime.arrays import AnyArray
from flatvol_jax.runtime.precision import to_host
from flatvol_jax.volume import inputs
from flatvol_jax.volume.correction import Correction, second_order_correction
from flatvol_jax.volume.ep import EP, Cavities, Sites, expectation_propagation
from flatvol_jax.volume.host_ep import iterated_on_host
from flatvol_jax.volume.labellings import in_order
from flatvol_jax.volume.method_result import impossible_result, volume_result
from flatvol_jax.volume.multiclass import moments
from flatvol_jax.volume.multiclass.algebra import CLASSES
from flatvol_jax.volume.multiclass.dense import DenseClasses
from flatvol_jax.volume.multiclass.differences import (
    Problem,
    class_problem,
    difference_variances,
    grid_columns,
    starting_cavities,
)
from flatvol_jax.volume.multiclass.estimate import (
    check_sampling,
    class_estimate,
    class_rounding_error,
)
from flatvol_jax.volume.multiclass.host_algebra import HostClasses
from flatvol_jax.volume.multiclass.labels import (
    checked_class_labels,
    class_contradiction,
    possible_labels,
)
from flatvol_jax.volume.posterior import Posterior
from flatvol_jax.volume.repetitions import Repetitions, signed_repetitions
from flatvol_jax.volume.result import LogVolume
from flatvol_jax.volume.sampling import Estimate

_SMALL = 100  # differences up to which M is no dearer than C matrices
_DENSE = 4000  # differences up to which M is taken where K is singular
_LARGEST_JITTER = 1e-7  # added to correlations that have no factor; its effect is in the error


class ClassRun(NamedTuple):
    """EP of one labelling and what the method needs beyond it.

    Attributes:
        problem: the labelling.
        ep: its fixed point, on the host.
        increments: log P(y_i | rest), (n,).
        correction: None for method "ep".
        posterior: makes the Gaussian of the sites.
        log_normaliser: log Z_s of the sites.
        jitter: what was added to the correlations' diagonal.
    """

    problem: Problem
    ep: EP
    increments: np.ndarray
    correction: Correction | None
    posterior: Callable[[], Posterior] | None
    log_normaliser: Any
    jitter: float


def volume_of_classes(
    kernel: Float[AnyArray, "n n"],
    labels: Int[AnyArray, "*shape n"],
    classes: int,
    noise: float,
    options: Any,
    start: Cavities | None = None,
    key: jax.Array | None = None,
    progress: Callable[[int], None] | None = None,
) -> LogVolume:
    """Return log V(f) = log P(f_{i,y_i} > f_ic for all i and c ≠ y_i), f_c ~ N(0, K).

    Args:
        kernel: K, (n, n) float64.
        labels: y, (..., n), integers 0..C-1.
        classes: C, at least 2.
        noise: variance of the link's noise, on every output.
        options: those of `function_volume.log_volume`.
        start: cavities of a similar labelling, (n, C) each.
        key: for method "certified".
        progress: called with the number of labellings done.
    """
    matrix, scale = inputs.checked_correlation(kernel, noise, ep_matrices(classes, noise > 0))
    n = len(matrix)
    labels = checked_class_labels(labels, n, classes)
    rows = labels.reshape(-1, n)
    begin = None if start is None else _checked_start(start, n, classes)
    repetitions = signed_repetitions(matrix.__getitem__, n)
    kept = repetitions.kept
    read = matrix.__getitem__
    clashes = [class_contradiction(repetitions, row, read, noise) for row in rows]
    if len(kept) < n:
        matrix = matrix[np.ix_(kept, kept)]
    if options.method == "certified":
        check_sampling(len(kept), classes, options)
        inputs.check_invertible(matrix, kernel)
    if begin is not None:
        mean, variance = begin.mean / scale[:, None], begin.variance / scale[:, None] ** 2
        begin = Cavities(mean[kept], variance[kept])
    runner = ClassEP(matrix, classes, options)

    def finished(place):
        clash, row = clashes[place], rows[place]
        if clash is not None:
            row = possible_labels(repetitions, row, read, classes)
        run, estimate = runner.run(row[kept], begin), None
        if clash is None and options.method == "certified":
            own_key: Any = None if key is None else jax.random.fold_in(key, place)
            rounding = class_rounding_error(run.ep, classes, run.jitter)
            posterior: Any = run.posterior
            estimate = class_estimate(
                own_key, run.problem, run.ep, posterior, run.log_normaliser, options, rounding
            )
        result = _class_result(run, classes, estimate)
        if clash is not None:
            reason = (
                f"inputs {clash[0]} and {clash[1]} are one, or opposite, and their labels "
                "contradict each other"
            )
            result = impossible_result(result, reason, options)
        return [_in_output_units(result, repetitions, scale)]

    tasks = [partial(finished, place) for place in range(len(rows))]
    results = in_order(tasks, progress, one_after_another=True)
    return jax.tree.map(
        lambda *leaves: np.stack(leaves).reshape(labels.shape[:-1] + np.shape(leaves[0])), *results
    )


def check_one_at_a_time(mesh: Any, batch_size: int) -> None:
    """Refuse what only the binary engine has."""
    if mesh is not None or batch_size != 1:
        raise ValueError(
            f"classes: got mesh {mesh} and batch_size {batch_size}; with more than two classes "
            "labellings run one at a time on one device: leave mesh out and batch_size at 1."
        )


def ep_matrices(classes: int, noise: bool = True) -> float:
    """Return the number of n² float64 that EP holds at once beside the kernel it is given.

    The correlations, and those that they are made of where the link has noise; C matrices, their
    sum, and what a product takes; the correlations in float32.
    """
    return classes + 3.7 + noise


class ClassEP:
    """EP of one labelling after another under one matrix of correlations."""

    def __init__(self, matrix: np.ndarray, classes: int, options: Any):
        self._matrix, self._classes, self._options = matrix, classes, options
        self._differences = len(matrix) * (classes - 1)
        self._dense = self._differences <= _SMALL
        self._algebra: HostClasses | None = None

    def run(self, labels: np.ndarray, begin: Cavities | None) -> ClassRun:
        """Return EP's fixed point and its moments."""
        problem = class_problem(self._matrix, labels, self._classes)
        if self._dense:
            return self._by_differences(problem, begin)
        found = self._by_class(problem, begin)
        if np.isfinite(found.ep.log_volume):
            return found
        if self._differences <= _DENSE:  # K is singular, and M + S^-1 is not
            return self._by_differences(problem, begin)
        jitter = inputs.rounding_jitter(len(self._matrix))
        while not np.isfinite(found.ep.log_volume) and jitter < _LARGEST_JITTER:
            self._algebra = None  # the memory of one algebra at a time
            jittered = self._matrix + jitter * np.eye(len(self._matrix))
            found = self._by_class(problem._replace(kernel=jittered), begin, jitter)
            jitter *= 100.0
        self._algebra = None  # of another matrix
        return found

    def _by_class(self, problem: Problem, begin: Cavities | None, jitter: float = 0.0) -> ClassRun:
        options, start = self._options, starting_cavities(problem, begin)
        if self._algebra is None:
            self._algebra = HostClasses(problem.kernel, self._classes)
        algebra = self._algebra
        algebra.forget()
        limits = options.tolerance, options.max_iterations
        ones = np.ones(self._differences)
        if jax.default_backend() == "cpu":
            prior, marginals = difference_variances(problem), partial(algebra.marginals, problem)
            rough = partial(algebra.rough_marginals, problem)
            ep = iterated_on_host(prior, marginals, ones, start, *limits, rough)
        else:
            ep = expectation_propagation(
                jax.tree.map(jnp.asarray, problem), ones, start, *limits, CLASSES
            )
        ep = to_host(ep)
        pieces = algebra.pieces(problem, ep.sites)
        mean = pieces.marginals.mean
        uncertainty = moments.joint_uncertainty(problem, ep, pieces)
        increments = _increments(problem, ep, mean, uncertainty)
        if options.method == "ep" or not np.isfinite(ep.log_volume):
            return ClassRun(problem, ep, increments, None, None, np.nan, jitter)
        rotations = moments.weighted_rotations(problem, ep, pieces)
        correction = moments.class_correction(problem, ep, rotations)
        algebra.forget()  # its rotations are weighted
        posterior = partial(moments.class_posterior, problem, ep, pieces, rotations)
        normaliser = moments.site_normaliser(ep, pieces)
        return ClassRun(problem, ep, increments, correction, posterior, normaliser, jitter)

    def _by_differences(self, problem: Problem, begin: Cavities | None) -> ClassRun:
        options, dense = self._options, DenseClasses(problem)
        ones = np.ones(self._differences)
        ep = to_host(
            iterated_on_host(
                difference_variances(problem),
                dense.marginals,
                ones,
                starting_cavities(problem, begin),
                options.tolerance,
                options.max_iterations,
            )
        )
        mean, uncertainty = dense.marginals(ep.sites).mean, dense.uncertainty(problem, ep)
        increments = _increments(problem, ep, mean, uncertainty)
        if options.method == "ep":
            return ClassRun(problem, ep, increments, None, None, np.nan, 0.0)
        posterior = dense.posterior(ep)
        correction = second_order_correction(posterior.covariance, ones, ep.cavities)
        normaliser = posterior.log_normaliser
        return ClassRun(problem, ep, increments, correction, lambda: posterior, normaliser, 0.0)


def _increments(problem: Problem, ep: EP, mean: Any, uncertainty: np.ndarray) -> np.ndarray:
    if not np.isfinite(ep.log_volume):
        return np.full(problem.own.shape[1], np.nan)
    return moments.point_increments(problem, ep, mean, uncertainty)


def _class_result(run: ClassRun, classes: int, estimate: Estimate | None) -> LogVolume:
    """Return the result in the units of correlations, on the host."""
    problem, ep = run.problem, run.ep
    columns = ep._replace(
        increments=run.increments,
        sites=Sites(*(grid_columns(problem, leaf) for leaf in ep.sites)),
        cavities=Cavities(*(grid_columns(problem, leaf) for leaf in ep.cavities)),
    )
    rounding = class_rounding_error(ep, classes, run.jitter)
    return volume_result(columns, run.correction, estimate, rounding)


def _in_output_units(result: LogVolume, repetitions: Repetitions, scale: np.ndarray) -> LogVolume:
    """Go from the kept outputs, in units of their deviation, to those that the caller knows."""
    place = repetitions.place
    repeated, scale = np.bincount(place)[place] > 1, scale[:, None]
    (precision, shift), (mean, variance) = result.sites, result.cavities
    return result._replace(
        increments=np.where(repeated, 0.0, result.increments[place]),
        sites=Sites(precision[place] / scale**2, shift[place] / scale),
        cavities=Cavities(mean[place] * scale, variance[place] * scale**2),
    )


def _checked_start(start: Cavities, n: int, classes: int) -> Cavities:
    if not isinstance(start, Cavities):
        raise ValueError(
            f"start: got {type(start).__name__}, wanted the `cavities` of another labelling's "
            "LogVolume."
        )
    mean = checks.finite("start.mean", start.mean)
    variance = checks.finite("start.variance", start.variance)
    shape = (n, classes)
    one = shape == mean.shape == variance.shape
    if not one or (variance < 0).any() or ((variance == 0).sum(axis=1) != 1).any():
        raise ValueError(
            f"start: got cavities of shapes {mean.shape} and {variance.shape}; wanted {shape}, "
            "variances above 0 and one 0 in each row, where the class is the label: the "
            "`cavities` of one labelling of these inputs in as many classes."
        )
    return Cavities(mean, variance)
