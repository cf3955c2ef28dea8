"""A sweep on a user's file and a user's network: what is trained and measured is theirs."""

import json

import numpy as np
import pytest

from configs.own_data import SCALES, get_config
from flatvol_jax.study.engine.plan import plan_runs
from flatvol_jax.study.engine.store import Store
from flatvol_jax.study.measures.problem import draw_parts, make_problem, with_content
from flatvol_jax.study.measures.registry import chosen_measures
from flatvol_jax.study.measures.study_config import model_spec
from flatvol_jax.study.measures.training_units import read_trained
from flatvol_jax.study.sweep.run import run_attack_sweep
from flatvol_jax.training import OPTIMIZERS

RNG = np.random.default_rng(0)
X = RNG.normal(size=(80, 3))
Y = np.where(X[:, 0] + 0.3 * X[:, 1] > 0, 1, -1)


def plain(config):
    return json.loads(config.to_json())


@pytest.fixture
def config(tmp_path):
    np.savez(tmp_path / "mine.npz", x=X, y=Y)
    config = get_config("module,adam")
    config.hp.data.update(name=str(tmp_path / "mine.npz"), train_size=16, attack_pool_size=4)
    config.hp.data.test_size = 16
    config.hp.model.update(module="twin_networks:Linen", input_shape=(3,))
    config.hp.train.update(batch_size=8, learning_rate=0.01)
    config.kernel.update(samples=40, groups=4)
    config.sweep.update(draws=1, attack_sizes=(0,), samples=1)
    config.ensemble = 1
    for name in ("sharpness", "log_volume_null"):
        config.measures[name].on = False
    config.measures.log_volume.links = ("heaviside",)
    return plain(config)


def test_the_networks_are_of_the_users_module_on_the_users_data(config, tmp_path):
    config = with_content(config)
    (row,) = run_attack_sweep(config, tmp_path / "runs")
    assert row["is.zero_error"]
    assert row["hp.data.content"] == config["hp"]["data"]["content"]
    assert row["measure.log_volume.heaviside"] < 0
    problem = make_problem(config, 0, tmp_path / "runs" / "cache")
    spec = model_spec(config["hp"]["model"])
    assert spec is model_spec(config["hp"]["model"])  # so its programs are compiled once
    network = read_trained(Store(tmp_path / "runs"), problem, plan_runs(config)[0])
    outputs = np.asarray(spec.apply(network.params, problem.second_test_x))
    assert len(outputs) == 80 - 16 - 4 - 16
    wrong = (outputs > 0) != (problem.second_test_y > 0)
    assert row["measure.error.second_test"] == pytest.approx(wrong.mean())
    labels = {tuple(x.astype(np.float32)): y for x, y in zip(X, Y, strict=True)}
    parts = draw_parts(config, 0)
    for part, sign in ((parts.train, 1), (parts.test, 1), (parts.attack, -1)):
        assert [sign * labels[tuple(x)] for x in part.x] == part.y.tolist()


def test_changed_data_are_refused(config, tmp_path):
    before = with_content(config)
    np.savez(tmp_path / "mine.npz", x=X, y=-Y)
    after = with_content(config)
    assert plan_runs(before)[0].run_id != plan_runs(after)[0].run_id
    with pytest.raises(ValueError, match="whose arrays are others"):
        draw_parts(before, 0)
    parts = draw_parts(after, 0)
    np.testing.assert_array_equal(parts.train.x @ [1, 0.3, 0] < 0, parts.train.y > 0)


@pytest.mark.parametrize("network", SCALES)
def test_every_variant_is_complete(network):
    for optimizer in OPTIMIZERS:
        config = get_config(f"{network},{optimizer}")
        assert config.hp.train.optimizer == optimizer
        config = plain(config)
        assert len(plan_runs(config)) == 120
        assert {"log_volume", "sharpness", "baselines"} <= chosen_measures(config).keys()


def test_labels_that_are_classes_ask_for_groups(config, tmp_path):
    np.savez(tmp_path / "mine.npz", x=X, y=np.arange(80) % 3)
    with pytest.raises(ValueError, match="labels"):
        draw_parts(config, 0)
    with pytest.raises(ValueError, match="hp.model.module: got 'nowhere:Net'"):
        model_spec({"name": "own", "module": "nowhere:Net"})
