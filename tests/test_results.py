"""The committed records: each row is named by what determines it, and says where it comes from."""

import importlib
import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import flatvol_jax as fv
from configs import reproduce
from flatvol_jax.paper.finished import is_finished, networks_so_far
from flatvol_jax.runtime.hashing import content_hash
from flatvol_jax.study import load_records
from flatvol_jax.study.engine.record_files import read_rows, record_files
from flatvol_jax.study.engine.records import load_sweeps
from flatvol_jax.study.equal_networks.summary import measure_table
from flatvol_jax.study.posterior.run import plan_pieces
from flatvol_jax.study.posterior.settings import posterior_config
from flatvol_jax.study.posterior.summary import claim_table, published_table, size_table
from flatvol_jax.study.predictors.summary import summarised

pytestmark = pytest.mark.results

ROOT = Path(__file__).parents[1]
BOOLEAN = ROOT / "results" / "boolean"
TEMPORAL = sorted((ROOT / "results").glob("temporal_*"))
FOLDERS = sorted(path.parent for path in (ROOT / "results").glob("**/records.jsonl*"))
NUMBER = r"[+-]?[0-9]+\.[0-9]+"
POSTERIOR = sorted((ROOT / "results").glob("posterior_*"))
SWEEPS = [folder for folder in FOLDERS if folder not in (BOOLEAN, *TEMPORAL, *POSTERIOR)]


@pytest.mark.parametrize("sweep", SWEEPS, ids=lambda path: path.name)
def test_rows_are_named_by_the_hash_of_their_hyperparameters(sweep):
    rows = [row for path in record_files(sweep) for row in read_rows(path)]
    for row in rows:
        hp = {name[3:]: value for name, value in row.items() if name.startswith("hp.")}
        assert row["run_id"] == content_hash(hp)
    assert len({(row["run_id"], row["overtrain"], row["transform"]) for row in rows}) == len(rows)
    stored = json.loads((sweep / "config.json").read_text())
    assert {row["meta.scale"] for row in rows} == {stored["config"]["scale"]}
    assert stored["environment"]["commit"]


def test_there_are_sweeps_to_read():
    assert SWEEPS


UNDER_WAY = [
    job
    for job in reproduce.jobs("cpu")
    if job.experiment == "attack_sweep" and record_files(ROOT / "results" / job.folder)
]


@pytest.mark.parametrize("job", UNDER_WAY, ids=lambda job: job.folder)
def test_records_of_a_sweep_are_those_of_its_config(job):
    folder = ROOT / "results" / job.folder
    module = importlib.import_module(f"configs.{job.config}")
    config = module.get_config(*filter(None, [job.variant])).to_dict()
    found, planned = networks_so_far(config, folder)
    # Nothing but networks of this config lies there, and all of them where the study is done.
    assert found == load_records(folder)["run_id"].nunique()
    assert (found == planned) == is_finished(config, folder)


def test_the_first_protocol_has_a_sweep_of_each_optimizer():
    sweeps = load_sweeps(ROOT / "results" / "first_protocol")
    assert set(sweeps["hp.train.optimizer"]) == set(fv.training.OPTIMIZERS)
    assert {"train_and_attack"} == set(sweeps.get("hp.train.stop", ["train_and_attack"]))
    for optimizer, rows in sweeps.groupby("hp.train.optimizer"):
        assert set(rows["hp.train.loss"]) == {"sum" if optimizer == "sgd" else "mean"}


@pytest.mark.parametrize("folder", TEMPORAL, ids=lambda path: path.name)
def test_scaling_kept_function_volume_and_loss(folder):
    frame = load_records(folder)
    config = json.loads((folder / "config.json").read_text())["config"]
    event, sweep = config["event"], config["sweep"]
    assert frame["run_id"].nunique() == sweep["draws"] * sweep["samples"]
    assert not frame.duplicated(["run_id", "epoch", "transform"]).any()
    before = frame[frame["meta.event"] == "before"].set_index("run_id")
    after = frame[frame["meta.event"] == "after"]
    branches = len(event["layers"]) * len(event["alphas"])
    assert len(after) == len(before) * branches == frame["run_id"].nunique() * branches
    for _, row in after.iterrows():
        base = before.loc[row["run_id"]]
        assert row["is.function_unchanged"]
        assert row["measure.log_volume.heaviside"] == base["measure.log_volume.heaviside"]
        moved = row["measure.output.largest_change"]
        assert moved < row["measure.output.least"]
        # |d ln loss| <= |d output|
        assert abs(np.log(row["measure.loss.train"] / base["measure.loss.train"])) <= moved


