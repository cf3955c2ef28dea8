"""What a report says of a config that departs from the paper's protocol."""

import pytest

from configs import cifar_fcn, mnist_fcn, sensitivity
from flatvol_jax.study.sweep.protocol import departures, protocol_note
from flatvol_jax.training import OPTIMIZERS


@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
@pytest.mark.parametrize("scale", ["paper", "cpu", "small"])
def test_the_configs_follow_the_protocol(optimizer, scale):
    assert departures(mnist_fcn.get_config(f"{scale},{optimizer}").to_dict()) == []
    assert protocol_note(cifar_fcn.get_config("cpu").to_dict()) == ""


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"loss": "sum"}, ["its sum, not its mean", "the rate of the mean one, 0.01"]),
        ({"loss": "sum", "learning_rate": 3e-4}, ["its sum, not its mean", "is 0.0003, not 0.01"]),
        ({"stop": "train_and_attack"}, ["without error on S and A, not on S"]),
        ({"order": "fixed"}, ["order of examples is fixed, not shuffled"]),
        ({"learning_rate": 0.1}, ["the learning rate of sgd is 0.1, not 0.01"]),
    ],
)
def test_every_departure_is_named(changes, words):
    config = mnist_fcn.get_config("cpu").to_dict()
    config["hp"]["train"].update(changes)
    found = departures(config)
    assert len(found) == len(words)
    for phrase, word in zip(found, words, strict=True):
        assert word in phrase
    assert protocol_note(config).startswith("Not the paper's protocol: ")


def test_an_older_config_is_seen_to_stop_on_both_sets_and_to_share_examples():
    config = sensitivity.get_config("protocol").to_dict()
    del config["hp"]["train"]["stop"], config["hp"]["data"]["draws"]
    both, shared = departures(config)
    assert "S and A" in both
    assert "10 draws may share examples" in shared
