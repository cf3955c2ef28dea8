"""What is proved of a program is so; what mixes inputs, or knows their place, has no proof."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import flatvol_jax as fv
from flatvol_jax.models import check_evaluation, check_statistics_move, evaluation_check
from flatvol_jax.models.row_dependence import answers_row_by_row, depends_on_inputs

IMAGES = np.random.default_rng(0).random((12, 6, 6, 2)).astype(np.float32)
TOKENS = np.random.default_rng(1).integers(0, 9, (12, 5)).astype(np.int32)
KEY = jax.random.key(0)


def flat(x):
    return x.reshape(len(x), -1)


def proved(function, x=IMAGES, n=4):
    """Of (params, x) -> outputs."""
    program = jax.jit(function)
    weights = np.ones(x.size // len(x), np.float32)
    return answers_row_by_row(program.trace(weights, x[:n]), program.trace(weights, x[:1]), 1)


RIGHT = {
    "product": lambda w, x: flat(x) @ w,
    "product from the right": lambda w, x: w @ flat(x).T,
    "product of each row": lambda w, x: jnp.einsum("ni,nj->nij", flat(x), flat(x)).sum((1, 2)),
    "norm of each row": lambda w, x: jax.nn.standardize(flat(x), axis=-1) @ w,
    "noise of each feature": lambda w, x: flat(x) @ (w * jax.random.normal(KEY, w.shape)),
    "jit": lambda w, x: jax.jit(lambda x: jax.nn.gelu(flat(x)))(x) @ w,
    "checkpoint": lambda w, x: jax.checkpoint(lambda x: flat(x) @ w)(x),
    "vmap": lambda w, x: jax.vmap(lambda row: jnp.tanh(row.ravel() @ w))(x),
    "choice": lambda w, x: jnp.where(flat(x) > 0.5, w, 0).sum(1),
}
MIXED = {
    "mean": lambda w, x: (flat(x) - flat(x).mean(0)) @ w,
    "largest": lambda w, x: flat(x) @ w / jnp.abs(x).max(),
    "Gram matrix": lambda w, x: (flat(x) @ flat(x).T).sum(1),
    "contraction": lambda w, x: flat(x) @ w + (jnp.ones(len(x)) @ flat(x)).sum(),
    "order": lambda w, x: jnp.sort(flat(x), 0) @ w,
    "sum so far": lambda w, x: jnp.cumsum(flat(x), 0) @ w,
    "turned": lambda w, x: flat(x)[::-1] @ w,
    "rolled": lambda w, x: jnp.roll(flat(x), 1, 0) @ w,
    "first": lambda w, x: (flat(x) - flat(x)[0]) @ w,
    "reshape": lambda w, x: flat(x).T.reshape(len(x), -1) @ w,
    "window": lambda w, x: (
        flat(nn.max_pool(x.swapaxes(0, 1), (2, 1), (1, 1), "SAME").swapaxes(0, 1)) @ w
    ),
    "place": lambda w, x: flat(x) @ w + jnp.arange(len(x)),
    "place spread out": lambda w, x: (
        (flat(x) + jnp.broadcast_to(jnp.arange(len(x))[:, None], flat(x).shape)) @ w
    ),
    "place in a choice": lambda w, x: jnp.where(jnp.arange(len(x)) > 1, flat(x) @ w, 0),
    "noise of each row": lambda w, x: flat(x) @ w * jax.random.normal(KEY, (len(x),)),
    "captured rows": lambda w, x: flat(x) @ w + np.arange(float(len(x))),
    "number of rows": lambda w, x: flat(x) @ w / len(x),
    "number of rows as an array": lambda w, x: flat(x) @ w / jnp.asarray(float(len(x))),
    "power of the number of rows": lambda w, x: (flat(x) ** len(x)) @ w,
    "one row alone": lambda w, x: flat(x) @ w - (x.mean() if len(x) == 1 else 0),
    "callback": lambda w, x: (
        flat(x)
        @ w
        * jax.pure_callback(
            lambda: np.float32(np.random.default_rng().random()),
            jax.ShapeDtypeStruct((), np.float32),
        )
    ),
    "sum": lambda w, x: (flat(x) @ w).sum(),
    "columns": lambda w, x: (flat(x) * w).T,
    "without inputs": lambda w, x: w[: len(x)],
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_program_of_one_row_at_a_time_is_proved(name):
    assert proved(RIGHT[name])


@pytest.mark.parametrize("name", MIXED)
def test_what_mixes_rows_or_knows_their_place_is_not(name):
    assert not proved(MIXED[name])


def test_a_look_up_is_of_its_row():
    table = np.ones((9, 3), np.float32)
    assert proved(lambda w, t: jnp.asarray(table)[t].mean((1, 2)), TOKENS)
    assert not proved(lambda w, t: jnp.asarray(table)[t].mean((0, 2)), TOKENS)


class Net(nn.Module):
    """A network with the usual layers."""

    momentum: float = 0.9

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.BatchNorm(not train, momentum=self.momentum)(nn.Conv(4, (3, 3))(x))
        x = nn.max_pool(nn.GroupNorm(2)(nn.relu(x)), (2, 2), (2, 2))
        x = nn.SelfAttention(2)(nn.LayerNorm()(x.reshape(len(x), 9, 4)))
        x = nn.Dropout(0.5, deterministic=not train)(nn.Dense(5)(flat(x)))
        return nn.Dense(1)(x)


class Small(nn.Module):
    """A BatchNorm with a momentum."""

    momentum: float

    @nn.compact
    def __call__(self, x, train=False):
        return nn.Dense(1)(nn.BatchNorm(not train, momentum=self.momentum)(flat(x)))


def test_usual_networks_are_proved_and_never_compiled(monkeypatch):
    monkeypatch.setattr(evaluation_check, "_differing_outputs", None)
    monkeypatch.setattr(evaluation_check, "random_network", None)
    check_evaluation(fv.FlaxModel(Net(), "Dense_0", 1.0, 0.0), IMAGES)
    check_evaluation(fv.FlaxModel(Net(), "Dense_0", 1.0, 0.0), IMAGES, "features")
    check_statistics_move(fv.FlaxModel(Small(0.9), "Dense_0", 1.0, 0.0), IMAGES)


@pytest.mark.parametrize(("momentum", "moves"), [(0.9, True), (0.0, True), (1.0, False)])
def test_inputs_enter_a_statistic_unless_its_momentum_is_one(momentum, moves):
    spec = fv.FlaxModel(Small(momentum), "Dense_0", 1.0, 0.0)
    state = spec.init_state(IMAGES.shape[1:])
    traced = jax.jit(spec.train_apply).trace(spec.init(KEY, IMAGES.shape[1:]), state, IMAGES)
    entered = depends_on_inputs(traced, 4 + len(jax.tree.leaves(state)))
    assert entered == [True, moves, moves]
    if not moves:
        with pytest.raises(ValueError, match="Is a momentum 1"):
            check_statistics_move(spec, IMAGES)


def test_a_loop_is_not_known():
    def looped(x):
        return jax.lax.fori_loop(0, 3, lambda i, c: c + x.sum(), 0.0)

    assert depends_on_inputs(jax.jit(looped).trace(IMAGES), 0) is None
