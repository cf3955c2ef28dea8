"""Newton's step of EP: its Jacobian is that of the update, and it leads to the same fixed point."""

import jax
import numpy as np
import pytest

from flatvol_jax.volume import host_ep
from flatvol_jax.volume.ep import (
    Cavities,
    expectation_propagation,
    new_cavities,
    packed,
    point_sites,
)
from flatvol_jax.volume.ep import prior_cavities as cold_start
from flatvol_jax.volume.host_ep import expectation_propagation_on_host, factored_marginals
from flatvol_jax.volume.host_newton import jacobian_product

RANDOM = np.random.default_rng(3)
N = 40
FACTOR = RANDOM.normal(size=(N, N + 5))
KERNEL = FACTOR @ FACTOR.T / N + 0.3
LABELS = np.where(RANDOM.random(N) < 0.4, -1.0, 1.0)
PRIOR = np.diagonal(KERNEL)


def update(point):
    """Sites, marginals signed by the labels, L^-1 and the new point of an update."""
    sites = point_sites(PRIOR, point)
    found, inverse = factored_marginals(KERNEL, LABELS, sites)
    signed = found._replace(mean=LABELS * found.mean)
    new = new_cavities(PRIOR, sites, signed.mean, signed.uncertainty)
    return sites, signed, inverse, np.asarray(packed(new))


def test_jacobian_is_that_of_the_update():
    point = np.concatenate([RANDOM.normal(size=N), np.log(PRIOR) - RANDOM.uniform(0.5, 1.5, N)])
    with jax.enable_x64(True):
        *found, _ = update(point)
        product = jacobian_product(PRIOR, point, *found)
        for direction in RANDOM.normal(size=(3, 2 * N)):
            step = 1e-6
            ahead, behind = (update(point + s * direction)[-1] for s in (step, -step))
            difference = (ahead - behind) / (2 * step)
            np.testing.assert_allclose(
                product(direction), difference, atol=1e-5 * np.abs(difference).max()
            )


@pytest.mark.parametrize(
    "labels", [LABELS, np.ones(N), -np.ones(N), np.where(np.arange(N) == 3, -1.0, 1.0)]
)
def test_leads_to_the_fixed_point_of_the_compiled_ep_in_fewer_updates(labels):
    with jax.enable_x64(True):
        start = jax.tree.map(np.asarray, cold_start(KERNEL))
        newton = expectation_propagation_on_host(KERNEL, labels, start, 1e-10, 200, 0)
        compiled = expectation_propagation(KERNEL, labels, start, 1e-10, 200)
    assert newton.converged
    assert int(newton.iterations) < int(compiled.iterations)
    assert abs(float(newton.log_volume) - float(compiled.log_volume)) < 1e-9
    for one, other in zip(newton.cavities, compiled.cavities, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "step",
    [lambda point, residual: point, lambda point, residual: point - 3.0 * residual],
    ids=["none", "backwards"],
)
def test_anderson_takes_over_where_steps_gain_nothing(monkeypatch, step):
    asked = []

    def useless(prior_variance, point, residual, *rest):
        asked.append(0)
        return step(point, residual)

    monkeypatch.setattr(host_ep, "newton_step", useless)
    with jax.enable_x64(True):
        start = jax.tree.map(np.asarray, cold_start(KERNEL))
        found = expectation_propagation_on_host(KERNEL, LABELS, start, 1e-10, 200, 0)
        compiled = expectation_propagation(KERNEL, LABELS, start, 1e-10, 200)
    assert found.converged
    assert abs(float(found.log_volume) - float(compiled.log_volume)) < 1e-9
    assert 1 <= len(asked) <= (int(found.iterations) + 1) // 2  # never twice in a row


def test_steps_that_are_no_numbers_leave_the_compiled_points(monkeypatch):
    monkeypatch.setattr(host_ep, "newton_step", lambda prior, point, *rest: np.nan * point)
    with jax.enable_x64(True):
        start = jax.tree.map(np.asarray, cold_start(KERNEL))
        found = expectation_propagation_on_host(KERNEL, LABELS, start, 1e-10, 200, 0)
        compiled = expectation_propagation(KERNEL, LABELS, start, 1e-10, 200)
    assert int(found.iterations) == int(compiled.iterations)
    np.testing.assert_allclose(found.log_volume, compiled.log_volume, rtol=1e-9)


def test_without_a_first_factor_there_is_no_step_and_no_value():
    indefinite = np.array([[1.0, 3.0], [3.0, 1.0]])
    with jax.enable_x64(True):
        start = Cavities(np.zeros(2), np.ones(2))  # at the origin of an `Iterate`'s points
        found = expectation_propagation_on_host(indefinite, np.ones(2), start, 1e-10, 50, 0)
    assert not found.converged
    assert not np.isfinite(found.log_volume)
