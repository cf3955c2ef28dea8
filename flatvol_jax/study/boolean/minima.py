"""Minima that an optimizer finds for a given function of all inputs, and how flat they are."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from flatvol_jax.runtime.randomness import named_key
from flatvol_jax.study.analysis.columns import ASCENT, SHARPNESS, SPECTRAL_NORM
from flatvol_jax.study.boolean.settings import MinimaSettings
from flatvol_jax.study.boolean.system import BooleanSystem
from flatvol_jax.study.measures.registry import MEASURES
from flatvol_jax.study.measures.trained import Trained
from flatvol_jax.training import train_ensemble

COLUMNS = {
    "sharpness": SHARPNESS.name,
    "sgd_sharpness": ASCENT.name,
    "hessian": SPECTRAL_NORM.name,
}


def find_minima(
    key: jax.Array,
    system: BooleanSystem,
    function: np.ndarray,
    minima: MinimaSettings,
    cache: epath.PathLike,
) -> dict[str, np.ndarray]:
    """Train networks to zero error on all inputs with the labels f, and measure each.

    Network j starts from the same initialisation whatever the function.

    Args:
        key: of all networks.
        system: inputs and network.
        function: (m,) labels ±1.
        minima: networks, how they are trained, the epochs after zero error at which to measure (0
            for zero error itself), settings of the measures.
        cache: folder of the problem; nothing is written.

    Returns:
        `epochs` (networks,), -1 without zero error, and for each name of `COLUMNS` an array
        (networks, epochs of `overtrain`), NaN without zero error there.
    """
    networks, overtrain = minima.networks, minima.overtrain
    keys = jax.vmap(lambda j: named_key(key, "minimum", j))(np.arange(networks))
    trained = train_ensemble(
        keys,
        system.spec,
        system.x,
        function,
        np.ones((networks, len(system.x)), bool),
        minima.train,
        train_size=len(system.x),
        overtrain=tuple(epochs for epochs in overtrain if epochs),
    )
    problem = system.problem(function, cache)
    found = {stage: np.full((networks, len(overtrain)), np.nan) for stage in COLUMNS}
    for j in np.flatnonzero(trained.zero_error):
        for place, epochs in enumerate(overtrain):
            params = _member_parameters(
                trained, j, [e for e in overtrain if e].index(epochs) if epochs else None
            )
            output = np.asarray(system.spec.apply(params, jnp.asarray(system.x)))
            if not np.array_equal(output > 0, function > 0):
                continue
            network = Trained(params, {}, output, output[:0], int(trained.epochs[j]))
            for stage, column in COLUMNS.items():
                options, own_key = getattr(minima.measures, stage), named_key(keys[j], stage)
                row = MEASURES[stage].function(problem, network, own_key, options)
                found[stage][j, place] = row[column]
    return {"epochs": np.where(trained.zero_error, trained.epochs, -1), **found}


def minima_columns(minima: Mapping[str, np.ndarray], place: int) -> dict[str, Any]:
    """Return means over the minima of one epoch of `overtrain`, spread (sd) and standard error."""
    reached = np.isfinite(minima["sharpness"][:, place])
    row = {
        "measure.minima": int(reached.sum()),
        "measure.minima.tried": len(reached),
        "measure.epochs": float(minima["epochs"][reached].mean()) if reached.any() else None,
    }
    for stage, column in COLUMNS.items():
        values = minima[stage][reached, place]
        spread = float(values.std(ddof=1)) if len(values) > 1 else None
        row[column] = float(values.mean()) if len(values) else None
        row[f"{column}.sd"] = spread
        row[f"{column}.se"] = None if spread is None else spread / len(values) ** 0.5
    return row


def _member_parameters(trained, member: int | np.integer, snapshot: int | None) -> Any:
    """Return parameters of a member at zero error, or at a snapshot beyond."""
    if snapshot is None:
        return jax.tree.map(lambda leaf: leaf[member], trained.params)
    return jax.tree.map(lambda leaf: leaf[member, snapshot], trained.snapshots.params)
