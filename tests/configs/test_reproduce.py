"""The studies behind the paper's page: each exists, in a folder of its own."""

import importlib

import pytest

from configs import base, measure, reproduce, sensitivity
from flatvol_jax.paper import sensitivity as table
from flatvol_jax.paper.layout import FIGURES
from flatvol_jax.study.analysis import names
from flatvol_jax.study.engine.plan import flatten
from flatvol_jax.training import OPTIMIZERS


def config_of(job):
    module = importlib.import_module(f"configs.{job.config}")
    return module.get_config(*filter(None, [job.variant]))


def temporal_config(variant):
    return pytest.importorskip("configs.temporal").get_config(variant)


@pytest.mark.parametrize("scale", reproduce.SCALES)
def test_every_job_has_a_config_and_a_folder_of_its_own(scale):
    jobs = reproduce.jobs(scale)
    assert len({job.folder for job in jobs}) == len(jobs)
    for job in jobs:
        config = config_of(job)
        assert config.hp
        if job.experiment == "attack_sweep":
            assert config.name == job.folder
            assert config.hp.data.name == (job.data or "mnist5k")


@pytest.mark.parametrize("scale", ["cpu", "paper"])
def test_every_panel_of_the_sweeps_has_its_job(scale):
    folders = {job.folder for job in reproduce.jobs(scale)}
    for layout in FIGURES.values():
        for system in layout.systems:
            suffix = "" if system.optimizer == "sgd" else f"_{system.optimizer}"
            assert f"{system.experiment}_{scale}{suffix}" in folders


def test_an_unknown_scale_is_refused():
    with pytest.raises(ValueError, match="wanted one of smoke, cpu, paper"):
        reproduce.jobs("large")


@pytest.mark.parametrize(
    ("change", "optimizer"),
    [(change, "sgd") for change in sensitivity.CHANGES]
    + [(change, "adam") for change in sensitivity.CHANGES if not change.startswith("rate_")],
)
def test_a_sensitivity_run_changes_what_it_names_and_nothing_else(change, optimizer):
    one, other = (
        dict(flatten(sensitivity.get_config(f"{name},{optimizer}").to_dict()))
        for name in ("protocol", change)
    )
    differ = {name for name in one.keys() | other if one.get(name) != other.get(name)}
    assert differ - {"name", "experiment", "note"} == set(sensitivity.CHANGES[change])
    assert {*sensitivity.CHANGES, "first_protocol"} == set(table.NAMES)
    assert OPTIMIZERS.keys() == names.OPTIMIZERS.keys()  # each has a name for readers


def test_two_changes_at_once_and_unknown_words_are_refused():
    for variant in ("sigma_w_1,depth_3", "sigma_w_7"):
        with pytest.raises(ValueError, match="got"):
            sensitivity.get_config(variant)
    for variant in ("draws,mean,sum", "draws,depth_1,depth_3", "draws,deep"):
        with pytest.raises(ValueError, match="after commas"):
            temporal_config(variant)


@pytest.mark.parametrize("change", [name for name in base.CHANGES if name != "protocol"])
def test_a_temporal_study_takes_the_same_changes(change):
    config = temporal_config(f"draws,mean,{change}")
    entries = dict(flatten(config.to_dict()))
    for name, value in base.CHANGES[change].items():
        assert entries[name] == (list(value) if isinstance(value, tuple) else value)
    assert config.name == f"temporal_draws_mean_{change}"
    assert temporal_config("draws,mean").sweep.draws == 10


@pytest.mark.parametrize("variant", measure.VARIANTS)
def test_a_network_to_measure_is_one_run(variant):
    config = measure.get_config(variant)
    assert (config.sweep.draws, config.sweep.samples) == (1, 1)
    assert list(config.sweep.attack_sizes) == [0]
