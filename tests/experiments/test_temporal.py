import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from flatvol_jax.study import load_records

ROOT = Path(__file__).parents[2]
TINY = [
    "--config=configs/temporal.py:smoke",
    "--config.hp.model.width=(6, 5)",
    "--config.hp.data.train_size=24",
    "--config.hp.data.test_size=16",
    "--config.event.epochs=6",
    "--config.event.after=4",
    "--config.event.alphas=(4.0, 0.25)",
    "--config.measures.hessian.on=False",
    "--config.measures.sgd_sharpness.batch_size=8",
]


def temporal(workdir, *more):
    command = [sys.executable, "-m", "experiments.temporal", *TINY, f"--workdir={workdir}", *more]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("temporal") / "run"
    return workdir, *temporal(workdir)


def test_figure_report_tables_and_records_are_there(finished):
    workdir, code, out, err = finished
    assert code == 0, err
    assert (workdir / "figures" / "temporal.png").stat().st_size > 10_000
    assert "Through time: temporal_smoke" in (workdir / "report.html").read_text()
    table = pd.read_csv(workdir / "branches.csv")
    assert table["transform"].tolist() == ["none", "layer 1, alpha 4", "layer 1, alpha 0.25"]
    after = load_records(workdir).query("`meta.event` == 'after'")
    assert after["is.output_identical"].eq(True).all()
    assert "zero error at epoch" in out


def test_the_same_command_draws_the_same_from_records(finished):
    workdir, _, out, _ = finished
    figure = (workdir / "figures" / "temporal.svg").read_text()
    code, again, err = temporal(workdir)
    assert (code, again) == (0, out), err
    assert (workdir / "figures" / "temporal.svg").read_text() == figure


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--config.event.layers=(3,)", "error: layer: got 3"),
        ("--config.event.alphas=(-1.0,)", "error: event.alphas: got -1.0"),
        ("--config.hp.model.width=(7,)", "error: "),
    ],
)
def test_what_does_not_fit_ends_with_a_sentence(finished, flag, message):
    code, _, err = temporal(finished[0], flag)
    assert code == 1
    assert message in err
    assert "Traceback" not in err
