"""Train an ensemble to zero error on S, as one program, each member to its own epoch."""

import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh

from flatvol_jax.models import (
    Params,
    Spec,
    State,
    check_evaluation,
    check_labels,
    check_statistics_move,
    network_inputs,
    output_count,
)
from flatvol_jax.runtime import checks
from flatvol_jax.runtime.checkpoints import Checkpoint
from flatvol_jax.runtime.precision import to_host
from flatvol_jax.runtime.printing import prints_its_fields
from flatvol_jax.runtime.spread import usable_devices
from flatvol_jax.training._entropy_sgd import entropy_sgd_eval_params
from flatvol_jax.training.loop import Member, advance, begin, has_epochs_left
from flatvol_jax.training.settings import TrainSettings

_SECONDS = 10.0  # a segment should take no longer: between two, a stop can take place


@prints_its_fields
class Snapshots(NamedTuple):
    """m trained networks at K epochs beyond zero error; every field has leading axes (m, K).

    Of a member without zero error, and where training beyond it diverged, parameters are NaN
    and epochs and errors -1.

    Attributes:
        params: parameters, float32.
        state: batch statistics and the like.
        epochs: the epoch of each.
        errors: misclassified used rows there, of S ∪ A; zero error need not last.
    """

    params: Params
    state: State
    epochs: np.ndarray
    errors: np.ndarray


@prints_its_fields
class TrainedEnsemble(NamedTuple):
    """m trained networks; every field has the leading axis m.

    Attributes:
        params: parameters at zero error, or where training stopped without it, float32.
        state: batch statistics and the like at the same epoch; {} of a network without.
        zero_error: whether zero error on what `settings.stop` names was reached.
        epochs: the epoch of `params`; 0 is initialisation.
        epochs_train: the first epoch with zero error on S alone, -1 if there was none.
        epochs_train_and_attack: the first epoch with zero error on the used rows, S ∪ A, -1 if
            there was none before training ended.
        gradients: gradient evaluations up to `params`, one a minibatch.
        diverged: whether the loss there is NaN or infinite.
        loss: mean cross-entropy over the used rows after each epoch, (m, max_epochs + 1 + the
            largest of `overtrain`), NaN after the last one.
        errors: misclassified used rows after each epoch, -1 after the last one.
        snapshots: the networks beyond zero error.
    """

    params: Params
    state: State
    zero_error: np.ndarray
    epochs: np.ndarray
    epochs_train: np.ndarray
    epochs_train_and_attack: np.ndarray
    gradients: np.ndarray
    diverged: np.ndarray
    loss: np.ndarray
    errors: np.ndarray
    snapshots: Snapshots


