"""A network from a file is measured as the sweep measured it."""

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from flatvol_jax.study import load_records
from flatvol_jax.study.engine.plan import plan_runs
from flatvol_jax.study.engine.store import Store
from flatvol_jax.study.measures.network_files import read_network
from flatvol_jax.study.measures.problem import make_problem
from flatvol_jax.study.measures.training_units import read_trained
from flatvol_jax.study.single.checkpoint import measure_network, network_summary
from flatvol_jax.study.sweep.run import run_attack_sweep


@pytest.fixture(scope="module")
def sweep(tiny, tmp_path_factory):
    """A sweep of one network, its config, problem and parameters."""
    config = tiny(draws=1, attack_sizes=[0], samples=1)
    config["hp"]["train"]["learning_rate"] = 0.32  # fits S in forty epochs
    workdir = tmp_path_factory.mktemp("sweep")
    (row,) = run_attack_sweep(config, workdir)
    problem = make_problem(config, 0, workdir / "cache")
    return config, row, problem, read_trained(Store(workdir), problem, plan_runs(config)[0])


def save(folder, tree):
    checkpointer = ocp.StandardCheckpointer()
    checkpointer.save(folder, jax.tree.map(np.asarray, tree))
    checkpointer.wait_until_finished()
    return folder


def times(factor, tree):
    return jax.tree.map(lambda leaf: factor * np.asarray(leaf), tree)


@pytest.mark.parametrize("form", ["by itself", "under params", "npz"])
def test_a_network_of_a_sweep_gets_the_numbers_of_the_sweep(sweep, tmp_path, form):
    config, row, problem, network = sweep
    if form == "npz":
        arrays = problem.spec.params_to_arrays(network.params)
        names = ("W1", "b1", "W2", "b2")
        np.savez(tmp_path / "network.npz", **dict(zip(names, arrays, strict=True)))
        source = tmp_path / "network.npz"
    else:
        tree = network.params if form == "by itself" else {"params": network.params}
        source = save(tmp_path / "network", tree)
    found = measure_network(config, source, tmp_path / "own")
    measured = {name for name in row if name.startswith(("measure.", "is."))} & found.keys()
    assert {"measure.log_volume.heaviside", "measure.sharpness.best"} <= measured
    for name in measured - {"measure.baseline.epochs"}:
        assert found[name] == row[name], name
    assert found["measure.baseline.epochs"] is None  # nobody knows
    (stored,) = load_records(tmp_path / "own").to_dict("records")
    assert stored["measure.log_volume.heaviside"] == row["measure.log_volume.heaviside"]
    for wanted in ("log V, Heaviside, EP", "bound on the error"):
        assert any(wanted in line for line in network_summary(found))


@pytest.mark.parametrize("names", [["best", "last"], ["epoch-3", "epoch-12"]])
def test_checkpoints_under_other_names_are_listed(sweep, tmp_path, names):
    _, _, problem, network = sweep
    shape = problem.train_x.shape[1:]
    for name in names:
        save(tmp_path / "run" / name, network.params)
    with pytest.raises(ValueError, match="There are checkpoints in it: take one of") as caught:
        read_network(tmp_path / "run", problem.spec, shape)
    for name in names:
        assert str(tmp_path / "run" / name) in str(caught.value)
        params, _ = read_network(tmp_path / "run" / name, problem.spec, shape)
        jax.tree.map(np.testing.assert_array_equal, params, network.params)


