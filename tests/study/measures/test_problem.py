"""One draw of the problem: its parts, its kernel, and the baselines against direct formulas."""

import copy

import numpy as np
import pytest

from configs.mnist_fcn import get_config
from flatvol_jax import data
from flatvol_jax.kernels import analytic, nngp_kernel
from flatvol_jax.models import FCN
from flatvol_jax.study.engine.parameters import arrays_to_parameters, parameters_to_arrays
from flatvol_jax.study.measures.baselines import measure_baselines
from flatvol_jax.study.measures.problem import make_problem
from flatvol_jax.study.measures.study_config import model_spec
from flatvol_jax.study.measures.trained import Trained
from flatvol_jax.study.sweep.run import run_attack_sweep

SIZES = {"train_size": 40, "attack_pool_size": 25, "test_size": 30, "second_test_size": 100}
PARTS = ("train", "attack", "test", "second_test")


@pytest.fixture(scope="module")
def config():
    config = get_config("smoke").to_dict()
    config["hp"]["data"].update(SIZES, draws="independent")
    config["hp"]["model"]["width"] = (8,)
    return config


@pytest.fixture(scope="module")
def problem(config, tmp_path_factory):
    return make_problem(config, 0, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def source():
    """The whole binarised data set; its images are all different."""
    dataset = data.binarise(data.load("mnist5k"), *data.GROUPS["mnist_halves"])
    labels = {x.tobytes(): int(y) for x, y in zip(dataset.x, dataset.y, strict=True)}
    assert len(labels) == len(dataset.y)
    return labels


def rows(problem, part):
    return [x.tobytes() for x in getattr(problem, f"{part}_x")]


def test_parts_have_their_sizes_and_are_disjoint(problem, source):
    together = [row for part in PARTS for row in rows(problem, part)]
    assert [len(rows(problem, part)) for part in PARTS] == [40, 25, 30, 100]
    assert len(set(together)) == 195
    assert set(together) <= source.keys()


def test_labels_are_true_but_those_of_the_attack_set_flipped(problem, source):
    for part in PARTS:
        true = np.array([source[row] for row in rows(problem, part)])
        sign = -1 if part == "attack" else 1
        np.testing.assert_array_equal(getattr(problem, f"{part}_y"), sign * true)
        assert getattr(problem, f"{part}_y").dtype == np.int8
        assert getattr(problem, f"{part}_x").dtype == np.float32
    np.testing.assert_array_equal(problem.true_labels, [*problem.train_y, *problem.test_y])


def test_the_same_config_and_draw_give_the_same_parts(problem, config, tmp_path):
    again = make_problem(copy.deepcopy(config), 0, tmp_path)
    other = make_problem(config, 1, tmp_path)
    seed = copy.deepcopy(config)
    seed["sweep"]["seed"] = 1
    for part in PARTS:
        assert rows(again, part) == rows(problem, part)
        assert rows(other, part) != rows(problem, part)
        assert rows(make_problem(seed, 0, tmp_path), part) != rows(problem, part)


def test_no_size_of_e2_asked_takes_all_that_is_left(problem, config, tmp_path):
    rest = copy.deepcopy(config)
    rest["hp"]["data"]["second_test_size"] = None
    larger = make_problem(rest, 0, tmp_path)
    assert len(larger.second_test_y) == 5000 - 40 - 25 - 30
    assert rows(larger, "second_test")[:100] == rows(problem, "second_test")


def test_standardisation_takes_its_numbers_from_s_alone(problem, config, tmp_path):
    other = copy.deepcopy(config)
    other["hp"]["data"]["preprocessing"] = "standardise"
    scaled = make_problem(other, 0, tmp_path)
    s = problem.train_x.astype(np.float64)
    for part in PARTS:
        expected = (getattr(problem, f"{part}_x") - s.mean()) / s.std()
        np.testing.assert_allclose(getattr(scaled, f"{part}_x"), expected, rtol=0, atol=1e-5)


def test_the_kernel_is_on_s_then_e1_in_float64(problem):
    kernel = problem.kernel
    assert kernel.shape == (70, 70)
    assert kernel.dtype == np.float64
    inputs = np.concatenate([problem.train_x, problem.test_x])
    np.testing.assert_array_equal(kernel, nngp_kernel(problem.spec, inputs))
    # Diagonal of one hidden ReLU layer, by hand: half the second moment of its input, He-scaled.
    w, b = problem.spec.sigma_w**2, problem.spec.sigma_b**2
    first = w * (inputs.astype(np.float64) ** 2).mean(axis=1) + b
    np.testing.assert_allclose(np.diag(kernel), w * first / 2 + b, rtol=1e-6)


def test_the_kernel_is_cached_under_the_model_and_its_inputs(config, tmp_path, monkeypatch):
    computed, in_blocks = [], analytic.in_blocks

    def counted(*args):
        computed.append(args)
        return in_blocks(*args)

    monkeypatch.setattr(analytic, "in_blocks", counted)
    first = make_problem(config, 0, tmp_path).kernel
    np.testing.assert_array_equal(make_problem(config, 0, tmp_path).kernel, first)
    assert len(computed) == len(list(tmp_path.iterdir())) == 1

    other = copy.deepcopy(config)
    other["hp"]["model"]["sigma_b"] = 0.5
    assert not np.array_equal(make_problem(other, 0, tmp_path).kernel, first)
    assert len(computed) == len(list(tmp_path.iterdir())) == 2


def test_a_model_is_named_in_the_config():
    settings = {"name": "fcn", "width": [3, 4], "sigma_w": 1.0, "sigma_b": 0.5}
    assert model_spec(settings) == FCN(width=(3, 4), sigma_w=1.0, sigma_b=0.5)
    assert settings["name"] == "fcn"  # the caller's config is left alone


def nearest(x, train_x):
    distances = [np.sum((x.astype(np.float64) - row) ** 2) for row in train_x.astype(np.float64)]
    return int(np.argmin(distances))


def test_the_neighbour_prediction_is_the_brute_force_one(problem):
    expected = [problem.train_y[nearest(x, problem.train_x)] for x in problem.test_x]
    np.testing.assert_array_equal(problem.neighbour_prediction, expected)
    assert set(problem.neighbour_prediction) == {-1, 1}


def gp_signs(problem):
    m = len(problem.train_y)
    inner = np.linalg.solve(problem.kernel[:m, :m], problem.train_y.astype(np.float64))
    mean = problem.kernel[m:, :m] @ inner
    assert np.abs(mean).min() > 1e-6  # no sign hangs on rounding
    return np.where(mean > 0, 1, -1)


def test_the_gp_prediction_is_the_sign_of_the_posterior_mean(problem):
    np.testing.assert_array_equal(problem.gp_prediction, gp_signs(problem))
    assert np.mean(problem.gp_prediction == problem.test_y) > 0.5


def test_baselines_against_direct_formulas(problem):
    generator = np.random.default_rng(0)
    params = {"layer": {"kernel": generator.normal(size=(4, 3)).astype(np.float32)}}
    params["layer"]["bias"] = np.array([3.0, 4.0, 0.0], np.float32)
    size = generator.uniform(0.5, 2, 40)
    train_output = (size * problem.train_y).astype(np.float32)
    train_output[7] *= -0.25  # one error on S: the margin is negative
    test_output = generator.normal(size=30).astype(np.float32)
    test_output[0] = 0.0  # counts as -1
    row = measure_baselines(problem, Trained(params, {}, train_output, test_output, 12), None, None)

    answers = np.array([1 if value > 0 else -1 for value in test_output])
    assert answers[0] == -1
    labels = np.concatenate([[1 if value > 0 else -1 for value in train_output], answers])
    neighbours = [problem.train_y[nearest(x, problem.train_x)] for x in problem.test_x]
    signed = train_output.astype(np.float64) * problem.train_y
    squares = (params["layer"]["kernel"].astype(np.float64) ** 2).sum() + 25.0
    expected = {
        "gp_disagreement": np.mean(answers != gp_signs(problem)),
        "nn_disagreement": np.mean(answers != neighbours),
        "label_norm": labels @ np.linalg.solve(problem.kernel, labels.astype(np.float64)),
        "margin": signed[7] / np.mean(np.abs(signed)),
        "mean_output": np.mean(np.abs(signed)),
        "parameter_norm": np.sqrt(squares),
        "epochs": 12,
    }
    expected = {f"measure.baseline.{name}": value for name, value in expected.items()}
    assert row == pytest.approx(expected, rel=1e-9)
    assert row["measure.baseline.margin"] < 0


def test_parameters_go_through_arrays_and_back():
    params = {"b": {"kernel": np.arange(6.0).reshape(2, 3)}, "a": [np.ones(2), np.zeros(1)]}
    arrays = parameters_to_arrays(params)
    assert sorted(arrays) == ["params['a'][0]", "params['a'][1]", "params['b']['kernel']"]
    again = arrays_to_parameters({**arrays, "loss": np.zeros(3)}, params)
    np.testing.assert_array_equal(again["b"]["kernel"], params["b"]["kernel"])
    np.testing.assert_array_equal(again["a"][0], np.ones(2))
    del arrays["params['a'][1]"]
    with pytest.raises(ValueError, match=r"params\['a'\]\[1\] is not among the stored arrays"):
        arrays_to_parameters(arrays, params)


@pytest.mark.parametrize(
    ("section", "entry", "value", "message"),
    [
        ("data", "train_size", 5000, r"train_size 5000.*'mnist5k' has 5000"),
        ("data", "second_test_size", 4906, "second_test_size 4906"),
        ("data", "test_size", 0, "test_size: got 0"),
        ("data", "groups", "mnist_halfs", "Did you mean 'mnist_halves'"),
        ("data", "name", "mnist5", "mnist5k"),
        ("data", "preprocessing", "standardize", "Did you mean 'standardise'"),
        ("model", "sigma_w", -1.0, "sigma_w"),
        ("model", "width", (), "width"),
    ],
)
def test_a_bad_config_is_an_error_before_the_workdir_is_made(
    config, tmp_path, section, entry, value, message
):
    bad = copy.deepcopy(config)
    bad["hp"][section][entry] = value
    bad["sweep"]["attack_sizes"] = (0,)
    with pytest.raises(ValueError, match=message):
        run_attack_sweep(bad, tmp_path / "new")
    assert not (tmp_path / "new").exists()
