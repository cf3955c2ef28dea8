"""A study on a Monte Carlo kernel: the kernel, what depends on it, what its error does."""

import numpy as np
import pytest

from configs.mnist_fcn import get_config
from flatvol_jax.kernels import monte_carlo_estimate, nngp_kernel
from flatvol_jax.study.measures.problem import make_problem
from flatvol_jax.study.measures.registry import chosen_measures
from flatvol_jax.study.sweep.run import run_attack_sweep

SAMPLES = {"samples": 40, "groups": 4}


@pytest.fixture(scope="module")
def config():
    config = get_config("smoke")
    config.hp.data.update(train_size=20, attack_pool_size=10, test_size=10, second_test_size=20)
    config.hp.model.width = (30,)
    config.sweep.update(draws=1, attack_sizes=(0,), samples=1)
    config.ensemble = 1
    config = config.to_dict()
    config["kernel"] = {"method": "monte_carlo", **SAMPLES}
    measures = config["measures"]
    measures["log_volume"].update(estimator="ep", links=("heaviside",))
    wanted = ("log_volume", "baselines", "sharpness")
    config["measures"] = {name: measures[name] for name in wanted} | {"kernel_error": {"on": True}}
    return config


def test_the_kernel_is_the_estimate_of_its_draw(config, tmp_path):
    two = {**config, "sweep": {**config["sweep"], "draws": 2}}
    one, other = (make_problem(two, draw, tmp_path) for draw in (0, 1))
    inputs = np.concatenate([one.train_x, one.test_x])
    wanted = monte_carlo_estimate(one.kernel_key, one.spec, inputs, **SAMPLES).kernel
    np.testing.assert_array_equal(one.kernel, wanted)
    exact = nngp_kernel(one.spec, inputs)
    error = np.linalg.norm(one.kernel - exact) / np.linalg.norm(exact)
    assert 0 < error < 4 * one.kernel_estimate.relative_error
    assert one.kernel_key != other.kernel_key  # draws have independent errors


def test_only_what_depends_on_the_kernel_is_named_by_it(config):
    chosen = chosen_measures(config)
    of_kernel = {name for name, m in chosen.items() if m.settings.get("kernel") == SAMPLES}
    assert of_kernel == {"log_volume", "kernel_error", "baselines"}
    analytic = chosen_measures(
        {"measures": {n: s for n, s in config["measures"].items() if n != "kernel_error"}}
    )
    assert analytic["sharpness"] == chosen["sharpness"]
    assert "kernel" not in analytic["log_volume"].settings


def test_a_sweep_says_what_the_kernel_costs_log_volume(config, tmp_path):
    texts = []
    (row,) = run_attack_sweep(config, tmp_path, progress=lambda *call: texts.append(call[-1]))
    assert "draw 0: kernel 40/40" in texts
    assert 0 < row["measure.log_volume.heaviside.kernel_se"] < 5
    assert abs(row["measure.log_volume.heaviside.kernel_bias"]) < 5
    assert 0 < row["measure.kernel.relative_error"] < 1


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        ({"method": "monte_karlo"}, "Did you mean 'monte_carlo'"),
        ({"method": "monte_carlo", "samples": 5}, "wanted samples, groups"),
        ({"method": "monte_carlo", "samples": 5, "groups": 1}, "kernel.groups: got 1"),
        ({"method": "analytic", "samples": 5}, "wanted nothing"),
        ({"method": "analytic"}, "measures.kernel_error: got kernel.method 'analytic'"),
    ],
)
def test_settings_that_cannot_be_fail_before_any_work(config, tmp_path, kernel, message):
    with pytest.raises(ValueError, match=message):
        run_attack_sweep({**config, "kernel": kernel}, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_network_without_analytic_kernel_names_the_monte_carlo_one(config, tmp_path):
    residual = {**config, "hp": {**config["hp"], "model": {"name": "resnet", "depth": 18}}}
    residual["hp"]["model"]["image_shape"] = (28, 28)
    del residual["kernel"]
    residual["measures"] = {"log_volume": config["measures"]["log_volume"]}
    with pytest.raises(ValueError, match="monte_carlo_kernel"):
        run_attack_sweep(residual, tmp_path / "new")
