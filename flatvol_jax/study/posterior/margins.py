"""Trained networks beside guessed ones of the same margin.

The normalised margin of a network f on S is

    γ = min_i m_i / ∏_l ‖W_l‖_F,   m_i = y_i f(x_i), of C outputs f_{y_i} - max_{c ≠ y_i} f_c,

W_l the weight matrices, without biases. It grows while training goes on beyond zero error.
"""

import jax.numpy as jnp
import numpy as np
from jax import Array

from flatvol_jax.models import Params
from flatvol_jax.models.labels import label_margins

NEAREST = 5  # guessed networks that a trained one is compared with; fewer compare with none
LEAST = 20  # guessed networks for a slope


def weight_norms(params: Params) -> Array:
    """Return ∏_l ‖W_l‖_F of one network."""
    return jnp.prod(jnp.stack([jnp.linalg.norm(layer["kernel"]) for layer in params.values()]))


def normalised_margins(outputs: np.ndarray, y: np.ndarray, norms: np.ndarray) -> np.ndarray:
    """Return γ of k networks, (k,).

    Args:
        outputs: on S, (k, n) or of C classes (k, n, C).
        y: the labels of S, (n,).
        norms: of each network, `weight_norms`, (k,).
    """
    smallest = [label_margins(own, y).min() for own in outputs]
    return np.array(smallest, np.float64) / norms


def accuracies_of_guesses(
    margins: np.ndarray, guessed_margins: np.ndarray, guessed_accuracies: np.ndarray
) -> np.ndarray:
    """Return of each trained network the mean accuracy of the guessed ones nearest in log γ, (m,).

    The `NEAREST` guessed networks count. NaN where fewer fit S, or where γ is not between the least
    and the largest of theirs.

    Args:
        margins: of trained networks, (m,); NaN where there is none.
        guessed_margins: of guessed networks that fit S, (k,), above 0.
        guessed_accuracies: of the same on E, (k,).
    """
    found = np.full(len(margins), np.nan)
    if len(guessed_margins) < NEAREST:
        return found
    known = (margins >= guessed_margins.min()) & (margins <= guessed_margins.max())
    distances = np.abs(np.log(margins[known])[:, None] - np.log(guessed_margins))
    nearest = np.argsort(distances, axis=1, kind="stable")[:, :NEAREST]
    found[known] = guessed_accuracies[nearest].mean(axis=1)
    return found


def slope_over_margin(margins: np.ndarray, accuracies: np.ndarray) -> float | None:
    """Return the least-squares slope of the accuracy over log2 γ; None of fewer than `LEAST`.

    A margin of 0, of an output that is exactly 0 and so labelled -1, has no logarithm and is left
    out.
    """
    there = margins > 0
    if there.sum() < LEAST:
        return None
    return float(np.polyfit(np.log2(margins[there]), accuracies[there], 1)[0])


def mean_log_margin(margins: np.ndarray) -> float | None:
    """Return the mean of log γ over networks with a margin above 0; None where there is none."""
    there = margins[margins > 0]
    return float(np.log(there).mean()) if len(there) else None


def margin_columns(
    margins: np.ndarray,
    accuracies: np.ndarray,
    guessed_margins: np.ndarray,
    guessed_accuracies: np.ndarray,
) -> dict[str, float | int | None]:
    """Return a row of trained networks at one epoch, beside guessed ones of the same margin.

    Networks without a margin above 0, which do not fit S, are left out.

    Args:
        margins: of trained networks, (m,); NaN of one that did not get there.
        accuracies: of the same on E, (m,).
        guessed_margins: of guessed networks, (k,).
        guessed_accuracies: of the same, (k,).
    """
    there, known = margins > 0, guessed_margins > 0
    margins, accuracies = margins[there], accuracies[there]
    guessed = accuracies_of_guesses(margins, guessed_margins[known], guessed_accuracies[known])
    matched = ~np.isnan(guessed)
    gap = accuracies[matched] - guessed[matched]
    return {
        "measure.networks": len(there),
        "measure.fitting": len(margins),
        "measure.accuracy": float(accuracies.mean()) if len(margins) else None,
        "measure.log_margin": mean_log_margin(margins),
        "measure.networks.matched": int(matched.sum()),
        "measure.gap.matched": float(gap.mean()) if matched.any() else None,
    }
