"""A measure is declared once: name, version, settings, usual values; results become columns."""

from typing import NamedTuple

import numpy as np
import pytest

from flatvol_jax.runtime import checks
from flatvol_jax.study.engine.store import Stage
from flatvol_jax.study.measures import declared
from flatvol_jax.study.measures.declared import measure, result_columns, setting
from flatvol_jax.study.measures.registry import ON, chosen_measures, default_settings


class Result(NamedTuple):
    value: float = 1.0
    standard_error: float = 0.1
    trace: float = 2.0
    trace_se: float = 0.2


def test_a_standard_error_is_the_se_of_what_it_belongs_to():
    assert result_columns("m", Result(), "standard_error", "trace", "trace_se") == {
        "m": 1.0,
        "m.se": 0.1,
        "m.trace": 2.0,
        "m.trace.se": 0.2,
    }
    assert result_columns("m", Result(), "trace", value=None) == {"m.trace": 2.0}


def test_a_declared_measure_has_a_stage_settings_and_pythons_numbers(monkeypatch):
    monkeypatch.setattr(declared, "MEASURES", {})

    @measure(
        "steps", 7, size=setting(checks.count, 3, before=1), rate=setting(checks.positive, 0.5)
    )
    def measure_steps(problem, trained, key, settings):
        return {"a": np.float32(settings.rate), "b": np.array(settings.size), "c": np.ones(2)}

    found = declared.MEASURES["steps"]
    assert found.stage == Stage("steps", 7)
    columns = found.measured(None, None, None, {"rate": 0.25})
    assert {name: type(columns[name]) for name in "abc"} == {"a": float, "b": int, "c": np.ndarray}
    assert (columns["a"], columns["b"]) == (0.25, 1)  # a config without `size` is an older one


def test_the_usual_settings_are_settings():
    usual = default_settings()
    assert list(usual)[: len(ON)] == list(ON)
    config = {"measures": {name: {"on": True, **entries} for name, entries in usual.items()}}
    chosen = chosen_measures(config)
    assert {name: dict(found.settings) for name, found in chosen.items()} == usual


def test_networks_restrict_what_is_measured_and_change_no_name():
    config = {"measures": {"hessian": {"on": True, "k": 5, "networks": 2}}}
    few = chosen_measures(config)["hessian"]
    del config["measures"]["hessian"]["networks"]
    every = chosen_measures(config)["hessian"]
    assert (few.networks, every.networks) == (2, None)
    assert few.unit("run") == every.unit("run")
    config["measures"]["hessian"]["networks"] = 0
    with pytest.raises(ValueError, match="measures.hessian.networks: got 0"):
        chosen_measures(config)
