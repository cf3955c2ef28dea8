"""kernel + labels -> log V(f), the natural logarithm of the prior probability of a function."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, Real

from flatvol_jax.runtime import checks
from flatvol_jax.runtime.arrays import AnyArray
from flatvol_jax.runtime.precision import float64_scope
from flatvol_jax.runtime.spread import usable_devices
from flatvol_jax.volume import inputs, sharded_inputs
from flatvol_jax.volume.correlation import correlation_reader, output_scales
from flatvol_jax.volume.ep import (
    DENSE,
    Cavities,
    expectation_propagation,
    prior_cavities,
)
from flatvol_jax.volume.host_ep import expectation_propagation_on_host, on_cpu
from flatvol_jax.volume.kernel_error import (
    KernelEstimate,
    ep_jackknife,
    given_this_kernel,
    with_kernel_error,
)
from flatvol_jax.volume.labellings import batched, in_order, on_each_device
from flatvol_jax.volume.links import LINK_VARIANCE
from flatvol_jax.volume.method_result import METHODS, Options, impossible_result, method_result
from flatvol_jax.volume.multiclass.class_volume import check_one_at_a_time, volume_of_classes
from flatvol_jax.volume.multiclass.labels import checked_class_labels, checked_classes
from flatvol_jax.volume.repetitions import contradiction, find_repetitions
from flatvol_jax.volume.result import LogVolume, in_output_units
from flatvol_jax.volume.sampling import PROPOSALS, Estimate
from flatvol_jax.volume.sharded_cholesky import SHARDED
from flatvol_jax.volume.sharded_kernel import shard_kernel


@float64_scope
def log_volume(
    kernel: Float[AnyArray, "n n"] | KernelEstimate,
    labels: Real[AnyArray, "*shape n"],
    link: str = "heaviside",
    method: str = "ep",
    key: jax.Array | None = None,
    *,
    start: Cavities | None = None,
    tolerance: float = 1e-10,
    max_iterations: int = 200,
    batch_size: int = 1,
    proposal: str = "auto",
    particles: int = 128,
    replicates: int = 16,
    progress: Callable[[int], None] | None = None,
    mesh: Mesh | None = None,
    classes: int | None = None,
) -> LogVolume:
    """Return log V(f), the log prior probability of a function given by its labels, in nats.

        log V(f) = log ∫ N(z; 0, K) ∏_i P(y_i | z_i) dz (eqs 2 and 5, appendix A)

    Under the Heaviside link V does not change where K becomes D K D, D diagonal and positive: it
    is computed from the correlations, whatever the scales of the outputs. Inputs that occur twice
    (outputs of correlation ±1) count once; with contradictory labels V(f) = 0 and log V = -inf.

    A printed error says what it covers. Of a kernel that was sampled take the estimate,
    `fv.monte_carlo_estimate`: its error, often a hundred times that of the sampling, is then in
    the standard error, and its bias is taken off. A matrix may have been sampled, and the status
    says "given this kernel".

    Batches of labellings are dealt out to the local devices, each with a copy of K; the results
    do not depend on how many devices there are.

    Args:
        kernel: K, (n, n) float64: the NNGP kernel on the inputs of S+E, or a `KernelEstimate`
            of it, which costs a run of EP for each of its groups; with a mesh, a `np.memmap` is
            never read whole.
        labels: y, (..., n), entries ±1: the labels that the network gives to those inputs; with
            `classes`, integers 0..C-1.
        link: "heaviside", P(y | z) = 1[y z > 0], or "probit", Φ(y z), which equals Heaviside
            with K + I in place of K and gives other numbers.
        method: "ep", expectation propagation; "ep_corrected", EP and the third-cumulant term
            of what it leaves out; "certified", an unbiased sampling estimate of V with its
            standard error, EP and its correction beside it.
        key: for "certified"; the others draw nothing.
        start: cavities of a similar labelling under the same kernel, shape (n,) each.
        tolerance: nats, on EP's residual; log Z is within some hundred residuals of its fixed
            point on the functions that converge worst (constants), within three on others.
        max_iterations: of EP, a Cholesky factorisation each.
        batch_size: labellings whose EP runs as one batch; 1 is best on a CPU.
        proposal: what twists the sampling, "ep", "prior" or "auto"; see `sampling_estimate`.
        particles: of one replicate of the estimate; the error falls as 1/√(particles
            replicates), time and n float64 of memory each grow with their product.
        replicates: independent estimates, whose spread gives the standard error.
        progress: called with the number of labellings done, after each batch of them.
        mesh: one axis of local devices over which the kernel is dealt out, for method "ep": each
            holds 2 n²/D float64 and a little more. All work on one labelling at a time.
        classes: C, of a network with C outputs whose largest is the label; f_1..f_C are then
            independent draws of the Gaussian process, and V(f) is the probability of these
            argmax labels. Sites and cavities are of the differences f_{i,y_i} - f_ic, (n, C), 0
            at the label itself, under probit of the outputs with their noise. Two classes are
            the binary case, label 1 for +1.

    Raises:
        ValueError: kernel not float64, square, symmetric, finite or positive semidefinite, or
            too large for memory; for "certified", a singular one or no key; labels not ±1 or of
            another length, or two of them on inputs that are not one but whose outputs float64
            cannot tell apart; unknown link, method or proposal; a mesh with a method other than
            "ep" or a batch.
    """
    noise = LINK_VARIANCE[checks.one_of("link", link, LINK_VARIANCE)]
    options = Options(
        checks.one_of("method", method, METHODS),
        checks.one_of("proposal", proposal, PROPOSALS),
        checks.count("particles", particles, least=2),
        checks.count("replicates", replicates, least=2),
        checks.positive("tolerance", tolerance),
        checks.count("max_iterations", max_iterations),
        checks.count("batch_size", batch_size),
    )
    if method == "certified" and key is None:
        raise ValueError("key: got None; method 'certified' draws samples: jax.random.key(0).")
    key = None if key is None else checks.random_key("key", key)
    checks.function("progress", progress)
    if mesh is not None:
        sharded_inputs.check_mesh(mesh, method, options.batch_size)
    run = partial(_matrix_volume, labels=labels, noise=noise, mesh=mesh)
    if classes is not None:
        classes = checked_classes(classes)
        run = partial(_two_class_volume, labels=labels, noise=noise, mesh=mesh)
        if classes > 2:
            check_one_at_a_time(mesh, batch_size)
            run = partial(volume_of_classes, labels=labels, classes=classes, noise=noise)
    if not isinstance(kernel, KernelEstimate):
        return given_this_kernel(
            run(kernel, key=key, start=start, options=options, progress=progress)
        )
    whole = run(kernel.kernel, key=key, start=start, options=options, progress=progress)
    if whole.ep.ndim == 0 and np.isfinite(whole.ep):
        start = whole.cavities
    by_ep = options._replace(method="ep")
    return with_kernel_error(
        whole,
        ep_jackknife(kernel, whole.ep, lambda part: run(part, start=start, options=by_ep).ep),
        len(kernel.group_samples),
    )


def estimate_log_volume(
    key: jax.Array,
    kernel: Float[AnyArray, "n n"] | KernelEstimate,
    labels: Real[AnyArray, "*shape n"],
    link: str = "heaviside",
    **options,
) -> Estimate:
    """Estimate log V(f) by sampling, with a standard error.

    Sequential importance sampling twisted by EP's sites (`twisted_importance_sampling`): the
    mean of the replicates is unbiased for V(f), not for log V(f), whatever EP's own error.

    Args:
        key: for all draws.
        kernel: K, (n, n) float64, not singular, or a `KernelEstimate` of it.
        labels: y, (..., n), entries ±1.
        link: "heaviside" or "probit".
        options: `proposal`, `particles`, `replicates`, `start`, `progress` and the others of
            `log_volume`.

    Returns:
        The estimate, every field with the leading shape `labels.shape[:-1]`.

    Raises:
        ValueError: as `log_volume`; a singular kernel.
    """
    return log_volume(kernel, labels, link, "certified", key, **options).estimate


def _two_class_volume(kernel: AnyArray, labels: AnyArray, **rest) -> LogVolume:
    """Return log V(f) of labels 0 and 1: those of the sign of f_1 - f_0, of covariance 2 K."""
    entries = inputs.checked_entries(kernel)
    labels = checked_class_labels(labels, len(entries), 2)
    return _matrix_volume(kernel, labels=2 * labels - 1, **rest)


def _matrix_volume(
    kernel: AnyArray,
    labels: AnyArray,
    noise: float,
    mesh: Mesh | None,
    options: Options,
    start: Cavities | None = None,
    key: jax.Array | None = None,
    progress: Callable[[int], None] | None = None,
) -> LogVolume:
    """Return log V(f) for a matrix, all else being checked."""
    batch_size = options.batch_size
    if mesh is None:
        matrix, scale = inputs.checked_correlation(
            kernel, noise, inputs.ep_matrices(batch_size, noise > 0)
        )
        read: Callable[[slice], np.ndarray] = matrix.__getitem__
    else:
        entries = inputs.checked_entries(kernel)
        scale, read = output_scales(entries, noise), correlation_reader(entries, noise)
    prior = np.diagonal(kernel)
    labels = inputs.checked_labels(labels, len(prior))
    begin = None if start is None else inputs.checked_start(start, len(prior))

    # From here on the link is the hard one, on the outputs with their noise, of unit variance.
    repetitions = find_repetitions(read, len(prior))
    kept = repetitions.kept
    rows = labels.reshape(-1, labels.shape[-1]).astype(np.float64)
    batches = range(0, len(rows), batch_size)
    if mesh is None:
        devices = min(len(usable_devices()), len(batches))
        reduced = _kept_correlations(matrix, kernel, kept, options, devices)
        clashes = [contradiction(repetitions, row, read, noise) for row in rows]
        del matrix, read
        algebra, held = DENSE, _device_matrix(reduced, devices)
        del reduced

        def jittered(jitter):
            matrix = held()
            return matrix + jitter * jnp.eye(len(matrix))
    else:
        sharded = sharded_inputs.sharded_correlation(entries, kept, noise, mesh)
        algebra, held = SHARDED, lambda: sharded
        clashes = [contradiction(repetitions, row, read, noise) for row in rows]

        def jittered(jitter):
            reader = correlation_reader(entries, noise, kept, jitter)
            return shard_kernel(reader, len(kept), mesh)

    if begin is not None:
        begin = Cavities((begin.mean / scale)[kept], ((begin.variance + noise) / scale**2)[kept])

    def finished(first):
        matrix = held()
        cavities = prior_cavities(matrix, algebra) if begin is None else begin
        batch = rows[first : first + batch_size]

        def run(labelling, matrix=matrix):
            limits = options.tolerance, options.max_iterations
            if algebra is DENSE and batch_size == 1 and on_cpu(matrix):
                return expectation_propagation_on_host(matrix, labelling, cavities, *limits)
            return expectation_propagation(matrix, labelling, cavities, *limits, algebra)

        results: list[LogVolume] = []
        for row, ep in zip(batch, batched(run, batch[:, kept], batch_size), strict=True):
            jitter = 0.0
            if not np.isfinite(ep.log_volume):  # rounding has made the matrix indefinite
                jitter = inputs.rounding_jitter(len(kept))
                ep = run(row[kept], jittered(jitter))
            place = first + len(results)
            clash = clashes[place]
            own_key = None if key is None or clash else jax.random.fold_in(key, place)
            result = method_result(own_key, matrix, row[kept], ep, options, jitter)
            if clash is not None:
                reason = f"inputs {clash[0]} and {clash[1]} are one, their labels two"
                result = impossible_result(result, reason, options)
            results.append(in_output_units(result, repetitions, prior, noise))
        return results

    if mesh is not None:
        finished = sharded_inputs.without_outer_mesh(finished)
    tasks = [partial(finished, first) for first in batches]
    results = in_order(tasks, progress, one_after_another=mesh is not None)
    return jax.tree.map(
        lambda *leaves: np.stack(leaves).reshape(labels.shape[:-1] + np.shape(leaves[0])), *results
    )


def _kept_correlations(
    matrix: np.ndarray, kernel: AnyArray, kept: np.ndarray, options: Options, devices: int
) -> np.ndarray:
    """Return the correlations of the outputs that are kept, if there is memory for what follows."""
    if len(kept) < len(matrix):
        inputs.check_memory(len(kept), inputs.ep_matrices(options.batch_size))  # with a copy
        matrix = matrix[np.ix_(kept, kept)]
    if devices > 1:  # of a host, which has one memory
        inputs.check_memory(len(matrix), devices * inputs.ep_matrices(options.batch_size))
    if options.method == "certified":
        # The correlations as JAX has them, the covariance of EP's Gaussian and its factor.
        particles = options.particles * options.replicates
        inputs.check_memory(len(matrix), 3 * devices, particles * devices)
        inputs.check_invertible(matrix, kernel)
    return matrix


def _device_matrix(matrix: np.ndarray, devices: int) -> Callable[[], jax.Array]:
    """Return a function that gives the matrix on the device of the task.

    A single device takes the matrix over, and no copy stays.
    """
    if devices > 1:
        return on_each_device(lambda: jnp.asarray(matrix))
    array = jnp.asarray(matrix)
    return lambda: array
