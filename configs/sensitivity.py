"""MNIST, |S| = 200, FCN: do the claims depend on what the paper leaves open?

python -m experiments.attack_sweep --config=configs/sensitivity.py:protocol          as the others
python -m experiments.attack_sweep --config=configs/sensitivity.py:sigma_w_1,adam    one change
python -m experiments.attack_sweep --config=configs/sensitivity.py:depth_3,smoke

Each variant is the sweep of configs/mnist_fcn.py:small with one change (`CHANGES`), ten draws of
three |A| and four networks, for any optimizer. A variant is an experiment of its own,
`sensitivity_NAME`, so that records of two never mix. Cost on one core: two minutes.

`later` measures the same networks again 100 epochs after zero error. `stop_train` stops at zero
error on S alone, whatever A does, as the public code of the paper's authors has it.
"""

from ml_collections import ConfigDict

from configs import base, mnist_fcn

SCALES = ("cpu", "smoke")
RATES = (0.003, 0.001, 0.0003, 0.0001)
CHANGES = {
    **base.CHANGES,
    "stop_train": {"hp.train.stop": "train"},
    "later": {"sweep.overtrain": (100,)},
    # Of SGD, on the summed loss; 0.0003 is 0.01 on the mean of a batch of 32.
    **{
        f"rate_{rate:g}": {"hp.train.learning_rate": rate, "hp.train.max_epochs": 20000}
        for rate in RATES
    },
}


def get_config(variant: str = "protocol") -> ConfigDict:
    """The sweep with one change; `variant` is a name of CHANGES, an optimizer, a scale."""
    words = [word for word in variant.split(",") if word]
    named = [word for word in words if word in CHANGES] or ["protocol"]
    rest = ",".join(word for word in words if word not in CHANGES)
    if len(named) > 1:
        raise ValueError(f"variant: got {variant!r}, wanted one of {', '.join(CHANGES)} in it.")
    try:
        scale, optimizer = mnist_fcn.words(rest, SCALES)
    except ValueError as error:
        raise ValueError(f"{error} Or a change: {', '.join(CHANGES)}.") from error
    small = "smoke" if scale == "smoke" else "small"
    config = mnist_fcn.get_config(f"{small},{optimizer}")
    config.experiment = f"sensitivity_{named[0]}"
    config.name = config.name.replace(f"mnist_fcn_{small}", f"{config.experiment}_{scale}")
    config.scale = scale
    config.note = f"Sensitivity run: {named[0]}."
    if optimizer == "adagrad":
        config.hp.train.learning_rate = 0.01  # as in configs/mnist_fcn.py:cpu
    base.change(config, CHANGES[named[0]])
    config.measures.log_volume.estimator = "ep"
    config.measures.log_volume_null.on = optimizer == "sgd"
    config.measures.hessian.on = optimizer in ("sgd", "adam")
    return config
