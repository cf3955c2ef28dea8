"""Jiang's conditional information: by hand, and against an enumeration of ordered pairs."""

import itertools

import numpy as np
import pandas as pd
import pytest

from flatvol_jax.study.analysis.conditional_information import (
    information,
    least_information,
    pair_counts,
)

FACTORS = ("width", "rate", "depth")


def networks(draws=2, seed=0, decimals=1):
    """Two samples of each setting; measure and error are rounded, so that some pairs tie."""
    random, rows = np.random.default_rng(seed), []
    for draw in range(draws):
        for width, rate, depth, _ in itertools.product(range(3), range(2), range(2), range(2)):
            error = 0.5 * width + random.normal()
            x = error + random.normal()
            rows.append((draw, width, rate, depth, round(x, decimals), round(error, decimals)))
    return pd.DataFrame(rows, columns=["hp.draw", *FACTORS, "x", "error"])


def enumerated_information(frame, given):
    """I(V_x; V_error | U) / H(V_error | U) from the joint distribution of both signs and of U."""
    joint = {}
    rows = frame.to_dict("records")
    for a, b in itertools.permutations(rows, 2):
        same = a["hp.draw"] == b["hp.draw"] and all(a[name] == b[name] for name in given)
        if same and a["error"] != b["error"]:
            u = tuple(a[name] for name in given)
            signs = (np.sign(a["x"] - b["x"]), np.sign(a["error"] - b["error"]))
            joint[u, *signs] = joint.get((u, *signs), 0) + 1
    total, mutual, entropy = sum(joint.values()), 0.0, 0.0
    for (u, s, t), count in joint.items():
        of_u = sum(n for key, n in joint.items() if key[0] == u)
        of_s = sum(n for key, n in joint.items() if key[:2] == (u, s))
        of_t = sum(n for key, n in joint.items() if (key[0], key[2]) == (u, t))
        mutual += count / total * np.log2(count * of_u / (of_s * of_t))
        entropy -= count / total * np.log2(of_t / of_u)
    return mutual / entropy


def test_information_by_hand():
    assert information([[10, 0, 0]]) == 1
    assert information([[0, 7, 0]]) == 1  # a measure that is always wrong says as much
    assert information([[5, 5, 0]]) == 0
    assert information([[0, 0, 4]]) == 0
    entropy = -(0.75 * np.log2(0.75) + 0.25 * np.log2(0.25))
    assert information([[3, 1, 0]]) == pytest.approx(1 - entropy)
    assert information([[3, 1, 4]]) == pytest.approx((1 - entropy) / 2)
    assert information([[3, 1, 0], [6, 0, 0]]) == pytest.approx((4 * (1 - entropy) + 6) / 10)
    assert np.isnan(information(np.zeros((2, 3))))


def test_every_set_of_hyperparameters_is_as_enumerated():
    frame = networks()
    counts = pair_counts(frame, "x", "error", FACTORS)
    sets = [(), *itertools.combinations(FACTORS, 1), *itertools.combinations(FACTORS, 2)]
    assert [own.given for own in counts] == sets
    for own in counts:
        wanted = enumerated_information(frame, own.given)
        assert information(own.pairs.sum(axis=0)) == pytest.approx(wanted)
    found, given = least_information(counts)
    values = [enumerated_information(frame, names) for names in sets]
    assert found.estimate == pytest.approx(min(values))
    assert given == sets[int(np.argmin(values))]


def test_a_measure_that_repeats_a_hyperparameter_has_none_and_one_that_knows_the_error_all():
    frame = networks(draws=6, decimals=9)
    frame = frame.assign(known=np.exp(frame["error"]), width_again=frame["width"])
    all_of_it, _ = least_information(pair_counts(frame, "known", "error", FACTORS))
    assert all_of_it.estimate == pytest.approx(1)
    nothing, given = least_information(pair_counts(frame, "width_again", "error", FACTORS))
    assert nothing.estimate == pytest.approx(0, abs=1e-12)
    assert "width" in given
    some, _ = least_information(pair_counts(frame, "x", "error", FACTORS))
    assert 0.05 < some.estimate < 0.9
    assert some.low < some.estimate < some.high


def test_the_interval_is_the_jackknife_over_draws():
    frame = networks(draws=4)
    found, _ = least_information(pair_counts(frame, "x", "error", FACTORS))
    left_out = [
        least_information(pair_counts(frame[frame["hp.draw"] != draw], "x", "error", FACTORS))[
            0
        ].estimate
        for draw in range(4)
    ]
    error = np.sqrt(3 * np.var(left_out))
    assert found.standard_error == pytest.approx(error)
    assert (found.draws, found.freedom) == (4, 3)


def test_networks_without_a_value_are_left_out():
    frame = networks()
    frame.loc[frame["rate"] == 1, "x"] = np.nan
    found = pair_counts(frame, "x", "error", FACTORS)
    wanted = pair_counts(frame[frame["rate"] == 0], "x", "error", FACTORS)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one.pairs, other.pairs)
