"""Every config in every scale and optimizer is one that a sweep can start from."""

import dataclasses
import importlib

import pytest

from flatvol_jax.study.engine.plan import plan_runs
from flatvol_jax.study.measures.registry import chosen_measures
from flatvol_jax.study.measures.study_config import kernel_settings, model_spec
from flatvol_jax.training import OPTIMIZERS, TrainSettings

EXPERIMENTS = (
    "mnist_fcn",
    "mnist_fcn_overtrain",
    "mnist_fcn_10k",
    "cifar_fcn",
    "cifar_resnet",
)


def variants(experiment):
    module = importlib.import_module(f"configs.{experiment}")
    return {
        (scale, optimizer): module.get_config(f"{scale},{optimizer}")
        for scale in module.SCALES
        for optimizer in OPTIMIZERS
    }


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_variant_is_complete(experiment):
    names = set()
    for (scale, optimizer), config in variants(experiment).items():
        assert (config.experiment, config.scale) == (experiment, scale)
        assert config.hp.train.optimizer == optimizer
        names.add(config.name)
        config = config.to_dict()
        assert plan_runs(config)
        assert {"log_volume", "sharpness", "baselines"} <= chosen_measures(config).keys()
        model_spec(config["hp"]["model"])
        settings = TrainSettings(**config["hp"]["train"])
        assert (settings.loss, settings.stop) == ("mean", "train")
        assert config["hp"]["train"].keys() == {f.name for f in dataclasses.fields(settings)}
        kernel_settings(config)
    assert len(names) == len(variants(experiment))  # each has a folder of its own


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_optimizers_share_data_network_and_seed(experiment):
    shared = {}
    for (scale, _), config in variants(experiment).items():
        same = (config.hp.data.to_json(), config.hp.model.to_json(), config.sweep.seed)
        assert shared.setdefault(scale, same) == same


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_words_come_in_any_order_and_unknown_ones_are_refused(experiment):
    get_config = importlib.import_module(f"configs.{experiment}").get_config
    assert get_config("adam,smoke").to_json() == get_config("smoke,adam").to_json()
    assert get_config("adam").scale == "paper"
    with pytest.raises(ValueError, match="variant: got 'smoke,adma'.*adam"):
        get_config("smoke,adma")
