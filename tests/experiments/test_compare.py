"""The main from the outside: what it writes, prints and refuses."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from flatvol_jax.study.engine.records import write_records

ROOT = Path(__file__).parents[2]


def write_sweep(root, optimizer, scale="cpu", train_size=40):
    generator = np.random.default_rng(len(optimizer))
    rows = []
    for draw, size, sample in np.ndindex(2, 2, 4):
        error = 0.2 + 0.1 * size + 0.01 * generator.normal()
        rows.append(
            {
                "run_id": f"{optimizer} {scale} {draw} {size} {sample}",
                "meta.experiment": "mnist_fcn",
                "meta.scale": scale,
                "hp.train.optimizer": optimizer,
                "hp.draw": draw,
                "hp.attack_size": 20 * size,
                "hp.sample": sample,
                "hp.data.train_size": train_size,
                "measure.error.second_test": error,
                "measure.log_volume.heaviside": -900 * error + generator.normal(),
                "measure.sharpness.best": 1e-3 * float(np.exp(generator.normal())),
                "is.zero_error": True,
                "is.ep_converged": True,
                "is.sharpness_converged": True,
            }
        )
    write_records(root / f"mnist_fcn_{scale}_{optimizer}", rows)


def compare(root, *more):
    done = subprocess.run(
        [sys.executable, "-m", "experiments.compare", f"--workdir={root}", *more],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    for optimizer in ("sgd", "adam"):
        write_sweep(root, optimizer)
    write_sweep(root, "sgd", "smoke", train_size=20)
    return root, *compare(root)


def test_it_judges_and_says_where_the_table_and_the_page_are(finished):
    root, code, out, err = finished
    assert code == 0, err
    assert "mnist_fcn: 32 runs, 2 draw(s)" in out
    assert out.count("2 draws, 10 wanted for a verdict") == 2 * 6  # in two readings
    assert "records: 32 of 48" in out
    assert f"table:   {root / 'comparison.csv'}" in out
    assert f"report:  {root / 'comparison.html'}" in out


def test_the_table_has_both_statistics_of_every_optimizer(finished):
    table = pd.read_csv(finished[0] / "comparison.csv")
    assert set(table["table"]) == {"correlation", "difference"}
    primary = table[table["family"] == "primary"]
    assert primary.groupby(["table", "optimizer"]).size().to_dict() == {
        ("correlation", "sgd"): 2,
        ("correlation", "adam"): 2,
        ("difference", "adam"): 2,
    }
    np.testing.assert_allclose(primary["confidence"], 1 - 0.05 / 6)


def test_the_page_says_how_it_was_made_and_of_which_scale(finished):
    page = (finished[0] / "comparison.html").read_text("utf-8")
    assert f"python -m experiments.compare --workdir={finished[0]}" in page
    assert '<td>scale</td><td class="text">cpu</td>' in page


def test_another_scale_is_another_comparison(finished):
    root = finished[0]
    before = (root / "comparison.html").stat().st_mtime_ns
    code, _, err = compare(root, "--scale=paper")
    assert code == 1
    assert err.strip().endswith("Try: cpu, smoke.")
    assert (root / "comparison.html").stat().st_mtime_ns == before


def test_sweeps_that_do_not_go_together_are_named_in_one_line(tmp_path):
    code, _, err = compare(tmp_path)
    assert code == 1
    assert "name another --workdir" in err
    write_sweep(tmp_path, "sgd")
    write_sweep(tmp_path, "adam", train_size=50)
    code, _, err = compare(tmp_path)
    assert code == 1
    assert "error: mnist_fcn, hp.data.train_size: got 50 in" in err
    assert not (tmp_path / "comparison.html").exists()