def train_ensemble(
    keys: Array,
    spec: Spec,
    x: np.ndarray,
    y: np.ndarray,
    use: np.ndarray,
    settings: TrainSettings,
    train_size: int,
    progress: Callable[[float], None] | None = None,
    segment_epochs: int = 200,
    overtrain: tuple[int, ...] = (),
    checkpoint: Checkpoint | None = None,
) -> TrainedEnsemble:
    """Train m networks on rows of one shared x, each until it makes no error.

    After each epoch a member is evaluated on all of its rows; it stops at the first epoch
    with zero error (label +1 if and only if the output is above 0; of C outputs the largest, the
    first of those that tie) on S, or on S ∪ A if
    `settings.stop` says so, or goes on to the last epoch of `overtrain`. The result of a member
    depends on its key and its data, not on the other members. The program is compiled
    once for each shape, spec, settings and `overtrain`; float32 whatever the caller's setting.

    A network with batch statistics trains on those of the minibatch and is evaluated with the
    running ones. With entropy-SGD the running ones are those of the inner points.

    Members are spread over all local devices, ⌈m / devices⌉ on each; where the number of members
    on a device is the same, so is its program, and the result to the last bit.

    Args:
        keys: (m,) keys; each determines a member's initialisation, minibatch order and noise.
        spec: the network.
        x: (N, ...) inputs: S first, then the pool of A.
        y: labels ±1, or 0..C-1 of a spec with C outputs, (N,) for all members or (m, N), a row a
            member; those of A as they are to be learned.
        use: (m, N) bool, the rows that each member trains on.
        settings: optimizer, batches, loss, cap.
        train_size: |S|; rows from there on belong to A.
        progress: called with the share that is done, of members or of epochs, after each
            segment.
        segment_epochs: at most so many epochs between two such calls, fewer where they take
            long; changes no result.
        overtrain: epochs after zero error at which to take snapshots, increasing. The cap
            `max_epochs` counts up to zero error.
        checkpoint: where the ensemble is kept once a minute, so that the same call goes on
            where an earlier one was killed, to the same result.

    Raises:
        Stopped: a stop was asked for (`runtime.preemption`); the checkpoint is written.
        ValueError: shapes that do not fit, labels not ±1 or not 0..C-1, inputs not finite, a
            member without rows, epochs that do not increase.
    """
    x, y, use = checked_rows(keys, spec, x, y, use, train_size, settings)
    checks.count("segment_epochs", segment_epochs)
    overtrain = _increasing(overtrain)
    m, devices = len(keys), usable_devices()[: len(keys)]
    filled = np.minimum(np.arange(-(-m // len(devices)) * len(devices)), m - 1)
    with jax.enable_x64(False):
        inputs = jnp.asarray(x)
        targets = jnp.broadcast_to(jnp.asarray(y, jnp.float32), use.shape)[filled]
        mesh, spread = Mesh(np.array(devices), ("members",)), jnp.asarray(use[filled])
        common = (
            mesh,
            keys[filled],
            spec,
            inputs,
            targets,
            spread,
            settings,
            train_size,
            overtrain,
        )
        limit, members = 0, begin(*common)
        if checkpoint is not None:
            limit, members = checkpoint.read(like=members) or (limit, members)
        members = _train_until_done(common, members, limit, segment_epochs, checkpoint, progress)
        stopped = entropy_sgd_eval_params(members.optimizer_state, members.params), members.state
        members = members._replace(optimizer_state=None, params=None, state=None)
        members, stopped = jax.tree.map(lambda leaf: leaf[:m], to_host((members, stopped)))
    return _result(members, stopped, use, settings, overtrain)


def _train_until_done(common, members: Member, limit: int, segment_epochs, checkpoint, progress):
    """Advance all members until each is done, in segments of epochs."""
    *_, settings, _, overtrain = common
    last = settings.max_epochs + max(overtrain, default=0)
    epochs = 1
    while limit < last:
        began, limit = time.monotonic(), min(limit + epochs, last)
        members = advance(*common, members, limit)
        going_on = jax.vmap(lambda m: has_epochs_left(m, settings.max_epochs, overtrain))(members)
        unfinished = int(jnp.sum(going_on))
        # The first segment compiles, so its time says little.
        pace = epochs / max(time.monotonic() - began, 1e-3)
        epochs = int(np.clip(pace * _SECONDS, epochs, 10 * epochs)) if unfinished else epochs
        epochs = min(epochs, segment_epochs)
        if checkpoint is not None:
            checkpoint.keep(limit, members)
        if progress is not None:
            progress(max(1 - unfinished / len(going_on), limit / last))
        if not unfinished:
            break
    return members


def _result(members, stopped, use, settings, overtrain) -> TrainedEnsemble:
    """Gather what counts at zero error, or where training stopped without it."""
    zero_error = members.epoch_zero >= 0
    epochs = np.where(zero_error, members.epoch_zero, members.epoch)
    size = settings.batch_size or use.shape[1]

    def at_zero_error(kept, leaf):
        return np.where(zero_error.reshape(-1, *[1] * (leaf.ndim - 1)), kept[:, 0], leaf)

    if overtrain:
        params, state = jax.tree.map(at_zero_error, members.kept, stopped)
        beyond = jax.tree.map(lambda kept: kept[:, 1:], members.kept)
    else:
        params, state = stopped
        beyond = jax.tree.map(lambda leaf: leaf[:, None][:, :0], stopped)
    kept_epochs = epochs[:, None] + np.array(overtrain, epochs.dtype)
    reached = zero_error[:, None] & (kept_epochs <= members.epoch[:, None])
    errors = np.take_along_axis(members.errors, np.where(reached, kept_epochs, 0), axis=1)
    snapshots = Snapshots(
        params=beyond[0],
        state=beyond[1],
        epochs=np.where(reached, kept_epochs, -1),
        errors=np.where(reached, errors, -1),
    )
    final_loss = np.take_along_axis(members.loss, epochs[:, None], axis=1)[:, 0]
    return TrainedEnsemble(
        params,
        state,
        zero_error,
        epochs,
        members.epoch_train,
        members.epoch_all,
        epochs * -(-use.sum(axis=1) // size),
        ~np.isfinite(final_loss),
        members.loss,
        members.errors,
        snapshots,
    )


def _increasing(overtrain) -> tuple[int, ...]:
    epochs = tuple(checks.count("overtrain", epoch) for epoch in overtrain)
    if list(epochs) != sorted(set(epochs)):
        raise ValueError(f"overtrain: got {epochs}, wanted increasing numbers of epochs.")
    return epochs


def checked_rows(
    keys: Array, spec: Spec, x, y, use, train_size: int, settings: TrainSettings
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return x, y and use as arrays; a ValueError where they do not fit each other or the settings.

    Also where the network in evaluation mixes inputs, or training mode leaves a statistic.
    """
    if jnp.ndim(keys) != 1 or len(keys) == 0:
        raise ValueError(
            f"keys: got shape {jnp.shape(keys)}, wanted (m,) typed keys, one a member: "
            "jax.random.split(jax.random.key(0), m)."
        )
    x, y = network_inputs(spec, "x", x), checks.finite("y", y)
    use = checks.concrete("use", use)
    if x.ndim < 2 or y.shape not in ((len(x),), (len(keys), len(x))):
        raise ValueError(
            f"x, y: got shapes {x.shape} and {y.shape}, wanted (N, ...) and (N,), or "
            f"({len(keys)}, N) with a row a member."
        )
    check_labels("y", y, output_count(spec))
    if use.dtype != bool or use.shape != (len(keys), len(x)):
        raise ValueError(
            f"use: got {use.dtype} of shape {use.shape}, wanted bool ({len(keys)}, {len(x)}): a "
            "row a member, a column an example."
        )
    if not use.any(axis=1).all():
        raise ValueError(f"use: member {int((~use.any(axis=1)).argmax())} trains on no example.")
    if not 1 <= train_size <= len(x):
        raise ValueError(f"train_size: got {train_size}, wanted 1 to {len(x)}.")
    if settings.augmentation is not None and x.ndim != 4:
        raise ValueError(
            f"x: got shape {x.shape} with augmentation {settings.augmentation!r}, wanted images "
            "(N, height, width, channels). Reshape them, or train without."
        )
    check_evaluation(spec, x)
    check_statistics_move(spec, x)
    return x, y, use
