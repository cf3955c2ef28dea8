"""Records of P_optimizer(f|S) against P_B(f|S): a row a function and one of the summary."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from flatvol_jax.models import Spec
from flatvol_jax.runtime.randomness import named_key
from flatvol_jax.sampling.packing import function_ids, pack_labels
from flatvol_jax.study.boolean.optimizer_samples import OptimizerSample, optimizer_functions
from flatvol_jax.study.boolean.posterior_comparison import Slope, TotalVariation
from flatvol_jax.study.boolean.settings import ComparisonSettings
from flatvol_jax.study.measures.declared import result_columns


class LogProbability(NamedTuple):
    """Natural logarithms of probabilities with their standard errors, (k,) each."""

    value: np.ndarray
    standard_error: np.ndarray


def trained_sample(
    key: jax.Array,
    settings: ComparisonSettings,
    ensemble: int,
    optimizer: str,
    spec: Spec,
    x: np.ndarray,
    rows: np.ndarray,
    labels: np.ndarray,
    progress: Callable[[float], None] | None = None,
) -> OptimizerSample:
    """Train `seeds` networks by one optimizer; initialisations are the same for every one.

    Args:
        key: of the draw.
        settings: `seeds` and `train`, the settings of each optimizer by its name.
        ensemble: networks trained as one program.
        optimizer: a name in `train`.
        spec: the network.
        x: (n, ...) inputs.
        rows: those of x that are S.
        labels: of S.
        progress: called with the share that is done.
    """
    keys = jax.random.split(named_key(key, "train"), settings.seeds)
    train = settings.train[optimizer]
    return optimizer_functions(keys, spec, x, rows, labels, train, ensemble, progress)


def count_functions(functions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return distinct functions (k, n), the most frequent first, and their counts (k,)."""
    words = pack_labels(functions)
    _, first, counts = np.unique(words, axis=0, return_index=True, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return functions[first[order]], counts[order]


def log_share(counts: np.ndarray, total: int) -> LogProbability:
    """Return ln (counts / total) and its binomial error √((1 - p)/(N p)); NaN for no occurrence."""
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.asarray(counts) / total
        return LogProbability(
            np.where(share > 0, np.log(share), np.nan),
            np.where(share > 0, np.sqrt((1 - share) / (total * share)), np.nan),
        )


def function_rows(
    common: Mapping[str, Any],
    functions: np.ndarray,
    counts: np.ndarray,
    total: int,
    references: Mapping[str, LogProbability],
) -> list[dict[str, Any]]:
    """Return rows of part "posterior".

    Args:
        common: what all rows say: system, target, optimizer, seeds.
        functions: labels, (k, n).
        counts: how often the optimizer found each, (k,).
        total: seeds with zero error.
        references: ln P_B(f|S) by "direct" samples, of the "nngp"; NaN where it is not known.
    """
    columns = {"measure.log_p_optimizer": log_share(counts, total)}
    columns |= {f"measure.log_p_bayes.{name}": value for name, value in references.items()}
    rows = []
    for i, identity in enumerate(function_ids(functions)):
        row = {"meta.part": "posterior", **common, "function.id": identity}
        row["measure.count"] = int(counts[i])
        for name, log_p in columns.items():
            row[name], row[f"{name}.se"] = float(log_p.value[i]), float(log_p.standard_error[i])
        rows.append(row)
    return rows


def summary_columns(
    reference: str, slope: Slope, variation: TotalVariation | None
) -> dict[str, Any]:
    """Return what the row of part "posterior_summary" says about one reference."""
    name, fields = f"measure.slope.{reference}", ("standard_error", "functions", "dispersion")
    row = result_columns(name, slope, *fields, value="slope")
    row[f"{name}.robust.se"] = slope.robust_error
    if variation is not None:
        name = f"measure.total_variation.{reference}"
        row |= result_columns(name, variation, "null", "size")
        row |= {f"{name}.null.low": variation.low, f"{name}.null.high": variation.high}
    return row


def sample_columns(sample: OptimizerSample, distinct: int) -> dict[str, Any]:
    """Return what the summary says about the optimizer's sample."""
    reached = int(sample.zero_error.sum())
    epochs = float(sample.epochs[sample.zero_error].mean()) if reached else np.nan
    return {"meta.zero_error": reached, "meta.distinct": distinct, "measure.epochs": epochs}


def numpy_seed(key: jax.Array) -> int:
    """Return a seed of NumPy's generators from a key."""
    return int(jax.random.bits(key, (), jnp.uint32))
