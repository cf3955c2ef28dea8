"""The accuracy of a random network that fits S: guess and check, without guessing."""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Real
from scipy.linalg import cho_solve, cholesky
from scipy.special import logsumexp, ndtr

from flatvol_jax.runtime import checks
from flatvol_jax.runtime.arrays import AnyArray, Reals
from flatvol_jax.runtime.jackknife import delete_a_group
from flatvol_jax.runtime.precision import float64_scope
from flatvol_jax.runtime.printing import prints_as, with_error
from flatvol_jax.volume import inputs
from flatvol_jax.volume.kernel_error import status_given_kernel
from flatvol_jax.volume.links import LINK_VARIANCE
from flatvol_jax.volume.multiclass.class_outputs import class_posterior_outputs, mean_answers
from flatvol_jax.volume.multiclass.class_volume import ep_matrices
from flatvol_jax.volume.multiclass.labels import (
    checked_class_labels,
    checked_classes,
    class_contradiction,
)
from flatvol_jax.volume.posterior_outputs import MATRICES, PosteriorOutputs, posterior_outputs
from flatvol_jax.volume.repetitions import contradiction, find_repetitions, signed_repetitions

_LEAST_VARIANCE = 1e-16  # of an output on E given those on S, in units of its own: rounding


def _line(found: "PosteriorAccuracy") -> str:
    ep = "" if np.isnan(found.ep) else f", EP {found.ep:.5g}"
    return (
        f"PosteriorAccuracy({with_error(found.accuracy, found.standard_error)}{ep}; "
        f"log P(S) {with_error(found.log_volume, found.log_volume_error)} nats, {found.status}; "
        f"{found.ancestors:.0f} ancestors of {found.particles} particles)"
    )


@prints_as(_line)
class PosteriorAccuracy(NamedTuple):
    """The accuracy on E of random networks that fit S.

    Attributes:
        accuracy: expected accuracy on E of such a network, the mean of `probability`.
        standard_error: of accuracy, by the jackknife over replicates. It covers the sampling,
            not a sampled kernel's own error.
        bias: of accuracy, by the jackknife; not taken off.
        probability: P(f(x_e) = y_e | f fits S) of each input of E, (m,).
        majority: accuracy of the answer that most such networks give, the Bayes classifier of this
            prior.
        ep: accuracy by EP's Gaussian on S, without sampling; NaN of more than two classes.
        log_volume: log P(S), nats.
        log_volume_error: its standard error, nats.
        status: of log_volume, see `Estimate`; anything but "certified..." holds for the accuracy
            as well.
        ancestors: effective number of particles at the start that have offspring at the end,
            summed over replicates; where few are left, the error is itself uncertain.
        particles: number of all particles.
    """

    accuracy: float
    standard_error: float
    bias: float
    probability: Float[np.ndarray, " m"]
    majority: float
    ep: float
    log_volume: float
    log_volume_error: float
    status: str
    ancestors: float
    particles: int


class _Conditional(NamedTuple):
    """The outputs on E given those on S: z_E ~ N(z_S W, σ²), each by itself.

    Attributes:
        weights: W = K_SS^-1 K_SE, (n, m).
        variance: σ² = diag(K_EE - K_ES W), (m,).
    """

    weights: np.ndarray
    variance: np.ndarray


