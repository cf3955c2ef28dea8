"""The predictors experiment on small networks: its rows, that it resumes, its page, its main."""

import html
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from configs.predictors import get_config, setting
from flatvol_jax.kernels import nngp_kernel
from flatvol_jax.runtime.preemption import Stopped
from flatvol_jax.study import load_records
from flatvol_jax.study.measures import run_units
from flatvol_jax.study.measures.problem import make_problem
from flatvol_jax.study.predictors import summarised
from flatvol_jax.study.predictors.run import plan_networks, run_predictors, shape_problem
from flatvol_jax.study.predictors.settings import predictors_config
from flatvol_jax.volume import log_volume, marginal_likelihood_bound

ROOT = Path(__file__).parents[3]
MEASURES = ("log_volume", "log_volume_train", "sharpness")


def tiny():
    config = get_config("smoke")
    config.hp.data.update(train_size=20, test_size=30, second_test_size=400)
    config.sweep.overtrain = (5,)
    for name in config.measures:
        config.measures[name].on = name in MEASURES
    config.measures.log_volume.update(links=("heaviside",), estimator="ep")
    levels = {"width": (8,), "depth": (1,), "sigma_b": (1.0,), "rate": (10.0,)}
    config.predictors.levels.update(
        **levels, train_size=(12, 20), optimizer=("sgd",), batch_size=(4, 20)
    )
    config.predictors.centers = {"base": setting(8, 1, 2**0.5, 1.0, 20, "sgd", 10.0, 20)}
    return config.to_dict()


def numbers(rows):
    return [{k: v for k, v in row.items() if k[:3] in ("mea", "is.", "run", "ove")} for row in rows]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("whole")
    return run_predictors(tiny(), workdir), workdir


def test_every_network_has_a_row_at_both_stops(whole):
    rows, _ = whole
    assert len(rows) == 2 * 3 * 2  # draws, settings, stops
    for row in rows:
        assert row["overtrain"] in (0, 5)
        assert row["is.zero_error"] == (row["measure.error.train"] == 0)
        assert row["is.zero_error"] or row["overtrain"]  # zero error need not last
        assert row["hp.factor.train_size"] in (12, 20)
        assert row["hp.train.batch_size"] == row["hp.factor.batch_size"]
        assert row["hp.train.learning_rate"] == pytest.approx(0.1)
        assert 0 <= row["measure.error.second_test"] < 0.6
        # f is one of the functions that fit S.
        on_train = row["measure.log_volume.heaviside.train"]
        assert row["measure.log_volume.heaviside"] < on_train < 0
        bound = marginal_likelihood_bound(on_train, row["hp.factor.train_size"], 0.05)
        if row["is.zero_error"]:
            assert row["measure.bound.architecture"] == pytest.approx(float(bound))
        else:
            assert "measure.bound.architecture" not in row
    late = {row["run_id"]: row for row in rows if row["overtrain"]}
    for row in rows:
        if not row["overtrain"]:
            assert late[row["run_id"]]["epoch"] == row["epoch"] + 5
            assert late[row["run_id"]]["measure.loss.train"] != row["measure.loss.train"]


def test_log_p_of_s_is_that_of_the_first_examples_and_of_the_networks_own_kernel(whole):
    rows, _ = whole
    config = predictors_config(tiny())
    problem = make_problem(config.study, 1, None)
    small = next(own for own in config.predictors.settings if own.train_size == 12)
    own = shape_problem(problem, config, small)
    np.testing.assert_array_equal(own.train_x, problem.train_x[:12])
    np.testing.assert_array_equal(own.test_x, problem.test_x)
    kernel = nngp_kernel(config.spec(small), problem.train_x[:12])
    wanted = float(log_volume(kernel, problem.train_y[:12]).log_volume)
    found = {
        row["measure.log_volume.heaviside.train"]
        for row in rows
        if row["hp.draw"] == 1 and row["hp.factor.train_size"] == 12 and row["is.zero_error"]
    }
    assert found
    assert list(found) == pytest.approx([wanted] * len(found), abs=1e-6)


def test_the_same_command_computes_nothing_again(whole, monkeypatch):
    rows, workdir = whole
    for name in ("measured_columns", "train_group"):
        monkeypatch.setattr(run_units, name, lambda *_, **__: pytest.fail("computed again"))
    assert numbers(run_predictors(tiny(), workdir)) == numbers(rows)


def test_an_interrupted_run_keeps_what_is_finished_and_ends_with_the_same_numbers(whole, tmp_path):
    def stop(done, *_):
        if done >= 11:
            raise Stopped

    with pytest.raises(Stopped):
        run_predictors(tiny(), tmp_path, progress=stop)
    assert 0 < len(load_records(tmp_path)) < 12
    assert numbers(run_predictors(tiny(), tmp_path)) == numbers(whole[0])


def test_another_level_trains_only_its_own_networks():
    config = tiny()
    before = {own.runs[0].run_id for own in plan_networks(predictors_config(config))}
    config["predictors"]["levels"]["batch_size"] = (4, 8, 20)
    after = {own.runs[0].run_id for own in plan_networks(predictors_config(config))}
    assert len(after - before) == 2
    assert before < after


def test_the_main_says_the_answer_and_writes_figure_report_and_tables(whole, tmp_path):
    workdir = tmp_path / "work"
    shutil.copytree(whole[1], workdir)
    command = [sys.executable, "-m", "experiments.predictors", f"--workdir={workdir}"]
    command += ["--config=configs/predictors.py:smoke", *_flags()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    summary = summarised(load_records(workdir))
    assert done.stdout.splitlines()[: len(summary.lines)] == summary.lines
    assert (workdir / "figures" / "predictors.png").stat().st_size > 10_000
    text = html.unescape((workdir / "report.html").read_text())
    assert text.index(summary.sentence) < text.index("<figure")
    lines = (workdir / "measures.csv").read_text().splitlines()
    assert len(lines) == 1 + len(summary.measures)
    assert (workdir / "environments.csv").stat().st_size > 100


def _flags() -> list[str]:
    """Return the flags of the main that make its config the tiny one."""
    base = get_config("smoke").to_dict()
    return list(_changes("config", base, tiny()))


def _changes(name, old, new):
    for key, value in new.items():
        if isinstance(value, dict):
            yield from _changes(f"{name}.{key}", old[key], value)
        elif value != old[key]:
            yield f"--{name}.{key}={value}"
