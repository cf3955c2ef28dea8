"""The answer in a sentence follows from the verdicts of the table, whatever they are."""

import numpy as np
import pandas as pd
import pytest

from flatvol_jax.study.analysis.claims import claims_table
from flatvol_jax.study.analysis.columns import LOG_VOLUME, NULL, SHARPNESS
from flatvol_jax.study.report import answer


def claims(volume=-0.6, null=-0.6, sharpness=0.6, half=0.1, optimizer="sgd", draws=12):
    """A claims table whose correlations are these in both readings, with verdicts by the rules."""
    rows = []
    for measure, rho in ((LOG_VOLUME, volume), (NULL, null), (SHARPNESS, sharpness)):
        row = {"optimizer": optimizer, "column": measure.name, "family": measure.family}
        for reading in ("pooled", "within"):
            ends = {"": rho, "_low": rho - half, "_high": rho + half}
            row |= {f"{reading}{end}": value for end, value in ends.items()}
            row[f"{reading}_draws"] = draws
            if measure != NULL:
                row[f"{reading}_decidable"] = measure.sign * 0.4
                strength, limit = measure.sign * rho, 0.3
                verdict = "holds" if strength - half > limit else "undecided at this scale"
                row[f"{reading}_verdict"] = "does not hold" if strength + half < limit else verdict
        rows.append(row)
    return pd.DataFrame(rows)


def within(table, **rhos):
    """The same table with other correlations within |A|."""
    other = claims(**rhos)
    names = [name for name in other if name.startswith("within")]
    return table.assign(**{name: other[name] for name in names})


def test_what_tracks_the_error_comes_first_and_the_control_with_it():
    table = within(claims(), volume=-0.1, sharpness=0.3, null=-0.3)
    assert answer.answer_sentences(table, "cpu") == [
        "With SGD, across attack set sizes log V tracks the error, and so do the control and "
        "sharpness; within one size log V correlates with it by less than 0.3, if at all, and for "
        "the control and sharpness 12 draws cannot tell."
    ]


@pytest.mark.parametrize(
    ("rhos", "said"),
    [
        (
            {"volume": -0.6, "null": 0.0, "sharpness": 0.0},
            "the control and sharpness correlate with",
        ),
        (
            {"volume": 0.0, "null": -0.6, "sharpness": 0.0},
            "the control tracks the error, and log V",
        ),
        ({"volume": -0.3, "null": -0.3, "sharpness": 0.3}, "for log V, the control and sharpness"),
        (
            {"volume": 0.9, "null": 0.0, "sharpness": -0.9},
            "the control correlates with it by less than 0.3, if at all, and log V and sharpness "
            "go the opposite way of what is claimed",
        ),
    ],
)
def test_the_sentence_follows_the_verdicts(rhos, said):
    (sentence,) = answer.answer_sentences(claims(**rhos), "paper")
    assert said in sentence


def test_what_the_error_on_e1_hides_is_not_laid_at_the_number_of_draws():
    table = claims(volume=-0.1)
    table.loc[table["column"] == LOG_VOLUME.name, "within_verdict"] = "undecidable at this |E1|"
    (sentence,) = answer.answer_sentences(table, "cpu")
    assert "within one size the control tracks the error, and so does sharpness" in sentence
    assert "for log V this |E1| cannot tell" in sentence
    assert "draws cannot tell" not in sentence


def test_the_control_is_held_against_the_same_limit_as_log_v():
    for rho in (-0.6, -0.3, -0.1, 0.5):
        table = claims(volume=rho, null=rho)
        volume, null = (row for row in table.to_dict("records")[:2])
        assert answer.outcome(null, "within", -1) == answer.outcome(volume, "within", -1)


def test_optimizers_of_one_answer_share_a_sentence():
    tables = [claims(optimizer=name) for name in ("sgd", "adam", "momentum")]
    tables[2] = claims(optimizer="momentum", sharpness=0.0)
    first, second = answer.answer_sentences(pd.concat(tables), "cpu")
    assert first.startswith("With SGD and Adam, ")
    assert second.startswith("With momentum, ")


@pytest.mark.parametrize(
    ("draws", "scale", "reason"),
    [
        (9, "cpu", "9 draws where 10 are wanted"),
        (1, "cpu", "1 draw where 10 are wanted"),
        (12, "small", "scale small where cpu or paper is wanted"),
        (12, None, "scale not stated where"),
    ],
)
def test_a_small_sweep_says_that_it_decides_nothing(draws, scale, reason):
    table = claims(draws=draws)
    (sentence,) = answer.answer_sentences(table, scale)
    assert "nothing is decided" in sentence
    assert reason in sentence
    assert "−0.60 of log V" in sentence
    assert "tracks" not in sentence
    (line,) = answer.decision_lines(table, scale)
    assert "decides no claim" in line
    assert reason in line


def test_what_a_sweep_can_decide_and_what_it_leaves_open():
    (line,) = answer.decision_lines(within(claims(), volume=-0.3, sharpness=0.6), "cpu")
    assert "beyond −0.40 of log V and +0.40 of sharpness across attack set sizes" in line
    assert line.endswith("It leaves open: log V within one size.")
    (line,) = answer.decision_lines(claims(), "cpu")
    assert line.endswith("It leaves open: none of its claims.")


def test_a_real_table_has_an_answer_of_every_reading(ten_draws):
    table = claims_table(ten_draws, "cpu", permutations=0)
    assert np.isfinite(table["within_decidable"]).any()
    sentence, *rest = answer.answer_lines(table, "cpu")
    assert sentence.startswith("With SGD, across attack set sizes")
    assert "within one size" in sentence
    assert rest[-1].startswith("SGD: a run of this size decides")
