"""The config of a sweep that takes seconds."""

import json

import pytest

from configs.mnist_fcn import get_config


@pytest.fixture(scope="session")
def tiny():
    """(optimizer, sizes of the sweep) -> the config of a few networks on 20 digits, plain data.

    Their log V by EP and their sharpness are measured, and the baselines.
    """

    def config(optimizer="sgd", **sweep):
        config = get_config(f"smoke,{optimizer}")
        config.hp.data.update(train_size=20, attack_pool_size=20, test_size=20, second_test_size=30)
        config.hp.model.width = (8,)
        config.hp.train.max_epochs = 40
        config.sweep.update(sweep)
        config.ensemble = 1
        for name in ("sgd_sharpness", "hessian", "log_volume_null"):
            config.measures[name].on = False
        config.measures.log_volume.update(links=("heaviside",), estimator="ep")
        return json.loads(config.to_json())

    return config
