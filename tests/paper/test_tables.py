"""Sensitivities, table 1, provenance, the overview of all claims."""

import json

import numpy as np
import pandas as pd
import pytest
from known_sweeps import ERROR, SHARPNESS, VOLUME, known_sweep
from scipy import stats

from flatvol_jax.paper._provenance import provenance
from flatvol_jax.paper.claims.paper_claims import (
    OverviewReading,
    claims_frame,
    overview,
    paper_claims,
)
from flatvol_jax.paper.claims.sentences import SENTENCES
from flatvol_jax.paper.measure_tables import measures_markdown
from flatvol_jax.paper.sensitivity import sensitivity_table
from flatvol_jax.paper.table_1 import PAPER, table_1
from flatvol_jax.study.analysis import statistics
from flatvol_jax.study.analysis.experiment_tables import experiment_tables


@pytest.fixture(scope="module")
def claims():
    frame = pd.concat([known_sweep("sgd", -0.9, 0.9), known_sweep("adam", -0.9, 0.0)])
    tables = experiment_tables(frame.reset_index(drop=True), "cpu")
    return paper_claims(tables, (), "cpu")


def test_the_overview_counts_what_the_claims_say(claims):
    lines = {line.key: line for line in overview(claims)}
    assert list(lines) == [key for key in SENTENCES if key in lines]
    assert sum(line.paper.claims for line in lines.values()) == len(claims)
    who = "FCN on MNIST, SGD", "FCN on MNIST, Adam"
    assert lines["volume"].within.verdicts == {"holds": who}
    assert lines["volume"].within.named() == "holds (SGD, Adam)"
    assert lines["breaks"].within.verdicts == {"holds": who[1:]}
    assert lines["breaks"].within.named() == "holds (Adam)"
    for name in ("paper", "within"):
        readings = [getattr(claim, name) for claim in claims if claim.sentence == "volume"]
        estimates = [reading.judged.estimate for reading in readings]
        nulls = [reading.null.estimate for reading in readings]
        line = getattr(lines["volume"], name)
        assert line.estimates == (min(estimates), max(estimates))
        assert line.null == (min(nulls), max(nulls))


@pytest.mark.parametrize(
    ("verdicts", "said"),
    [
        ({"holds": ("a", "b"), "undecided": ("c",)}, "holds (a, b), undecided (c)"),
        ({"holds": ("MNIST, SGD", "MNIST, SGD"), "no": ("MNIST, GD",)}, "holds (SGD), no (GD)"),
        ({"holds": ("MNIST, SGD", "CIFAR, SGD")}, "holds (MNIST, SGD; CIFAR, SGD)"),
        ({"holds": ("M, GD", "M, GD"), "no": ("M, GD",)}, "holds (GD 2 of 3), no (GD 1 of 3)"),
        ({"none": ("MNIST, SGD; printed", "MNIST, SGD; split")}, "none (SGD)"),
        ({"holds": tuple("abcdefgh")}, "holds (8)"),
        ({"holds": ("MNIST, SGD",)}, "holds (SGD)"),
        ({"holds": ("7-40-40-1",)}, "holds"),
        ({}, ""),
    ],
)
def test_a_line_names_whose_each_verdict_is(verdicts, said):
    nothing = (np.nan, np.nan)
    assert OverviewReading(verdicts, nothing, nothing, nothing, 0, 0).named() == said


def test_the_frame_of_claims_has_a_row_each(claims):
    table = claims_frame(claims)
    assert len(table) == len(claims)
    known = {"holds", "does not hold", "undecided at this scale", "no verdict", "nothing to break"}
    assert set(table["paper_verdict"]) | set(table["within_verdict"].dropna()) <= known
    for name in ("paper", "within"):
        readings = [claim.readings.get(name) for claim in claims]
        wanted = [reading.judged.estimate if reading else np.nan for reading in readings]
        np.testing.assert_array_equal(table[f"{name}_estimate"], wanted)


def test_a_sensitivity_sweep_has_the_statistics_of_a_sweep():
    frames = [
        known_sweep(name, -0.7, rho, f"sensitivity_{change}")
        for change, rho in (("protocol", 0.8), ("sigma_w_2", 0.1))
        for name in ("sgd", "adam")
    ]
    table = sensitivity_table(pd.concat(frames, ignore_index=True))
    cells = table.set_index(["change", "optimizer", "sentence"])
    assert list(dict.fromkeys(table["change"])) == ["protocol", "sigma_w_2"]
    of = frames[2]
    found = statistics.correlation(of, SHARPNESS, ERROR)
    row = cells.loc["sigma_w_2", "SGD", "sharpness"]
    assert tuple(row[["within", "within_low", "within_high"]]) == found[:3]
    pooled = [stats.spearmanr(draw[SHARPNESS], draw[ERROR])[0] for _, draw in of.groupby("hp.draw")]
    np.testing.assert_allclose(row["pooled"], np.tanh(np.mean(np.arctanh(pooled))))
    rho = [statistics.draw_statistics(of, c, ERROR)["rho"] for c in (VOLUME, SHARPNESS)]
    looser = cells.loc["sigma_w_2", "SGD", "looser"]
    np.testing.assert_allclose(looser["within"], np.mean(-rho[0] - rho[1]))
    assert ("protocol", "Adam", "breaks") in cells.index
    assert ("protocol", "SGD", "breaks") not in cells.index


def test_a_later_epoch_stands_for_the_sweep_that_was_followed():
    first = known_sweep("sgd", -0.7, 0.8, "sensitivity_later")
    second = known_sweep("sgd", -0.7, -0.8, "sensitivity_later", seed=1).assign(overtrain=100)
    second["run_id"] = first["run_id"]
    table = sensitivity_table(pd.concat([first, second], ignore_index=True))
    (sharpness,) = table[table["sentence"] == "sharpness"]["within"]
    assert sharpness < -0.5


