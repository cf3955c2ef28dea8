"""Nine networks of configs/mnist_fcn.py whose ascents of the loss are kept: figure S4.

python -m experiments.attack_sweep --config=configs/mnist_fcn_ascent.py        a minute

Sharpness alone, best found and by the paper's procedure; `units/` has the running maximum of each.
"""

from ml_collections import ConfigDict

from configs import mnist_fcn


def get_config() -> ConfigDict:
    """Return the paper's sizes, three of |A|, three networks each."""
    config = mnist_fcn.get_config()
    config.name = "mnist_fcn_ascent"
    config.scale = "ascent"
    mnist_fcn.take_embedded_digits(config)
    config.sweep.update(attack_sizes=(0, 250, 500), samples=3)
    for name in config.measures:
        config.measures[name].on = name in ("sharpness", "sgd_sharpness")
    return config
