import copy
import json

import numpy as np
import pytest

import flatvol_jax as fv
from configs.symmetry_audit import get_config
from flatvol_jax.models import parameter_shapes
from flatvol_jax.study import audit_summary, audit_table
from flatvol_jax.study.audit import run as audit_run
from flatvol_jax.study.audit.run import plan_transforms, run_symmetry_audit
from flatvol_jax.study.engine.parameters import arrays_to_parameters
from flatvol_jax.study.engine.store import Store, Unit


@pytest.fixture(scope="module")
def config():
    config = get_config("smoke")
    config.hp.data.update(train_size=30, attack_pool_size=10, test_size=20, second_test_size=0)
    config.hp.model.width = (6, 5)
    config.hp.train.update(learning_rate=0.1, max_epochs=3000)
    config.sweep.seed = 0
    config.measures.sgd_sharpness.on = False
    config.measures.hessian.on = False
    config.measures.sharpness.method = "sign"
    config.measures.log_volume.links = ("heaviside",)
    config.measures.scale_invariant.samples = 4
    config.audit.alphas = (0.25, 5.9)
    return config.to_dict()


@pytest.fixture(scope="module")
def audit(config, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("audit")
    return workdir, run_symmetry_audit(config, workdir)


def test_every_form_is_the_same_function_with_the_same_volume(audit):
    _, rows = audit
    assert len(rows) == 1 + 2 * 2 * 2 + 2
    assert len({row["transform"] for row in rows}) == len(rows)
    assert all(row["is.function_unchanged"] for row in rows)
    assert len({row["measure.log_volume.heaviside"] for row in rows}) == 1
    powers_of_two = [row for row in rows if row["transform.symmetry"] == "layer"]
    for row in powers_of_two:
        assert row["is.output_identical"] == (row["transform.alpha"] == 0.25)


def test_the_claims_hold_and_plain_sharpness_moves(audit):
    workdir, _ = audit
    table = fv.study.audit_table(fv.study.load_records(workdir))
    claimed = table[table["claimed"]]
    assert {"layer", "unit", "permutation"} == set(claimed["symmetry"])
    exact = claimed[~claimed["column"].str.contains("average_sharpness")]
    assert (exact["verdict"] == "unchanged").all(), exact[exact["verdict"] != "unchanged"]
    assert (claimed["verdict"] != "changes").all()
    moved = table[table["column"] == "measure.sharpness.best"].set_index(["symmetry", "layer"])
    assert moved.loc[("layer", 1), "change"] > 0.1
    kappa = table[table["column"] == "measure.relative_flatness"].set_index(["symmetry", "layer"])
    assert kappa.loc[("unit", 2), "verdict"] == "unchanged"  # the layer's own units
    assert kappa.loc[("unit", 1), "verdict"] == "changes"  # its inputs


def test_the_same_command_measures_nothing_again(audit, config, monkeypatch):
    workdir, rows = audit

    def refuse(*_, **__):
        raise AssertionError("measured again")

    monkeypatch.setattr(audit_run, "measured_columns", refuse)
    assert run_symmetry_audit(config, workdir) == rows
    lines = (workdir / "records.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == rows


def test_an_interrupted_audit_goes_on(config, tmp_path, audit):
    def interrupt(done, total, text):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_symmetry_audit(config, tmp_path, progress=interrupt)

    def values(rows):
        return [{n: v for n, v in row.items() if not n.startswith("meta.")} for row in rows]

    assert values(run_symmetry_audit(config, tmp_path)) == values(audit[1])


def small(config):
    config = copy.deepcopy(config)
    config["audit"]["symmetries"] = ["layer"]
    config["measures"] = {"sharpness": config["measures"]["sharpness"]}
    return config


def stranger():
    rng = np.random.default_rng(0)
    shapes = [(784, 6), 6, (6, 5), 5, (5, 1), 1]
    return fv.FCN((6, 5)).params_from_arrays(*(rng.normal(size=shape) for shape in shapes))


def own_data(seed):
    rng = np.random.default_rng(seed)
    arrays = {"train_x": rng.random((9, 28, 28, 1)), "test_x": rng.random((7, 28, 28, 1))}
    return arrays | {"train_y": np.resize([1, -1], 9), "test_y": np.resize([1, -1], 7)}


def test_a_network_of_ones_own_on_its_own_data(config, tmp_path):
    rows = run_symmetry_audit(small(config), tmp_path, params=stranger(), arrays=own_data(0))
    assert len(rows) == 5
    assert all(row["is.function_unchanged"] for row in rows)
    assert len({row["run_id"] for row in rows}) == 1
    assert len({row["measure.sharpness.best"] for row in rows}) == 5
    assert all(row["meta.data"].startswith("your own 9 inputs S and 7 E1") for row in rows)
    assert not any(name.startswith("hp.data.") for row in rows for name in row)

    other = run_symmetry_audit(small(config), tmp_path, params=stranger(), arrays=own_data(1))
    assert other[0]["measure.sharpness.best"] != rows[0]["measure.sharpness.best"]
    lines = (tmp_path / "records.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == other + rows  # the first network's rows stay


def test_a_network_that_does_not_know_the_data_is_refused(config, tmp_path):
    with pytest.raises(ValueError, match=r"wrong on \d+ of 30 labels of S of draw 0 of mnist5k"):
        run_symmetry_audit(small(config), tmp_path / "run", params=stranger())
    assert not (tmp_path / "run" / "config.json").exists()
    with pytest.raises(ValueError, match="got data without params"):
        run_symmetry_audit(small(config), tmp_path, arrays=own_data(0))


def test_a_network_that_was_trained_on_the_configs_draw_is_audited_as_its_own(
    audit, config, tmp_path
):
    workdir, rows = audit
    unit = Unit("train", next((workdir / "units" / "train").glob("*.json")).stem)
    spec, arrays = fv.FCN((6, 5)), Store(workdir).arrays(unit)
    params = arrays_to_parameters(arrays, parameter_shapes(spec, (28, 28, 1)))
    again = run_symmetry_audit(small(config), tmp_path, params=params)
    assert again[0]["measure.sharpness.best"] == rows[0]["measure.sharpness.best"]
    assert again[0]["meta.data"] == rows[0]["meta.data"]
    assert rows[0]["meta.data"].startswith("draw 0 of mnist5k with sweep.seed = 0: 30 inputs S")
    frame = fv.study.load_records(workdir)
    assert any(rows[0]["meta.data"] in line for line in audit_summary(frame, audit_table(frame)))


def test_bad_input_is_named(config, tmp_path):
    for change, message in [
        ({"symmetries": ["layers"]}, "Did you mean 'layer'"),
        ({"alphas": [2.0, 0.0]}, "above 0"),
    ]:
        bad = {**config, "audit": {**config["audit"], **change}}
        with pytest.raises(ValueError, match=message):
            plan_transforms(bad, fv.FCN((6, 5)))
