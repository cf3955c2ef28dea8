"""A workdir belongs to one `hp`; sweeps may grow and measures be added."""

import copy
import errno
import json
import os

import pytest

from configs.mnist_fcn import get_config
from flatvol_jax.runtime import files
from flatvol_jax.study.engine.workdir import environment, open_workdir


@pytest.fixture
def config():
    return get_config("smoke").to_dict()


def opened(*args):
    with open_workdir(*args) as workdir:
        return workdir


def stored(workdir):
    return json.loads((workdir / "config.json").read_text())


def test_a_new_folder_gets_config_and_environment(config, tmp_path):
    workdir = opened(tmp_path / "a" / "b", config)
    content = stored(workdir)
    assert content.keys() == {"config", "environment"}
    assert content["config"]["hp"]["model"]["width"] == [40, 40]
    assert content["config"]["sweep"]["attack_sizes"] == [0, 100]
    assert {path.name for path in workdir.iterdir()} == {"config.json", ".lock"}


def test_the_same_config_opens_it_again(config, tmp_path):
    opened(tmp_path, config)
    first = stored(tmp_path)
    assert opened(tmp_path, copy.deepcopy(config)) == tmp_path
    assert stored(tmp_path) == first


def test_what_adds_runs_or_measures_may_differ_and_is_written(config, tmp_path):
    opened(tmp_path, config)
    config["sweep"].update(draws=7, samples=9, attack_sizes=(0, 50))
    config["measures"]["hessian"] = {"on": True, "k": 3}
    config["measures"]["sharpness"]["on"] = False
    config.update(ensemble=2, scale="cpu")
    opened(tmp_path, config)
    kept = stored(tmp_path)["config"]
    assert kept["sweep"]["draws"] == 7
    assert kept["measures"]["hessian"] == {"on": True, "k": 3}


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        ("data", "train_size", 99),
        ("data", "second_test_size", 50),
        ("model", "width", (40,)),
        ("train", "learning_rate", 0.02),
        ("train", "optimizer", "adam"),
    ],
)
def test_other_hp_is_refused_with_the_key_and_both_values(config, tmp_path, section, name, value):
    opened(tmp_path, config)
    before = (tmp_path / "config.json").read_bytes()
    there = config["hp"][section][name]
    config["hp"][section][name] = value
    with pytest.raises(ValueError, match="--workdir") as caught:
        opened(tmp_path, config)

    def text(v):
        return str(list(v) if isinstance(v, tuple) else v)

    assert f"{section}.{name}: there {text(there)}, asked {text(value)}" in str(caught.value)
    assert str(caught.value).count("there ") == 1  # the other keys are not named
    assert (tmp_path / "config.json").read_bytes() == before


def test_keys_that_one_side_lacks_and_another_seed_are_named(config, tmp_path):
    opened(tmp_path, config)
    new = copy.deepcopy(config)
    new["hp"]["train"]["momentum"] = 0.9
    with pytest.raises(ValueError, match=r"train\.momentum: there absent, asked 0\.9"):
        opened(tmp_path, new)
    less = copy.deepcopy(config)
    del less["hp"]["train"]["loss"]
    with pytest.raises(ValueError, match=r"train\.loss: there mean, asked absent"):
        opened(tmp_path, less)
    config["sweep"]["seed"] = 5
    with pytest.raises(ValueError, match="seed: there 2026, asked 5"):
        opened(tmp_path, config)


def test_a_file_in_place_of_the_folder_is_an_error(config, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match=r"cannot be used as a folder.*--workdir"):
        opened(tmp_path / "file", config)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_that_cannot_be_made_is_an_error(config, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"file/below.*--workdir"):
        opened(tmp_path / "file" / "below", config)


def test_a_full_disk_is_named_once(config, tmp_path, monkeypatch):
    def refuse(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(files.StorageError, match=r"config\.json: not written, no space is left"):
        opened(tmp_path, config)


def test_opening_removes_what_a_killed_process_left_half_written_long_ago(config, tmp_path):
    old = tmp_path / "units" / "train" / ".a.json.17.part"
    files.write_bytes(old, b"half")
    os.utime(old, (0, 0))
    opened(tmp_path, config)
    assert not old.exists()


def test_a_folder_that_cannot_be_written_is_an_error(config, tmp_path, monkeypatch):
    def refuse(path, data):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("flatvol_jax.runtime.files.write_json", refuse)
    with pytest.raises(ValueError, match=r"cannot be written.*Permission denied.*--workdir"):
        opened(tmp_path, config)


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"config": {"hp"',
        '{"name": "x"}',
        "[]",
        "null",
        '{"config": 3}',
        '{"config": {}}',
        '{"config": null}',
    ],
)
def test_a_foreign_config_json_is_an_error_and_stays(config, tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=r"config\.json.*--workdir"):
        opened(tmp_path, config)
    assert (tmp_path / "config.json").read_text() == text


def test_the_environment_names_what_ran(monkeypatch):
    found = environment()
    assert found["versions"]["jax"].count(".") == 2
    assert {"commit", "python", "machine", "versions"} == found.keys()
    monkeypatch.setattr("flatvol_jax.study.engine.workdir._PACKAGES", ("no-such-package",))
    assert environment()["versions"] == {"no-such-package": None}
