"""The bound on sweeps where it is known what it says."""

import numpy as np
from known_sweeps import known_sweep

from flatvol_jax.paper.claims.bound import bound_claims
from flatvol_jax.study.analysis.experiment_tables import experiment_tables


def claims_of(printed, split, draws=10, **more):
    frame = known_sweep("sgd", -0.9, 0.9, draws=draws, levels=2, samples=5, **more)
    frame["measure.error.test"] = 0.2
    frame["measure.bound.printed"] = np.resize(printed, len(frame))
    frame["measure.bound.random_split"] = np.resize(split, len(frame))
    return list(bound_claims(experiment_tables(frame, "cpu")))


def test_the_share_of_runs_where_it_says_something_is_counted():
    printed, split = claims_of([0.3, 0.9, 1.4, 2.0], [0.7])
    assert (printed.paper.judged.estimate, split.paper.judged.estimate) == (0.25, 0.0)
    assert {printed.paper.verdict, split.paper.verdict} == {"no verdict"}
    assert printed.paper.met
    assert not split.paper.met
    looseness = {e.label: e for e in printed.evidence}["bound minus error on E1, median"]
    np.testing.assert_allclose((looseness.low, looseness.high), (0.1, 1.8))


def test_a_bound_below_the_error_does_not_hold_and_one_draw_is_conditional():
    assert claims_of([0.1], [0.7])[0].paper.verdict == "does not hold"
    assert claims_of([0.1], [0.7], draws=1)[0].paper.verdict == "conditional on this S, E"
    assert not claims_of([0.1], [0.7])[0].paper.met


def test_half_is_no_limit_where_there_are_ten_classes():
    assert not claims_of([0.3], [0.7], experiment="mnist_fcn_classes10")
