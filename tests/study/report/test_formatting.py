import numpy as np
import pandas as pd
import pytest

from flatvol_jax.study.report import formatting


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (-232.4567, "−232"),
        (500, "500"),
        (500.0, "500"),
        (1.234e-5, "1.23e−05"),
        (True, "yes"),
        (np.nan, "—"),
        (None, "—"),
        (pd.NA, "—"),
        (np.inf, "—"),
    ],
)
def test_number(value, text):
    assert formatting.number(value) == text


def test_correlation_and_interval():
    assert formatting.correlation(-0.4567) == "−0.46"
    assert formatting.correlation(-0.001) == "0.00"
    assert formatting.interval(-0.5, 0.25) == "[−0.50, +0.25]"
    assert formatting.interval(np.nan, 0.25) == "—"


def test_p_value_and_percent():
    assert formatting.p_value(0.0002) == "< 0.001"
    assert formatting.p_value(0.0312) == "0.031"
    assert formatting.percent(0.975) == "97.5%"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (2.34, "2.3 s"),
        (59.96, "1 min 0 s"),
        (170.3, "2 min 50 s"),
        (7260, "2 h 1 min"),
        (None, "—"),
    ],
)
def test_duration(seconds, text):
    assert formatting.duration(seconds) == text


def test_cell_takes_numpy_text_and_lists():
    assert formatting.cell(np.float64(-1234.5678)) == "−1235"
    assert formatting.cell(np.bool_(False)) == "no"
    assert formatting.cell(float("nan")) == "—"
    assert formatting.cell("sgd") == "sgd"
    assert formatting.cell((40, 40)) == "(40, 40)"
