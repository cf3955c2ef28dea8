"""What a network with BatchNorm is: kernel, function and losses all see the one that is chosen."""

import copy

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import flatvol_jax as fv
from configs.cifar_resnet import get_config as cifar_resnet
from configs.mnist_fcn import get_config
from flatvol_jax.kernels import monte_carlo_estimate
from flatvol_jax.models import batch_state
from flatvol_jax.study.engine.plan import plan_runs
from flatvol_jax.study.engine.store import Store
from flatvol_jax.study.measures import study_config
from flatvol_jax.study.measures.flatness import measure_sgd_sharpness
from flatvol_jax.study.measures.problem import make_problem
from flatvol_jax.study.measures.registry import MEASURES
from flatvol_jax.study.measures.trained import batch_loss, host_float64, train_loss, train_losses
from flatvol_jax.study.measures.training_units import read_trained
from flatvol_jax.study.sweep.run import run_attack_sweep

CHOICES = ("running", "batch")


class Normalised(nn.Module):
    """A convolution, a hidden layer, both before a BatchNorm; epsilon too small to be seen."""

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.Conv(3, (5, 5), 4, use_bias=False, name="conv")(x.reshape(len(x), 28, 28, 1))
        x = nn.relu(self.norm("norm_1", train)(x)).reshape(len(x), -1)
        x = nn.relu(self.norm("norm_2", train)(nn.Dense(12, name="hidden")(x)))
        self.sow("intermediates", "features", x)
        return nn.Dense(1, name="readout", bias_init=nn.initializers.normal(0.3))(x)

    def norm(self, name, train):
        return nn.BatchNorm(not train, momentum=0.9, epsilon=1e-12, name=name)


SPEC = fv.FlaxModel(Normalised(), "features", 1.0, 0.3)


@pytest.fixture(scope="module", autouse=True)
def known():
    """The network under a name that a config can give."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(study_config.MODELS, "normalised", lambda: SPEC)
        yield


def with_choice(choice=None):
    config = get_config("smoke")
    config.hp.data.update(train_size=40, attack_pool_size=20, test_size=30, second_test_size=50)
    config.hp.train.update(max_epochs=60, learning_rate=0.32)  # forty digits are fitted by then
    config.sweep.update(draws=1, attack_sizes=(0,), samples=1, overtrain=(2,))
    config.ensemble = 1
    config.measures.sgd_sharpness.update(epochs=2, batch_size=16)
    config = config.to_dict()
    config["hp"]["model"] = {"name": "normalised"}
    config["kernel"] = {"method": "monte_carlo", "samples": 70, "groups": 2}
    config["measures"] = {"sgd_sharpness": config["measures"]["sgd_sharpness"]}
    if choice is not None:
        config["hp"]["batch_norm"] = choice
    return config


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory):
    """choice -> (workdir, config, problem, the networks at zero error and beyond, rows)."""
    done = {}
    for choice in CHOICES:
        workdir, config = tmp_path_factory.mktemp(choice), with_choice(choice)
        rows = run_attack_sweep(config, workdir)
        problem = make_problem(config, 0, workdir / "cache")
        networks = [read_trained(Store(workdir), problem, run) for run in plan_runs(config)]
        done[choice] = workdir, config, problem, networks, rows
    return done


def scaled(params, factor):
    """The parameters with the convolution's weights times a factor, float64."""
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    return {**params, "conv": {"kernel": factor * params["conv"]["kernel"]}}


def of_batch(problem, params, state):
    """The state of S, in float64."""
    statistics = jax.jit(batch_state, static_argnums=0)
    return statistics(SPEC, params, state, problem.train_x.astype(np.float64))


def both_outputs(problem, params, state):
    """On S and E1, in float64."""
    x = np.concatenate([problem.train_x, problem.test_x]).astype(np.float64)
    return np.asarray(jax.jit(SPEC.apply)(params, x, state))


