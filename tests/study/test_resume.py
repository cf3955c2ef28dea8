"""A sweep on real digits, small enough for CI: whole, interrupted, damaged, extended."""

import copy
import json
import math
import warnings
from pathlib import Path

import numpy as np
import pytest

from flatvol_jax import study
from flatvol_jax.study.attack_sweep import run_attack_sweep
from flatvol_jax.study.plan import measure_unit, plan_runs, training_unit
from flatvol_jax.study.units import Unit, read_row, read_unit_arrays, write_unit


@pytest.fixture(scope="module")
def config():
    hp = {
        "data": {
            "name": "mnist5k",
            "groups": "mnist_halves",
            "preprocessing": "unit",
            "train_size": 40,
            "attack_pool_size": 40,
            "attack_nested": True,
            "test_size": 30,
            "second_test_size": 200,
        },
        "model": {"name": "fcn", "width": [8], "sigma_w": 1.4, "sigma_b": 1.0},
        "train": {
            "optimizer": "sgd",
            "learning_rate": 0.02,
            "batch_size": 16,
            "loss": "sum",
            "max_epochs": 150,
            "vmap_size": 1,
        },
    }
    sgd = {"epsilon": 1e-4, "batch_size": 16, "learning_rate": 1e-3, "epochs": 3}
    measures = {
        "log_volume": {"on": True, "links": ["heaviside", "probit"]},
        "log_volume_null": {"on": True},
        "sharpness": {"on": True, "epsilon": 1e-4, "method": "best"},
        "sgd_sharpness": {"on": True, **sgd},
        "hessian": {"on": True, "k": 5},
        "baselines": {"on": True},
    }
    sweep = {"seed": 3, "draws": 2, "attack_sizes": [0, 20], "samples": 2}
    return {"hp": hp, "sweep": sweep, "ensemble": 3, "measures": measures}


def results(rows):
    """What must not depend on how the work was cut: all but meta.*."""
    return {
        row["run_id"]: {k: v for k, v in row.items() if not k.startswith("meta.")} for row in rows
    }


