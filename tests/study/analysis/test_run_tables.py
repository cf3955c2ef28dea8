import numpy as np
import pandas as pd
import pytest

from flatvol_jax.study.analysis.run_tables import local_volume_table, sharpness_table


@pytest.fixture
def frame():
    return pd.DataFrame(
        {
            "hp.draw": [0] * 4,
            "hp.attack_size": [0, 0, 10, 10],
            "is.zero_error": [True, True, True, False],
            "is.sharpness_converged": [True, True, True, True],
            "is.sgd_sharpness_converged": [True, True, False, True],
            "measure.sharpness.best": [1.0, 2.0, 4.0, 100.0],
            "measure.sharpness.best.first_order": [0.9, 1.0, 3.8, 1.0],
            "measure.sharpness.best.on_face": [1.0, 1.0, 0.5, 0.0],
            "measure.sharpness.sgd": [1.3, -0.2, 5.0, 1.0],
            "measure.sharpness.sgd.full_batch": [0.8, 0.4, 5.0, 1.0],
            "measure.sharpness.sgd.first_order": [0.6, 0.4, 5.0, 1.0],
            "measure.sharpness.sgd.on_face": [0.2, 0.4, 0.9, 0.9],
        }
    )


def test_shares_and_ratios_of_the_usable_runs(frame):
    best, sgd = sharpness_table(frame).itertuples()
    assert (best.procedure, best.runs, best.median, best.negative) == ("best found", 3, 2.0, 0)
    assert (best.first_order_low, best.first_order_median) == (0.5, 0.9)
    assert best.first_order_high == pytest.approx(0.95)
    assert (best.to_best_low, best.to_best_high) == (1.0, 1.0)
    assert (sgd.runs, sgd.negative) == (2, 1)
    assert sgd.first_order_low == pytest.approx(0.75)  # of the full batch, not of the reading
    assert (sgd.to_best_low, sgd.to_best_high) == (-0.1, 1.3)
    assert sgd.on_face == pytest.approx(0.3)


def test_a_procedure_that_did_not_run_is_left_out(frame):
    without = frame.drop(columns=[c for c in frame if "sharpness.sgd" in c])
    assert list(sharpness_table(without)["procedure"]) == ["best found"]


def test_local_volumes_say_how_far_they_can_be_trusted(frame):
    assert not len(local_volume_table(frame))
    frame["measure.basin_volume"] = [-5000.0, -6000.0, -7000.0, np.nan]
    frame["measure.basin_volume.se"] = [1.0, 1.0, 0.5, np.nan]
    frame["measure.basin_volume.effective_directions"] = [1.0, 1.0, 3.0, np.nan]
    frame["measure.basin_volume.permutations"] = [220.64] * 4
    frame["is.basin_volume_ok"] = [False, False, True, None]
    frame["measure.learning_coefficient"] = [2.0, 4.0, -1.0, 3.0]
    frame["measure.learning_coefficient.se"] = [0.1] * 4
    frame["measure.learning_coefficient.gradient_norm"] = [0.25] * 4
    frame["is.learning_coefficient_ok"] = [True, True, False, True]
    basin, coefficient = local_volume_table(frame).itertuples()
    assert (basin.runs, basin.median, basin.trusted) == (3, -6000.0, 1)
    assert "1 effective directions in the median" in basin.note
    assert "add 220.6" in basin.note
    assert (coefficient.runs, coefficient.median, coefficient.trusted) == (4, 2.5, 3)
    assert "residual gradient 0.25" in coefficient.note
