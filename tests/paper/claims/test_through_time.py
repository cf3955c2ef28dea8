"""Claims on a temporal study whose course is known."""

import numpy as np
import pandas as pd
import pytest

from flatvol_jax.paper.claims.through_time import branch_name, temporal_claims
from flatvol_jax.paper.sensitivity import temporal_table
from flatvol_jax.study.analysis.verdicts import FAILS, HOLDS

VOLUME, SHARPNESS = "measure.log_volume.heaviside", "measure.sharpness.best"
ZERO, EVENT, END = 40, 60, 100


def study(draws=10, leap=10.0, end_ratio=1.0, back=1.0):
    """Sharpness and log V fall to zero error; then sharpness falls and log V stays.

    Scaling multiplies sharpness by `leap`; at the last epoch the scaled network has `end_ratio`
    of the other's sharpness and `back` times the log V before scaling.
    """
    rows = []
    for draw in range(draws):
        wobble = 1 + 0.01 * np.sin(draw)
        common = {
            "run_id": f"run {draw}",
            "hp.draw": draw,
            "hp.attack_size": 0,
            "hp.data.train_size": 500,
            "hp.data.test_size": 100,
            "hp.train.learning_rate": 0.01,
            "hp.train.loss": "mean",
            "is.zero_error": True,
            "is.ep_converged": True,
            "is.sharpness_converged": True,
        }

        def row(epoch, transform, sharpness, volume, draw=draw, common=common, **more):
            known = {"measure.epochs.zero_error": ZERO} if epoch >= ZERO else {}
            known |= {"measure.epochs.event": EVENT} if epoch >= EVENT else {}
            return {
                **common,
                "epoch": epoch,
                "transform": transform,
                SHARPNESS: sharpness,
                VOLUME: volume,
                "measure.function.differs": 0.0,
                **known,
                **more,
            }

        volume_at_zero = -200.0 * wobble
        for epoch in range(0, END + 1, 5):
            volume = volume_at_zero * min(epoch, ZERO) / ZERO - 1
            rows.append(row(epoch, "none", 100 * np.exp(-0.05 * epoch), volume))
            if epoch == EVENT:
                rows[-1]["meta.event"] = "before"
        scaled = {"transform.layer": 1, "transform.alpha": 1 / 6}
        at_event, at_end = 100 * np.exp(-0.05 * EVENT), 100 * np.exp(-0.05 * END)
        name = "layer 1, alpha 0.166667"
        after = {"meta.event": "after", "is.function_unchanged": True, **scaled}
        rows.append(row(EVENT, name, leap * at_event, volume_at_zero - 1, **after))
        last = (volume_at_zero - 1) * back
        rows.append(row(END, name, end_ratio * wobble * at_end, last, **scaled))
    return pd.DataFrame(rows)


def claims_of(frame, scale="cpu"):
    found = {}
    for claim in temporal_claims(frame, scale):
        found.setdefault(claim.sentence, []).append(claim)
    return found


def test_what_falls_until_zero_error_falls_and_epochs_that_do_not_know_it_count():
    sharpness, volume = claims_of(study())["fall"]
    assert (sharpness.paper.verdict, volume.paper.verdict) == (HOLDS, HOLDS)
    assert sharpness.paper.judged.note.startswith("90 epochs")  # nine a draw: 0, 5, ..., 40
    assert sharpness.paper.judged.estimate < -0.95


def test_what_stays_beyond_zero_error_stays():
    found = claims_of(study())
    assert found["overtraining"][0].paper.verdict == HOLDS
    assert found["stays"][0].paper.judged.estimate == 0
    assert found["stays"][0].paper.verdict == HOLDS


@pytest.mark.parametrize(("leap", "verdict"), [(10.0, HOLDS), (0.5, FAILS)])
def test_a_leap_is_the_logarithm_of_its_factor(leap, verdict):
    (claim,) = claims_of(study(leap=leap))["spike"]
    np.testing.assert_allclose(claim.paper.judged.estimate, np.log10(leap))
    assert claim.paper.verdict == verdict


@pytest.mark.parametrize(("back", "verdict"), [(1.0, HOLDS), (1.004, HOLDS), (0.97, FAILS)])
def test_log_v_returns_within_one_per_cent(back, verdict):
    (claim,) = claims_of(study(back=back))["returns"]
    np.testing.assert_allclose(claim.paper.judged.estimate, back - 1, atol=1e-12)
    assert claim.paper.verdict == verdict
    assert "the same in 10 of 10" in claim.paper.reason


@pytest.mark.parametrize(("ratio", "verdict"), [(1.05, HOLDS), (0.5, FAILS)])
def test_the_curve_goes_on_where_the_ratio_at_the_end_is_near_one(ratio, verdict):
    (claim,) = claims_of(study(end_ratio=ratio))["continues"]
    wobble = np.log10(1 + 0.01 * np.sin(np.arange(10))).mean()
    np.testing.assert_allclose(claim.paper.judged.estimate, np.log10(ratio) + wobble)
    assert claim.paper.verdict == verdict


def test_one_draw_is_conditional():
    for claims in claims_of(study(draws=1)).values():
        assert {claim.paper.verdict for claim in claims} == {"conditional on this S, E"}


def test_branches_have_the_names_of_what_was_done():
    rows = pd.DataFrame({"transform.layer": [1.0], "transform.alpha": [1 / 5.9]})
    assert branch_name(rows) == "W1 / 5.9"
    assert branch_name(rows.assign(**{"transform.alpha": 6.0})) == "W1 × 6"


def test_the_table_of_studies_has_the_same_numbers():
    studies = {"one": study(leap=10.0), "two": study(leap=0.5)}
    table = temporal_table((name, temporal_claims(one, None)) for name, one in studies.items())
    leaps = table[table["sentence"] == "spike"].set_index("study")["estimate"]
    np.testing.assert_allclose(leaps, np.log10([10.0, 0.5]))
