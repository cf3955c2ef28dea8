"""MNIST, FCN 784-40-40-1, with the Hessian: figure S3.

python -m experiments.attack_sweep --config=configs/mnist_fcn_hessian.py            SGD
python -m experiments.attack_sweep --config=configs/mnist_fcn_hessian.py:adam       Adam
python -m experiments.attack_sweep --config=configs/mnist_fcn_hessian.py:cpu,adam   for a verdict
python -m experiments.attack_sweep --config=configs/mnist_fcn_hessian.py:smoke

The first networks of each draw and |A| of configs/mnist_fcn.py, so many as docs/design.md says are
enough, with sharpness and the Hessian's spectrum; log V stands in the records of that sweep.
"""

from ml_collections import ConfigDict

from configs import mnist_fcn
from configs.base import words

SCALES = ("paper", "cpu", "smoke")


def get_config(variant: str = "paper") -> ConfigDict:
    """Return the sweep of configs/mnist_fcn.py with the measures of the minimum alone."""
    scale, optimizer = words(variant, SCALES)
    config = mnist_fcn.get_config(f"{scale},{optimizer}")
    config.name = config.name.replace("mnist_fcn", "mnist_fcn_hessian")
    config.experiment = "mnist_fcn_hessian"
    for name in config.measures:
        config.measures[name].on = name in ("sharpness", "hessian")
    if scale == "cpu":
        config.sweep.samples = 3
    return config
