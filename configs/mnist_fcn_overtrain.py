"""MNIST, FCN 784-40-40-1, measured again after zero error: figures S10 to S15.

python -m experiments.attack_sweep --config=configs/mnist_fcn_overtrain.py            SGD
python -m experiments.attack_sweep --config=configs/mnist_fcn_overtrain.py:adam       Adam
python -m experiments.attack_sweep --config=configs/mnist_fcn_overtrain.py:cpu,adam   for a verdict
python -m experiments.attack_sweep --config=configs/mnist_fcn_overtrain.py:smoke

A row of the records for each network and epoch: `overtrain` is 0 at zero error, then 100 to 500.
`measure.function.changed` counts the labels of f that changed since zero error.
"""

from ml_collections import ConfigDict

from configs import mnist_fcn
from configs.base import words

SCALES = ("paper", "cpu", "smoke")


def get_config(variant: str = "paper") -> ConfigDict:
    """Return the sweep of configs/mnist_fcn.py with epochs beyond zero error."""
    scale, optimizer = words(variant, SCALES)
    config = mnist_fcn.get_config(f"{scale},{optimizer}")
    config.name = config.name.replace("mnist_fcn", "mnist_fcn_overtrain")
    config.experiment = "mnist_fcn_overtrain"
    config.sweep.overtrain = (100, 200, 300, 400, 500)
    config.measures.log_volume.update(links=("heaviside",), estimator="ep")
    config.measures.hessian.on = True
    for name in ("log_volume_null", "sgd_sharpness"):
        config.measures[name].on = False
    if scale == "cpu":
        config.sweep.update(attack_sizes=(0, 250, 500), samples=4, overtrain=(100, 500))
    if scale == "smoke":
        config.sweep.overtrain = (5, 10)
    return config
