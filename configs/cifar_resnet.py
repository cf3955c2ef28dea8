"""CIFAR-10, cars against cats, ResNet-50: figures 3 (c), (f), S6 and S16.

python -m experiments.attack_sweep --config=configs/cifar_resnet.py --cache=runs/cache
python -m experiments.attack_sweep --config=configs/cifar_resnet.py:adam --cache=runs/cache
python -m experiments.attack_sweep --config=configs/cifar_resnet.py:cpu,adam --cache=runs/cache
python -m experiments.attack_sweep --config=configs/cifar_resnet.py:smoke
python -m experiments.attack_sweep --config=configs/cifar_resnet.py:classes10

Needs CIFAR-10 (TFDS, --data_dir or TFDS_DATA_DIR). The paper's size is meant for an accelerator;
optimizers share the kernels in --cache. `cpu` is ResNet-18 with 8 channels in its first stage,
|S| = 250, |E| = 500 and |A| up to 250, ten draws that share no image. The kernel is the Monte
Carlo estimate of eq. 6 with BatchNorm in inference mode, as it is at initialisation;
`kernel_error` says what its error does to log V.
"""

from ml_collections import ConfigDict

from configs import cifar_fcn, ten_classes

SCALES = ("paper", "cpu", "smoke")


def get_config(variant: str = "paper") -> ConfigDict:
    """Return the sweep of configs/cifar_fcn.py with a residual network."""
    ten, scale, optimizer = ten_classes.words(variant, SCALES)
    config = cifar_fcn.get_config(f"{scale},{optimizer}")
    config.name = config.name.replace("cifar_fcn", "cifar_resnet")
    config.experiment = "cifar_resnet"
    config.hp.model = {
        "name": "resnet",
        "depth": 50,
        "stem": "imagenet",  # or "cifar", without the sixteenfold reduction of the images
        "width": 64,
        "sigma_w": 2**0.5,
        "sigma_b": 1.0,
    }
    config.hp.batch_norm = "running"  # or "batch", the statistics of S (docs/batch_norm.md)
    config.hp.train.update(max_epochs=100_000, evaluation_batch_size=500)
    config.kernel = {"method": "monte_carlo", "samples": 700, "groups": 4}  # M = 0.1 n
    config.ensemble = 1
    # Table 1 of the paper, fourth line.
    config.measures.sgd_sharpness.update(on=True, learning_rate=1.0)
    config.measures.sgd_sharpness.update(reading="minibatch", mode="training", drop_incomplete=True)
    config.measures.kernel_error = {"on": True}
    if optimizer == "adam":  # beyond it the paper found no zero error
        config.sweep.attack_sizes = tuple(range(0, 2501, 500))
    if scale != "paper":
        config.hp.model.update(depth=18, width=8)
        config.hp.train.max_epochs = 2000
        config.sweep.update(attack_sizes=(0, 125, 250), samples=2)
        config.kernel.update(samples=600, groups=10)
        config.measures.sgd_sharpness.on = False
        config.measures.log_volume.update(estimator="ep_corrected", links=("heaviside", "probit"))
        config.note = (
            "Reduced from the paper's ResNet-50 on |S| = 5,000: ResNet-18 with 8 channels in its "
            f"first stage on |S| = {config.hp.data.train_size}."
        )
    if scale == "smoke":
        config.hp.data.update(train_size=40, attack_pool_size=40, test_size=40)
        config.hp.data.second_test_size = 100
        config.hp.train.max_epochs = 100
        config.hp.model.width = 2
        config.sweep.update(attack_sizes=(0, 40), samples=1)
        config.kernel.update(samples=60, groups=5)
        config.note = "A test of the machinery: ResNet-18 with 2 channels, 40 images."
    if ten:
        ten_classes.take_ten_classes(config)
        if scale == "cpu":
            config.note = config.note.replace("250", "500")
            config.sweep.update(attack_sizes=(0, 250, 500), samples=2)
    return config
