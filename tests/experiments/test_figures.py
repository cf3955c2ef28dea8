import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from flatvol_jax.paper.layout import FIGURES
from flatvol_jax.paper.registry import is_there
from flatvol_jax.paper.studies import STUDIES

ROOT = Path(__file__).parents[2]
COMMAND = "python -m experiments.attack_sweep --config=configs/cifar_resnet.py"


def write_sweep(folder, experiment="mnist_fcn", optimizer="sgd", scale="cpu"):
    """Records of two draws: sharpness rises with the error, log V falls, each with noise."""
    generator = np.random.default_rng(0)
    rows = []
    for number in range(40):
        error = generator.integers(100, 500) / 1000
        row = {
            "run_id": f"{optimizer}{number}",
            "epoch": 10,
            "transform": "none",
            "meta.experiment": experiment,
            "meta.scale": scale,
            "hp.train.optimizer": optimizer,
            "hp.draw": number % 2,
            "hp.attack_size": 50 * (number // 20),
            "hp.data.train_size": 50,
            "hp.data.test_size": 100,
            "measure.error.second_test": error,
            "measure.sharpness.best": np.exp(5 * error + generator.normal()),
            "measure.log_volume.heaviside": -100 * error + generator.normal(),
            "is.zero_error": number != 7,
        }
        rows.append(
            {name: getattr(value, "item", lambda v=value: v)() for name, value in row.items()}
        )
    folder.mkdir(parents=True)
    (folder / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return pd.DataFrame(rows)


def figures(workdir, *more):
    command = [sys.executable, "-m", "experiments.figures", f"--workdir={workdir}", *more]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout, done.stderr


def test_the_figures_are_those_that_the_help_names():
    """It says 2 to 5 or S1 to S18, but S4; C1, before it knows the library."""
    said = {*map(str, range(2, 6)), *(f"S{number}" for number in range(1, 19))} - {"S4"} | {"C1"}
    of_folders = {"boolean": {"2", "S1", "S2"}, "temporal": {"5", "S5", "S7", "S8", "S9"}}
    for experiment, names in of_folders.items():
        said -= set() if is_there(experiment) else names
    assert {*FIGURES, *STUDIES} == said


def test_one_figure_from_the_sweeps_below_a_folder(tmp_path):
    frame = write_sweep(tmp_path / "mnist_fcn")
    write_sweep(tmp_path / "cifar_fcn", "cifar_fcn")
    code, out, err = figures(tmp_path, "--figure=3")
    assert code == 0, err
    for ending in ("png", "svg"):
        assert (tmp_path / "figures" / f"figure_3.{ending}").stat().st_size > 10_000
    table = pd.read_csv(tmp_path / "figures" / "figure_3.csv")
    assert list(table["letter"]) == list("abcdef")
    assert list(table["n"]) == [39, 39, 0] * 2
    assert table["left_out"][0] == "1: zero training error not reached"
    used = frame[frame["is.zero_error"]]
    for row, column in ((0, "measure.log_volume.heaviside"), (3, "measure.sharpness.best")):
        in_draws = [
            stats.spearmanr(rows[column], rows["measure.error.second_test"]).statistic
            for _, rows in used.groupby("hp.draw")
        ]
        expected = np.tanh(np.mean(np.arctanh(in_draws)))
        assert table["pooled"][row] == pytest.approx(expected)
        assert table["pooled_low"][row] <= expected <= table["pooled_high"][row]
    lines = out.splitlines()
    assert lines[0].endswith(f"{tmp_path / 'figures' / 'figure_3'}.png, .svg, .csv")
    assert len(lines) == 7
    assert "(a) mnist_fcn sgd, measure.log_volume.heaviside" in lines[1]
    assert f"n = 39 ({table['left_out'][0]})" in lines[1]
    assert (
        f"(c) cifar_resnet sgd, measure.log_volume.heaviside, error: no records: {COMMAND}"
        in (lines[3])
    )


def test_all_figures_are_those_with_a_panel_of_records(tmp_path):
    write_sweep(tmp_path / "gd", optimizer="gd")
    code, out, err = figures(tmp_path / "gd")  # the folder of one sweep
    assert code == 0, err
    drawn = {path.name for path in (tmp_path / "gd" / "figures").iterdir()}
    assert drawn == {f"figure_S17.{ending}" for ending in ("png", "svg", "csv")}
    assert "figure 3: no records, not drawn" in out
    if is_there("temporal"):
        assert "figure S5: no records, not drawn: python -m experiments.temporal" in out
    assert "(a) mnist_fcn gd, " in out


def test_scale_chooses_between_sweeps_and_nothing_else_does(tmp_path):
    for scale in ("cpu", "paper"):
        write_sweep(tmp_path / scale, scale=scale)
    code, _, err = figures(tmp_path, "--figure=3")
    assert code == 1
    assert "error: mnist_fcn with sgd: got 2 sweeps (cpu in " in err
    assert not (tmp_path / "figures").exists()
    code, _, err = figures(tmp_path, "--figure=3", "--scale=paper")
    assert code == 0, err
    assert pd.read_csv(tmp_path / "figures" / "figure_3.csv")["scale"][0] == "paper"


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--figure=6", "error: --figure: got '6', wanted one of 2, 3, 4, 5, C1, S1, S10, "),
        ("--figure=3", "no records.jsonl in it or in a folder of it"),
    ],
)
def test_a_mistake_is_named_in_one_line(tmp_path, flag, message):
    code, _, err = figures(tmp_path, flag)
    assert code == 1
    assert message in err
    assert "Traceback" not in err
