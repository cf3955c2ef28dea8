"""What networks are to each other, against pairs counted one by one; log P(S) in closed form."""

import itertools
import types

import numpy as np
import pytest

from flatvol_jax.study.equal_networks.measures import TRAIN_VOLUME
from flatvol_jax.study.equal_networks.peers import (
    label_entropy,
    peer_disagreement,
    train_volume_columns,
)


@pytest.mark.parametrize("labels_of", [(-1, 1), range(10)])
def test_disagreement_is_the_mean_over_pairs(labels_of):
    labels = np.random.default_rng(0).choice(labels_of, size=(7, 30))
    wanted = np.zeros(7)
    for i, j in itertools.permutations(range(7), 2):
        wanted[i] += np.mean(labels[i] != labels[j]) / 6
    np.testing.assert_allclose(peer_disagreement(labels), wanted, rtol=1e-12)


def test_disagreement_of_twins_of_opposites_and_of_one_alone():
    twins = np.array([[1, -1, 1], [1, -1, 1]])
    assert peer_disagreement(twins).tolist() == [0, 0]
    assert peer_disagreement(np.array([twins[0], -twins[0]])).tolist() == [1, 1]
    assert np.isnan(peer_disagreement(twins[:1])).all()
    assert np.isnan(peer_disagreement(np.zeros((2, 0)))).all()


def test_entropy_of_one_label_of_two_and_of_quarters():
    labels = np.array([[3, 3, 3, 3], [3, 3, 1, 1], [0, 1, 2, 3], [3, 3, 3, 0]])
    uneven = -0.75 * np.log(0.75) - 0.25 * np.log(0.25)
    wanted = [0, np.log(2), np.log(4), uneven]
    np.testing.assert_allclose(label_entropy(labels), wanted, atol=1e-15)


@pytest.mark.parametrize(("correlation", "sign"), [(0.3, 1), (0.3, -1), (-0.6, 1)])
def test_log_p_of_s_is_the_probability_of_a_quadrant(correlation, sign):
    kernel = np.eye(4) * 2.0
    kernel[0, 1] = kernel[1, 0] = 2 * correlation
    problem = types.SimpleNamespace(
        kernel=kernel, train_y=np.array([1, sign], np.int8), classes=None
    )
    found = train_volume_columns(problem)
    exact = np.log(0.25 + np.arcsin(sign * correlation) / (2 * np.pi))
    assert found["is.train_volume_converged"]
    assert found[TRAIN_VOLUME] == pytest.approx(exact, abs=0.01)  # EP's own error
    corrected = found[f"{TRAIN_VOLUME}.corrected"]
    assert abs(corrected - exact) <= abs(found[TRAIN_VOLUME] - exact)


def test_a_kernel_of_no_use_is_a_fault_of_the_draw_and_no_end():
    kernel = np.array([[1.0, 2.0, 0.0], [2.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    problem = types.SimpleNamespace(kernel=kernel, train_y=np.array([1, -1], np.int8), classes=None)
    found = train_volume_columns(problem)
    assert found["is.fault.peers"]
    assert TRAIN_VOLUME not in found
    assert "indefinite" in found["meta.fault.peers"]
