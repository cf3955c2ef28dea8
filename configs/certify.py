"""The network whose prior a certificate is about: python -m experiments.certify --npz=...

--config=configs/certify.py --config.model.width="(100, 100, 100)" --config.particles=2048
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def get_config() -> ConfigDict:
    """FCN 784-40-40-1 of the paper's MNIST runs."""
    config = ConfigDict()
    config.model = {"name": "fcn", "width": (40, 40), "sigma_w": 2**0.5, "sigma_b": 1.0}
    config.classes = placeholder(int)  # C: labels 0..C-1 of the largest of C outputs; None: ±1
    config.links = ("heaviside", "probit")
    config.seed = 0
    config.particles = 512  # of one replicate
    config.replicates = 16
    config.jitter = 0.0  # added to the diagonal of K, relative to its mean, and recorded
    return config
