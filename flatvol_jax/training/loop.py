"""The training loop as one compiled program for all members, each to its own epoch."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.sharding import Mesh, PartitionSpec

from flatvol_jax.models import (
    Params,
    Spec,
    State,
    apply_in_batches,
    cross_entropy,
    wrong_labels,
)
from flatvol_jax.runtime.convolutions import fast_convolutions
from flatvol_jax.training._entropy_sgd import entropy_sgd_eval_params
from flatvol_jax.training.augmentation import AUGMENTATIONS


class Member(NamedTuple):
    """One network under way.

    Attributes:
        params: where the next gradient is taken.
        state: batch statistics and the like; {} of a network without.
        optimizer_state: that of optax.
        epoch: passes over the data so far.
        epoch_train: the first epoch with zero error on S alone, -1 until then.
        epoch_all: the first epoch with zero error on all used rows, S ∪ A, -1 until then.
        epoch_zero: the first epoch with zero error on what `settings.stop` names; -1 until then.
        kept: the (params, state) that count, at `epoch_zero` and at each epoch of `overtrain`
            beyond, NaN until then; None without `overtrain`.
        loss: mean cross-entropy over the used rows after each epoch.
        errors: misclassified used rows after each epoch.
    """

    params: Params
    state: State
    optimizer_state: optax.OptState
    epoch: Array
    epoch_train: Array
    epoch_all: Array
    epoch_zero: Array
    kept: Any
    loss: Array
    errors: Array


def minibatch_order(key: Array, epoch: Array | int, use: Array, order: str = "shuffled") -> Array:
    """Return the rows in the order of one epoch, the used ones first, (N,) indices.

    Args:
        key: for the shuffle.
        epoch: the number of the epoch.
        use: (N,) bool, the used rows.
        order: "shuffled", or "fixed" for the order in which the rows stand.
    """
    rows = jnp.arange(len(use))
    if order == "shuffled":
        rows = jax.random.permutation(jax.random.fold_in(key, epoch), len(use))
    return rows[jnp.argsort(~use[rows], stable=True)]


def has_epochs_left(member: Member, max_epochs: int, overtrain: tuple[int, ...]) -> Array:
    """Tell whether the member has epochs left to train."""
    beyond = member.epoch_zero + max(overtrain, default=0)
    last = jnp.where(member.epoch_zero < 0, max_epochs, beyond)
    return (member.epoch < last) & jnp.isfinite(member.loss[member.epoch])


STATIC = ("mesh", "spec", "settings", "train_size", "overtrain")


def map_members(mesh: Mesh, function, members: tuple, shared: tuple, vmap_size: int):
    """Call function(member, *shared) of every member, spread over the devices of the mesh.

    A device takes its members one after another, `vmap_size` at a time.
    """

    def on_device(members, *shared):
        return jax.lax.map(lambda m: function(m, *shared), members, batch_size=vmap_size)

    split, whole = PartitionSpec(*mesh.axis_names), PartitionSpec()
    specs = (split, *[whole for _ in shared])
    spread = jax.shard_map(on_device, mesh=mesh, in_specs=specs, out_specs=split, check_vma=False)
    return spread(members, *shared)


@partial(jax.jit, static_argnames=STATIC)
def begin(mesh: Mesh, keys, spec: Spec, x, y, use, settings, train_size, overtrain) -> Member:
    """Initialise and evaluate all members."""
    epochs = settings.max_epochs + 1 + max(overtrain, default=0)

    def empty(leaf):
        return jnp.full((1 + len(overtrain), *leaf.shape), jnp.nan, leaf.dtype)

    def begin_one(args, x):
        key, use, y = args
        params, state, optimizer_state = initial_network(key, spec, x.shape[1:], settings)
        member = Member(
            params,
            state,
            optimizer_state,
            jnp.int32(0),
            jnp.int32(-1),
            jnp.int32(-1),
            jnp.int32(-1),
            jax.tree.map(empty, (params, state)) if overtrain else None,
            jnp.full(epochs, jnp.nan),
            jnp.full(epochs, -1, jnp.int32),
        )
        return _evaluated(member, spec, x, y, use, settings, train_size, overtrain)

    return map_members(mesh, begin_one, (keys, use, y), (x,), settings.vmap_size)


@partial(jax.jit, static_argnames=STATIC)
def advance(
    mesh: Mesh, keys, spec: Spec, x, y, use, settings, train_size, overtrain, members: Member, limit
) -> Member:
    """Train every member until it is done or at epoch `limit`."""

    def advance_one(args, x, limit):
        key, use, y, member = args

        def epoch(member):
            params, state, optimizer_state = run_epoch(
                key,
                spec,
                x,
                y,
                use,
                settings,
                (member.params, member.state, member.optimizer_state),
                member.epoch,
            )
            member = member._replace(
                params=params,
                state=state,
                optimizer_state=optimizer_state,
                epoch=member.epoch + 1,
            )
            return _evaluated(member, spec, x, y, use, settings, train_size, overtrain)

        def more(member):
            return has_epochs_left(member, settings.max_epochs, overtrain) & (member.epoch < limit)

        return jax.lax.while_loop(more, epoch, member)

    return map_members(mesh, advance_one, (keys, use, y, members), (x, limit), settings.vmap_size)


def initial_network(key: Array, spec: Spec, input_shape: tuple[int, ...], settings) -> tuple:
    """Return parameters, state and optimizer state of one member before its first epoch."""
    transform = settings.transformation(jax.random.fold_in(key, 2))
    params = spec.init(jax.random.fold_in(key, 0), input_shape)
    return params, spec.init_state(input_shape), transform.init(params)


def run_epoch(key: Array, spec: Spec, x, y, use, settings, network: tuple, epoch: Array) -> tuple:
    """Train one member for one pass over its used rows; `network` is as `initial` gives it."""
    size = settings.batch_size or len(x)
    transform = settings.transformation(jax.random.fold_in(key, 2))
    count = jnp.sum(use)
    steps = (count + size - 1) // size

    def loss(params, state, inputs, labels, mask):
        output, state = spec.train_apply(params, state, inputs, mask)
        weights = mask.astype(jnp.float32)
        total = jnp.sum(cross_entropy(output, labels) * weights)
        return total if settings.loss == "sum" else total / jnp.sum(weights), state

    def inputs(index, rows):
        if settings.augmentation is None:
            return x[rows]
        epoch_key = jax.random.fold_in(jax.random.fold_in(key, 3), epoch)
        augment = AUGMENTATIONS[settings.augmentation]
        return augment(jax.random.fold_in(epoch_key, index), x[rows])

    def step(carry):
        (params, state, optimizer_state), index = carry
        rows = jax.lax.dynamic_slice(order, (index * size,), (size,))
        mask = index * size + jnp.arange(size) < count
        gradient, state = gradient_and_state(params, state, inputs(index, rows), y[rows], mask)
        updates, optimizer_state = transform.update(gradient, optimizer_state, params)
        return (optax.apply_updates(params, updates), state, optimizer_state), index + 1

    gradient_and_state = fast_convolutions(jax.grad(loss, has_aux=True))
    order = minibatch_order(jax.random.fold_in(key, 1), epoch, use, settings.order)
    order = jnp.concatenate([order, jnp.zeros(size, order.dtype)])
    network, _ = jax.lax.while_loop(lambda carry: carry[-1] < steps, step, (network, jnp.int32(0)))
    return network


def evaluate_rows(
    spec: Spec, params: Params, state: State, x, y, use, rows_at_once: int | None
) -> tuple[Array, Array]:
    """Return which rows are wrong, (N,) bool, and the mean cross-entropy of the used ones."""
    output = fast_convolutions(apply_in_batches)(spec, params, x, state, rows_at_once)
    mean_loss = jnp.sum(cross_entropy(output, y), where=use) / jnp.sum(use)
    return wrong_labels(output, y), mean_loss


def _evaluated(member: Member, spec, x, y, use, settings, train_size: int, overtrain) -> Member:
    """Write loss and errors at the member's epoch, the epochs without error, what is kept."""
    params = entropy_sgd_eval_params(member.optimizer_state, member.params)
    rows_at_once = settings.evaluation_batch_size
    wrong, mean_loss = evaluate_rows(spec, params, member.state, x, y, use, rows_at_once)
    errors = jnp.sum(wrong & use, dtype=jnp.int32)
    fits_train, fits_all = ~jnp.any(wrong[:train_size]), errors == 0
    fits = fits_train if settings.stop == "train" else fits_all

    def first_epoch(found, condition):
        return jnp.where(condition & (found < 0), member.epoch, found)

    member = member._replace(
        epoch_train=first_epoch(member.epoch_train, fits_train),
        epoch_all=first_epoch(member.epoch_all, fits_all),
        epoch_zero=first_epoch(member.epoch_zero, fits & jnp.isfinite(mean_loss)),
        loss=member.loss.at[member.epoch].set(mean_loss),
        errors=member.errors.at[member.epoch].set(errors),
    )
    if not overtrain:
        return member
    beyond = jnp.array([0, *overtrain])
    due = (member.epoch_zero >= 0) & (member.epoch == member.epoch_zero + beyond)
    slot = jnp.where(jnp.any(due), jnp.argmax(due), len(due))  # past the end: dropped
    kept = jax.tree.map(
        lambda all_kept, leaf: all_kept.at[slot].set(leaf, mode="drop"),
        member.kept,
        (params, member.state),
    )
    return member._replace(kept=kept)
