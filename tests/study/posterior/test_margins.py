"""Normalised margins, and trained networks beside guessed ones of the same margin."""

import jax
import numpy as np
import pytest

from flatvol_jax.models import FCN
from flatvol_jax.study.posterior.margins import (
    LEAST,
    NEAREST,
    accuracies_of_guesses,
    margin_columns,
    mean_log_margin,
    normalised_margins,
    slope_over_margin,
    weight_norms,
)


def test_the_normalised_margin_has_no_scale():
    """c f of the weights c W_3 without biases: γ is the same."""
    spec = FCN((6, 3), 2**0.5, 0.0)
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    params = spec.init(jax.random.key(0), (4,))
    y = np.where(np.asarray(spec.apply(params, x)) > 0, 1, -1)

    def margin(params):
        outputs = np.asarray(spec.apply(params, x))[None]
        return normalised_margins(outputs, y, np.array([weight_norms(params)]))[0]

    larger = {name: jax.tree.map(lambda leaf: 4 * leaf, own) for name, own in params.items()}
    arrays = [np.asarray(own["kernel"], np.float64) for own in params.values()]
    outputs = np.asarray(spec.apply(params, x), np.float64)
    norms = np.prod([np.sqrt((array**2).sum()) for array in arrays])
    assert margin(params) == pytest.approx((y * outputs).min() / norms, rel=1e-5)
    assert margin(larger) == pytest.approx(margin(params), rel=1e-5)


def test_the_margin_of_classes_is_the_lead_over_the_best_other():
    outputs = np.array([[[3.0, 1.0, 2.5], [0.0, 4.0, 1.0]]])
    assert normalised_margins(outputs, np.array([0, 1]), np.array([2.0])) == pytest.approx([0.25])


def test_nearest_margins_are_compared_and_none_beyond_those_of_guesses():
    guessed = np.exp(np.arange(10.0))
    accuracies = np.arange(10) / 10
    found = accuracies_of_guesses(np.exp([4.1, -0.1, 9.5, np.nan, 0.0]), guessed, accuracies)
    assert found == pytest.approx([0.4, np.nan, np.nan, np.nan, 0.2], nan_ok=True)
    few = accuracies_of_guesses(np.exp([1.5]), guessed[: NEAREST - 1], accuracies[: NEAREST - 1])
    assert np.isnan(few).all()


def test_a_planted_gap_is_found_where_the_margin_alone_would_say_more():
    """Accuracy 0.6 + 0.05 log2 γ of guesses, 0.03 more of trained ones of twice their margin."""
    random = np.random.default_rng(1)
    guessed = 2 ** random.uniform(0, 4, 2000)
    trained = 2 ** random.uniform(1, 3.5, 200)
    accuracy = 0.6 + 0.05 * np.log2(guessed)
    row = margin_columns(trained, 0.63 + 0.05 * np.log2(trained), guessed, accuracy)
    assert row["measure.gap.matched"] == pytest.approx(0.03, abs=1e-3)
    assert row["measure.networks.matched"] == row["measure.fitting"] == 200
    assert slope_over_margin(guessed, accuracy) == pytest.approx(0.05)
    assert slope_over_margin(guessed[: LEAST - 1], accuracy[: LEAST - 1]) is None
    with_zero = np.append(guessed, 0.0), np.append(accuracy, 0.0)
    assert slope_over_margin(*with_zero) == slope_over_margin(guessed, accuracy)
    assert mean_log_margin(with_zero[0]) == pytest.approx(np.log(guessed).mean())
    again = margin_columns(trained, 0.63 + 0.05 * np.log2(trained), *with_zero)
    assert again == row


def test_networks_that_did_not_get_there_are_left_out():
    margins, accuracies = np.array([np.nan, 2.0]), np.array([np.nan, 0.9])
    guessed = np.array([1.0, 1.5, 2.0, 3.0, 4.0]), np.array([0.8, 0.6, 0.7, 0.7, 0.7])
    row = margin_columns(margins, accuracies, *guessed)
    assert row["measure.networks"] == 2
    assert row["measure.fitting"] == row["measure.networks.matched"] == 1
    assert row["measure.gap.matched"] == pytest.approx(0.2)
    nobody = margin_columns(margins[:1], accuracies[:1], *guessed)
    assert nobody["measure.accuracy"] is None
    assert nobody["measure.gap.matched"] is None
