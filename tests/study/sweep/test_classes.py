"""A sweep of ten classes: the same units, columns and page as of two."""

import numpy as np
import pytest

from configs import cifar_fcn, cifar_resnet, mnist_fcn
from flatvol_jax import data
from flatvol_jax.study.analysis.claims import claims_table
from flatvol_jax.study.engine.plan import plan_runs
from flatvol_jax.study.engine.records import load_records
from flatvol_jax.study.measures.problem import make_problem
from flatvol_jax.study.measures.registry import chosen_measures
from flatvol_jax.study.measures.study_config import model_spec
from flatvol_jax.study.sweep.report import write_report
from flatvol_jax.study.sweep.run import run_attack_sweep


@pytest.fixture(scope="module")
def config():
    config = mnist_fcn.get_config("classes10,smoke")
    config.hp.data.update(train_size=20, attack_pool_size=10, test_size=20, second_test_size=30)
    config.hp.model.width = (32,)
    config.hp.train.update(learning_rate=0.1, max_epochs=400)
    config.sweep.update(draws=2, attack_sizes=(0, 10), samples=1)
    config.ensemble = 2
    for name in ("sgd_sharpness", "hessian"):
        config.measures[name].on = False
    config.measures.log_volume.update(links=("heaviside",), estimator="ep_corrected")
    return config.to_dict()


@pytest.fixture(scope="module")
def swept(config, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("sweep")
    run_attack_sweep(config, workdir)
    return workdir, load_records(workdir)


def test_networks_fit_s_and_every_measure_is_there(swept):
    _, frame = swept
    assert len(frame) == 4
    assert frame["is.zero_error"].all()
    assert (frame["measure.error.train"] == 0).all()
    for name in ("log_volume.heaviside", "log_volume_null.heaviside", "sharpness.best"):
        assert np.isfinite(frame[f"measure.{name}"].astype(float)).all()
    assert (frame["measure.log_volume.heaviside.corrected"] < -20).all()
    assert frame["is.ep_converged"].all()
    assert (frame["measure.function.ties"] == 0).all()
    # Of ten classes chance is nine in ten, so these networks know something and not all.
    assert frame["measure.error.second_test"].between(0.1, 0.85).all()
    assert frame["measure.baseline.gp_disagreement"].between(0, 0.85).all()


def test_the_page_is_the_one_of_two_classes(swept, config):
    workdir, frame = swept
    claims = claims_table(frame, "smoke", permutations=9)
    assert {"log V", "sharpness"} <= set(claims["family"]) or len(claims)
    write_report(workdir / "report.html", frame, config, {"scale": "smoke"}, claims)
    text = (workdir / "report.html").read_text()
    assert "an attacked label one of the nine wrong ones" in text
    assert "hp.model.outputs" in text


def test_its_draws_have_the_digits_of_two_classes_and_wrong_labels(config, tmp_path):
    problem = make_problem(config, 1, tmp_path)
    two = mnist_fcn.get_config("smoke").to_dict()
    two["hp"]["data"].update(config["hp"]["data"], groups="mnist_halves")
    two["sweep"] = config["sweep"]
    halves = make_problem(two, 1, tmp_path)
    np.testing.assert_array_equal(problem.train_x, halves.train_x)
    np.testing.assert_array_equal(halves.train_y, np.where(problem.train_y > 4, 1, -1))
    digits = data.load("mnist5k")
    true = dict(zip((x.tobytes() for x in digits.x), digits.y, strict=True))
    labels = np.array([true[x.tobytes()] for x in problem.attack_x])
    assert (problem.attack_y != labels).all()
    assert np.isin(problem.attack_y, range(10)).all()


@pytest.mark.parametrize("module", [mnist_fcn, cifar_fcn, cifar_resnet])
def test_every_config_has_a_variant_of_ten_classes(module):
    found = module.get_config("adam,classes10")
    assert found.experiment == f"{module.__name__.split('.')[1]}_classes10"
    assert found.name == f"{found.experiment}_cpu_adam"
    assert found.scale == "cpu"
    assert found.hp.data.to_dict().items() >= {
        "groups": "all", "train_size": 500, "test_size": 1000, "draws": "disjoint",
        "second_test_size": None,
    }.items()  # fmt: skip
    assert (found.hp.model.outputs, found.sweep.draws) == (10, 10)
    config = found.to_dict()
    assert plan_runs(config)
    assert "log_volume_null" in chosen_measures(config)
    assert module.get_config("classes10,smoke").scale == "smoke"
    assert "outputs" not in module.get_config("smoke").hp.model
    with pytest.raises(ValueError, match="got 'clases'.*Ten classes: classes10"):
        module.get_config("clases,classes10")


def test_a_network_of_a_user_has_outputs_too():
    dense = {"module": "flax.linen:Dense", "features": "x", "sigma_w": 1.0, "sigma_b": 0.0}
    settings = {"name": "flax", **dense, "arguments": {"features": 10}, "outputs": 10}
    assert model_spec(settings).outputs == 10
    own = {"name": "own", "module": "flax.linen:Dense", "arguments": {"features": 10}}
    assert model_spec({**own, "input_shape": [3]}).outputs == 10


def test_a_network_that_does_not_fit_its_classes_is_refused(config, tmp_path):
    for groups, outputs, wanted in (("all", 1, "wanted 10"), ("mnist_halves", 10, "0 to 9")):
        hp = {**config["hp"], "data": {**config["hp"]["data"], "groups": groups}}
        hp["model"] = {**hp["model"], "outputs": outputs}
        with pytest.raises(ValueError, match=wanted):
            make_problem({**config, "hp": hp}, 0, tmp_path)
