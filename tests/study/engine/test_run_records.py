"""A sweep goes on from finished records alone, where its units are gone."""

import json
import shutil

import pytest

from configs import mnist_fcn
from flatvol_jax.study.engine import plan, run_records
from flatvol_jax.study.measures import run_units
from flatvol_jax.study.sweep.run import run_attack_sweep

ON = ("log_volume", "baselines")


def sweep_config(**sweep):
    """Return four networks of twenty digits with two cheap measures."""
    config = mnist_fcn.get_config("smoke").to_dict()
    config["hp"]["data"] |= {"train_size": 20, "attack_pool_size": 20, "test_size": 20}
    config["hp"]["train"]["learning_rate"] = 0.3
    config["sweep"] |= {"draws": 2, "attack_sizes": (0, 20), "samples": 1} | sweep
    for name, settings in config["measures"].items():
        settings["on"] = name in ON
    config["measures"]["log_volume"] |= {"estimator": "ep", "links": ("heaviside",)}
    return config


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Return a folder as results/ has them: records and config, no units."""
    folder = tmp_path_factory.mktemp("finished")
    run_attack_sweep(sweep_config(), folder)
    for name in ("units", "cache"):
        shutil.rmtree(folder / name)
    return folder


@pytest.fixture
def workdir(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "copy")


def lines(folder):
    return sorted((folder / "records.jsonl").read_text().splitlines())


def trained_runs(monkeypatch):
    """Return a list that fills with the runs that are trained from here on."""
    done, original = [], run_units.train_group

    def spy(store, config, problem, group, units, progress):
        done.extend(run.run_id for run in units)
        return original(store, config, problem, group, units, progress)

    monkeypatch.setattr(run_units, "train_group", spy)
    return done


def test_finished_records_are_not_done_again(workdir, finished, monkeypatch):
    done = trained_runs(monkeypatch)
    rows = run_attack_sweep(sweep_config(), workdir)
    assert done == []
    assert lines(workdir) == lines(finished)
    assert len(rows) == 4
    assert not (workdir / "units").exists()


def test_a_missing_row_is_computed_and_is_the_same(workdir, finished, monkeypatch):
    kept = lines(workdir)
    gone = json.loads(kept.pop())
    (workdir / "records.jsonl").write_text("\n".join(kept) + "\n")
    done = trained_runs(monkeypatch)
    run_attack_sweep(sweep_config(), workdir)
    assert done == [gone["run_id"]]
    (again,) = (r for r in map(json.loads, lines(workdir)) if r["run_id"] == gone["run_id"])
    for name in gone:
        if name.startswith(("measure.", "is.", "hp.")):
            assert again[name] == gone[name]


def test_more_draws_leave_the_first_ones_alone(workdir, monkeypatch):
    before = lines(workdir)
    done = trained_runs(monkeypatch)
    run_attack_sweep(sweep_config(draws=3), workdir)
    assert len(done) == 2
    assert set(before) <= set(lines(workdir))


@pytest.mark.parametrize("entry", [{"tolerance": 1e-6}, {"links": ("heaviside", "probit")}])
def test_other_settings_of_a_measure_are_computed(workdir, monkeypatch, entry):
    config = sweep_config()
    config["measures"]["log_volume"] |= entry
    done = trained_runs(monkeypatch)
    run_attack_sweep(config, workdir)
    assert len(done) == 4
    labels = {json.loads(line)["meta.settings.log_volume"] for line in lines(workdir)}
    assert len(labels) == 1


def test_a_raised_version_of_training_is_done_again(workdir, monkeypatch):
    for module in (plan, run_records):
        monkeypatch.setattr(module, "TRAIN", plan.TRAIN._replace(version=plan.TRAIN.version + 1))
    done = trained_runs(monkeypatch)
    run_attack_sweep(sweep_config(), workdir)
    assert len(done) == 4
