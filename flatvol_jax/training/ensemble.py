"""Train an ensemble to zero error on S ∪ A, as one program, each member to its own epoch."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from flatvol_jax.models import Params, Spec
from flatvol_jax.runtime import checks
from flatvol_jax.runtime.precision import to_host
from flatvol_jax.training.optimizers import optimizer


@dataclasses.dataclass(frozen=True)
class TrainSettings:
    """How a network is trained.

    Attributes:
        optimizer: a name in `training.optimizers.OPTIMIZERS`.
        learning_rate: refers to the loss of a minibatch as `loss` says.
        batch_size: examples a step; the last step of an epoch takes what is left.
        loss: "sum" or "mean" of the cross-entropy over the minibatch.
        max_epochs: a member that is not done by then is kept and marked.
        vmap_size: members that are batched into one operation; the others follow one after
            another. 1 is fastest on a CPU, where a small network's step is no faster batched
            and a member that is done would wait for the slowest; an accelerator wants many.
            A member's rounding depends on it.
    """

    optimizer: str = "sgd"
    learning_rate: float = 0.01
    batch_size: int = 32
    loss: str = "sum"
    max_epochs: int = 500
    vmap_size: int = 1

    def __post_init__(self):
        optimizer(self.optimizer, self.learning_rate)
        checks.one_of("loss", self.loss, ("sum", "mean"))
        for name in ("batch_size", "max_epochs", "vmap_size"):
            checks.count(name, getattr(self, name))


class TrainedEnsemble(NamedTuple):
    """m trained networks; every field has the leading axis m.

    Attributes:
        params: final parameters, float32.
        zero_error: whether zero error on the used rows (S ∪ A) was reached.
        epochs: the epoch at which training stopped; 0 is initialisation.
        epochs_train: the first epoch with zero error on S alone, -1 if there was none.
        diverged: whether the loss became NaN or infinite.
        loss: mean cross-entropy over the used rows after each epoch, (m, max_epochs + 1), NaN
            after the last one.
        errors: misclassified used rows after each epoch, -1 after the last one.
    """

    params: Params
    zero_error: np.ndarray
    epochs: np.ndarray
    epochs_train: np.ndarray
    diverged: np.ndarray
    loss: np.ndarray
    errors: np.ndarray


class _Member(NamedTuple):
    """One network under way."""

    params: Params
    optimizer_state: Any
    epoch: Array
    epoch_train: Array
    loss: Array
    errors: Array


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
) -> TrainedEnsemble:
    """Train m networks on rows of one shared (x, y), each until it makes no error.

    After each epoch a member is evaluated on all of its rows; it stops at the first epoch
    with zero error on them (label +1 if and only if the output is above 0). What a member
    yields depends on its key and its data, not on who else is in the ensemble. The program is
    compiled once for each shape, spec and settings; float32 whatever the caller's setting.

    Args:
        keys: (m,) keys; each determines a member's initialisation and minibatch order.
        spec: the network.
        x: (N, ...) inputs: S first, then the pool of A.
        y: (N,) labels ±1, those of A as they are to be learned.
        use: (m, N) bool, the rows that each member trains on.
        settings: optimizer, batches, loss, cap.
        train_size: |S|; rows from there on belong to A.
        progress: called with the share that is done, of members or of epochs, after each
            segment.
        segment_epochs: epochs between two such calls; changes no result.

    Raises:
        ValueError: shapes that do not fit, labels not ±1, inputs not finite, a member without
            rows.
    """
    x, y, use = _checked(keys, x, y, use, train_size)
    with jax.enable_x64(False):
        x, y, use = jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32), jnp.asarray(use)
        members = _begin(keys, spec, x, y, use, settings, train_size)
        limit, unfinished = 0, len(keys)
        while unfinished and limit < settings.max_epochs:
            limit = min(limit + segment_epochs, settings.max_epochs)
            members = _advance(keys, spec, x, y, use, settings, train_size, members, limit)
            unfinished = int(jnp.sum(jax.vmap(_going)(members)))
            if progress is not None:
                progress(max(1 - unfinished / len(keys), limit / settings.max_epochs))
        members = to_host(members)
    last = members.epoch[:, None]
    final_loss = np.take_along_axis(members.loss, last, axis=1)[:, 0]
    final_errors = np.take_along_axis(members.errors, last, axis=1)[:, 0]
    return TrainedEnsemble(
        members.params,
        final_errors == 0,
        members.epoch,
        members.epoch_train,
        ~np.isfinite(final_loss),
        members.loss,
        members.errors,
    )


def minibatch_order(key: Array, epoch: Array | int, use: Array) -> Array:
    """The order of one epoch: the used rows in random order, then the others, (N,) indices."""
    shuffled = jax.random.permutation(jax.random.fold_in(key, epoch), len(use))
    return shuffled[jnp.argsort(~use[shuffled], stable=True)]


def _going(member: _Member) -> Array:
    wrong, loss = member.errors[member.epoch], member.loss[member.epoch]
    return (wrong > 0) & jnp.isfinite(loss)


def _losses(spec: Spec, params: Params, x: Array, y: Array) -> tuple[Array, Array]:
    """Cross-entropy and error of each example."""
    output = spec.apply(params, x)
    return optax.sigmoid_binary_cross_entropy(output, (y + 1) / 2), (output > 0) != (y > 0)


def _evaluated(member: _Member, spec, x, y, use, train_size: int) -> _Member:
    """Write loss and errors at the member's epoch, and the first epoch without error on S."""
    losses, wrong = _losses(spec, member.params, x, y)
    fits = ~jnp.any(wrong[:train_size]) & (member.epoch_train < 0)
    return member._replace(
        epoch_train=jnp.where(fits, member.epoch, member.epoch_train),
        loss=member.loss.at[member.epoch].set(jnp.sum(losses, where=use) / jnp.sum(use)),
        errors=member.errors.at[member.epoch].set(jnp.sum(wrong & use, dtype=jnp.int32)),
    )


