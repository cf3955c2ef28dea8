"""MNIST, |S| = 10,000, FCN 784-40-40-1: figure S18.

python -m experiments.attack_sweep --config=configs/mnist_fcn_10k.py            SGD
python -m experiments.attack_sweep --config=configs/mnist_fcn_10k.py:adam       Adam
python -m experiments.attack_sweep --config=configs/mnist_fcn_10k.py:cpu,adam   twelve networks
python -m experiments.attack_sweep --config=configs/mnist_fcn_10k.py:smoke      no download

Needs all 70,000 digits (TFDS, --data_dir or TFDS_DATA_DIR). n = 11,000: EP holds up to 5.3 GB.
"""

from ml_collections import ConfigDict

from configs import mnist_fcn
from configs.base import words

SCALES = ("paper", "cpu", "smoke")


def get_config(variant: str = "paper") -> ConfigDict:
    """Return the sweep of configs/mnist_fcn.py with twenty times the training set."""
    scale, optimizer = words(variant, SCALES)
    config = mnist_fcn.get_config(f"{scale},{optimizer}")
    config.name = config.name.replace("mnist_fcn", "mnist_fcn_10k")
    config.experiment = "mnist_fcn_10k"
    if scale == "smoke":
        return config
    config.hp.data.update(name="mnist", train_size=10_000, attack_pool_size=9_000)
    config.sweep.update(draws=1, attack_sizes=tuple(range(1000, 9001, 1000)), samples=5)
    config.measures.hessian.on = False
    config.measures.log_volume_null.on = False
    if scale == "cpu":
        config.note = "Reduced from the paper's 45 networks to twelve; sizes are the paper's."
        config.sweep.update(draws=2, attack_sizes=(1000, 5000, 9000), samples=2)
        config.measures.sgd_sharpness.on = False
        config.measures.log_volume.update(estimator="ep", links=("heaviside",))
    return config
