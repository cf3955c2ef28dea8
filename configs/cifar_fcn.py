"""CIFAR-10, cars against cats, FCN 3072-40-40-1: figures 3 (b), (e), 4 (c), (f) and S6.

python -m experiments.attack_sweep --config=configs/cifar_fcn.py              SGD
python -m experiments.attack_sweep --config=configs/cifar_fcn.py:adam         Adam
python -m experiments.attack_sweep --config=configs/cifar_fcn.py:single,adam  11 networks of it
python -m experiments.attack_sweep --config=configs/cifar_fcn.py:cpu,adam     ten draws, smaller
python -m experiments.attack_sweep --config=configs/cifar_fcn.py:smoke
python -m experiments.attack_sweep --config=configs/cifar_fcn.py:classes10    ten classes, ten draws

Needs CIFAR-10 (TFDS, --data_dir or TFDS_DATA_DIR). At the paper's size (`paper`, `single`)
|S| = 5,000, |E| = 2,000 and a pool of 5,000 use all images of the two classes, so E2 is empty and
the error is that on E1, which f has seen. `cpu` has ten draws that share no image, and the 2,000
test images as E2.
"""

from ml_collections import ConfigDict

from configs.base import sweep_config
from configs.ten_classes import take_ten_classes, words

SCALES = ("paper", "single", "cpu", "smoke")


def get_config(variant: str = "paper") -> ConfigDict:
    """Return the configuration; `hp` determines each network, `sweep` says which networks."""
    ten_classes, scale, optimizer = words(variant, SCALES)
    config = sweep_config("cifar_fcn", scale, optimizer)
    config.hp.data = {
        "name": "cifar10",
        "groups": "cars_cats",
        "preprocessing": "standardise",
        "draws": "independent",  # "disjoint" where more than one is drawn
        "train_size": 5000,
        "attack_pool_size": 5000,
        "attack_nested": True,
        "test_size": 2000,
        "second_test_size": 0,
    }
    if optimizer != "gd":
        config.hp.train.batch_size = 128
    config.hp.model = {"name": "fcn", "width": (40, 40), "sigma_w": 2**0.5, "sigma_b": 1.0}
    config.sweep = {
        "seed": 2026,
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
    if scale == "single":
        config.note = "Reduced from the paper's 55 networks to 11; sizes are the paper's."
        config.sweep.samples = 1
        config.measures.log_volume.update(estimator="ep", links=("heaviside",))
    if scale in ("cpu", "smoke"):
        config.hp.data.update(draws="disjoint", second_test_size=2000)
        config.hp.data.update(train_size=250, attack_pool_size=250, test_size=500)
        config.sweep.update(draws=10, attack_sizes=(0, 60, 125, 190, 250), samples=8)
        config.measures.log_volume.estimator = "ep"
        config.measures.log_volume_null.on = True
    if scale == "smoke":
        config.hp.data.update(train_size=100, attack_pool_size=100, test_size=100)
        config.sweep.update(draws=2, attack_sizes=(0, 100), samples=2)
    if ten_classes:
        take_ten_classes(config)
    return config