@partial(jax.jit, static_argnames=("spec", "settings", "train_size"))
def _begin(keys, spec, x, y, use, settings, train_size) -> _Member:
    """Initialise and evaluate all members."""
    transform = optimizer(settings.optimizer, settings.learning_rate)

    def begin(key, use):
        params = spec.init(jax.random.fold_in(key, 0), x.shape[1:])
        epochs = settings.max_epochs + 1
        member = _Member(
            params,
            transform.init(params),
            jnp.int32(0),
            jnp.int32(-1),
            jnp.full(epochs, jnp.nan),
            jnp.full(epochs, -1, jnp.int32),
        )
        return _evaluated(member, spec, x, y, use, train_size)

    return jax.lax.map(lambda args: begin(*args), (keys, use), batch_size=settings.vmap_size)


@partial(jax.jit, static_argnames=("spec", "settings", "train_size"))
def _advance(keys, spec, x, y, use, settings, train_size, members, limit) -> _Member:
    """Train every member until it is done or at epoch `limit`."""
    transform = optimizer(settings.optimizer, settings.learning_rate)
    size = settings.batch_size

    def advance(args):
        key, use, member = args
        count = jnp.sum(use)
        steps = (count + size - 1) // size

        def loss(params, rows, weights):
            losses, _ = _losses(spec, params, x[rows], y[rows])
            total = jnp.sum(losses * weights)
            return total if settings.loss == "sum" else total / jnp.sum(weights)

        def step(state):
            params, optimizer_state, order, index = state
            rows = jax.lax.dynamic_slice(order, (index * size,), (size,))
            weights = (index * size + jnp.arange(size) < count).astype(jnp.float32)
            gradient = jax.grad(loss)(params, rows, weights)
            updates, optimizer_state = transform.update(gradient, optimizer_state, params)
            return optax.apply_updates(params, updates), optimizer_state, order, index + 1

        def epoch(member):
            order = minibatch_order(jax.random.fold_in(key, 1), member.epoch, use)
            order = jnp.concatenate([order, jnp.zeros(size, order.dtype)])
            start = (member.params, member.optimizer_state, order, jnp.int32(0))
            params, optimizer_state, *_ = jax.lax.while_loop(lambda s: s[-1] < steps, step, start)
            member = member._replace(
                params=params, optimizer_state=optimizer_state, epoch=member.epoch + 1
            )
            return _evaluated(member, spec, x, y, use, train_size)

        return jax.lax.while_loop(lambda m: _going(m) & (m.epoch < limit), epoch, member)

    return jax.lax.map(advance, (keys, use, members), batch_size=settings.vmap_size)


def _checked(keys, x, y, use, train_size):
    if jnp.ndim(keys) != 1 or len(keys) == 0:
        raise ValueError(
            f"keys: got shape {jnp.shape(keys)}, wanted (m,) typed keys, one a member: "
            "jax.random.split(jax.random.key(0), m)."
        )
    x, y = checks.finite("x", x), checks.finite("y", y, ndim=1)
    use = checks.concrete("use", use)
    if x.ndim < 2 or len(x) != len(y):
        raise ValueError(f"x, y: got shapes {x.shape} and {y.shape}, wanted (N, ...) and (N,).")
    if not (np.abs(y) == 1).all():
        raise ValueError(f"y: got the values {np.unique(y)[:5]}, wanted -1 and +1 only.")
    if use.dtype != bool or use.shape != (len(keys), len(x)):
        raise ValueError(
            f"use: got {use.dtype} of shape {use.shape}, wanted bool ({len(keys)}, {len(x)}): a "
            "row a member, a column an example."
        )
    if not use.any(axis=1).all():
        raise ValueError(f"use: member {int((~use.any(axis=1)).argmax())} trains on no example.")
    if not 1 <= train_size <= len(x):
        raise ValueError(f"train_size: got {train_size}, wanted 1 to {len(x)}.")
    return x, y, use
