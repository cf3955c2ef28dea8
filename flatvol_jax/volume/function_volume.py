"""kernel + labels -> log V(f), the natural logarithm of the prior probability of a function."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from flatvol_jax.runtime import checks
from flatvol_jax.runtime.precision import float64_scope, to_host
from flatvol_jax.volume.ep import Cavities, expectation_propagation, prior_cavities
from flatvol_jax.volume.inputs import checked_kernel, checked_labels
from flatvol_jax.volume.links import LINK_VARIANCE

METHODS = ("ep",)


class LogVolume(NamedTuple):
    """log V(f) of one labelling or of many, with what is known of its quality.

    The leading shape of every field is `labels.shape[:-1]`.

    Attributes:
        log_volume: log V(f), nats. EP is deterministic and biased: no standard error.
        converged: whether EP reached its fixed point within the tolerance.
        iterations: Cholesky factorisations used.
        residual: nats, the distance of log_volume from EP's fixed point.
        cavities: mean and variance of each output given all other labels, (..., n); they
            start another run (`start=`), and log P(y_i | the rest) follows from them.
    """

    log_volume: np.ndarray
    converged: np.ndarray
    iterations: np.ndarray
    residual: np.ndarray
    cavities: Cavities


@float64_scope
def log_volume(
    kernel: np.ndarray,
    labels: np.ndarray,
    link: str = "heaviside",
    method: str = "ep",
    key: jax.Array | None = None,
    *,
    start: Cavities | None = None,
    tolerance: float = 1e-8,
    max_iterations: int = 200,
    batch_size: int = 1,
    progress: Callable[[int], None] | None = None,
) -> LogVolume:
    """log V(f) = log ∫ N(z; 0, K) ∏_i P(y_i | z_i) dz (eqs 2 and 5, appendix A), in nats.

    Args:
        kernel: K, (n, n) float64: the NNGP kernel on the inputs of S+E.
        labels: y, (..., n), entries ±1: the labels that the network gives to those inputs.
        link: "heaviside", P(y | z) = 1[y z > 0], or "probit", Φ(y z), which equals Heaviside
            with K + I in place of K and gives other numbers.
        method: "ep", expectation propagation.
        key: unused by EP, which draws nothing.
        start: cavities of a similar labelling under the same kernel, shape (n,) each.
        tolerance: nats, on the residual.
        max_iterations: of EP, a Cholesky factorisation each.
        batch_size: labellings that run as one batch; 1 is best on a CPU.
        progress: called with the number of labellings done, after each batch.

    Raises:
        ValueError: kernel not float64, square, symmetric, finite or positive semidefinite;
            labels not ±1 or of another length; unknown link or method.
    """
    link_variance = LINK_VARIANCE[checks.one_of("link", link, LINK_VARIANCE)]
    checks.one_of("method", method, METHODS)
    checks.positive("tolerance", tolerance)
    checks.count("max_iterations", max_iterations)
    batch_size = checks.count("batch_size", batch_size)
    kernel = checked_kernel(kernel)
    labels = checked_labels(labels, len(kernel))

    matrix = jnp.asarray(kernel)
    begin = prior_cavities(matrix) if start is None else _checked_start(start, len(kernel))

    def run(labelling):
        return expectation_propagation(
            matrix, labelling, link_variance, begin, tolerance, max_iterations
        )

    run_batch = jax.vmap(run)
    rows = labels.reshape(-1, labels.shape[-1]).astype(np.float64)
    parts = []
    for first in range(0, len(rows), batch_size):
        batch = rows[first : first + batch_size]
        if batch_size == 1:
            part = jax.tree.map(lambda leaf: leaf[None], run(batch[0]))
        else:  # the last batch is filled up, so that one program serves all
            filler = np.repeat(batch[-1:], batch_size - len(batch), axis=0)
            part = run_batch(np.concatenate([batch, filler]))
        part = (part.log_volume, part.converged, part.iterations, part.residual, part.cavities)
        parts.append(to_host(jax.tree.map(lambda leaf, m=len(batch): leaf[:m], part)))
        if progress is not None:
            progress(first + len(batch))
    stacked = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
    return LogVolume(
        *jax.tree.map(lambda leaf: leaf.reshape(labels.shape[:-1] + leaf.shape[1:]), stacked)
    )


def _checked_start(start: Cavities, n: int) -> Cavities:
    mean = checks.finite("start.mean", start.mean, ndim=1)
    variance = checks.finite("start.variance", start.variance, ndim=1)
    if len(mean) != n or len(variance) != n or (variance <= 0).any():
        raise ValueError(
            f"start: got cavities of shapes {mean.shape} and {variance.shape}, the least "
            f"variance {variance.min(initial=np.inf)}; wanted ({n},) and variances above 0."
        )
    return Cavities(jnp.asarray(mean), jnp.asarray(variance))
