"""CIFAR-10, cars against cats, FCN 3072-40-40-1: figures 3 (b), (e), 4 (c), (f) and S6.

python -m experiments.attack_sweep --config=configs/cifar_fcn.py            SGD
python -m experiments.attack_sweep --config=configs/cifar_fcn.py:adam       Adam
python -m experiments.attack_sweep --config=configs/cifar_fcn.py:cpu,adam   15 networks
python -m experiments.attack_sweep --config=configs/cifar_fcn.py:smoke

Needs CIFAR-10 (TFDS, --data_dir or TFDS_DATA_DIR). |S| = 5,000, |E| = 2,000 and a pool of 5,000 use
all images of the two classes, so E2 is empty and the error is that on E1, which f has seen. SGD's
learning rate is 0.001: at the 0.01 of the MNIST sweeps these networks stay at the loss ln 2.
"""

from ml_collections import ConfigDict

from configs.base import sweep_config, words

SCALES = ("paper", "cpu", "smoke")


def get_config(variant: str = "paper") -> ConfigDict:
    """The configuration; `hp` determines each network, `sweep` says which networks."""
    scale, optimizer = words(variant, SCALES)
    config = sweep_config("cifar_fcn", scale, optimizer)
    config.hp.data = {
        "name": "cifar10",
        "groups": "cars_cats",
        "preprocessing": "standardise",
        "train_size": 5000,
        "attack_pool_size": 5000,
        "attack_nested": True,
        "test_size": 2000,
        "second_test_size": 0,
    }
    if optimizer == "sgd":
        config.hp.train.learning_rate = 1e-3
    config.hp.model = {"name": "fcn", "width": (40, 40), "sigma_w": 2**0.5, "sigma_b": 1.0}
    config.sweep = {
        "seed": 0,
        "draws": 1,
        "attack_sizes": tuple(range(0, 5001, 500)),
        "samples": 5,
        "overtrain": (),
    }
    # Table 1 of the paper, third line.
    config.measures.sharpness.epsilon = 1e-5
    config.measures.sgd_sharpness.update(epsilon=1e-5, batch_size=128, learning_rate=5e-5)
    config.measures.hessian.on = False
    config.measures.log_volume_null.on = False
    if scale == "cpu":
        config.note = "Reduced from the paper's 55 networks to 15; sizes are the paper's."
        config.sweep.update(attack_sizes=tuple(range(0, 5001, 1250)), samples=3)
        config.measures.sgd_sharpness.on = False
        config.measures.log_volume.update(estimator="ep", links=("heaviside",))
    if scale == "smoke":
        config.hp.data.update(train_size=200, attack_pool_size=200, test_size=200)
        config.sweep.update(draws=2, attack_sizes=(0, 200), samples=2)
    return config
