"""MNIST: what an optimizer finds on a few test digits against the NNGP's P_B of all functions."""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from scipy.special import logsumexp

from flatvol_jax import data
from flatvol_jax.kernels import nngp_kernel
from flatvol_jax.models import FCN
from flatvol_jax.runtime.randomness import named_key
from flatvol_jax.study.boolean.posterior_comparison import (
    fitted_functions,
    known_total_variation,
    slope,
)
from flatvol_jax.study.boolean.posterior_rows import (
    LogProbability,
    function_rows,
    numpy_seed,
    sample_columns,
    summary_columns,
    trained_sample,
)
from flatvol_jax.study.boolean.settings import MnistSettings
from flatvol_jax.volume import estimate_log_volume

SPEC = FCN((40, 40), 2**0.5, 1.0)
TARGET = "mnist_halves"  # 0-4 against 5-9
MOST_TEST = 12  # 4,096 functions


class Posterior(NamedTuple):
    """P_B(f|S) of all functions on E, and what shows that these are all.

    Attributes:
        log_p: ln q_f, q_f = V(S, f) / Σ_g V(S, g), (2^|E|,), with its error.
        log_volume_error: standard error of each ln V(S, f), independent.
        normalisation: ln Σ_f V(S, f) - ln V(S), 0 for exact volumes.
        normalisation_error: its standard error.
        log_p_train: ln V(S).
        log_p_train_error: its standard error.
    """

    log_p: LogProbability
    log_volume_error: np.ndarray
    normalisation: float
    normalisation_error: float
    log_p_train: float
    log_p_train_error: float


def mnist_posterior_rows(
    settings: MnistSettings,
    ensemble: int,
    optimizer: str,
    key: jax.Array,
    progress: Callable[[float], None] | None = None,
    data_dir: str | None = None,
) -> list[dict[str, Any]]:
    """Return rows of parts "posterior" and "posterior_summary" for one optimizer.

    A function is the labels on E, a few test digits, given the true labels on S (def. 2.2): all
    2^|E| of them have a volume, so P_B is known as a whole, zeros of the optimizer among them.
    Their volumes must add up to V(S), which `measure.normalisation` says.

    Args:
        settings: of the comparison.
        ensemble: seeds trained as one program.
        optimizer: name, in `train`.
        key: of the draw: S and E are the same for every optimizer.
        progress: called with the share of seeds that is done.
        data_dir: where the data sets are.

    Raises:
        ValueError: more test digits than functions can be enumerated for.
    """
    train_size, test_size = settings.train_size, settings.test_size
    if test_size > MOST_TEST:
        raise ValueError(
            f"posterior_mnist.test_size: got {test_size}, wanted at most {MOST_TEST}: all "
            "2^test_size functions are enumerated."
        )
    digits = data.binarise(data.load("mnist5k", data_dir), *data.GROUPS[TARGET])
    parts = data.draw(named_key(key, "draw"), digits, train_size, 0, test_size, 0)
    x = data.preprocess(np.concatenate([parts.train.x, parts.test.x]), "unit")
    functions = all_functions(test_size)
    kernel = nngp_kernel(SPEC, x)
    posterior = log_posterior(named_key(key, "log_volume"), kernel, parts.train.y, functions)
    rows = np.arange(train_size)
    sample = trained_sample(
        key, settings, ensemble, optimizer, SPEC, x, rows, parts.train.y, progress
    )
    found = sample.functions[sample.zero_error, train_size:]
    counts = np.bincount(_places(found), minlength=len(functions))
    common = {
        "meta.system": "mnist",
        "target.name": TARGET,
        "hp.train.optimizer": optimizer,
        "meta.seeds": settings.seeds,
    }
    fitted = fitted_functions(posterior.log_p.value, len(found))
    summary = {
        "meta.part": "posterior_summary",
        **common,
        **sample_columns(sample, int((counts > 0).sum())),
        "hp.train_size": train_size,
        "hp.test_size": test_size,
        "measure.log_p_train.nngp": posterior.log_p_train,
        "measure.log_p_train.nngp.se": posterior.log_p_train_error,
        "measure.normalisation": posterior.normalisation,
        "measure.normalisation.se": posterior.normalisation_error,
        **summary_columns(
            "nngp",
            slope(posterior.log_p.value[fitted], counts[fitted], len(found)),
            known_total_variation(
                numpy_seed(named_key(key, "total_variation")),
                counts,
                posterior.log_p.value,
                posterior.log_volume_error,
            ),
        ),
    }
    references = {"nngp": posterior.log_p}
    return [*function_rows(common, functions, counts, len(found), references), summary]


def all_functions(inputs: int) -> np.ndarray:
    """Return all labellings of so many inputs, (2^inputs, inputs) int8, the first label slowest."""
    return np.array(list(itertools.product((-1, 1), repeat=inputs)), np.int8)


def log_posterior(
    key: jax.Array, kernel: np.ndarray, train_labels: np.ndarray, functions: np.ndarray
) -> Posterior:
    """Return ln P_B(f|S) of all functions on E under an NNGP kernel on S+E, S first.

    With q_f = V(S, f)/Σ_g V(S, g) and independent errors σ_f of ln V(S, f), the error of ln q_f
    is √((1 - 2 q_f) σ_f² + Σ_g q_g² σ_g²).

    Args:
        key: for the sampling estimates.
        kernel: (|S| + |E|, |S| + |E|) float64.
        train_labels: ±1, (|S|,).
        functions: all labellings of E, `all_functions(|E|)`.
    """
    m = len(train_labels)
    labels = np.concatenate([np.tile(train_labels, (len(functions), 1)), functions], axis=1)
    whole = estimate_log_volume(named_key(key, "functions"), kernel, labels)
    part = estimate_log_volume(named_key(key, "train"), kernel[:m, :m], train_labels)
    total, errors = logsumexp(whole.log_volume), np.asarray(whole.standard_error)
    log_q = whole.log_volume - total
    q = np.exp(log_q)
    of_total = np.sum((q * errors) ** 2)
    return Posterior(
        LogProbability(log_q, np.sqrt((1 - 2 * q) * errors**2 + of_total)),
        errors,
        float(total - part.log_volume),
        float(np.hypot(np.sqrt(of_total), part.standard_error)),
        float(part.log_volume),
        float(part.standard_error),
    )


def _places(functions: np.ndarray) -> np.ndarray:
    """Return the row of each function (m, n) in `all_functions(n)`."""
    return (functions > 0) @ (1 << np.arange(functions.shape[1])[::-1])
