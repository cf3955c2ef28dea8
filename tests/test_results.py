"""The committed records: each row is named by what determines it, and says where it comes from."""

import html
import importlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from configs import reproduce
from flatvol_jax.paper.finished import is_finished
from flatvol_jax.paper.pictures import ORDER
from flatvol_jax.runtime.hashing import content_hash
from flatvol_jax.study import load_records
from flatvol_jax.study.analysis.verdicts import rules_hash
from flatvol_jax.study.boolean.summary import complement_test, constants_share
from flatvol_jax.study.engine.record_files import read_rows, record_files

ROOT = Path(__file__).parents[1]
BOOLEAN = ROOT / "results" / "boolean"
TEMPORAL = sorted((ROOT / "results").glob("temporal_*"))
FOLDERS = sorted(path.parent for path in (ROOT / "results").glob("**/records.jsonl*"))
SWEEPS = [folder for folder in FOLDERS if folder not in (BOOLEAN, *TEMPORAL)]


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


@pytest.mark.parametrize("job", reproduce.jobs("cpu"), ids=lambda job: job.folder)
def test_the_page_of_the_cpu_scale_has_nothing_left_to_run(job):
    module = importlib.import_module(f"configs.{job.config}")
    config = module.get_config(*filter(None, [job.variant])).to_dict()
    assert is_finished(config, ROOT / "results" / job.folder)


def test_the_report_and_the_pictures_are_there():
    report = (ROOT / "results" / "report.html").read_text()
    assert rules_hash() in report
    for name in ORDER:
        assert f'id="figure-{name}"' in report
        assert list((ROOT / "results" / "figures").glob(f"figure_{name}*.png"))
    claims = pd.read_csv(ROOT / "results" / "claims.csv")
    for verdict in {*claims["paper_verdict"], *claims["within_verdict"].dropna()}:
        assert html.escape(verdict) in report


def test_the_boolean_sample_is_whole():
    config = json.loads((BOOLEAN / "config.json").read_text())["config"]
    samples, kept = (config["sampling"][name] for name in ("samples", "functions"))
    frame = load_records(BOOLEAN)
    frequencies = frame[frame["meta.part"] == "frequency"]
    assert (frequencies["frequency.count"] * frequencies["frequency.functions"]).sum() == samples
    functions = frame[frame["meta.part"] == "function"].drop_duplicates("function.id")
    assert len(functions) == kept
    most = frequencies.sort_values("frequency.count", ascending=False)
    counts = most["frequency.count"].repeat(most["frequency.functions"].astype(int)).head(kept)
    assert sorted(functions["measure.count"], reverse=True) == counts.tolist()
    share, error = constants_share(functions, samples)
    assert abs(share - 0.17) < 0.005
    assert error < 1e-4
    square, pairs = complement_test(functions, 2 ** config["hp"]["bits"])
    assert pairs > kept / 3
    assert scipy.stats.chi2.sf(square, pairs) > 1e-4


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
