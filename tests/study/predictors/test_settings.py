"""The config of the predictors experiment: its settings, and what it refuses."""

import itertools

import pytest

from configs.predictors import SCALES, get_config, setting
from flatvol_jax.study.predictors.run import plan_networks
from flatvol_jax.study.predictors.settings import FACTORS, MOST_SHAPES, predictors_config

SGD = get_config("smoke").to_dict()["predictors"]["optimizers"]["sgd"]


@pytest.mark.parametrize("scale", SCALES)
def test_every_level_of_a_hyperparameter_varies_alone_about_each_center(scale):
    config = predictors_config(get_config(scale).to_dict())
    found = config.predictors.settings
    assert len(set(found)) == len(found)
    assert len({own.shape for own in found}) <= MOST_SHAPES
    for center in config.predictors.centers.values():
        for factor, levels in config.predictors.levels.items():
            others = [name for name in FACTORS if name != factor]
            line = {
                getattr(own, factor)
                for own in found
                if all(getattr(own, name) == getattr(center, name) for name in others)
            }
            assert line == set(levels)


def test_the_plan_names_each_network_and_keeps_shapes_together():
    config = predictors_config(get_config("cpu").to_dict())
    networks = plan_networks(config)
    assert len(networks) == 10 * len(config.predictors.settings) == 480
    assert len({network.runs[0].run_id for network in networks}) == 480
    assert {tuple(run.overtrain for run in network.runs) for network in networks} == {(0, 200)}
    places = [(network.runs[0].draw, network.setting.shape) for network in networks]
    changes = sum(one != other for one, other in itertools.pairwise(places))
    assert changes + 1 == len(set(places))  # no shape begins twice


def test_a_setting_says_network_and_training():
    config = predictors_config(get_config("cpu").to_dict())
    small = config.predictors.centers["small"]
    assert config.spec(small).width == (10,)
    assert (config.spec(small).sigma_w, config.spec(small).sigma_b) == (2.0, 0.1)
    train = config.train(config.predictors.centers["adam"])
    assert (train.optimizer, train.batch_size) == ("adam", 8)
    assert train.learning_rate == pytest.approx(0.3e-3)
    assert config.study_of(small).hp.train.optimizer == "momentum"


def many_shapes():
    widths = range(10, 40)
    centers = {str(w): setting(w, 2, 2**0.5, 1.0, 60, "sgd", 1.0, 32) for w in widths}
    return {"levels.width": tuple(widths), "centers": centers}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"levels.width": (10, 10)}, "predictors.levels.width: got"),
        ({"levels.width": (10, 0)}, "predictors.levels.width: got 0"),
        ({"levels.depth": ()}, "predictors.levels.depth: got"),
        ({"levels.train_size": (60, 61)}, "at most hp.data.train_size = 60"),
        ({"levels.momentum": (0.9,)}, "momentum"),
        ({"levels.optimizer": ("sgd", "adagrad")}, "predictors.levels.optimizer: got 'adagrad'"),
        ({"centers": {}}, "predictors.centers: got none"),
        ({"centers.base.width": 80}, "predictors.centers.base.width: got 80"),
        ({"centers.base.sigma_w": -1.0}, "predictors.centers.base.sigma_w"),
        ({"optimizers.adam": SGD}, "predictors.optimizers.adam: got the optimizer"),
        (many_shapes(), "wanted at most 24"),
    ],
)
def test_an_entry_that_does_not_fit_is_named(changes, said):
    config = get_config("smoke").to_dict()
    for entry, value in changes.items():
        *groups, name = entry.split(".")
        place = config["predictors"]
        for group in groups:
            place = place[group]
        place[name] = value
    with pytest.raises(ValueError, match=said):
        predictors_config(config)


@pytest.mark.parametrize(
    ("group", "name", "value", "said"),
    [
        ("sweep", "attack_sizes", (0, 5), "S is clean"),
        ("data", "second_test_size", None, "hp.data.second_test_size: got None"),
        ("model", "name", "cnn", "hp.model"),
    ],
)
def test_a_study_of_another_kind_is_refused(group, name, value, said):
    config = get_config("smoke").to_dict()
    (config if group == "sweep" else config["hp"])[group][name] = value
    with pytest.raises(ValueError, match=said):
        predictors_config(config)


def test_other_variants_are_refused():
    with pytest.raises(ValueError, match="variant: got 'huge'"):
        get_config("huge")
