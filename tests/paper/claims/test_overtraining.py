"""Claims on networks that were measured again, with courses that are known."""

import numpy as np
import pandas as pd
import pytest
from known_sweeps import ERROR, SHARPNESS, VOLUME, known_sweep

from flatvol_jax.paper.claims.overtraining import overtraining_claims
from flatvol_jax.study.analysis.experiment_tables import experiment_tables
from flatvol_jax.study.analysis.verdicts import FAILS, HOLDS

EPOCHS = (0, 100, 500)


def followed(change, error_shift=0.0):
    """Sharpness a tenth at each later epoch, log V times 1 + change (a little by draw)."""
    first = known_sweep("sgd", -0.9, 0.9, "mnist_fcn_overtrain", levels=3)
    frames = []
    for place, epoch in enumerate(EPOCHS):
        by_draw = change * (1 + 0.01 * first["hp.draw"]) if place else 0.0
        frames.append(
            first.assign(
                **{
                    "overtrain": epoch,
                    SHARPNESS: first[SHARPNESS] * 10.0**-place,
                    VOLUME: first[VOLUME] * (1 + by_draw),
                    ERROR: first[ERROR] + error_shift * place,
                    "measure.function.changed": 7.0 * place if place else np.nan,
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def claims_of(frame):
    found = {}
    for claim in overtraining_claims(experiment_tables(frame, "cpu"), "cpu"):
        found.setdefault(claim.sentence, []).append(claim)
    return found


def test_a_sharpness_that_falls_at_every_epoch_falls_wholly():
    (claim,) = claims_of(followed(0.001))["overtraining"]
    assert claim.paper.verdict == HOLDS
    assert claim.paper.judged.estimate < -0.95  # Fisher's z ends half a step before -1
    (ratio,) = claim.evidence
    np.testing.assert_allclose(ratio.estimate, -2)


@pytest.mark.parametrize(("change", "verdict"), [(0.02, FAILS), (0.005, HOLDS), (-0.02, FAILS)])
def test_a_volume_stays_within_one_per_cent(change, verdict):
    (claim,) = claims_of(followed(change))["stays"]
    assert claim.paper.verdict == verdict
    np.testing.assert_allclose(claim.paper.judged.estimate, change * 1.045)
    assert claim.evidence[0].estimate == 14


def test_correlations_that_do_not_move_have_no_difference():
    for claim in claims_of(followed(0.001))["correlations"]:
        for reading in (claim.paper, claim.within):
            assert reading.verdict == HOLDS
            np.testing.assert_allclose(reading.judged.estimate, 0, atol=1e-12)


def test_only_networks_that_are_usable_at_every_epoch_are_compared():
    frame = followed(0.001)
    lost = (frame["overtrain"] == 500) & (frame["hp.sample"] == 0)
    frame.loc[lost, "is.zero_error"] = False
    # What those networks had at zero error must not count: make it absurd.
    absurd = (frame["overtrain"] == 0) & (frame["hp.sample"] == 0)
    frame.loc[absurd, VOLUME] *= -1
    volume = claims_of(frame)["correlations"][0]
    for reading in (volume.paper, volume.within):
        np.testing.assert_allclose(reading.judged.estimate, 0, atol=1e-12)


def test_one_epoch_alone_makes_no_claim():
    assert claims_of(followed(0.001).query("overtrain == 0")) == {}