@pytest.mark.parametrize("names", [["step_3", "step_12"], ["3/state", "12/state"], ["ema"]])
def test_numbered_steps_with_a_prefix_or_one_item_are_read(sweep, tmp_path, names):
    _, _, problem, network = sweep
    shape = problem.train_x.shape[1:]
    for factor, name in enumerate(reversed(names), start=1):
        save(tmp_path / "run" / name, times(float(factor), network.params))
    params, _ = read_network(tmp_path / "run", problem.spec, shape)
    jax.tree.map(np.testing.assert_array_equal, params, network.params)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"W1": np.ones((783, 8))}, r"network: got parameters .*\(783, 8\).*\(784, 8\)"),
        ({"b1": np.full(8, np.nan)}, "b1: got 8 NaN"),
        ({"W2": np.full((8, 1), 1e38)}, "outputs of the network: got .* infinite"),
    ],
)
def test_a_network_that_does_not_fit_or_is_not_finite_is_refused(sweep, tmp_path, changed, message):
    config, _, problem, network = sweep
    arrays = problem.spec.params_to_arrays(network.params)
    named = dict(zip(("W1", "b1", "W2", "b2"), arrays, strict=True)) | {"b1": np.full(8, 9.0)}
    np.savez(tmp_path / "network.npz", **named | changed)
    with pytest.raises(ValueError, match=message):
        measure_network(config, tmp_path / "network.npz", tmp_path / "own")
    assert not (tmp_path / "own" / "records.jsonl").exists()


def test_a_folder_without_any_checkpoint_says_how_to_save_one(sweep, tmp_path):
    with pytest.raises(ValueError, match="StandardCheckpointer"):
        read_network(tmp_path, sweep[2].spec, sweep[2].train_x.shape[1:])


def test_the_latest_step_is_taken_unless_one_is_named(sweep, tmp_path):
    _, _, problem, network = sweep
    shape = problem.train_x.shape[1:]
    for step, factor in ((3, 3.0), (12, 1.0)):
        save(tmp_path / "steps" / str(step), times(factor, network.params))
    for step, factor in ((None, 1.0), (3, 3.0)):
        params, _ = read_network(tmp_path / "steps", problem.spec, shape, step)
        jax.tree.map(np.testing.assert_array_equal, params, times(factor, network.params))
    with pytest.raises(ValueError, match=r"step: got 5, wanted one of \[3, 12\]"):
        read_network(tmp_path / "steps", problem.spec, shape, 5)


def test_another_network_shows_both_trees(sweep, tmp_path):
    config, *_ = sweep
    other = save(tmp_path / "other", {"dense": {"kernel": np.ones((3, 2))}})
    with pytest.raises(ValueError, match=r"\['dense'\]\['kernel'\] \(3, 2\); wanted .*layer_1"):
        measure_network(config, other, tmp_path / "own")
    with pytest.raises(ValueError, match="wanted a folder that Orbax wrote"):
        measure_network(config, tmp_path / "nothing", tmp_path / "own")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="cannot be read as an Orbax checkpoint"):
        measure_network(config, tmp_path / "empty", tmp_path / "own")


def test_ones_own_data_take_the_place_of_the_draw(sweep, tmp_path):
    config, _, problem, network = sweep
    source = save(tmp_path / "network", network.params)
    arrays = {
        "train_x": problem.train_x[:10],
        "train_y": -problem.train_y[:10],  # the network is wrong on all of them
        "test_x": problem.test_x,
        "test_y": problem.test_y,
    }
    found = measure_network(config, source, tmp_path / "own", arrays=arrays)
    assert found["measure.error.train"] == 1
    assert not found["is.zero_error"]
    first, *lines = network_summary(found)
    assert "makes errors on S" in first
    assert not any("bound" in line for line in lines)
    assert found["measure.error.second_test"] is None
    for wrong in ({"train_x": arrays["train_x"]}, {**arrays, "train_y": arrays["train_y"] * 2}):
        with pytest.raises(ValueError, match="wanted"):
            measure_network(config, source, tmp_path / "own", arrays=wrong)


def test_a_module_of_ones_own_is_found_by_its_name():
    from flatvol_jax.study.measures.study_config import model_spec

    named = {"name": "flax", "features": "x", "sigma_w": 1.0, "sigma_b": 0.0}
    dense = model_spec({**named, "module": "flax.linen:Dense", "arguments": {"features": 1}})
    assert dense.module.features == 1
    with pytest.raises(ValueError, match="hp.model.module: got 'flax.linen:Nothing'"):
        model_spec({**named, "module": "flax.linen:Nothing"})
