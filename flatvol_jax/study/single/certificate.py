"""A certificate of log V(f): the numbers, what they were computed from, and how to check them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from scipy import stats

from flatvol_jax.kernels import conditioning
from flatvol_jax.runtime import checks
from flatvol_jax.runtime.hashing import array_hash
from flatvol_jax.runtime.randomness import named_key
from flatvol_jax.study.engine.store import jsonable
from flatvol_jax.study.engine.workdir import environment
from flatvol_jax.volume import CERTIFIED, LINK_VARIANCE, LogVolume, estimate_log_volume, log_volume

VERSION = 1
_CONFIDENCE = 0.95
_AGREEMENT = 4.0  # joint standard errors


def certify(
    seed: int,
    kernel: np.ndarray,
    labels: np.ndarray,
    links: Sequence[str] = ("heaviside", "probit"),
    *,
    jitter: float = 0.0,
    about: Mapping[str, Any] | None = None,
    particles: int = 512,
    replicates: int = 16,
    progress: Callable[[int, int, str], None] | None = None,
    classes: int | None = None,
) -> dict[str, Any]:
    """Return log V(f) by EP, corrected EP and sampling, as plain data for a JSON file.

    Args:
        seed: of the sampling; stored, so that anybody can draw the same numbers, or others.
        kernel: K as it is used, (n, n) float64, the jitter included.
        labels: y, (n,), ±1; with `classes`, 0..C-1.
        links: of "heaviside" and "probit".
        jitter: what was added to the diagonal of K, to be recorded.
        about: what determines kernel and labels: spec, hash of the inputs, names of files.
        particles: of one replicate.
        replicates: independent estimates.
        progress: called with links done, their number and the next one.
        classes: C, of a function that is the largest of C outputs; None for ±1.

    Returns:
        `n`, `seed`, `kernel` (hash, jitter, eigenvalues, condition number, ranks), `labels`
        (hash, number of +1; of C classes C and the number of each), `about`, `log_volume` (link ->
        ep, ep_corrected, estimate, verdict), `environment` (commit, versions, machine). Minus
        infinity is null, and the verdict says why.

    Raises:
        ValueError: as `log_volume`.
    """
    for link in links:
        checks.one_of("links", link, LINK_VARIANCE)
    key = jax.random.key(seed)
    found = {}
    for done, link in enumerate(links):
        if progress is not None:
            progress(done, len(links), link)
        result = log_volume(
            kernel,
            labels,
            link,
            "certified",
            named_key(key, link),
            particles=particles,
            replicates=replicates,
            classes=classes,
        )
        found[link] = _entry(result, replicates)
    if progress is not None:
        progress(len(links), len(links), "done")
    labels = np.asarray(labels)
    return jsonable(
        {
            "certificate": VERSION,
            "n": len(labels),
            "seed": seed,
            "kernel": {
                "hash": array_hash(kernel),
                "jitter": jitter,
                **conditioning(kernel)._asdict(),
            },
            "labels": _said_of(labels, classes),
            "about": dict(about or {}),
            "log_volume": found,
            "environment": environment(),
        }
    )


def check_certificate(
    certificate: Mapping[str, Any], seed: int, kernel: np.ndarray, labels: np.ndarray
) -> list[str]:
    """Return what is wrong with a certificate: hashes, and an estimate with other random numbers.

    Args:
        certificate: as `certify` gives it, or read from its file.
        seed: for the new estimates, other than the certificate's.
        kernel: K, the jitter included.
        labels: y.

    Returns:
        Sentences, none where all is well. Estimates must agree within 4 joint standard errors.
    """
    if certificate.get("certificate") != VERSION:
        raise ValueError(
            f"certificate: got version {certificate.get('certificate')!r}, wanted {VERSION}: a "
            "file that certify has written."
        )
    if seed == certificate["seed"]:
        raise ValueError(f"seed: got {seed}, the certificate's own; wanted another one.")
    wrong = []
    if array_hash(kernel) != certificate["kernel"]["hash"]:
        wrong.append("The kernel is another one than the certificate's.")
    if _labels_hash(labels) != certificate["labels"]["hash"]:
        wrong.append("The labels are others than the certificate's.")
    classes = certificate["labels"].get("classes")
    for link, entry in certificate["log_volume"].items():
        stated = entry["estimate"]
        again = estimate_log_volume(jax.random.key(seed), kernel, labels, link, classes=classes)
        value = -np.inf if stated["log_volume"] is None else stated["log_volume"]
        error = np.hypot(stated["standard_error"], again.standard_error)
        if value != again.log_volume and not (
            abs(value - again.log_volume) <= _AGREEMENT * error + 1e-9
        ):
            wrong.append(
                f"{link}: the certificate says {value:.4f} ± {stated['standard_error']:.4f} nats, "
                f"a new estimate {again.log_volume:.4f} ± {again.standard_error:.4f}."
            )
    return wrong


def certificate_lines(certificate: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a certificate says of each link, one to three lines."""
    for link, entry in certificate["log_volume"].items():
        yield f"log V ({link}): {entry['verdict']}"
        value, error = entry["estimate"]["log_volume"], entry["estimate"]["standard_error"]
        if value is not None:
            yield f"  {value:.4f} ± {error:.2g} nats; log10 V = {value / np.log(10):.4f}"
            ep, corrected = (entry[name]["log_volume"] for name in ("ep", "ep_corrected"))
            yield f"  EP {ep:.4f}, corrected EP {corrected:.4f}"


def _said_of(labels: np.ndarray, classes: int | None) -> dict[str, Any]:
    if classes is None:
        return {"hash": _labels_hash(labels), "positive": int(np.sum(labels > 0))}
    counts = np.bincount(labels, minlength=classes).tolist()
    return {"hash": _labels_hash(labels), "classes": int(classes), "counts": counts}


def _labels_hash(labels: np.ndarray) -> str:
    labels = np.asarray(labels)
    few = labels.size == 0 or np.abs(labels).max() < 128
    return array_hash(labels.astype(np.int8 if few else np.int64))


def _entry(result: LogVolume, replicates: int) -> dict[str, Any]:
    """Return what is stated for one link."""
    estimate, correction = result.estimate, result.correction
    assert estimate is not None, "the method is certified"
    assert correction is not None, "the method is certified"
    value, error = float(estimate.log_volume), float(estimate.standard_error)
    half = stats.t.ppf(0.5 + 0.5 * _CONFIDENCE, replicates - 1) * error
    status = str(result.status)
    certified = status.startswith((CERTIFIED, "impossible"))
    return {
        "verdict": status if certified else f"estimate: {status}",
        "ep": {
            "log_volume": result.ep,
            "converged": result.converged,
            "iterations": result.iterations,
            "residual": result.residual,
        },
        "ep_corrected": {
            "log_volume": result.corrected,
            **correction._asdict(),
        },
        "estimate": {
            "log_volume": value,
            "standard_error": error,
            "interval": {"confidence": _CONFIDENCE, "low": value - half, "high": value + half},
            "within_error": estimate.within_error,
            "effective_sample_size": estimate.effective_sample_size,
            "particles": estimate.particles,
            "log_replicates": estimate.log_replicates,
            "replicate_spread": np.sqrt(replicates) * error,
            "proposal": str(estimate.proposal),
        },
    }