EQUAL_NETWORKS = {
    "disagreement with the Gaussian process's mean": "disagreement with GP mean",
    "disagreement with the nearest neighbour": "disagreement with 1-NN",
    "disagreement with the nearest training digit": "disagreement with 1-NN",
    "log basin volume": "log basin volume, from below",
    "log V of as many errors at random": "log V, as many errors at random",
    "the control": "log V, as many errors at random",
    "sharpness": "sharpness (best found)",
}


def equal_networks_lines(text, table):
    """Yield the measure and the numbers of each line whose first cell names a measure."""
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        label = re.sub(
            r", claimed negative| \(not judged\)", "", cells[1] if len(cells) > 3 else ""
        )
        label = EQUAL_NETWORKS.get(label, label)
        if label in table.index and (found := re.findall(NUMBER, " ".join(cells[2:]))):
            yield label, [float(number) for number in found]


def test_the_tables_of_equal_networks_are_those_of_the_records():
    """Both readings on the study's own page; those within a cell in the findings."""

    def numbers(table, label, reading):
        if label not in table.index:
            return []
        values = (float(table.loc[label, reading + end]) for end in ("", "_low", "_high"))
        return [round(value, 2) for value in values]

    tables = []
    for name in ("equal_networks_cpu", "equal_networks_cpu_classes10"):
        table = measure_table(load_records(ROOT / "results" / name), "cpu")
        table = table[table["family"] != "increment"].drop_duplicates("column")
        tables.append(table.set_index("measure"))
    two, ten = tables
    parts = (ROOT / "docs" / "equal_networks.md").read_text().split("\n## ")
    for table, section, count in ((two, "What was found", 13), (ten, "Ten classes", 10)):
        (text,) = [part for part in parts if part.startswith(section)]
        lines = list(equal_networks_lines(text, table))
        assert len(lines) == count
        for label, shown in lines:
            assert shown == numbers(table, label, "within") + numbers(table, label, "pooled"), label
    findings = (ROOT / "docs" / "findings.md").read_text()
    (text,) = [part for part in findings.split("\n\n") if "ten classes |" in part]
    lines = list(equal_networks_lines(text, two))
    assert len(lines) == 7
    for label, shown in lines:
        assert shown == numbers(two, label, "within") + numbers(ten, label, "within"), label


def test_the_tables_of_predictors_are_those_of_the_records():
    """A line a measure, with intervals of τ, Ψ and the worst sign error, and a line a claim."""
    page = (ROOT / "docs" / "predictors.md").read_text()
    summary = summarised(load_records(ROOT / "results" / "predictors_cpu"))
    shown = {
        cells[1].replace("\\", ""): [float(n) for n in re.findall(NUMBER, " ".join(cells[2:]))]
        for line in page.splitlines()
        if len(cells := [cell.strip() for cell in re.split(r"(?<!\\)\|", line)]) > 4
    }
    for row in summary.measures.to_dict("records"):
        names = ("tau", "granulated", "worst")
        tau, psi, worst = ([row[name + end] for end in ("", "_low", "_high")] for name in names)
        numbers = shown[row["measure"]]
        assert numbers[:10] == [round(n, 2) for n in (*tau, *psi, row["information"], *worst)]
    for row in summary.claims.to_dict("records"):
        assert shown[row["name"]] == [round(row[name], 2) for name in ("estimate", "low", "high")]
        assert f"] | {row['verdict']} |" in page


@pytest.mark.parametrize("folder", POSTERIOR, ids=lambda path: path.name)
def test_a_posterior_study_has_a_row_of_each_piece_of_its_config(folder):
    frame = load_records(folder)
    pieces = plan_pieces(
        posterior_config(json.loads((folder / "config.json").read_text())["config"])
    )
    assert frame["run_id"].is_unique
    assert frame["meta.part"].value_counts().to_dict() == Counter(p.stage.name for p in pieces)