@float64_scope
def posterior_accuracy(
    key: jax.Array,
    kernel: Float[AnyArray, "inputs inputs"],
    labels: Real[AnyArray, " n"],
    test_labels: Real[AnyArray, " m"],
    link: str = "heaviside",
    *,
    classes: int | None = None,
    particles: int = 128,
    replicates: int = 16,
) -> PosteriorAccuracy:
    """Return the accuracy on E of a random network, given that it fits S ("guess and check").

    Guessing takes 1/P(S) networks, e^200 for five hundred digits. Here the outputs on S are
    sampled where they have the signs of the labels, by `twisted_importance_sampling`. Given them
    an output on E is N(μ, σ²), μ = K_eS K_SS^-1 z_S and σ² = K_ee - K_eS K_SS^-1 K_Se, and

        accuracy = Σ_r Ẑ_r Σ_p w̄_rp g(z_rp) / Σ_r Ẑ_r,   g = mean over E of Φ(y_e μ_e / σ_e),

    w̄ the weights of a replicate's particles and Ẑ_r its unbiased estimate of P(S). The quotient
    is consistent and not unbiased.

    Args:
        key: for all draws.
        kernel: K, (n + m, n + m) float64, on the inputs of S and then those of E.
        labels: y on S, (n,), ±1: what the networks answer there.
        test_labels: y on E, (m,), ±1: what their answers are compared with.
        link: "heaviside", an answer is the sign of the output; "probit", the sign of the output
            with unit noise, on S and on E.
        classes: C, of a network with C outputs whose largest is the answer; labels are then 0..C-1,
            and g the mean of P(argmax_c f_c(x_e) = y_e | z), by quadrature.
        particles: N, of one replicate.
        replicates: R, independent, whose spread gives the standard error.

    Raises:
        ValueError: kernel not float64, square, symmetric, finite or positive semidefinite, or
            singular on S; labels not ±1, none on S or on E, or not one for each input; inputs of
            S that are one and have two labels, which no network fits.
    """
    noise = LINK_VARIANCE[checks.one_of("link", link, LINK_VARIANCE)]
    key = checks.random_key("key", key)
    particles = checks.count("particles", particles, least=2)
    replicates = checks.count("replicates", replicates, least=2)
    classes = None if classes is None else checked_classes(classes)
    matrices = MATRICES if classes is None else ep_matrices(classes)
    correlation, _ = inputs.checked_correlation(kernel, noise, matrices)
    labels, test_labels = _checked_labels(labels, test_labels, len(correlation), classes)
    if classes == 2:
        labels, test_labels, classes = 2 * labels - 1, 2 * test_labels - 1, None
    n = len(labels)
    kept = _distinct(correlation[:n, :n], labels, noise, classes)
    prior, cross = correlation[np.ix_(kept, kept)], correlation[kept, n:]
    conditional = _conditional(prior, cross)
    ep: Reals = np.float64(np.nan)
    if classes is None:
        sample = posterior_outputs(key, prior, labels[kept], particles, replicates)
        ep = _accuracy_of_ep(sample, conditional, test_labels)
        of_replicates = _chances_right(sample, conditional, test_labels)
        right = _mean_of_replicates(sample.log_estimates, of_replicates)
        majority = right > 0.5
    else:
        sample = class_posterior_outputs(key, prior, labels[kept], classes, particles, replicates)
        answers = _chances_of_answers(sample, conditional)
        own = np.arange(len(test_labels)), test_labels
        of_replicates = answers[:, *own]
        mean = _mean_of_replicates(sample.log_estimates, answers)
        right, majority = mean[own], np.argmax(mean, axis=-1) == test_labels
    accuracy = delete_a_group(
        right.mean(),
        _without_each(sample.log_estimates, of_replicates.mean(axis=1)),
        np.ones(replicates),
    )
    return PosteriorAccuracy(
        accuracy=float(accuracy.value),
        standard_error=float(accuracy.standard_error),
        bias=float(accuracy.bias),
        probability=right,
        majority=float(np.mean(majority)),
        ep=float(ep),
        log_volume=float(sample.estimate.log_volume),
        log_volume_error=float(sample.estimate.standard_error),
        status=str(status_given_kernel(sample.estimate.status)),
        ancestors=float(np.sum(sample.ancestors)),
        particles=particles * replicates,
    )


