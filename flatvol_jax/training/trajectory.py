"""Networks epoch by epoch, whatever their error: the parameters at the end of each."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from flatvol_jax.models import Params, Spec, State, network_inputs
from flatvol_jax.runtime import checks
from flatvol_jax.runtime.arrays import AnyArray
from flatvol_jax.runtime.precision import to_host
from flatvol_jax.runtime.printing import prints_its_fields
from flatvol_jax.training._entropy_sgd import entropy_sgd_eval_params
from flatvol_jax.training.ensemble import checked_rows
from flatvol_jax.training.loop import evaluate_rows, initial_network, run_epoch
from flatvol_jax.training.settings import TrainSettings


@prints_its_fields
class Trajectory(NamedTuple):
    """m networks under way: NumPy arrays with leading axis m, from which training continues.

    The parameters may be replaced in between, by alpha-scaling for one. The optimizer's state
    stays as it is: SGD has none; the moments of momentum, Adam, Adagrad and RMSProp are those of
    the parameters before, and entropy-SGD goes on from the outer parameters in its state, so that
    a new `params` moves its inner point alone.

    Attributes:
        params: where the next gradient is taken.
        state: batch statistics and the like; {} of a network without.
        optimizer_state: that of optax; a random key in it as its uint32 data.
        epoch: passes over the data so far, (m,).
    """

    params: Params
    state: State
    optimizer_state: Any
    epoch: AnyArray


@prints_its_fields
class Epochs(NamedTuple):
    """The networks at the ends of epochs, NumPy arrays with leading axes (m, epochs).

    Attributes:
        params: the parameters that count (entropy-SGD's outer ones).
        state: batch statistics and the like.
        loss: mean cross-entropy over all rows.
        errors: misclassified rows.
    """

    params: Params
    state: State
    loss: AnyArray
    errors: AnyArray


def begin_trajectory(
    keys: Array, spec: Spec, x: np.ndarray, y: np.ndarray, settings: TrainSettings
) -> Trajectory:
    """Return m networks at initialisation, as `train_ensemble` draws them from the same keys.

    Args:
        keys: (m,) keys; each determines initialisation, minibatch order and noise of a member.
        spec: the network.
        x: (N, ...) inputs.
        y: labels ±1, or 0..C-1 of a spec with C outputs, (N,) for all members or (m, N), a row a
            member.
        settings: optimizer, batches, loss; the cap of epochs means nothing here.

    Raises:
        ValueError: shapes that do not fit, labels not ±1, inputs not finite.
    """
    x, _ = _checked(keys, spec, x, y, settings)
    with jax.enable_x64(False):
        return to_host(_plain(_begin(keys, spec, x.shape[1:], settings)))


def advance_trajectory(
    keys: Array,
    spec: Spec,
    x: np.ndarray,
    y: np.ndarray,
    settings: TrainSettings,
    trajectory: Trajectory,
    epochs: int,
) -> tuple[Trajectory, Epochs]:
    """Train every member for so many epochs more, to the bits of `train_ensemble` on all rows.

    Neither zero error nor a loss that is not finite ends a member. How the epochs are cut into
    calls changes no bit, nor does a trajectory that was stored as arrays in between. The program
    is compiled once for each shape, spec, settings and number of epochs; float32 whatever the
    caller's setting.

    Args:
        keys: those of `begin_trajectory`.
        spec: its network.
        x: its inputs, (N, ...).
        y: its labels, as they were given there.
        settings: its settings.
        trajectory: where to go on from.
        epochs: how many, the same for all members; memory holds the parameters of each.

    Raises:
        ValueError: as `begin_trajectory`; fewer epochs than one.
    """
    x, y = _checked(keys, spec, x, y, settings)
    epochs = checks.count("epochs", epochs)
    with jax.enable_x64(False):
        inputs, targets = jnp.asarray(x), jnp.asarray(y, jnp.float32)
        like = jax.eval_shape(lambda keys: _begin(keys, spec, x.shape[1:], settings), keys)
        trajectory = _typed(trajectory, like, keys)
        use = jnp.ones(targets.shape, bool)
        trajectory, passed = _advance(
            keys, spec, inputs, targets, use, settings, trajectory, epochs
        )
        return to_host(_plain(trajectory)), to_host(passed)


@partial(jax.jit, static_argnames=("spec", "input_shape", "settings"))
def _begin(keys, spec: Spec, input_shape, settings) -> Trajectory:
    def begin_one(key):
        params, state, optimizer_state = initial_network(key, spec, input_shape, settings)
        return Trajectory(params, state, optimizer_state, jnp.int32(0))

    return jax.lax.map(begin_one, keys, batch_size=settings.vmap_size)


@partial(jax.jit, static_argnames=("spec", "settings", "epochs"))
def _advance(keys, spec: Spec, x, y, use, settings, trajectory, epochs: int):
    # `use` is data of each member, as it is to `advance`: a constant would be compiled otherwise,
    # and rounded otherwise.
    def advance_one(args):
        key, y, use, member = args

        def epoch(member, _):
            params, state, optimizer_state = run_epoch(
                key, spec, x, y, use, settings, tuple(member[:3]), member.epoch
            )
            member = Trajectory(params, state, optimizer_state, member.epoch + 1)
            params = entropy_sgd_eval_params(member.optimizer_state, member.params)
            wrong, loss = evaluate_rows(
                spec, params, member.state, x, y, use, settings.evaluation_batch_size
            )
            errors = jnp.sum(wrong, dtype=jnp.int32)
            return member, Epochs(params, member.state, loss, errors)

        return jax.lax.scan(epoch, member, length=epochs)

    return jax.lax.map(advance_one, (keys, y, use, trajectory), batch_size=settings.vmap_size)


def _checked(keys, spec: Spec, x, y, settings: TrainSettings) -> tuple[np.ndarray, np.ndarray]:
    """Return x, and y with a row a member."""
    x = network_inputs(spec, "x", x)
    use = np.ones((np.size(keys), len(x)), bool)
    x, y, use = checked_rows(keys, spec, x, y, use, len(x), settings)
    return x, np.broadcast_to(y, use.shape)


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _plain(trajectory: Trajectory) -> Trajectory:
    """Return the trajectory with typed keys as their data."""
    return jax.tree.map(
        lambda leaf: jax.random.key_data(leaf) if _is_key(leaf) else leaf, trajectory
    )


def _typed(trajectory: Trajectory, like: Trajectory, keys: Array) -> Trajectory:
    """Return the trajectory with the data of keys as typed keys, wherever `like` has one."""

    def typed(leaf, shape):
        if _is_key(shape):
            return jax.random.wrap_key_data(leaf, impl=jax.random.key_impl(keys))
        return jnp.asarray(leaf, shape.dtype)

    return jax.tree.map(typed, trajectory, like)