@pytest.mark.parametrize(
    ("name", "reading", "mode", "drop_incomplete"),
    [
        ("boolean", "full", "evaluation", False),
        ("mnist_fcn", "full", "evaluation", False),
        ("cifar_fcn", "full", "evaluation", False),
        ("cifar_resnet", "minibatch", "training", True),
    ],
)
def test_the_configs_have_the_numbers_of_table_1(name, reading, mode, drop_incomplete):
    config = pytest.importorskip(f"configs.{name}").get_config()
    measures = config.minima.measures if name == "boolean" else config.measures
    settings = measures.sgd_sharpness
    _, numbers = PAPER[name]
    found = settings.epsilon, settings.batch_size, settings.learning_rate, settings.epochs
    assert found == numbers
    procedure = settings.reading, settings.mode, settings.drop_incomplete
    assert procedure == (reading, mode, drop_incomplete)


def test_table_1_says_what_was_used_and_how_far_it_came():
    settings = {"epsilon": 1e-4, "batch_size": 32, "learning_rate": 1e-3, "epochs": 100}
    config = {"experiment": "mnist_fcn", "measures": {"sgd_sharpness": settings}}
    frame = pd.DataFrame(
        {
            "measure.sharpness.sgd": [1.0, 2.0, 3.0],
            "measure.sharpness.sgd.full_batch": [0.5, 1.0, 1.5],
            "measure.sharpness.best": [1.0, 2.0, 2.0],
            "is.sgd_sharpness_converged": [True, True, False],
        }
    )
    rows = {row.system: row for row in table_1([(config, frame)])}
    assert len(rows) == 4
    mnist = rows["MNIST, FCN"]
    assert mnist.ours == mnist.paper
    assert mnist.converged == (2, 3)
    assert mnist.ratio == 0.5
    assert mnist.procedure == "summed loss, minibatches read"  # records before the reading
    assert rows["CIFAR-10, FCN"].ours is None
    assert rows["CIFAR-10, FCN"].procedure == ""


@pytest.mark.parametrize(
    ("reading", "mode", "procedure", "ratio"),
    [
        ("full", "evaluation", "mean loss, all of S read", 1.0),
        ("minibatch", "evaluation", "mean loss, minibatches read", 0.5),
        ("minibatch", "training", "mean loss, minibatches read in training mode", 0.5),
    ],
)
def test_table_1_names_the_loss_and_compares_full_batches(reading, mode, procedure, ratio):
    settings = {"epsilon": 1e-4, "batch_size": 32, "learning_rate": 1e-3, "epochs": 100}
    settings |= {"reading": reading, "mode": mode, "drop_incomplete": False}
    config = {"experiment": "mnist_fcn", "measures": {"sgd_sharpness": settings}}
    frame = pd.DataFrame(
        {
            "measure.sharpness.sgd": [1.0, 2.0, 3.0],
            "measure.sharpness.sgd.full_batch": [0.5, 1.0, 1.5],
            "measure.sharpness.best": [1.0, 2.0, 3.0],
        }
    )
    row = next(row for row in table_1([(config, frame)]) if row.system == "MNIST, FCN")
    assert (row.procedure, row.ratio) == (procedure, ratio)


def test_provenance_reads_the_folder_and_counts_a_unit_once(tmp_path):
    stored = {
        "config": {"name": "a_sweep", "scale": "cpu"},
        "environment": {"commit": "abc", "versions": {"jax": "1"}},
    }
    (tmp_path / "config.json").write_text(json.dumps(stored))
    frame = pd.DataFrame(
        {
            "run_id": ["a", "a", "b"],
            "meta.log_volume.seconds": [1.5, 1.5, 2.0],  # one function at two epochs
            "meta.train.seconds": [0.25, np.nan, 0.5],
        }
    )
    found = provenance(tmp_path, frame)
    assert (found.config, found.scale, found.commit) == ("a_sweep", "cpu", "abc")
    assert found.networks == 2
    assert found.seconds == 1.5 + 2.0 + 0.25 + 0.5
    assert np.isnan(provenance(tmp_path, frame[["run_id"]]).seconds)


def test_measures_stand_by_optimizer_and_by_reading():
    frame = pd.concat([known_sweep("sgd", -0.9, 0.9), known_sweep("adam", -0.9, 0.0)])
    tables = experiment_tables(frame.reset_index(drop=True), "cpu")
    claims = tables[0].claims.set_index(["optimizer", "measure"])
    found = [
        [[cell.strip() for cell in line.split(" | ")] for line in table.splitlines()]
        for table in measures_markdown(tables).split("\n\n")[1:]
    ]
    by_optimizer, pooled, within, by_size = found
    assert [line[0] for line in by_optimizer[2:]] == ["| SGD", "| Adam"]
    volume, sharpness = "log V (Heaviside)", "sharpness (best found)"
    sgd = claims.loc["sgd"]
    for place, (measure, reading) in enumerate(
        (measure, reading) for measure in (volume, sharpness) for reading in ("pooled", "within")
    ):
        assert by_optimizer[2][1 + place].startswith(f"{sgd.loc[measure, reading]:+.2f} [")
    for table, reading in ((pooled, "pooled"), (within, "within")):
        cells = {line[0].removeprefix("| "): line[1:] for line in table[2:]}
        for optimizer, cell in zip(("sgd", "adam"), cells[sharpness], strict=True):
            assert cell.startswith(f"{claims.loc[(optimizer, sharpness), reading]:+.2f} [")
    assert len(by_size[0]) == 1 + 6
