"""Numerical faults: recorded at the network that has them, counted, and the sweep goes on."""

import numpy as np
import pandas as pd
import pytest

from flatvol_jax.runtime.faults import NumericalFault
from flatvol_jax.study import load_records, records_summary
from flatvol_jax.study.analysis.run_tables import fault_table
from flatvol_jax.study.measures import run_units
from flatvol_jax.study.measures.registry import MEASURES
from flatvol_jax.study.sweep.run import run_attack_sweep


@pytest.fixture
def config(tiny):
    return tiny(draws=2, attack_sizes=(0, 20), samples=1)


def spoiled(monkeypatch, draw, spoil):
    """Let one draw have another kernel, as a faulty one would be."""
    make = run_units.make_problem

    def make_problem(config, of_draw, *rest):
        problem = make(config, of_draw, *rest)
        if of_draw == draw:
            problem.__dict__["kernel"] = spoil(problem.kernel)
        return problem

    monkeypatch.setattr(run_units, "make_problem", make_problem)


def indefinite(kernel):
    values, vectors = np.linalg.eigh(kernel)
    values[0] = -1.0
    kernel = vectors * values @ vectors.T
    return (kernel + kernel.T) / 2


@pytest.mark.parametrize("draw", [0, 1])
def test_an_indefinite_kernel_costs_what_needs_it_and_nothing_else(
    draw, config, tmp_path, monkeypatch
):
    spoiled(monkeypatch, draw, indefinite)
    if draw == 0:
        with pytest.warns(UserWarning, match="draw 0: kernel: got an indefinite matrix"):
            run_attack_sweep(config, tmp_path)
    else:
        run_attack_sweep(config, tmp_path)
    frame = load_records(tmp_path)
    bad = frame["hp.draw"] == draw
    assert frame["measure.log_volume.heaviside"].isna().equals(bad)
    assert frame["is.fault.log_volume"].eq(True).equals(bad)
    assert frame.loc[bad, "meta.fault.log_volume"].str.contains("indefinite").all()
    assert frame["measure.sharpness.best"].notna().all()
    table = fault_table(frame).set_index("fault")
    assert table.loc["log_volume not measured", "networks"] == 2
    lines = records_summary(frame)
    assert any("2 of 4 networks: log_volume not measured (kernel: got an" in s for s in lines)


def test_diverging_training_is_recorded_and_counted(config, tmp_path):
    config["hp"]["train"]["learning_rate"] = 1e30
    run_attack_sweep(config, tmp_path)
    frame = load_records(tmp_path)
    assert len(frame) == 4
    diverged = frame["is.diverged"]
    assert diverged.any()  # some end with every unit dead, which is finite
    assert not frame["is.zero_error"].any()
    assert not frame[diverged].get("measure.sharpness.best", pd.Series(dtype=float)).notna().any()
    counted = fault_table(frame).set_index("fault")["networks"]
    assert counted["training diverged"] == diverged.sum()
    assert counted.get("zero training error not reached", 0) == (~diverged).sum()


def test_a_loss_that_is_not_finite_where_it_is_measured_is_a_fault(config, tmp_path, monkeypatch):
    def measure(problem, trained, key, settings):
        raise NumericalFault("loss: got nan at params, wanted a finite loss to start from.")

    monkeypatch.setitem(MEASURES, "sharpness", MEASURES["sharpness"]._replace(function=measure))
    run_attack_sweep(config, tmp_path)
    frame = load_records(tmp_path)
    assert frame["is.fault.sharpness"].all()
    assert frame["measure.log_volume.heaviside"].notna().all()


def test_another_error_still_ends_the_sweep(config, tmp_path, monkeypatch):
    def measure(problem, trained, key, settings):
        raise ValueError("settings: wrong.")

    monkeypatch.setitem(MEASURES, "sharpness", MEASURES["sharpness"]._replace(function=measure))
    with pytest.raises(ValueError, match="settings: wrong"):
        run_attack_sweep(config, tmp_path)


def test_what_did_not_converge_is_counted_and_what_did_is_not():
    frame = pd.DataFrame(
        {
            "is.zero_error": [True, True, False, False],
            "is.diverged": [False, False, False, True],
            "is.ep_converged": [True, False, None, None],
            "is.sharpness_converged": [True, True, True, None],
        }
    )
    table = fault_table(frame).set_index("fault")["networks"]
    assert table.to_dict() == {
        "training diverged": 1,
        "zero training error not reached": 1,
        "EP did not converge": 1,
    }
    assert fault_table(frame[:1]).empty
