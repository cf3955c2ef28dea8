"""A sweep on your own data and your own network: docs/own_data.md.

python -m experiments.attack_sweep --config=configs/own_data.py --config.hp.data.name=mine.npz
python -m experiments.attack_sweep --config=configs/own_data.py:module,adam \\
    --config.hp.data.name=mine.npz --config.hp.model.module=my_package.nets:build

mine.npz has x (n, ...), y (n,) with labels -1 and +1, and, if there is a test set of its own,
is_test (n,). Variants: `fcn`, a fully connected network; `module`, a network of yours of any
framework, whose kernel is estimated from fresh ones; an optimizer beside it. Ten draws, for a
verdict; they may share examples where there are too few.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from configs.base import sweep_config, words

SCALES = ("fcn", "module")


def get_config(variant: str = "fcn") -> ConfigDict:
    """Return the configuration; sizes are those of a data set of 1,000 examples."""
    network, optimizer = words(variant, SCALES)
    config = sweep_config("own_data", network, optimizer)
    config.scale = "cpu"  # ten draws allow a verdict
    config.hp.data = {
        "name": "mine.npz",
        "groups": placeholder(str),  # None: the labels are -1 and +1
        "preprocessing": "none",  # or "unit", "standardise"
        "draws": "independent",  # or "disjoint", where the data are enough
        "train_size": 200,
        "attack_pool_size": 100,
        "attack_nested": True,
        "test_size": 300,
        "second_test_size": placeholder(int),  # all that is left
    }
    config.hp.model = {"name": "fcn", "width": (40, 40), "sigma_w": 2**0.5, "sigma_b": 1.0}
    if network == "module":
        config.hp.model = {
            "name": "own",
            "module": "my_package.nets:build",
            "arguments": {},
            "input_shape": placeholder(tuple),  # where the parameters do not show it
        }
        config.kernel = {"method": "monte_carlo", "samples": 200, "groups": 10}
    config.sweep = {
        "seed": 2026,
        "draws": 10,
        "attack_sizes": (0, 50, 100),
        "samples": 4,
        "overtrain": (),
    }
    config.measures.sgd_sharpness.on = False
    config.measures.hessian.on = False
    config.measures.log_volume.estimator = "ep"
    return config
