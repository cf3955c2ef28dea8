"""A hundred networks of one S that differ by their seed: which measure says the better one?

python -m experiments.equal_networks --config=configs/equal_networks.py                 all measures
python -m experiments.equal_networks --config=configs/equal_networks.py:cpu             ten draws
python -m experiments.equal_networks --config=configs/equal_networks.py:cpu,classes10
python -m experiments.equal_networks --config=configs/equal_networks.py:smoke           no download

`cpu`, a thousand networks, takes one to two hours of one core; processor seconds of a pilot:
a network 0.7 to train, 0.9 for log V (both links), 0.2 for sharpness; the null 0.8, the Hessian
1.6, the learning coefficient 2.4 and the basin volume 2.3 on the first 20, 40, 52 and 20 of the
100 of a draw; a minute of compilation. Half-widths to expect of the judged correlations
(simulated, docs/equal_networks.md): 0.10 to 0.14, of the learning coefficient 0.12 to 0.17.
`cpu,classes10`, 48 networks a draw, |E1| = 500: 73 minutes, by a pilot, too: 1.7 to train, 4.1 for
log V (EP, one link), the null 9.0 on the first 8, the learning coefficient 2.5 on the first 24.
Expected, binary: errors of 12 to 18% on E2, log V -394 to -366 nats, sharpness 0.1 to 0.5; ten
classes: 14 to 16%, -629 to -621 nats.
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
    # The seed is none of a pilot's.
    config.sweep = {"seed": 2028, "draws": 27, "attack_sizes": (0,), "samples": 100}
    for name in ("scale_invariant", "basin_volume", "learning_coefficient"):
        config.measures[name].on = True
    if scale == "cpu":
        config.sweep.draws = 10
        config.measures.log_volume.estimator = "ep"
        config.measures.sgd_sharpness.on = False
        config.measures.scale_invariant.on = False
        # What takes seconds a network is measured on the first so many seeds of each draw.
        config.measures.log_volume_null.networks = 20
        config.measures.hessian.networks = 40
        config.measures.basin_volume.update(networks=20, directions=16)
        config.measures.learning_coefficient.update(networks=52, chains=4, batch_size=64)
        config.measures.learning_coefficient.update(steps=400, burn_in=200, thin=5)
    if scale == "smoke":
        config.hp.data.update(name="mnist5k", leave_out=None, train_size=100, test_size=100)
        config.hp.data.second_test_size = 1000
        config.confounders.batch_size = (32, 64)
        config.sweep.update(draws=2, samples=12)
        config.measures.sgd_sharpness.on = False
        config.measures.hessian.k = 10
        config.measures.learning_coefficient.update(batch_size=50, steps=500)
    if ten_classes:
        take_ten_classes(config)
    return config


def take_ten_classes(config: ConfigDict) -> None:
    """Give the networks ten outputs; at scale `cpu` fewer of them, and a smaller E1.

    EP of ten classes takes ten times that of two, and grows with the cube of |S| + |E1|.
    """
    config.experiment = f"{config.experiment}_{WORD}"
    config.hp.data.groups = "all"
    config.hp.model.outputs = CLASSES
    if config.scale == "cpu":
        config.hp.data.test_size = 500
        config.sweep.samples = 48
        config.measures.log_volume.links = ("heaviside",)
        config.measures.log_volume_null.networks = 8
        config.measures.learning_coefficient.networks = 24
        config.measures.hessian.on = False
        config.measures.basin_volume.on = False
