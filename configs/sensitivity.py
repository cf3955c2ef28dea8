"""MNIST, |S| = 200, FCN: do the claims depend on what the paper leaves open?

python -m experiments.attack_sweep --config=configs/sensitivity.py:protocol          as the others
python -m experiments.attack_sweep --config=configs/sensitivity.py:sigma_w_1,adam    one change
python -m experiments.attack_sweep --config=configs/sensitivity.py:depth_3,smoke

Each variant is the sweep of configs/mnist_fcn.py:cpu at |S| = 200 with one change (`CHANGES`), ten
draws of three |A| and four networks, for any optimizer. A variant is an experiment of its own,
`sensitivity_NAME`, so that records of two never mix. `smoke` takes the embedded digits.

Changes of the protocol: `summed_loss` gives the rate to the sum over the batch, as a later public
version of the authors' code does; `stop_all` trains to zero error on S and A; `fixed_order` visits
the examples as the authors' FCN code does; `minibatch_reading` reads each batch's loss in the
sharpness ascent; `later` measures the same networks again 100 epochs after zero error.
"""

from ml_collections import ConfigDict

from configs import base, mnist_fcn

SCALES = ("cpu", "smoke")
RATES = (0.001, 0.003, 0.03, 0.1)
CHANGES = {
    **base.CHANGES,
    "summed_loss": {"hp.train.loss": "sum"},
    "stop_all": {"hp.train.stop": "train_and_attack"},
    "fixed_order": {"hp.train.order": "fixed"},
    "minibatch_reading": {"measures.sgd_sharpness.reading": "minibatch"},
    "later": {"sweep.overtrain": (100,)},
    # Of SGD.
    **{f"rate_{rate:g}": {"hp.train.learning_rate": rate} for rate in RATES},
}


def get_config(variant: str = "protocol") -> ConfigDict:
    """The sweep with one change; `variant` is a name of CHANGES, an optimizer, a scale."""
    words = [word for word in variant.split(",") if word]
    named = [word for word in words if word in CHANGES] or ["protocol"]
    rest = ",".join(word for word in words if word not in CHANGES)
    if len(named) > 1:
        raise ValueError(f"variant: got {variant!r}, wanted one of {', '.join(CHANGES)} in it.")
    try:
        scale, optimizer = base.words(rest, SCALES)
    except ValueError as error:
        raise ValueError(f"{error} Or a change: {', '.join(CHANGES)}.") from error
    change = named[0]
    config = mnist_fcn.get_config(f"{scale},{optimizer}")
    config.experiment = f"sensitivity_{change}"
    config.name = config.name.replace("mnist_fcn", config.experiment)
    config.note = f"Sensitivity run: {change}."
    if scale == "cpu":
        config.hp.data.update(train_size=200, attack_pool_size=200, test_size=300)
        config.sweep.update(draws=10, attack_sizes=(0, 100, 200), samples=4)
    base.change(config, CHANGES[change])
    config.measures.log_volume.estimator = "ep"
    config.measures.log_volume_null.on = optimizer == "sgd"
    config.measures.hessian.on = False
    config.measures.sgd_sharpness.on = True
    return config
