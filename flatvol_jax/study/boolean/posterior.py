"""The Boolean system: what an optimizer finds against P_B(f|S) of the same finite network."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from flatvol_jax.models import Spec
from flatvol_jax.runtime.randomness import named_key
from flatvol_jax.sampling import Draws, FunctionSample, count_of, most_frequent
from flatvol_jax.study.boolean.posterior_comparison import (
    fitted_functions,
    sample_total_variation,
    slope,
)
from flatvol_jax.study.boolean.posterior_rows import (
    LogProbability,
    count_functions,
    function_rows,
    log_share,
    numpy_seed,
    sample_columns,
    summary_columns,
    trained_sample,
)
from flatvol_jax.study.boolean.posterior_targets import target_labels, train_rows
from flatvol_jax.study.boolean.settings import PosteriorSettings
from flatvol_jax.volume import estimate_log_volume


def boolean_posterior_rows(
    settings: PosteriorSettings,
    ensemble: int,
    draws: Draws,
    x: np.ndarray,
    spec: Spec,
    kernel: np.ndarray,
    target: str,
    optimizer: str,
    key: jax.Array,
    progress: Callable[[float], None] | None = None,
) -> list[dict[str, Any]]:
    """Return rows of parts "posterior" and "posterior_summary" for one target and optimizer.

    P_B(f|S) = V(f)/V(S) (eq. 3) for f that fits the target's labels on S, by two references:
    "direct", the share of f among the direct samples that fit S, of the same finite network;
    "nngp", of the infinitely wide one, with V(f) and V(S) by sampling. The error of V(S), in
    `.se` of each "nngp" row, is common to all of them and moves no slope.

    The rows are of the functions that are most frequent in P_B, then of those most frequent with
    the optimizer, `functions` in all, half of them by P_B. Only the functions chosen by P_B enter
    a slope; total variation is over all functions.

    Args:
        settings: of the comparison.
        ensemble: seeds trained as one program.
        draws: the direct sample of `spec` on x, with independent functions.
        x: (n, d) inputs of the cube.
        spec: the network.
        kernel: its NNGP kernel on x.
        target: name, see `target_labels`.
        optimizer: name, in `train`.
        key: of the draw: S is the same for every target and optimizer.
        progress: called with the share of seeds that is done.

    Raises:
        ValueError: an unknown target, functions that share hidden layers (`readouts`), or a
            target whose labels on S too few direct samples have.
    """
    if draws.readouts > 1:
        raise ValueError(
            f"draws: got {draws.readouts} readouts, wanted independent functions, readouts = 1: "
            "the errors and the null are those of independent samples."
        )
    labels = target_labels(target, x, draws)
    rows = train_rows(key, len(x), settings.train_size)
    condition = np.zeros(len(x), np.int8)
    condition[rows] = labels[rows]
    bayes = most_frequent(draws, condition=condition)
    _check_matching(target, bayes, settings)
    sample = trained_sample(
        key, settings, ensemble, optimizer, spec, x, rows, labels[rows], progress
    )
    found, counts = count_functions(sample.functions[sample.zero_error])
    total = int(counts.sum())

    table, chosen = _table(bayes.functions, found, settings.functions)
    table_counts = _counts_among(found, counts, table)
    direct = log_share(count_of(draws, table).counts, bayes.matching)
    nngp = _nngp_log_posterior(named_key(key, "log_volume", len(rows)), kernel, table, rows)
    common = {
        "meta.system": "boolean",
        "target.name": target,
        "hp.train.optimizer": optimizer,
        "meta.seeds": settings.seeds,
    }
    references = {"direct": direct, "nngp": nngp}
    log_p_train = log_share(np.array([bayes.matching]), bayes.samples)
    summary = {
        "meta.part": "posterior_summary",
        **common,
        **sample_columns(sample, len(counts)),
        "hp.train_size": len(rows),
        "meta.samples": bayes.samples,
        "meta.matching": bayes.matching,
        "measure.log_p_train.direct": float(log_p_train.value[0]),
        "measure.log_p_train.direct.se": float(log_p_train.standard_error[0]),
    }
    every = np.concatenate([bayes.functions, _others(found, bayes.functions)])
    every_counts = _counts_among(found, counts, every)
    bayes_counts = np.pad(bayes.counts, (0, len(every) - len(bayes.counts)))
    log_p = log_share(bayes.counts, bayes.matching).value
    fitted = fitted_functions(log_p, total, bayes.counts)
    summary |= summary_columns(
        "direct",
        slope(log_p[fitted], every_counts[: len(log_p)][fitted], total),
        sample_total_variation(
            numpy_seed(named_key(key, "total_variation")), every_counts, bayes_counts
        ),
    )
    log_p = nngp.value[:chosen]
    fitted = fitted_functions(log_p, total)
    summary |= summary_columns(
        "nngp", slope(log_p[fitted], table_counts[:chosen][fitted], total), None
    )
    return [*function_rows(common, table, table_counts, total, references), summary]


def _check_matching(target: str, bayes: FunctionSample, settings: PosteriorSettings) -> None:
    share = bayes.matching / bayes.samples
    if share < settings.least_probability or bayes.matching < settings.least_matching:
        raise ValueError(
            f"posterior.train_size: got {settings.train_size} with the target {target!r}: "
            f"{bayes.matching} of {bayes.samples} direct samples fit S, P(S) = {share:.2g}; "
            f"wanted at least {settings.least_matching} and P(S) of at least "
            f"{settings.least_probability:g}. Take a smaller train_size or more samples."
        )


def _table(by_bayes: np.ndarray, found: np.ndarray, size: int) -> tuple[np.ndarray, int]:
    """Return the functions of the rows, and how many, the first ones, were chosen by P_B."""
    first = by_bayes[: -(-size // 2)]
    return np.concatenate([first, _others(found, first)])[:size], len(first)


def _others(functions: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return functions (k, n) that are none of the known ones, in their order."""
    seen = {labels.tobytes() for labels in known}
    new = [labels.tobytes() not in seen for labels in functions]
    return functions[np.array(new, bool)]


def _counts_among(found: np.ndarray, counts: np.ndarray, functions: np.ndarray) -> np.ndarray:
    """Count how often each of the functions was found, (k,)."""
    known = {labels.tobytes(): count for labels, count in zip(found, counts, strict=True)}
    return np.array([known.get(labels.tobytes(), 0) for labels in functions], np.int64)


def _nngp_log_posterior(
    key: jax.Array, kernel: np.ndarray, functions: np.ndarray, rows: np.ndarray
) -> LogProbability:
    """Return ln V(f) - ln V(S) of the infinitely wide network; all functions fit S."""
    whole = estimate_log_volume(named_key(key, "functions"), kernel, functions)
    part = estimate_log_volume(
        named_key(key, "train"), kernel[np.ix_(rows, rows)], functions[0, rows]
    )
    return LogProbability(
        np.asarray(whole.log_volume - part.log_volume),
        np.hypot(whole.standard_error, part.standard_error),
    )
