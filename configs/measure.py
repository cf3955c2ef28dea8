"""One network that was trained elsewhere, measured as a sweep's: experiments/measure.py.

python -m experiments.measure --checkpoint=DIR                        an FCN 784-40-40-1 on MNIST
python -m experiments.measure --checkpoint=weights.npz --config.hp.model.width="(100, 100)"
python -m experiments.measure --checkpoint=DIR --config=configs/measure.py:resnet
python -m experiments.measure --checkpoint=DIR --config=configs/measure.py:flax \\
    --config.hp.model.module=my_package.nets:Net --data=mine.npz

Variants: fcn, cnn, resnet, flax (a module of yours; `features` names the layer that its readout
multiplies). Without --data S, E1 and E2 are those of the sweeps' draw `sweep.seed`, sizes in
`hp.data`. Kernel of resnet and flax: Monte Carlo, `kernel.samples` networks.
"""

from ml_collections import ConfigDict

from configs import mnist_fcn

VARIANTS = ("fcn", "cnn", "resnet", "flax", "smoke")


def get_config(variant: str = "fcn") -> ConfigDict:
    """The network's form, the data it was trained on, the measures."""
    if variant not in VARIANTS:
        raise ValueError(f"variant: got {variant!r}, wanted one of {', '.join(VARIANTS)}.")
    config = mnist_fcn.get_config("smoke" if variant == "smoke" else "paper")
    config.name = f"measure_{variant}"
    config.experiment = "measure"
    config.scale = variant
    mnist_fcn.take_embedded_digits(config)
    config.sweep.update(draws=1, attack_sizes=(0,), samples=1)
    sigmas = {"sigma_w": 2**0.5, "sigma_b": 1.0}
    if variant == "cnn":
        shape = {"channels": (32, 32), "image_shape": (28, 28), "pooling": "none"}
        config.hp.model = {"name": "cnn", **shape, **sigmas}
    if variant == "resnet":
        config.hp.model = {"name": "resnet", "depth": 18, "stem": "cifar", "width": 64, **sigmas}
    if variant == "flax":
        module = {"module": "my_package.nets:Net", "arguments": {}, "features": "last_hidden"}
        config.hp.model = {"name": "flax", **module, "sigma_w": 1.0, "sigma_b": 0.0}
    if variant in ("resnet", "flax"):
        config.kernel = {"method": "monte_carlo", "samples": 200, "groups": 4}
    return config
