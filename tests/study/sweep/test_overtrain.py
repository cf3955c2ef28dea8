"""A sweep that goes on after zero error: rows by epoch, and nothing changes at zero error."""

import copy
import shutil

import numpy as np
import pytest

from configs.mnist_fcn import get_config
from flatvol_jax.study import load_records
from flatvol_jax.study.engine.plan import plan_runs
from flatvol_jax.study.engine.store import Store
from flatvol_jax.study.sweep.run import run_attack_sweep

EPOCHS = (2, 5)


@pytest.fixture(scope="module")
def config():
    config = get_config("smoke")
    config.hp.data.update(train_size=40, attack_pool_size=40, test_size=30, second_test_size=100)
    config.hp.model.width = (8,)
    config.hp.train.update(learning_rate=0.32, max_epochs=400)
    config.sweep.update(draws=1, attack_sizes=(0, 40), samples=2, overtrain=EPOCHS)
    config.ensemble = 3
    config = config.to_dict()
    config["measures"] = {name: config["measures"][name] for name in ("sharpness", "baselines")}
    return config


@pytest.fixture(scope="module")
def done(config, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("overtrained")
    return workdir, run_attack_sweep(config, workdir)


def without_meta(rows):
    return [{n: v for n, v in row.items() if not n.startswith("meta.")} for row in rows]


def test_each_network_has_a_row_an_epoch_and_each_row_its_measures(done):
    _, rows = done
    assert len({(row["run_id"], row["overtrain"], row["transform"]) for row in rows}) == 12
    for row in rows:
        fits = row["measure.epochs.zero_error"]
        assert row["epoch"] == fits + row["overtrain"]
        assert row["measure.sharpness.best"] > 0
        assert row["measure.baseline.epochs"] == fits
    by_epoch = {
        k: [row["measure.sharpness.best"] for row in rows if row["overtrain"] == k]
        for k in (0, *EPOCHS)
    }
    assert len(set(map(tuple, by_epoch.values()))) == 3  # other parameters, other sharpness


def test_at_zero_error_the_sweep_is_the_one_without_overtraining(done, config, tmp_path):
    plain = copy.deepcopy(config)
    plain["sweep"]["overtrain"] = ()
    at_zero_error = [row for row in done[1] if row["overtrain"] == 0]
    assert without_meta(run_attack_sweep(plain, tmp_path)) == without_meta(at_zero_error)


def test_changes_of_the_function_are_counted_from_the_stored_outputs(done, config):
    workdir, rows = done
    changed = 0
    for run, row in zip(plan_runs(config), rows, strict=True):
        if run.overtrain == 0:
            assert "measure.function.changed" not in row
            first = Store(workdir).arrays(run.training)
            continue
        later = Store(workdir).arrays(run.training)
        differ = [
            (later[f"output.{p}"] > 0) != (first[f"output.{p}"] > 0) for p in ("train", "test")
        ]
        assert row["measure.function.changed"] == np.concatenate(differ).sum()
        assert row["is.zero_error"] == (row["measure.error.train"] == 0 and row["is.zero_error"])
        changed += row["measure.function.changed"]
    assert changed > 0  # on thirty test digits the function does move


def test_a_lost_epoch_comes_back_with_the_same_bits_alone(done, config, tmp_path):
    workdir = tmp_path / "copied"
    shutil.copytree(done[0], workdir)
    lost = Store(workdir).path(plan_runs(config)[4].training)
    kept = lost.with_suffix(".npz").read_bytes()
    before = {path: path.stat().st_mtime_ns for path in workdir.glob("units/train/*")}
    lost.unlink()
    assert without_meta(run_attack_sweep(config, workdir)) == without_meta(done[1])
    assert lost.with_suffix(".npz").read_bytes() == kept
    written = {p for p in before if p.stat().st_mtime_ns != before[p]}
    assert {path.stem for path in written} == {lost.stem}


def test_an_epoch_more_keeps_what_there_is(done, config, tmp_path):
    workdir = tmp_path / "copied"
    shutil.copytree(done[0], workdir)
    more = copy.deepcopy(config)
    more["sweep"]["overtrain"] = (2, 3, 5)
    rows = without_meta(run_attack_sweep(more, workdir))
    assert [row for row in rows if row["overtrain"] != 3] == without_meta(done[1])
    assert len(rows) == 16


def test_without_zero_error_there_is_nothing_beyond_it(config, tmp_path):
    short = copy.deepcopy(config)
    short["hp"]["train"]["max_epochs"] = 1
    short["sweep"].update(attack_sizes=(40,), samples=1)
    first, *beyond = run_attack_sweep(short, tmp_path)
    assert (first["epoch"], first["is.zero_error"]) == (1, False)
    for row in beyond:
        assert row["epoch"] is None
        assert not row["is.zero_error"]
        assert "measure.sharpness.best" not in row
    assert len(load_records(tmp_path)) == 3


def test_a_network_that_came_out_otherwise_is_not_continued(done, config, tmp_path):
    workdir = tmp_path / "copied"
    shutil.copytree(done[0], workdir)
    run, later = plan_runs(config)[:2]
    unit = run.training
    arrays = Store(workdir).arrays(unit)
    arrays["params['layer_1']['bias']"] = arrays["params['layer_1']['bias']"] + 1e-7
    Store(workdir).write(unit, Store(workdir).row(unit), arrays)
    Store(workdir).path(later.training).unlink()
    with pytest.raises(ValueError, match="round otherwise"):
        run_attack_sweep(config, workdir)