@pytest.mark.parametrize("choice", CHOICES)
def test_function_and_losses_are_of_the_same_network(sweeps, choice):
    workdir, config, problem, networks, rows = sweeps[choice]
    assert problem.batch_norm == choice
    for run, trained, row in zip(plan_runs(config), networks, rows, strict=True):
        stored = Store(workdir).arrays(run.training)["output.train"]
        np.testing.assert_array_equal(trained.train_output, stored)
        signed = problem.train_y * stored.astype(np.float64)
        wanted = np.logaddexp(0, -signed)
        params, state = host_float64(trained.params), trained.state
        with jax.enable_x64(True):
            loss = float(train_loss(problem, state)(params))
            losses = np.asarray(train_losses(problem, state)(params))
            data = problem.train_x.astype(np.float64), problem.train_y.astype(np.float64)
            whole = float(batch_loss(problem, state)(params, data))
            quarters = [tuple(part[i::4] for part in data) for i in range(4)]
            parts = [float(batch_loss(problem, state, 5)(params, part)) for part in quarters]
        np.testing.assert_allclose(losses, wanted, rtol=1e-3)  # the outputs are float32
        np.testing.assert_allclose(losses.mean(), loss, rtol=1e-12)
        np.testing.assert_allclose(whole, loss, rtol=1e-8)
        np.testing.assert_allclose(np.mean(parts), loss, rtol=1e-8)
        assert row["measure.sharpness.sgd.loss"] == pytest.approx(loss, rel=1e-8)
        assert row["measure.error.train"] == np.mean(signed <= 0)
        assert row["measure.error.train"] == 0 or not row["is.zero_error"]
    assert rows[0]["is.zero_error"]


@pytest.mark.parametrize("choice", CHOICES)
def test_the_ascent_in_training_mode_is_the_written_out_loop(sweeps, choice):
    """Table 1's ResNet procedure: L(w) as `train_loss`, minibatches read in training mode."""
    _, _, problem, (trained, _), _ = sweeps[choice]
    settings = {"epsilon": 1e-2, "batch_size": 16, "learning_rate": 0.5, "epochs": 2}
    row = measure_sgd_sharpness(
        problem,
        trained,
        jax.random.key(3),
        MEASURES["sgd_sharpness"].settings(**settings, mode="training", drop_incomplete=True),
    )
    with jax.enable_x64(True):
        x, y = (jnp.asarray(part, float) for part in (problem.train_x, problem.train_y))
        center = host_float64((trained.params, trained.state))

        def loss(params, state, rows):
            output, state = SPEC.train_apply(params, state, x[rows])
            return jnp.logaddexp(0, -y[rows] * output).mean(), state

        slope = jax.jit(jax.grad(loss, has_aux=True))
        (params, state), largest = center, -np.inf
        for key in jax.random.split(jax.random.key(3), 2):
            order, reads = np.asarray(jax.random.permutation(key, 40)), []
            for rows in (order[:16], order[16:32]):  # eight are left out
                gradient, after = slope(params, state, rows)
                climbed = jax.tree.map(lambda p, g: p + 0.5 * g, params, gradient)
                params, state = jax.tree.map(
                    lambda p, w: jnp.clip(p, w - 1e-2 * (abs(w) + 1), w + 1e-2 * (abs(w) + 1)),
                    (climbed, after),
                    center,
                )
                reads.append(float(loss(params, state, rows)[0]))
            largest = max(largest, np.mean(reads))
        start = float(train_loss(problem, trained.state)(center[0]))
        end = float(train_loss(problem, state)(params))
    assert row["measure.sharpness.sgd.loss"] == pytest.approx(start, rel=1e-10)
    wanted = 100 * (largest - start) / (1 + start)
    assert row["measure.sharpness.sgd"] == pytest.approx(wanted, rel=1e-7)
    reached = 100 * (end - start) / (1 + start)
    assert row["measure.sharpness.sgd.full_batch"] == pytest.approx(reached, rel=1e-6)


def test_the_two_choices_train_one_network_and_make_two_functions_of_it(sweeps):
    (*_, running, _), (*_, problem, batch, rows) = sweeps["running"], sweeps["batch"]
    for before, after in zip(running, batch, strict=True):
        jax.tree.map(np.testing.assert_array_equal, before.params, after.params)
        found = jax.jit(batch_state, static_argnums=0)(
            SPEC, after.params, before.state, problem.train_x
        )
        jax.tree.map(np.testing.assert_array_equal, found, after.state)
        assert np.abs(before.train_output - after.train_output).max() > 0.01
    assert rows[1]["measure.function.changed"] == np.sum(batch[0].labels != batch[1].labels)


