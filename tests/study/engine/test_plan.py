"""run_id names all that determines a network, and nothing else."""

import copy
import json
from pathlib import Path

import pytest

from configs.mnist_fcn import get_config
from flatvol_jax.study.engine import plan
from flatvol_jax.study.engine.plan import ChosenMeasure, flatten, plan_runs, units_of
from flatvol_jax.study.engine.record_files import FILE, read_rows
from flatvol_jax.study.engine.store import Stage
from flatvol_jax.study.measures.registry import chosen_measures


@pytest.fixture
def config():
    return get_config("smoke").to_dict()


def ids(config):
    return [run.run_id for run in plan_runs(config)]


def test_runs_come_by_draw_then_size_then_sample(config):
    config["sweep"].update(draws=2, attack_sizes=(0, 30), samples=2)
    runs = plan_runs(config)
    places = [(run.draw, run.attack_size, run.sample) for run in runs]
    assert places == [(d, a, s) for d in (0, 1) for a in (0, 30) for s in (0, 1)]
    assert len({run.run_id for run in runs}) == 8
    for run in runs:
        assert (run.hp["draw"], run.hp["attack_size"], run.hp["sample"]) == run[1:4]


def test_hp_is_flat_and_complete(config):
    (run, *_) = plan_runs(config)
    assert run.hp["seed"] == config["sweep"]["seed"]
    assert run.hp["model.width"] == [40, 40]  # as JSON has it
    assert run.hp["train.learning_rate"] == config["hp"]["train"]["learning_rate"]
    assert set(dict(flatten(config["hp"]))) <= run.hp.keys()


def test_the_same_config_gives_the_same_ids(config):
    assert ids(config) == ids(copy.deepcopy(config))
    as_json = copy.deepcopy(config)
    as_json["hp"]["model"]["width"] = list(config["hp"]["model"]["width"])
    as_json["hp"]["train"] = dict(reversed(as_json["hp"]["train"].items()))
    assert ids(as_json) == ids(config)


@pytest.mark.parametrize(
    "more",
    [
        {"samples": 9},
        {"draws": 5},
        {"attack_sizes": (0, 20, 50, 100)},
        {"attack_sizes": (100, 0)},
    ],
)
def test_a_larger_sweep_keeps_the_ids(config, more):
    earlier = set(ids(config))
    config["sweep"].update(more)
    assert earlier <= set(ids(config))


def test_measures_ensemble_name_and_scale_change_no_id(config):
    earlier = ids(config)
    config["measures"]["sharpness"]["epsilon"] = 1e-3
    config["measures"]["hessian"]["on"] = False
    config.update(ensemble=2, name="other", scale="cpu")
    assert ids(config) == earlier


def hp_names():
    return list(dict(flatten(get_config("smoke").to_dict()["hp"])))


@pytest.mark.parametrize("name", hp_names())
def test_every_hp_changes_every_id(config, name):
    earlier = set(ids(config))
    section, entry = name.split(".")
    value = config["hp"][section][entry]
    other = {
        bool: lambda v: not v,
        int: lambda v: v + 1,
        float: lambda v: v * (1 + 1e-12),
        str: lambda v: v + "x",
        tuple: lambda v: (*v, 3),
        type(None): lambda v: 77,
    }[type(value)]
    config["hp"][section][entry] = other(value)
    assert not earlier & set(ids(config))


def test_the_seed_changes_every_id(config):
    earlier = set(ids(config))
    config["sweep"]["seed"] += 1
    assert not earlier & set(ids(config))


def test_units_differ_by_run_measure_settings_and_version(config, monkeypatch):
    first, second, *_ = plan_runs(config)
    stage, settings = Stage("hessian", 3), {"k": 5}
    measure = ChosenMeasure(stage, settings)
    unit = measure.unit(*first.network)
    assert unit == measure._replace(settings={"k": 5}).unit(*first.network)
    assert unit == measure._replace(networks=7).unit(*first.network)
    assert unit != measure.unit(*second.network)
    assert unit != measure._replace(settings={"k": 6}).unit(*first.network)
    other = ChosenMeasure(Stage("baselines", 3), settings).unit(*first.network)
    assert unit.digest != other.digest
    assert unit != measure._replace(stage=Stage("hessian", 99)).unit(*first.network)
    assert first.training != second.training
    before = first.training
    monkeypatch.setattr(plan, "TRAIN", Stage("train", 99))
    assert before != first.training


def test_units_have_the_names_of_the_records_in_results():
    """Committed records name the files of their units: workdirs that exist must resume."""
    folder = Path(__file__).parents[3] / "results" / "mnist_fcn_cpu"
    config = json.loads((folder / "config.json").read_text())["config"]
    runs, measures = {run.run_id: run for run in plan_runs(config)}, chosen_measures(config)
    checked, rows = 0, list(read_rows(folder / f"{FILE}.gz"))
    for row in rows:
        run = runs[row["run_id"]]
        units = {"train": run.training, **units_of(run, measures)}
        for name in ("train", "hessian", "sgd_sharpness", "sharpness"):
            if path := row.get(f"meta.arrays.{name}"):
                assert path == f"units/{name}/{units[name].digest}.npz"
                checked += 1
    assert checked == 3.5 * len(rows)  # the Hessian of four networks in eight


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"attack_sizes": (0, 101)}, r"attack_sizes.*101.*attack_pool_size = 100"),
        ({"attack_sizes": ()}, r"attack_sizes: got \[\]"),
        ({"attack_sizes": (0, 50, 50)}, "different sizes"),
        ({"attack_sizes": (-1,)}, r"attack_sizes: got -1.*at least 0"),
        ({"attack_sizes": (0.5,)}, r"attack_sizes: got 0\.5"),
        ({"draws": 0}, r"sweep\.draws: got 0.*at least 1"),
        ({"samples": 0}, r"sweep\.samples: got 0.*at least 1"),
        ({"samples": 2.0}, r"sweep\.samples: got 2\.0"),
    ],
)
def test_sizes_that_cannot_be_are_errors(config, change, message):
    config["sweep"].update(change)
    with pytest.raises(ValueError, match=message):
        plan_runs(config)


def test_flatten_joins_names_with_dots():
    tree = {"a": 1, "b": {"c": (2, 3), "d": {"e": None}}}
    assert dict(flatten(tree)) == {"a": 1, "b.c": [2, 3], "b.d.e": None}