def _checked_labels(
    labels: AnyArray, test_labels: AnyArray, inputs_of_kernel: int, classes: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels on S and on E, as many together as the kernel has inputs."""
    parts = {}
    for name, values in {"labels": labels, "test_labels": test_labels}.items():
        part = checks.finite(name, values, ndim=1)
        if not len(part):
            raise ValueError(f"{name}: got none, wanted at least one label.")
        if classes is None:
            parts[name] = inputs.checked_labels(part, len(part))
        else:
            parts[name] = checked_class_labels(part, len(part), classes)
    counts = [len(part) for part in parts.values()]
    if sum(counts) != inputs_of_kernel:
        raise ValueError(
            f"kernel: got {inputs_of_kernel} inputs for {counts[0]} labels on S and {counts[1]} on "
            "E; wanted one row for each, those of S first."
        )
    return parts["labels"], parts["test_labels"]


def _distinct(
    correlation: np.ndarray, labels: np.ndarray, noise: float, classes: int | None
) -> np.ndarray:
    """Return the inputs of S that repeat none before them; refuse labels that no function has."""
    read = correlation.__getitem__
    if classes is None:
        repetitions = find_repetitions(read, len(correlation))
        clash = contradiction(repetitions, labels, read, noise)
    else:
        repetitions = signed_repetitions(read, len(correlation))
        clash = class_contradiction(repetitions, labels, read, noise)
    if clash is not None:
        raise ValueError(
            f"labels: got labels for inputs {clash[0]} and {clash[1]} of S, which are one (or "
            "opposite), that contradict each other: no function fits them, and there is no "
            "posterior. Leave one of them out."
        )
    return repetitions.kept


def _conditional(prior: np.ndarray, cross: np.ndarray) -> _Conditional:
    weights = cho_solve((cholesky(prior, lower=True), True), cross)
    return _Conditional(weights, np.maximum(1.0 - np.sum(cross * weights, axis=0), 0.0))


def _chance_right(mean: AnyArray, variance: AnyArray, labels: np.ndarray) -> np.ndarray:
    """Return Φ(y μ/σ), the chance that an output N(μ, σ²) has the sign of its label."""
    with np.errstate(divide="ignore"):
        return ndtr(labels * mean / np.sqrt(variance))


def _accuracy_of_ep(
    sample: PosteriorOutputs, conditional: _Conditional, test_labels: np.ndarray
) -> Reals:
    """Return the accuracy that EP's Gaussian on S predicts."""
    assert sample.ep is not None
    added = np.asarray(sample.ep.covariance) @ conditional.weights
    variance = conditional.variance + np.sum(conditional.weights * added, axis=0)
    return np.mean(_chance_right(sample.ep.mean @ conditional.weights, variance, test_labels))


def _chances_right(
    sample: PosteriorOutputs, conditional: _Conditional, test_labels: np.ndarray
) -> np.ndarray:
    """Return the chance of a right answer by each replicate, (R, m)."""
    parts = zip(sample.outputs, sample.weights, strict=True)
    means = ((weights, outputs @ conditional.weights) for outputs, weights in parts)
    return np.stack([w @ _chance_right(m, conditional.variance, test_labels) for w, m in means])


def _chances_of_answers(sample: PosteriorOutputs, conditional: _Conditional) -> np.ndarray:
    """Return the chance of each of C answers by each replicate, (R, m, C)."""
    deviation = np.sqrt(np.maximum(conditional.variance, _LEAST_VARIANCE))
    parts = zip(sample.outputs, sample.weights, strict=True)
    return np.stack(
        [np.asarray(mean_answers(*part, conditional.weights, deviation)) for part in parts]
    )


def _mean_of_replicates(log_estimates: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return Σ_r Ẑ_r v_r / Σ_r Ẑ_r, the replicates along the first axis."""
    return np.tensordot(np.exp(log_estimates - logsumexp(log_estimates)), values, 1)


def _without_each(log_estimates: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return that mean without each of the replicates, (R,)."""
    others = ~np.eye(len(values), dtype=bool)
    return np.array([_mean_of_replicates(log_estimates[rest], values[rest]) for rest in others])