def test_the_published_rows_of_the_posterior_page_are_those_of_the_records():
    """Guessed, infinite width, at zero error and later, of each line of Peleg and Hein's."""
    page = (ROOT / "docs" / "posterior.md").read_text()
    for folder in (ROOT / "results").glob("posterior_peleg_hein*"):
        for row in published_table(load_records(folder)).to_dict("records"):
            names = ("guessed", "infinite", "trained", "later")
            shown = [
                "—"
                if np.isnan(row[name])
                else "{:.1f} [{:.1f}, {:.1f}]".format(
                    *(100 * row[name + end] for end in ("", "_low", "_high"))
                )
                for name in names
            ]
            guessed, sgd = (f"{100 * row[name]:.1f}" for name in ("said_guessed", "said_sgd"))
            assert f"| {' | '.join([guessed, *shown[:2], sgd, *shown[2:]])} |" in page


@pytest.mark.parametrize("name", ["posterior_cpu", "posterior_cpu_classes10"])
def test_the_learning_curves_of_the_posterior_page_are_those_of_the_records(name):
    """A line an |S|: six estimates with intervals, log P(S) an example, the bound."""
    page = (ROOT / "docs" / "posterior.md").read_text()
    for row in size_table(load_records(ROOT / "results" / name)).to_dict("records"):
        scales = dict.fromkeys(("random", "vote", "sgd", "adam", "gd"), 100) | {"gap": 1}
        shown = [
            "{:.1f} [{:.1f}, {:.1f}]".format(
                *(scale * row[name + end] for end in ("", "_low", "_high"))
            )
            for name, scale in scales.items()
        ]
        ends = [f"{row['log_volume']:.2f}", f"{100 * row['bound']:.0f}"]
        assert f"| {' | '.join([format(row['size'], ','), *shown, *ends])} |" in page


CLAIMS = {
    "SGD's network is better than a random one that fits S": "is better than a random network",
    "SGD's network equals the vote of random ones, to 2 points": "equals the vote",
    r"the gap narrows with \|S\|, a doubling": "gap narrows, a doubling of |S|",
    "the gap narrows with the width, a doubling": "gap narrows, a doubling of the width",
    "the gap narrows with the depth, a layer": "gap narrows, a layer more",
    "SGD's network is better than guessed ones of its margin": "is better than guessed",
    "guessed networks gain, a doubling of the margin": "guessed networks gain",
}


@pytest.mark.parametrize(
    ("folder", "section", "column", "claims"),
    [
        ("posterior_cpu", "What was found", 0, 7),
        ("posterior_cpu_classes10", "Ten classes", 0, 5),
        ("posterior_peleg_hein", "Published results", 0, 6),
        ("posterior_peleg_hein_3_5", "Published results", 1, 6),
    ],
)
def test_the_claims_of_the_posterior_page_are_those_of_the_records(folder, section, column, claims):
    """Each cell "+4.4 [+1.8, +7.0]: holds" of the claims, by digits and claim."""
    page = (ROOT / "docs" / "posterior.md").read_text().replace(r", \|S\| = 8 |", " |")
    (part,) = [part for part in page.split("\n## ") if part.startswith(section)]
    cells = [re.split(r"(?<!\\)\|", line) for line in part.splitlines() if line.startswith("| ")]
    rows = {line[1].strip(): [cell.strip() for cell in line[2:-1]] for line in cells}
    table, checked = claim_table(load_records(ROOT / "results" / folder)), 0
    for words, start in CLAIMS.items():
        for claim in table[table["name"].str.startswith(start)].to_dict("records"):
            cell, checked = rows[words][column], checked + 1
            if np.isnan(claim["estimate"]):
                assert cell == "no guesses"
                continue
            numbers = "{estimate:+.1f} [{low:+.1f}, {high:+.1f}]".format(**claim)
            assert cell.startswith(numbers)
            assert claim["verdict"].startswith(cell.rpartition(": ")[2])
    assert checked == len(table) == claims
