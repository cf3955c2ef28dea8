"""A hundred networks of one S that differ by their seed: which measure says the better one?

python -m experiments.equal_networks --config=configs/equal_networks.py                 all measures
python -m experiments.equal_networks --config=configs/equal_networks.py:cpu             ten draws
python -m experiments.equal_networks --config=configs/equal_networks.py:cpu,classes10
python -m experiments.equal_networks --config=configs/equal_networks.py:smoke           no download
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from configs.base import sweep_config

SCALES = ("paper", "cpu", "smoke")
WORD, CLASSES = "classes10", 10


def get_config(variant: str = "paper") -> ConfigDict:
    """Data, network, draws and seeds, confounders, measures."""
    words = [word for word in variant.split(",") if word]
    scales = [word for word in words if word != WORD] or ["paper"]
    if len(scales) > 1 or scales[0] not in SCALES or words.count(WORD) > 1:
        raise ValueError(
            f"variant: got {variant!r}, wanted one of {', '.join(SCALES)}, and after a comma "
            f"{WORD}."
        )
    scale, ten_classes = scales[0], WORD in words
    config = sweep_config("equal_networks", scale, "sgd")
    config.name = "_".join(["equal_networks", scale, *([WORD] if ten_classes else [])])
    config.hp.data = {
        "name": "mnist",
        "leave_out": "mnist5k",
        "groups": "mnist_halves",
        "preprocessing": "unit",
        "draws": "disjoint",
        "train_size": 500,
        "attack_pool_size": 0,
        "attack_nested": True,
        "test_size": 1000,
        "second_test_size": placeholder(int),  # the whole test split
    }
    config.hp.model = {"name": "fcn", "width": (40, 40), "sigma_w": 2**0.5, "sigma_b": 1.0}
    # What they are is said by `confounders`: every batch size with every rate is a cell.
    config.hp.train.update(learning_rate=placeholder(float), batch_size=placeholder(int))
    config.confounders = {"batch_size": (32, 128), "learning_rate": (0.01, 0.04)}
    # `samples`: networks of each draw, a seed each; seed i belongs to cell i modulo their number.
    config.sweep = {"seed": 2027, "draws": 27, "attack_sizes": (0,), "samples": 100}
    for name in ("scale_invariant", "basin_volume", "learning_coefficient"):
        config.measures[name].on = True
    if ten_classes:
        config.hp.data.groups = "all"
        config.hp.model.outputs = CLASSES
        config.measures.log_volume.estimator = "ep_corrected"
    if scale == "cpu":
        config.sweep.draws = 10
        config.measures.log_volume.estimator = "ep_corrected" if ten_classes else "ep"
        config.measures.sgd_sharpness.on = False
        config.measures.scale_invariant.on = False
        # What takes seconds a network is measured on the first so many seeds of each draw.
        config.measures.log_volume_null.networks = 40
        config.measures.hessian.networks = 40
        config.measures.basin_volume.update(networks=20, directions=16)
        config.measures.learning_coefficient.update(networks=60, chains=4, batch_size=64)
        config.measures.learning_coefficient.update(steps=400, burn_in=200, thin=5)
    if scale == "smoke":
        config.hp.data.update(name="mnist5k", leave_out=None, train_size=100, test_size=100)
        config.hp.data.second_test_size = 1000
        config.confounders.batch_size = (32, 64)
        config.sweep.update(draws=2, samples=12)
        config.measures.sgd_sharpness.on = False
        config.measures.hessian.k = 10
        config.measures.learning_coefficient.update(batch_size=50, steps=500)
    return config
