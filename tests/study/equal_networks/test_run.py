"""Two draws of small networks: rows, resuming, growing, shards, the page."""

import html
import shutil

import numpy as np
import pytest

from configs.equal_networks import get_config
from flatvol_jax.runtime.preemption import Stopped
from flatvol_jax.study import load_records
from flatvol_jax.study.engine.shards import Shard
from flatvol_jax.study.engine.store import Store
from flatvol_jax.study.equal_networks import (
    equal_networks_pictures,
    measure_table,
    write_equal_networks_report,
)
from flatvol_jax.study.equal_networks import measures as known
from flatvol_jax.study.equal_networks.plan import plan_cells
from flatvol_jax.study.equal_networks.run import run_equal_networks
from flatvol_jax.study.equal_networks.summary import first_sentence
from flatvol_jax.study.measures import run_units
from flatvol_jax.study.measures.problem import make_problem
from flatvol_jax.study.measures.study_config import study_config
from flatvol_jax.volume import log_volume

LOG_VOLUME = "measure.log_volume.heaviside"


def small(**sweep):
    config = get_config("smoke")
    config.hp.data.update(train_size=20, test_size=20, second_test_size=30)
    config.hp.model.width = (8,)
    config.hp.train.max_epochs = 200
    config.confounders = {"batch_size": (10,), "learning_rate": (0.1, 0.2)}
    config.sweep.update(draws=2, samples=4)
    config.sweep.update(sweep)
    config.ensemble = 1
    for name in config.measures:
        config.measures[name].on = name in ("log_volume", "sharpness", "baselines")
    config.measures.log_volume.update(links=("heaviside",), estimator="ep")
    return config.to_dict()


def numbers(rows):
    return {
        row["run_id"]: {k: v for k, v in row.items() if k[:3] in ("mea", "is.", "hp.")}
        for row in rows
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    workdir, calls = tmp_path_factory.mktemp("whole"), []
    rows = run_equal_networks(small(), workdir, progress=lambda *call: calls.append(call))
    return rows, workdir, calls


def test_every_network_has_a_row_with_what_it_is_to_its_peers(whole):
    rows, workdir, calls = whole
    assert len(rows) == 2 * 4
    assert {row["hp.train.learning_rate"] for row in rows} == {0.1, 0.2}
    assert all(row["is.zero_error"] for row in rows)
    runs = {run.run_id: run for cell in plan_cells(small()) for run in cell.runs}
    labels = {
        row["run_id"]: Store(workdir).arrays(runs[row["run_id"]].training)["output.test"] > 0
        for row in rows
    }
    for row in rows:
        others = [r for r in rows if r["hp.draw"] == row["hp.draw"] and r is not row]
        own = labels[row["run_id"]]
        wanted = np.mean([np.mean(own != labels[other["run_id"]]) for other in others])
        assert row[known.PEER_DISAGREEMENT.name] == pytest.approx(wanted)
    assert (calls[-1][0], calls[-1][1]) == (8 * 4 + 2, 8 * 4 + 2)


def test_log_v_is_log_p_of_s_and_of_e_given_s(whole):
    rows, workdir, _ = whole
    config = {k: v for k, v in small().items() if k != "confounders"}
    for draw in range(2):
        problem = make_problem(study_config(config), draw, workdir / "cache")
        alone = log_volume(problem.kernel[:20, :20], problem.train_y).log_volume
        for row in (row for row in rows if row["hp.draw"] == draw):
            assert row[known.TRAIN_VOLUME] == pytest.approx(float(alone), abs=1e-6)
            total = row[known.TRAIN_VOLUME] + row[known.CONDITIONAL]
            assert row[LOG_VOLUME] == pytest.approx(total, abs=1e-9)
            assert row[known.CONDITIONAL] < 0


def test_seeds_differ_in_all_that_they_fix(whole):
    rows, _, _ = whole
    norms = [row["measure.baseline.parameter_norm"] for row in rows]
    assert len(set(norms)) == len(norms)


def test_the_same_command_trains_and_measures_nothing_again(whole, monkeypatch, tmp_path):
    rows, workdir, _ = whole
    monkeypatch.setattr(run_units, "train_group", lambda *_: pytest.fail("trained again"))
    monkeypatch.setattr(run_units, "measured_columns", lambda *_: pytest.fail("measured again"))
    assert run_equal_networks(small(), workdir) == rows
    for name in ("records.jsonl", "config.json"):
        shutil.copy(workdir / name, tmp_path)
    again = run_equal_networks(small(), tmp_path)  # from the records alone
    assert numbers(again) == numbers(rows)


def test_an_interrupted_run_ends_with_the_same_numbers(whole, tmp_path):
    def stop(done, *_):
        if done >= 20:
            raise Stopped

    with pytest.raises(Stopped):
        run_equal_networks(small(), tmp_path, progress=stop)
    assert 0 < len(load_records(tmp_path)) <= 8
    assert numbers(run_equal_networks(small(), tmp_path)) == numbers(whole[0])


def test_shards_do_whole_draws(whole, tmp_path):
    shutil.copytree(whole[1] / "units", tmp_path / "units")  # nothing is computed here
    for index in range(2):
        rows = run_equal_networks(small(), tmp_path, shard=Shard(index, 2))
        assert {row["hp.draw"] for row in rows} == {index}
    found = load_records(tmp_path)
    assert len(found) == 8
    assert set(found["run_id"]) == numbers(whole[0]).keys()


def test_further_seeds_are_peers_of_those_that_there_are(whole, tmp_path):
    shutil.copytree(whole[1], tmp_path / "grown")
    config = small(samples=6, draws=1)
    rows = run_equal_networks(config, tmp_path / "grown")
    before = {r["run_id"]: r for r in whole[0]}
    kept = [row for row in rows if row["run_id"] in before]
    assert (len(rows), len(kept)) == (6, 4)
    for row in kept:
        assert row[LOG_VOLUME] == before[row["run_id"]][LOG_VOLUME]
    name = known.PEER_DISAGREEMENT.name
    assert [row[name] for row in kept] != [before[row["run_id"]][name] for row in kept]


def test_networks_that_do_not_fit_are_nobodys_peers(whole, tmp_path):
    config = small(draws=1)
    config["hp"]["train"]["max_epochs"] = 3
    rows = run_equal_networks(config, tmp_path)
    failed = [row for row in rows if not row["is.zero_error"]]
    assert failed
    assert all(row[known.PEER_DISAGREEMENT.name] is None for row in failed)
    assert all(row[known.TRAIN_VOLUME] < 0 for row in rows)


def test_the_page_begins_with_the_answer(whole):
    frame = load_records(whole[1])
    context = {"scale": "smoke", "config": small()}
    path = write_equal_networks_report(whole[1], frame, context)
    text = html.unescape(path.read_text())
    assert first_sentence(measure_table(frame, "smoke"), frame) in text
    for heading in ("What is decided", "Bennett (2026)", "By batch size and rate"):
        assert heading in text
    assert [p.name for p in equal_networks_pictures(frame, "smoke")] == ["equal_networks"]
