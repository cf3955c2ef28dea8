"""Which measures move while the function stays: the symmetry audit of one network.

python -m experiments.symmetry_audit --config=configs/symmetry_audit.py
python -m experiments.symmetry_audit --config=configs/symmetry_audit.py:smoke

The network is a run of configs/mnist_fcn.py, or one of yours (--npz). Cost on two cores: some ten
minutes, smoke two.
Expected: log V, adaptive sharpness, normalised sharpness and the Fisher-Rao norm stay under
rescaling of layers and of single units; relative flatness and ‖W‖² tr H under that of layers;
sharpness and every plain Hessian measure move by orders of magnitude.
"""

from ml_collections import ConfigDict

from configs import mnist_fcn

VARIANTS = ("paper", "smoke")


def get_config(variant: str = "paper") -> ConfigDict:
    """One run of the sweep, the transforms, the measures."""
    if variant not in VARIANTS:
        raise ValueError(f"variant: got {variant!r}, wanted one of {', '.join(VARIANTS)}.")
    config = mnist_fcn.get_config(variant)
    config.name = f"symmetry_audit_{variant}"
    mnist_fcn.take_embedded_digits(config)
    config.sweep.update(draws=1, attack_sizes=(0,), samples=1)
    config.ensemble = 1
    config.audit = {
        "symmetries": ("layer", "unit", "permutation"),
        # 5.9 is the paper's; the public code scales by its inverse.
        "alphas": (1 / 16, 1 / 5.9, 1 / 4, 1 / 2, 2.0, 4.0, 5.9, 16.0),
    }
    config.measures.log_volume.update(estimator="ep")
    config.measures.log_volume_null.on = False
    config.measures.scale_invariant.on = True
    if variant == "smoke":
        config.audit.alphas = (1 / 4, 4.0)
    return config
