"""Batch statistics are found wherever a checkpoint has them, or an error says what is missing."""

import flax.linen as nn
import jax
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from flax import nnx
from flax.training import train_state

import flatvol_jax as fv
from flatvol_jax.study.measures.checkpoint_trees import network_of_tree
from flatvol_jax.study.measures.network_files import read_network

SHAPE = (5,)


class Normalised(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        x = nn.relu(nn.BatchNorm(not train, name="norm")(nn.Dense(4, name="hidden")(x)))
        return nn.Dense(1, name="readout")(x)


class Plain(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(1, name="readout")(nn.relu(nn.Dense(4, name="hidden")(x)))


class NnxNormalised(nnx.Module):
    def __init__(self, rngs):
        self.hidden = nnx.Linear(5, 4, rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.readout = nnx.Linear(4, 1, rngs=rngs)

    def __call__(self, x):
        return self.readout(self.drop(nnx.relu(self.norm(self.hidden(x)))))


class State(train_state.TrainState):
    batch_stats: dict


SPEC = fv.FlaxModel(Normalised(), "norm", 1.0, 0.0)


def arrays_of(seed):
    """Parameters and statistics that no initialisation has."""
    rng = np.random.default_rng(seed)
    shapes = SPEC.init(jax.random.key(0), SHAPE), SPEC.init_state(SHAPE)
    return jax.tree.map(lambda leaf: rng.uniform(0.5, 1.5, leaf.shape).astype("f4"), shapes)


PARAMS, STATE = arrays_of(0)
STATISTICS = STATE["batch_stats"]
OTHER_PARAMS, OTHER = arrays_of(1)


def trained():
    return State.create(apply_fn=None, params=PARAMS, tx=optax.adam(1e-3), batch_stats=STATISTICS)


TREES = {
    "collections": {"params": PARAMS, **STATE},
    "under params": {"params": {"params": PARAMS, **STATE}, "step": 5},
    "model state": {"params": PARAMS, "model_state": STATE},
    "state": {"params": PARAMS, "state": STATE, "epoch": 3},
    "beside the parameters": {"model": {"params": PARAMS, **STATE}, "opt_state": [PARAMS]},
    "train state": trained(),
    "train state below": {"train_state": trained(), "rng": np.zeros(2, np.uint32)},
    "top level without params": {**PARAMS, **STATE},
    "its own, not those of the average": {
        "params": PARAMS,
        "batch_stats": STATISTICS,
        "ema": {"params": OTHER_PARAMS, **OTHER},
    },
    "nearest": {"a": {"params": PARAMS, "model_state": STATE}, "b": OTHER},
    "mixed": {
        "hidden": PARAMS["hidden"],
        "norm": {**PARAMS["norm"], **STATISTICS["norm"]},
        "readout": PARAMS["readout"],
    },
}


def save(folder, tree):
    checkpointer = ocp.StandardCheckpointer()
    checkpointer.save(folder, jax.tree.map(np.asarray, tree))
    checkpointer.wait_until_finished()
    return folder


def same(found, wanted=(PARAMS, STATE)):
    jax.tree.map(np.testing.assert_array_equal, found, wanted)


@pytest.mark.parametrize("name", TREES)
def test_statistics_are_found_where_they_stand(tmp_path, name):
    same(read_network(save(tmp_path / "network", TREES[name]), SPEC, SHAPE))


@pytest.mark.parametrize("items", ["one", "several", "prefix"])
def test_the_items_of_a_manager_are_one_tree(tmp_path, items):
    options = ocp.CheckpointManagerOptions(step_prefix="step" if items == "prefix" else None)
    with ocp.CheckpointManager(tmp_path / "manager", options=options) as manager:
        for step, (params, state) in ((3, (OTHER_PARAMS, OTHER)), (12, (PARAMS, STATE))):
            saved = ocp.args.StandardSave({"params": params, **state})
            if items == "several":
                saved = ocp.args.Composite(
                    params=ocp.args.StandardSave(params),
                    batch_stats=ocp.args.StandardSave(state["batch_stats"]),
                    notes=ocp.args.JsonSave({"by": "hand"}),
                )
            manager.save(step, args=saved)
        manager.wait_until_finished()
    same(read_network(tmp_path / "manager", SPEC, SHAPE))
    same(read_network(tmp_path / "manager", SPEC, SHAPE, 3), (OTHER_PARAMS, OTHER))


@pytest.mark.parametrize("split", [False, True])
def test_the_state_of_an_nnx_module_is_read_into_its_linen_form(tmp_path, split):
    network = NnxNormalised(nnx.Rngs(3))
    network.norm.mean[...] = network.norm.mean[...] + np.arange(4.0)
    network.eval()
    state = nnx.state(network, nnx.Not(nnx.RngState))
    if split:
        params, statistics = nnx.state(network, nnx.Param), nnx.state(network, nnx.BatchStat)
        state = {"params": params, "batch_stats": statistics}
    folder = save(tmp_path / "network", state)
    spec = fv.FlaxModel(nnx.bridge.to_linen(NnxNormalised), "norm", 1.0, 0.0)
    params, state = read_network(folder, spec, SHAPE)
    x = np.random.default_rng(2).normal(size=(6, 5)).astype(np.float32)
    np.testing.assert_allclose(spec.apply(params, x, state), network(x)[:, 0], rtol=1e-6)


@pytest.mark.parametrize(
    ("spec", "tree", "message"),
    [
        (SPEC, {"params": PARAMS}, r"got the state nothing; wanted 'batch_stats' with .*'norm'"),
        (SPEC, PARAMS, "another one. Save it beside the parameters"),
        (
            SPEC,
            {"params": PARAMS, "batch_stats": {"norm": {"mean": np.ones(3), "var": np.ones(3)}}},
            r"got the state batch_stats \['norm'\]\['mean'\] \(3,\)",
        ),
        (
            SPEC,
            {"params": PARAMS, "a": STATE, "b": OTHER},
            "'batch_stats' under a/batch_stats, b/batch_stats, with different values",
        ),
        (
            SPEC,
            {"a": {"params": PARAMS, **STATE}, "b": {"params": OTHER_PARAMS, **OTHER}},
            "got 2 trees that could be the parameters, under a/params, b/params",
        ),
        (
            fv.FlaxModel(Plain(), "hidden", 1.0, 0.0),
            {"params": {"hidden": PARAMS["hidden"], "readout": PARAMS["readout"]}, "more": STATE},
            "got batch statistics under more/batch_stats, .*the network has none",
        ),
        (SPEC, {"opt_state": {"mu": PARAMS}, **STATE}, "Is hp.model the network that was saved"),
    ],
)
def test_what_is_missing_or_would_not_be_used_is_said(spec, tree, message):
    shapes = jax.tree.map(np.asarray, spec.init(jax.random.key(0), SHAPE)), spec.init_state(SHAPE)
    with pytest.raises(ValueError, match=message):
        network_of_tree(tree, *shapes)


def test_two_copies_of_the_same_statistics_are_no_question():
    same(network_of_tree({"params": PARAMS, "a": STATE, "b": STATE}, PARAMS, STATE))
