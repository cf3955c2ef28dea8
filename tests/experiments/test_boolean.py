import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from flatvol_jax.study import load_records

ROOT = Path(__file__).parents[2]
TINY = [
    "--config=configs/boolean.py:smoke",
    "--config.hp.bits=4",
    "--config.hp.model.width=(8,)",
    "--config.sampling.samples=20000",
    "--config.minima.functions=3",
    "--config.posterior.train_size=8",
    "--config.posterior.optimizers=('sgd',)",
    "--config.widths.samples=((4, 10000), (None, 10000))",
]


def run(workdir, *more):
    command = [sys.executable, "-m", "experiments.boolean", *TINY, f"--workdir={workdir}", *more]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("boolean") / "run"
    return workdir, *run(workdir)


def test_figures_report_and_records_are_there(finished):
    workdir, code, out, err = finished
    assert code == 0, err
    assert "20,000 samples" in out
    for name in ("figure_2", "figure_S1", "figure_S2", "rank", "complexity", "width", "posterior"):
        assert (workdir / "figures" / f"{name}.png").stat().st_size > 10_000
        assert f"figures/{name}.png" in out
    page = (workdir / "report.html").read_text()
    assert "Boolean functions of 4 inputs" in page
    counts = load_records(workdir).query("`meta.part` == 'frequency'")
    assert np.dot(counts["frequency.count"], counts["frequency.functions"]) == 20_000


def test_the_same_command_draws_the_same_from_records(finished):
    workdir, _, out, _ = finished
    figure = (workdir / "figures" / "figure_2.svg").read_text()
    code, again, err = run(workdir)
    assert (code, again) == (0, out), err
    assert (workdir / "figures" / "figure_2.svg").read_text() == figure


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--config.hp.bits=5", "holds a study of another config"),
        ("--config.hp.bits=12", "error: hp.bits: got 12, wanted 2 to 10"),
        ("--config.sampling.samples=0", "error: samples: got 0|sampling.samples: got 0"),
    ],
)
def test_what_does_not_fit_ends_with_a_sentence(finished, flag, message):
    workdir, *_ = finished
    code, _, err = run(workdir, flag)
    assert code == 1
    assert "Traceback" not in err
    assert any(part in err for part in message.split("|"))