@pytest.fixture(scope="module")
def whole(config, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("whole")
    return workdir, run_attack_sweep(config, workdir)


def stamps(workdir):
    return {path: path.stat().st_mtime_ns for path in Path(workdir).rglob("units/**/*.*")}


def test_records_hold_the_columns_that_the_statistics_read(whole):
    workdir, rows = whole
    frame = study.load_records(workdir)
    assert len(frame) == len(rows) == 8
    wanted = {m.column for m in study.claims.MEASURES} | set(study.claims.BOUNDS)
    assert wanted <= set(frame.columns)
    assert frame["is.ep_converged"].all()
    assert frame["run_id"].is_unique
    assert (frame["measure.error.train"][frame["is.zero_error"]] == 0).all()
    assert (frame["measure.log_volume.probit"] != frame["measure.log_volume.heaviside"]).all()
    flipped = frame[(frame["hp.attack_size"] == 20) & frame["is.zero_error"]]
    assert flipped["measure.error.second_test"].mean() > 0.2


def test_the_same_call_again_does_nothing(whole, config):
    workdir, rows = whole
    before = stamps(workdir)
    assert run_attack_sweep(config, workdir) == rows
    assert stamps(workdir) == before


def test_an_interrupted_sweep_ends_with_the_numbers_of_a_whole_one(whole, config, tmp_path):
    def interrupt_at(limit):
        def progress(done, total, text):
            if done >= limit:
                raise KeyboardInterrupt

        return progress

    for limit in (3, 11, 12, 30, 47):
        with pytest.raises(KeyboardInterrupt):
            run_attack_sweep(config, tmp_path, progress=interrupt_at(limit))
    assert results(run_attack_sweep(config, tmp_path)) == results(whole[1])


def test_runs_do_not_depend_on_their_company(whole, config, tmp_path):
    larger = copy.deepcopy(config)
    larger["sweep"].update(samples=3, draws=1)
    larger["ensemble"] = 2
    larger["measures"] = {name: config["measures"][name] for name in ("log_volume", "sharpness")}
    ours, theirs = results(run_attack_sweep(larger, tmp_path)), results(whole[1])
    shared = ours.keys() & theirs.keys()
    assert len(shared) == 4
    for run_id in shared:
        assert ours[run_id].items() <= theirs[run_id].items()


def test_a_damaged_unit_is_set_aside_and_only_it_is_done_again(whole, config):
    workdir, rows = whole
    run = plan_runs(config)[1]
    before = stamps(workdir)
    path = workdir / "units" / "hessian"
    unit = measure_unit(run, "hessian", {"k": 5})
    (path / f"{unit.digest}.json").write_text('{"stage": "hess')
    with pytest.warns(UserWarning, match="was damaged"):
        again = run_attack_sweep(config, workdir)
    assert results(again) == results(rows)
    changed = {p for p, stamp in stamps(workdir).items() if before.get(p) != stamp}
    assert {p.name for p in changed} == {f"{unit.digest}.json", f"{unit.digest}.json.damaged"}


def test_a_measure_with_other_settings_trains_nothing_again(whole, config):
    workdir, _ = whole
    other = copy.deepcopy(config)
    other["measures"]["hessian"]["k"] = 4
    before = stamps(workdir)
    run_attack_sweep(other, workdir)
    changed = {p.parent.name for p, stamp in stamps(workdir).items() if before.get(p) != stamp}
    assert changed == {"hessian"}


def test_another_config_is_refused_by_name(whole, config):
    other = copy.deepcopy(config)
    other["hp"]["train"]["learning_rate"] = 0.5
    with pytest.raises(ValueError, match=r"train.learning_rate.*0\.02.*--workdir"):
        run_attack_sweep(other, whole[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["hp"]["data"].update(train_size=6000), "6000"),
        (lambda c: c["sweep"].update(attack_sizes=[0, 50]), "attack_pool_size = 40"),
        (lambda c: c["hp"]["train"].update(optimizer="sdg"), "Did you mean 'sgd'"),
        (lambda c: c["measures"].update(sharpnes={"on": True}), "Did you mean 'sharpness'"),
        (lambda c: c["hp"]["model"].update(name="fnc"), "Did you mean 'fcn'"),
    ],
)
def test_a_config_that_does_not_fit_fails_before_the_workdir_is_made(
    config, tmp_path, change, message
):
    bad = copy.deepcopy(config)
    change(bad)
    with pytest.raises(ValueError, match=message):
        run_attack_sweep(bad, tmp_path / "new")
    assert not (tmp_path / "new" / "config.json").exists()


def test_a_workdir_that_cannot_be_is_named(config, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="--workdir"):
        run_attack_sweep(config, tmp_path / "file" / "below")


def test_run_ids_name_hp_and_nothing_else(config):
    ids = {run.run_id for run in plan_runs(config)}
    assert len(ids) == 8
    more = copy.deepcopy(config)
    more["sweep"]["samples"] = 5
    more["measures"] = {}
    assert ids < {run.run_id for run in plan_runs(more)}
    other = copy.deepcopy(config)
    other["hp"]["model"]["sigma_b"] = 0.5
    assert not ids & {run.run_id for run in plan_runs(other)}


def test_units_keep_arrays_and_turn_nan_into_null(tmp_path):
    unit = Unit("train", "abc")
    write_unit(tmp_path, unit, {"a": math.nan, "b": np.float64(2.5)}, {"x": np.arange(4)})
    assert read_row(tmp_path, unit) == {"a": None, "b": 2.5}
    np.testing.assert_array_equal(read_unit_arrays(tmp_path, unit)["x"], np.arange(4))
    (tmp_path / "units" / "train" / "abc.npz").write_bytes(b"cut short")
    with pytest.warns(UserWarning, match="set aside"):
        assert read_row(tmp_path, unit) is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_row(tmp_path, unit) is None


def test_a_foreign_line_in_the_records_is_left_out_with_a_warning(tmp_path):
    (tmp_path / "records.jsonl").write_text(json.dumps({"run_id": "a"}) + "\nnot a record\n")
    with pytest.warns(UserWarning, match="line 2"):
        assert len(study.load_records(tmp_path)) == 1
    with pytest.raises(ValueError, match="no records there"):
        study.load_records(tmp_path / "nowhere")


def test_final_parameters_are_kept(whole, config):
    arrays = read_unit_arrays(whole[0], training_unit(plan_runs(config)[0]))
    assert arrays["params['layer_1']['kernel']"].shape == (784, 8)
    assert {"loss", "errors", "output.test"} <= arrays.keys()
