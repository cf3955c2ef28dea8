"""Boolean functions of seven inputs, FCN 7-40-40-1: figures 2, S1, S2, and is SGD Bayesian?

python -m experiments.boolean --config=configs/boolean.py            10^6 samples
python -m experiments.boolean --config=configs/boolean.py:paper      10^8 samples, 1000 functions
python -m experiments.boolean --config=configs/boolean.py:smoke

Protocol where the paper is terse. The functions are the most frequent ones of the direct sample.
For each, networks are trained with SGD (0.01 on the mean loss, batch 32) on all 2^n inputs until
they make no error, from the same initialisations for every function, and measured there and some
epochs later (`minima.overtrain`): a constant function is fitted at once, at a loss that is still
large, so that its place depends on that.
"""

from ml_collections import ConfigDict

from configs.base import training

SCALES = ("default", "paper", "smoke")


def get_config(variant: str = "default") -> ConfigDict:
    """Samples, functions, minima and targets of one scale."""
    if variant not in SCALES:
        raise ValueError(f"variant: got {variant!r}, wanted one of {', '.join(SCALES)}.")
    config = ConfigDict()
    config.name = "boolean" if variant == "default" else f"boolean_{variant}"
    config.experiment = "boolean"
    config.scale = variant
    config.note = ""
    config.hp = {
        "bits": 7,
        "encoding": "01",  # or "signs", inputs in ±1
        "model": {"name": "fcn", "width": (40, 40), "sigma_w": 1.0, "sigma_b": 0.1},
    }
    config.sweep = {"seed": 0}
    config.sampling = {
        "samples": 10**6,
        "chunk_size": 2**16,  # of one device; determines the samples
        "readouts": 1,  # functions that share the hidden layers of a network
        "functions": 100,  # the most frequent ones go into the records
    }
    # Networks of other widths, the Gaussian process for None: width, samples.
    config.widths = {
        "functions": 100,
        "samples": ((10, 10**6), (100, 2 * 10**5), (None, 10**6)),
    }
    config.minima = {
        "functions": 40,
        "networks": 3,
        "overtrain": (0, 30, 300),
        "train": training("sgd"),
        "measures": {
            "sharpness": {"epsilon": 1e-4, "method": "best"},
            # Table 1 of the paper, first line.
            "sgd_sharpness": {
                "epsilon": 1e-4,
                "batch_size": 16,
                "learning_rate": 1e-3,
                "epochs": 10,
                "reading": "full",
                "mode": "evaluation",
                "drop_incomplete": False,
            },
            "hessian": {"k": 1},
        },
    }
    # Seeds trained on a part S of a target's inputs against P_B(f|S); rank_2 is the most frequent
    # function that is not constant.
    optimizers = ("sgd", "adam")
    config.ensemble = 250  # seeds trained as one program; changes no result
    config.posterior = {
        "on": True,
        "targets": ("rank_2",),
        "train_size": 64,
        "optimizers": optimizers,
        "seeds": 1000,
        "functions": 30,
        "least_probability": 1e-5,
        "least_matching": 1000,
        "train": {name: training(name) for name in optimizers},
    }
    # The same on MNIST, |S| = 50: all 2^test_size functions on E have their NNGP volume.
    config.posterior_mnist = {
        "on": False,
        "train_size": 50,
        "test_size": 8,
        "optimizers": optimizers,
        "seeds": 1000,
        "train": {name: training(name) for name in optimizers},
    }
    if variant == "paper":
        config.posterior.update(targets=("rank_2", "rank_25"), seeds=10_000)
        config.posterior.functions = 100
        config.posterior_mnist.update(on=True, test_size=10, seeds=10_000)
        config.sampling.update(samples=10**8, chunk_size=2**20, functions=1000)
        config.widths.functions = 1000
        config.widths.samples = (
            (10, 10**7),
            (20, 10**7),
            (100, 4 * 10**6),
            (300, 4 * 10**5),
            (1000, 4 * 10**4),
            (None, 10**8),
        )
        config.minima.update(functions=1000, networks=5)
    if variant == "smoke":
        config.sampling.update(samples=2 * 10**4, chunk_size=2**13, functions=20)
        config.widths.update(functions=10, samples=((10, 2 * 10**4), (None, 2 * 10**4)))
        config.minima.update(functions=4, networks=2, overtrain=(0, 30))
        config.posterior.update(seeds=100, functions=6, least_matching=50)
        config.posterior_mnist.update(train_size=20, test_size=3, seeds=50)
    return config