def test_scale_before_a_batch_norm_is_nothing_to_the_batch_function_alone(sweeps):
    moved = {}
    for choice, (_, _, problem, (trained, _), _) in sweeps.items():
        state = host_float64(trained.state)
        with jax.enable_x64(True):
            for factor in (1.0, 4.0):
                params = scaled(trained.params, factor)
                own = of_batch(problem, params, state) if choice == "batch" else state
                value = train_loss(problem, state)(params), both_outputs(problem, params, own)
                moved[choice, factor] = jax.tree.map(np.asarray, value)
    np.testing.assert_allclose(moved["batch", 4.0][0], moved["batch", 1.0][0], rtol=1e-9)
    np.testing.assert_allclose(moved["batch", 4.0][1], moved["batch", 1.0][1], rtol=1e-8, atol=1e-9)
    assert abs(moved["running", 4.0][0] / moved["running", 1.0][0] - 1) > 0.1
    assert np.abs(moved["running", 4.0][1] - moved["running", 1.0][1]).max() > 0.1


def test_the_loss_follows_its_parameters_and_not_the_state(sweeps):
    _, _, problem, (trained, _), _ = sweeps["batch"]
    start = host_float64(SPEC.init_state(problem.train_x.shape[1:]))
    x, y = (part.astype(np.float64) for part in (problem.train_x, problem.train_y))

    def with_fixed_state(params):
        output = SPEC.apply(params, x, host_float64(trained.state))
        return jnp.logaddexp(0, -y * output).mean()

    def slope(loss, params):
        """Of the loss along the convolution's weights."""
        gradient = jax.jit(jax.grad(loss))(params)
        return float(jnp.vdot(gradient["conv"]["kernel"], params["conv"]["kernel"]))

    with jax.enable_x64(True):
        params = scaled(trained.params, 1.0)
        losses = [float(train_loss(problem, state)(params)) for state in (trained.state, start)]
        follows, fixed = slope(train_loss(problem, start), params), slope(with_fixed_state, params)
    np.testing.assert_allclose(*losses, rtol=1e-12)
    assert abs(follows) < 1e-8
    assert abs(fixed) > 1e-3


def test_the_kernel_has_s_as_its_reference(sweeps):
    kernels = {}
    for choice, (_, _, problem, _, _) in sweeps.items():
        inputs = np.concatenate([problem.train_x, problem.test_x])
        reference = {"running": None, "batch": problem.train_x}[choice]
        settings = problem.kernel_key, SPEC, inputs, 70, 2
        wanted = monte_carlo_estimate(*settings, reference=reference)
        np.testing.assert_array_equal(problem.kernel, wanted.kernel)
        kernels[choice] = problem.kernel
    apart = np.linalg.norm(kernels["batch"] - kernels["running"])
    assert apart > 0.1 * np.linalg.norm(kernels["running"])


def test_running_is_what_a_config_without_a_choice_means(sweeps, tmp_path):
    workdir, config, *_, rows = sweeps["running"]
    absent = with_choice()
    found = run_attack_sweep(absent, tmp_path)
    for before, after in zip(rows, found, strict=True):
        assert before.pop("run_id") != after.pop("run_id")
        assert before.pop("hp.batch_norm") == "running"
        kept = [{n: v for n, v in row.items() if n[:5] != "meta."} for row in (before, after)]
        assert kept[0] == kept[1]
    for one, other in zip(plan_runs(config), plan_runs(absent), strict=True):
        arrays = Store(workdir).arrays(one.training)
        again = Store(tmp_path).arrays(other.training)
        jax.tree.map(np.testing.assert_array_equal, arrays, again)


@pytest.mark.parametrize(
    ("choice", "size", "message"),
    [
        ("bacth", None, "hp.batch_norm: got 'bacth'.*Did you mean 'batch'"),
        ("batch", 39, r"evaluation_batch_size: got 39 .*at least \|S\| = 40"),
    ],
)
def test_a_choice_that_cannot_be_fails_before_any_work(tmp_path, choice, size, message):
    config = with_choice(choice)
    config["hp"]["train"]["evaluation_batch_size"] = size
    with pytest.raises(ValueError, match=message):
        run_attack_sweep(config, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(("choice", "size"), [("running", 7), ("batch", 40)])
def test_batches_of_evaluation_go_with_the_choice(tmp_path, choice, size):
    config = with_choice(choice)
    config["hp"]["train"]["evaluation_batch_size"] = size
    assert make_problem(config, 0, tmp_path).batch_norm == choice


def test_a_network_without_batch_norm_has_one_function(tmp_path):
    config = copy.deepcopy(with_choice("batch"))
    config["hp"]["model"] = get_config("smoke").hp.model.to_dict()
    config["hp"]["train"]["evaluation_batch_size"] = 7
    assert make_problem(config, 0, tmp_path).batch_norm == "running"


def test_the_config_of_residual_networks_names_its_choice():
    assert cifar_resnet("smoke").hp.batch_norm == "running"
    assert "batch_norm" not in get_config("smoke").hp
