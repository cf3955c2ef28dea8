"""What is measured on the networks of a draw together, and log P(S), which they share."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flatvol_jax.models import output_labels
from flatvol_jax.runtime.faults import NumericalFault
from flatvol_jax.study.analysis.columns import LOG_VOLUME, PART
from flatvol_jax.study.engine.plan import ChosenMeasure, Run
from flatvol_jax.study.engine.records import SETTINGS
from flatvol_jax.study.engine.store import Stage, Store, Unit
from flatvol_jax.study.equal_networks.measures import (
    CONDITIONAL,
    LABEL_ENTROPY,
    PEER_DISAGREEMENT,
    TRAIN_VOLUME,
)
from flatvol_jax.study.measures.problem import Problem
from flatvol_jax.volume import log_volume

PEERS = Stage("peers", 2)


def peer_disagreement(labels: np.ndarray) -> np.ndarray:
    """Return of each network the share of inputs on which another one answers otherwise.

    The mean over all others and all inputs: with n(y, x) of k networks that answer y on x it is
    the mean over x of (k - n(f(x), x)) / (k - 1).

    Args:
        labels: (k, m) of k networks on m inputs.

    Returns:
        (k,) in [0, 1]; NaN for a network without others, and without inputs.
    """
    networks, inputs = labels.shape
    if networks < 2 or not inputs:
        return np.full(networks, np.nan)
    same = np.zeros(labels.shape)
    for label in np.unique(labels):
        answered = labels == label
        same += answered * answered.sum(axis=0)
    return ((networks - same) / (networks - 1)).mean(axis=1)


def label_entropy(labels: np.ndarray) -> np.ndarray:
    """Return -Σ p log p of the shares p of a network's labels, nats: (k, m) -> (k,).

    It is small where a network gives most inputs one label: such functions have a large prior
    probability whatever the data.
    """
    shares = np.stack([(labels == label).mean(axis=1) for label in np.unique(labels)])
    logs = np.log(shares, where=shares > 0, out=np.zeros_like(shares))
    return -(shares * logs).sum(axis=0) + 0.0


def peers_unit(runs: Sequence[Run], kernel: Mapping[str, int]) -> Unit:
    """Return the unit of the networks of one draw."""
    return PEERS.unit([run.run_id for run in runs], dict(kernel))


def measured_together(store: Store, problem: Problem, runs: Sequence[Run]) -> dict[str, Any]:
    """Return the columns of the networks of one draw, a list each, and log P(S) with its fault.

    A network that did not reach zero error is nobody's peer; its entries are None.
    """
    fitting = [
        run
        for run in runs
        if store.row(run.training)["is.zero_error"]  # type: ignore[index]
    ]
    found: dict[str, Any] = {"run_ids": [run.run_id for run in fitting]}
    outputs = [store.arrays(run.training)["output.test"] for run in fitting]
    if outputs:
        labels = np.stack([output_labels(output) for output in outputs])
        found[PEER_DISAGREEMENT.name] = peer_disagreement(labels).tolist()
        found[LABEL_ENTROPY.name] = label_entropy(labels).tolist()
    return found | train_volume_columns(problem)


def train_volume_columns(problem: Problem) -> dict[str, Any]:
    """Return log P(S) by EP and corrected, of the true labels of S, or the fault in its place."""
    size = len(problem.train_y)
    try:
        kernel = problem.kernel[:size, :size]
        found = log_volume(kernel, problem.train_y, method="ep_corrected", classes=problem.classes)
    except (NumericalFault, np.linalg.LinAlgError) as fault:
        return {"is.fault.peers": True, "meta.fault.peers": str(fault)}
    return {
        TRAIN_VOLUME: float(found.ep),
        f"{TRAIN_VOLUME}.corrected": float(found.corrected),
        "is.train_volume_converged": bool(found.converged),
    }


def peers_rows(
    store: Store,
    runs: Sequence[Run],
    found: Mapping[str, Any],
    volume: ChosenMeasure | None,
    label: str,
) -> dict[str, dict[str, Any]]:
    """Return by run_id the columns of each network's row, of the networks of one draw.

    Args:
        store: of the study.
        runs: of the draw.
        found: what `measured_together` returned.
        volume: the measure log V; without it log P(f_E | S) is left out.
        label: what the columns were computed by.
    """
    rows = {}
    places = {run_id: place for place, run_id in enumerate(found["run_ids"])}
    shared = {name: value for name, value in found.items() if not isinstance(value, list)}
    lists = {name: value for name, value in found.items() if isinstance(value, list)}
    del lists["run_ids"]
    for run in runs:
        # The part keeps these records out of the tables of sweeps, where a level is an |A|.
        row: dict[str, Any] = {**shared, PART: "equal", f"{SETTINGS}{PEERS.name}": label}
        for name in (PEER_DISAGREEMENT.name, LABEL_ENTROPY.name):
            known = run.run_id in places and name in lists
            row[name] = lists[name][places[run.run_id]] if known else None
        own = store.row(volume.unit(*run.network)) if volume is not None else None
        joint, alone = (own or {}).get(LOG_VOLUME.name), shared.get(TRAIN_VOLUME)
        if joint is not None and alone is not None:
            row[CONDITIONAL] = joint - alone
        rows[run.run_id] = row
    return rows
