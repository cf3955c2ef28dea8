"""Entropy-SGD: its loops written out, its chain's exact mean, the local entropy's gradient."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.stats import norm

from flatvol_jax.training import entropy_sgd, entropy_sgd_eval_params, optimizer

SETTINGS = {
    "learning_rate": 1.0,
    "langevin_steps": 4,
    "langevin_learning_rate": 0.1,
    "noise": 0.0,
    "gamma": 0.5,
    "scoping": 0.1,
    "averaging": 0.75,
    "scale_by_gamma": True,
    "key": jax.random.key(0),
}


def run(settings, gradient, start, updates):
    """The transformation after so many updates: its parameters, and those that count."""
    transform = entropy_sgd(**settings)
    params = jnp.asarray(start, jnp.float32)

    def step(carry, _):
        params, state = carry
        moves, state = transform.update(gradient(params), state, params)
        return (optax.apply_updates(params, moves), state), None

    (params, state), _ = jax.lax.scan(step, (params, transform.init(params)), None, length=updates)
    return params, entropy_sgd_eval_params(state, params)


@pytest.mark.parametrize("scale_by_gamma", [True, False])
def test_it_is_two_loops_around_the_gradient(scale_by_gamma):
    settings = {**SETTINGS, "learning_rate": 0.8, "scale_by_gamma": scale_by_gamma}
    start = np.array([1.5, -0.3, 2.0])
    x = start
    for t in range(3):
        gamma = 0.5 * 1.1**t
        inner = mean = x
        for _ in range(4):
            inner = inner - 0.1 * (inner**3 - inner - gamma * (x - inner))
            mean = 0.25 * mean + 0.75 * inner
        x = x - 0.8 * (gamma if scale_by_gamma else 1) * (x - mean)
    params, counts = run(settings, lambda p: p**3 - p, start, 12)
    np.testing.assert_allclose(counts, x, rtol=1e-5)
    np.testing.assert_allclose(params, x, rtol=1e-5)  # the next inner loop starts there


def test_what_counts_moves_with_outer_steps_only():
    start = np.float32([1.5, -0.3])
    for updates in range(1, 4):
        params, counts = run(SETTINGS, lambda p: p, start, updates)
        np.testing.assert_array_equal(counts, start)
        assert np.all(params != start)
    _, counts = run(SETTINGS, lambda p: p, start, 4)
    assert np.all(counts != start)


def test_without_langevin_steps_it_is_sgd_bit_for_bit():
    ours, sgd = entropy_sgd(**{**SETTINGS, "langevin_steps": 0}), optimizer("sgd", 1.0)
    params = other = np.float32([0.1, 0.7])
    state, other_state = ours.init(params), sgd.init(params)
    for gradient in np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32):
        updates, state = ours.update(gradient, state, params)
        wanted, other_state = sgd.update(gradient, other_state, other)
        params, other = optax.apply_updates(params, updates), optax.apply_updates(other, wanted)
        np.testing.assert_array_equal(params, other)
        np.testing.assert_array_equal(entropy_sgd_eval_params(state, params), other)


def test_thermal_noise_has_its_variance_and_is_fresh_at_each_step():
    settings = {**SETTINGS, "noise": 0.2, "gamma": 0.0, "langevin_steps": 100}
    walks = np.array([run(settings, jnp.zeros_like, np.zeros(4000), n)[0] for n in (1, 2, 3)])
    steps = np.diff(walks, axis=0, prepend=0)
    variance = 0.1 * 0.2**2  # η' ε²
    np.testing.assert_allclose(np.cov(steps) / variance, np.eye(3), atol=4 * np.sqrt(2 / 4000))
    other = run({**settings, "key": jax.random.key(1)}, jnp.zeros_like, np.zeros(4000), 1)[0]
    assert abs(np.corrcoef(walks[0], other)[0, 1]) < 4 / np.sqrt(4000)


DOUBLE_WELL = np.array([1 / 4, 1 / 3, -1 / 2, 0, 0])  # of unequal depth and width
PARABOLA = np.array([0.7, -1.4, 0.7])
POTENTIALS = pytest.mark.parametrize(
    "potential", [DOUBLE_WELL, PARABOLA], ids=["double_well", "parabola"]
)
X, GAMMA = 0.2, 1.5


def sampled_steps(potential, noise, rate, length):
    """The first outer step of many networks; the potential is a polynomial."""
    gradient = partial(jnp.polyval, jnp.asarray(np.polyder(potential), jnp.float32))

    def member(key):
        settings = {
            **SETTINGS,
            "langevin_steps": length,
            "langevin_learning_rate": rate,
            "noise": noise,
            "gamma": GAMMA,
            "key": key,
        }
        return run(settings, gradient, X, length)[1]

    keys = jax.random.split(jax.random.key(0), 16_384)
    return np.asarray(jax.jit(jax.vmap(member))(keys), np.float64)


def expected_step(potential, noise, rate, length):
    """E of that step: the density of x' on a grid, moved by the kernel of each inner step.

    The grid has two points a standard deviation of the thermal noise, for which sums of
    Gaussians are integrals to float64's precision.
    """
    deviation = noise * rate**0.5
    grid, width = np.linspace(-6, 6, int(24 / deviation), retstep=True)

    def density(given):
        drifted = given - rate * (np.polyval(np.polyder(potential), given) - GAMMA * (X - given))
        return norm.pdf(grid[:, None], drifted, deviation)

    move = width * density(grid)
    inner, mean = density(np.array([X]))[:, 0], X
    for _ in range(length):
        mean = 0.25 * mean + 0.75 * width * (grid @ inner)
        inner = move @ inner
    np.testing.assert_allclose(width * inner.sum(), 1, atol=1e-9)
    return X - GAMMA * (X - mean)


def entropy_step(potential, noise):
    """x - γ (x - E x') by quadrature: x' has density exp(-2 / ε² [f(x') + γ/2 (x' - x)²])."""
    grid = np.linspace(-8, 8, 100_001)
    energy = np.polyval(potential, grid) + GAMMA / 2 * (grid - X) ** 2
    weight = np.exp(-2 / noise**2 * (energy - energy.min()))
    return X - GAMMA * (X - np.sum(weight * grid) / np.sum(weight))


@POTENTIALS
@pytest.mark.parametrize("noise", [0.5, 1.5])
@pytest.mark.parametrize(("rate", "length"), [(0.1, 20), (0.01, 600)])
def test_the_outer_step_has_the_mean_of_its_markov_chain(potential, noise, rate, length):
    steps = sampled_steps(potential, noise, rate, length)
    error = steps.std() / np.sqrt(len(steps))
    assert abs(steps.mean() - expected_step(potential, noise, rate, length)) < 4 * error
    assert error < 0.01


@POTENTIALS
@pytest.mark.parametrize("noise", [0.5, 1.5])
def test_the_chain_descends_the_local_entropy_as_its_rate_falls(potential, noise):
    coarse, fine = (expected_step(potential, noise, rate, int(20 / rate)) for rate in (0.02, 0.01))
    bias = fine - coarse  # first order in the rate, so that 2 fine - coarse has none
    wanted = entropy_step(potential, noise)
    assert abs(fine - wanted) < 0.005
    assert abs(2 * fine - coarse - wanted) < 0.1 * abs(bias) + 1e-9


def test_a_double_well_feels_the_temperature_and_a_parabola_does_not():
    cold, hot = entropy_step(DOUBLE_WELL, 0.5), entropy_step(DOUBLE_WELL, 1.5)
    assert abs(hot - cold) > 0.4  # forty times the error above
    np.testing.assert_allclose(entropy_step(PARABOLA, 0.5), entropy_step(PARABOLA, 1.5))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rate": 0.0}, "learning_rate: got 0.0"),
        ({"langevin_steps": -1}, "langevin_steps: got -1"),
        ({"langevin_learning_rate": 0.0}, "langevin_learning_rate: got 0.0"),
        ({"noise": -1e-4}, "noise: got -0.0001"),
        ({"gamma": np.inf}, "gamma: got inf"),
        ({"scoping": -0.1}, "scoping: got -0.1"),
        ({"averaging": 0.0}, "averaging: got 0.0"),
        ({"averaging": 1.5}, "averaging: got 1.5"),
    ],
)
def test_bad_settings_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        entropy_sgd(**{**SETTINGS, **changes})


def test_an_update_needs_the_point_of_its_gradient():
    transform = entropy_sgd(**SETTINGS)
    gradient = np.ones(2, np.float32)
    with pytest.raises(ValueError, match="params: got None"):
        transform.update(gradient, transform.init(gradient))
