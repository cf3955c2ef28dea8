"""Each sentence of the paper answers one question of a reader."""

from flatvol_jax.paper.claims.sentences import QUESTIONS, SENTENCES


def test_every_sentence_answers_one_question():
    answered = [key for keys in QUESTIONS.values() for key in keys]
    assert sorted(answered) == sorted(SENTENCES)
