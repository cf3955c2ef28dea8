"""When the records in a folder are all that a config asks for."""

import json

import numpy as np
import pandas as pd
import pytest

from flatvol_jax.paper.finished import is_finished, networks_so_far
from flatvol_jax.paper.registry import part_of
from flatvol_jax.study.engine.plan import plan_runs
from flatvol_jax.study.engine.store import jsonable


def written(folder, config, rows):
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"config": jsonable(config)}))
    lines = pd.DataFrame(rows).to_json(orient="records", lines=True)
    (folder / "records.jsonl").write_text(lines)
    return folder


def sweep_rows(config):
    on = [name for name, settings in config["measures"].items() if settings["on"]]
    return [
        {
            "run_id": run.run_id,
            "overtrain": run.overtrain,
            "is.zero_error": True,
            **{f"meta.{name}.seconds": 0.1 for name in on},
        }
        for run in plan_runs(config)
    ]


def test_a_sweep_is_finished_with_all_its_networks_and_measures(tiny, tmp_path):
    config = tiny(draws=2, attack_sizes=[0, 20], samples=2)
    rows = sweep_rows(config)
    assert is_finished(config, written(tmp_path / "whole", config, rows))
    assert not is_finished(config, written(tmp_path / "one_missing", config, rows[1:]))
    unmeasured = [{**rows[0], "meta.sharpness.seconds": None}, *rows[1:]]
    assert not is_finished(config, written(tmp_path / "unmeasured", config, unmeasured))
    failed = [{**unmeasured[0], "is.zero_error": False}, *rows[1:]]
    assert is_finished(config, written(tmp_path / "failed", config, failed))


def test_networks_of_a_sweep_under_way_are_counted(tiny, tmp_path):
    config = tiny(draws=2, attack_sizes=[0, 20], samples=2)
    rows = sweep_rows(config)
    folder = written(tmp_path / "part", config, [*rows[:3], {**rows[0], "run_id": "another"}])
    assert networks_so_far(config, folder) == (3, 8)
    assert networks_so_far(config, tmp_path / "nothing") == (0, 0)
    assert networks_so_far({**config, "event": {}}, folder) == (0, 0)


def test_another_config_is_not_finished_by_these_records(tiny, tmp_path):
    config = tiny(draws=2, attack_sizes=[0, 20], samples=2)
    folder = written(tmp_path, config, sweep_rows(config))
    assert not is_finished(tiny(draws=3, attack_sizes=[0, 20], samples=2), folder)
    other = tiny(draws=2, attack_sizes=[0, 20], samples=2)
    other["hp"]["model"]["sigma_w"] = 1.0
    assert not is_finished(other, folder)
    (folder / "records.jsonl").write_text("damaged")
    with pytest.warns(UserWarning, match="not a record"):
        assert not is_finished(config, folder)
    (folder / "config.json").unlink()
    assert not is_finished(config, folder)
    assert not is_finished(config, folder / "nothing")


@pytest.fixture
def temporal_config():
    return pytest.importorskip("configs.temporal").get_config("smoke").to_dict()


def measured(config):
    on = [name for name, settings in config["measures"].items() if settings["on"]]
    return {f"meta.{name}.seconds": 0.1 for name in on}


def temporal_rows(config, end):
    (run,) = part_of("temporal", "plan.temporal_runs")(config)
    common = {"run_id": run.run_id, "measure.epochs.event": 30, "is.diverged": False}
    common |= measured(config)
    return [
        {**common, "transform": name, "epoch": epoch}
        for name in ("none", "layer 1, alpha 4")
        for epoch in (30, end)
    ]


def test_a_temporal_study_is_finished_when_its_branches_are_at_their_end(temporal_config, tmp_path):
    end = 30 + temporal_config["event"]["epochs"]
    rows = temporal_rows(temporal_config, end)
    assert is_finished(temporal_config, written(tmp_path / "a", temporal_config, rows))
    short = temporal_rows(temporal_config, end - 1)
    assert not is_finished(temporal_config, written(tmp_path / "b", temporal_config, short))
    without = [{**row, "meta.sgd_sharpness.seconds": None} for row in rows]
    assert not is_finished(temporal_config, written(tmp_path / "c", temporal_config, without))


def test_a_network_that_never_fits_is_followed_to_its_cap(temporal_config, tmp_path):
    (run,) = part_of("temporal", "plan.temporal_runs")(temporal_config)
    cap = temporal_config["hp"]["train"]["max_epochs"]
    for epoch, finished in ((cap, True), (cap - 1, False)):
        row = {
            "run_id": run.run_id,
            "transform": "none",
            "epoch": epoch,
            "measure.epochs.event": np.nan,
            "is.diverged": False,
            **measured(temporal_config),
        }
        folder = written(tmp_path / str(epoch), temporal_config, [row])
        assert is_finished(temporal_config, folder) == finished


def test_the_boolean_experiment_ends_with_the_posteriors(tmp_path):
    config = pytest.importorskip("configs.boolean").get_config("smoke").to_dict()
    wanted = len(config["posterior"]["targets"]) * len(config["posterior"]["optimizers"])
    parts = ["function"] + ["posterior_summary"] * wanted
    rows = [{"meta.experiment": "boolean", "meta.part": part} for part in parts]
    assert is_finished(config, written(tmp_path / "whole", config, rows))
    assert not is_finished(config, written(tmp_path / "cut", config, rows[:-1]))
