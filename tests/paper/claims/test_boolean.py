"""Claims on Boolean functions whose places are known."""

import numpy as np
import pandas as pd
import pytest

from flatvol_jax.paper.claims.boolean import boolean_claims

SYSTEM = "conditional on this system"


def functions(gap=0.3, slope=-0.2, constant=5.0, count=200):
    """log10 sharpness = slope · log V + gap · odd; the constants have `constant` times as much."""
    generator = np.random.default_rng(0)
    volume = np.sort(generator.uniform(-12, -4, count))[::-1]
    minority = generator.integers(1, 4, count)
    volume[:2], minority[:2] = -2.5, 0
    sharpness = 10 ** (slope * volume + gap * (minority % 2))
    sharpness[:2] *= constant
    return pd.DataFrame(
        {
            "meta.part": "function",
            "overtrain": 0,
            "function.rank": np.arange(count),
            "function.minority": minority,
            "measure.log_volume.direct": volume,
            "measure.sharpness.best": sharpness,
            "measure.hessian.spectral_norm": sharpness**2,
        }
    )


def posterior(distance):
    name = "measure.total_variation.direct"
    return pd.DataFrame(
        {
            "meta.part": ["posterior_summary"],
            "meta.system": "boolean",
            "meta.seeds": 1000.0,
            "target.name": "rank_2",
            "hp.train.optimizer": "sgd",
            "hp.train_size": 64.0,
            name: distance,
            f"{name}.null.low": 0.04,
            f"{name}.null.high": 0.06,
            "measure.slope.direct": 1.5,
            "measure.slope.direct.robust.se": 0.1,
            "measure.slope.direct.functions": 40.0,
        }
    )


def claims_of(*frames):
    frame = pd.concat(frames, ignore_index=True)
    return {claim.sentence: claim for claim in boolean_claims(frame)}


def test_the_gap_between_the_bands_is_the_one_that_was_built_in():
    claim = claims_of(functions(gap=0.3))["bands"]
    np.testing.assert_allclose(claim.paper.judged.estimate, 0.3, atol=1e-9)
    assert claim.paper.met


def test_without_a_gap_there_are_no_bands():
    noisy = functions(gap=0.0)
    noise = np.random.default_rng(1).normal(0, 0.1, len(noisy))
    noisy["measure.sharpness.best"] *= 10**noise
    claim = claims_of(noisy)["bands"]
    assert claim.paper.judged.low < 0 < claim.paper.judged.high
    assert not claim.paper.met


@pytest.mark.parametrize(("constant", "place"), [(1e-6, 1.5), (1e6, 199.5)])
def test_the_place_of_the_constants_is_counted(constant, place):
    claim = claims_of(functions(constant=constant))["constants"]
    assert claim.paper.judged.estimate == place
    assert claim.paper.met == (place == 1.5)


def test_a_monotone_sharpness_correlates_wholly_and_without_a_verdict():
    claim = claims_of(functions(gap=0.0, slope=-0.2, constant=1.0))["boolean"]
    np.testing.assert_allclose(claim.paper.judged.estimate, -1)
    assert claim.paper.verdict == SYSTEM
    norms = {e.label: e.estimate for e in claim.evidence}
    np.testing.assert_allclose(norms["spectral norm and sharpness (S1) at zero error"], 1)


@pytest.mark.parametrize(("distance", "met"), [(0.05, True), (0.15, False)])
def test_p_sgd_is_p_b_where_it_is_within_what_two_samples_differ(distance, met):
    claim = claims_of(posterior(distance))["sampler"]
    assert claim.paper.met == met
    slope = claim.evidence[0]
    np.testing.assert_allclose((slope.low, slope.high), (1.5 - 0.196, 1.5 + 0.196))
