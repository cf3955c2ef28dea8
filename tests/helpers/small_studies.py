"""Every experiment that writes records, so small that it can be stopped at each of its steps."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from configs import measure, mnist_fcn, symmetry_audit
from flatvol_jax.paper.registry import is_there, part_of
from flatvol_jax.study.audit.run import run_symmetry_audit
from flatvol_jax.study.single.checkpoint import measure_network
from flatvol_jax.study.sweep.run import run_attack_sweep


class Study(NamedTuple):
    """An experiment with its config, plain data.

    Attributes:
        config: what is run.
        run: called as run(config, workdir, progress).
        training: the entries of `config` whose values are settings of training.
    """

    config: dict
    run: Callable
    training: tuple[tuple[str, ...], ...]


def small_sweep() -> dict:
    config = mnist_fcn.get_config("smoke")
    config.hp.data.update(train_size=12, attack_pool_size=6, test_size=8, second_test_size=9)
    config.hp.model.width = (4,)
    config.hp.train.max_epochs = 40
    config.sweep.update(draws=2, attack_sizes=(0, 3), samples=1, overtrain=(2,))
    config.ensemble = 1
    for name in ("sgd_sharpness", "hessian", "log_volume_null"):
        config.measures[name].on = False
    config.measures.log_volume.update(links=("heaviside",), estimator="ep")
    return json.loads(config.to_json())


def small_temporal() -> dict:
    from configs import temporal

    config = temporal.get_config("smoke")
    config.hp.data.update(train_size=12, test_size=8, second_test_size=9)
    config.hp.model.width = (4,)
    config.sweep.samples = 2
    config.trajectory.update(segment=6, every=3, dense=1)
    config.event.update(after=2, epochs=4, alphas=(4.0,))
    config.measures.log_volume.links = ("heaviside",)
    config.measures.sharpness.update(epsilons=(1e-4,), batch_size=2, every=6)
    config.measures.sgd_sharpness.update(batch_size=4, epochs=2, every=6)
    config.measures.hessian.on = False
    return json.loads(config.to_json())


def small_boolean() -> dict:
    from configs import boolean

    config = boolean.get_config("smoke")
    config.hp.update(bits=2, model={"name": "fcn", "width": (6,), "sigma_w": 1.0, "sigma_b": 0.3})
    config.sampling.update(samples=4_000, chunk_size=2_048, functions=6)
    config.widths.update(functions=3, samples=((4, 2_000), (None, 2_000)))
    config.minima.update(functions=2, networks=2, overtrain=(0, 2))
    config.minima.train.max_epochs = 200
    config.minima.measures.sgd_sharpness.batch_size = 4
    config.posterior.update(train_size=2, seeds=10, functions=4, optimizers=("sgd",))
    config.posterior_mnist.update(on=True, train_size=6, test_size=2, seeds=5, optimizers=("sgd",))
    config.ensemble = 10
    return json.loads(config.to_json())


def small_audit() -> dict:
    config = symmetry_audit.get_config("smoke")
    config.hp.data.update(train_size=12, attack_pool_size=6, test_size=8, second_test_size=0)
    config.hp.model.width = (4,)
    config.audit.alphas = (4.0,)
    for name in ("sgd_sharpness", "hessian", "scale_invariant"):
        config.measures[name].on = False
    config.measures.log_volume.links = ("heaviside",)
    config.measures.sharpness.method = "sign"
    return json.loads(config.to_json())


def small_measure() -> dict:
    config = measure.get_config()
    config.hp.data.update(train_size=12, attack_pool_size=0, test_size=8, second_test_size=9)
    config.hp.model.width = (4,)
    for name in config.measures:
        config.measures[name].on = name in ("log_volume", "baselines")
    config.measures.log_volume.update(links=("heaviside",), estimator="ep")
    return json.loads(config.to_json())


def _measure(config: dict, workdir: Path, progress=None) -> list[dict]:
    rng = np.random.default_rng(0)
    shapes = {"W1": (784, 4), "b1": 4, "W2": (4, 1), "b2": 1}
    file = Path(workdir).parent / "network.npz"
    np.savez(file, **{name: rng.normal(size=shape) for name, shape in shapes.items()})
    return [measure_network(config, file, workdir, progress=progress)]


HP = (("hp", "train"),)
STUDIES = {
    "sweep": Study(
        small_sweep(), lambda c, workdir, p=None: run_attack_sweep(c, workdir, progress=p), HP
    ),
    "audit": Study(
        small_audit(),
        lambda c, workdir, p=None: run_symmetry_audit(c, workdir, progress=p),
        HP,
    ),
    "measure": Study(small_measure(), _measure, ()),
}
if is_there("temporal"):
    run_temporal = part_of("temporal", "run.run_temporal")
    STUDIES["temporal"] = Study(
        small_temporal(), lambda c, workdir, p=None: run_temporal(c, workdir, progress=p), HP
    )
if is_there("boolean"):
    STUDIES["boolean"] = Study(
        small_boolean(),
        part_of("boolean", "run.run_boolean"),
        (
            ("minima", "train"),
            ("posterior", "train", "sgd"),
            ("posterior_mnist", "train", "sgd"),
        ),
    )
