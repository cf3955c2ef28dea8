import numpy as np
import pandas as pd
import pytest

from flatvol_jax.study.audit.table import audit_summary, audit_table, ratios


@pytest.fixture
def frame():
    """A network and four forms of it: one measure stays, one moves, one is noisy."""
    alphas = [np.nan, 0.5, 2.0, 4.0, np.nan]
    return pd.DataFrame(
        {
            "transform": ["none", "layer 1, alpha 0.5", "layer 1, alpha 2", "l", "p"],
            "transform.symmetry": ["none", "layer", "layer", "layer", "permutation"],
            "transform.layer": [np.nan, 1, 1, 1, 1],
            "transform.alpha": alphas,
            "is.function_unchanged": [True] * 5,
            "is.output_identical": [True, True, True, True, False],
            "measure.output.least": [0.1] * 5,
            "measure.output.largest_change": [0.0, 0.0, 0.0, 0.0, 1e-7],
            "measure.log_volume.heaviside": [-300.0] * 5,
            "measure.fisher_rao": [0.5, 0.5, 0.5, 0.6, 0.5],  # as if it were broken
            "measure.hessian.lambda_max": [2.0, 8.0, 0.5, 0.125, 2.0],
            "measure.hessian.trace": [10.0, 11.0, 9.5, 10.2, 10.0],
            "measure.hessian.trace.se": [0.5, 0.5, 0.5, 0.5, 0.5],
            "measure.hessian.log_product": [-4.0, -4.0 + 2 * np.log(3), -4.0, -4.0, -4.0],
            "measure.hessian.log_product.count": [2, 2, 2, 2, 2],
            "measure.baseline.margin": [0.1] * 5,
        }
    )


def cell(table, column, symmetry="layer"):
    (row,) = table[(table["column"] == column) & (table["symmetry"] == symmetry)].itertuples()
    return row


def test_every_measure_has_its_range_and_verdict(frame):
    table = audit_table(frame)
    volume = cell(table, "measure.log_volume.heaviside")
    assert (volume.verdict, volume.change, volume.claimed) == ("unchanged", 0.0, True)
    top = cell(table, "measure.hessian.lambda_max")
    assert (top.least, top.largest, top.verdict, top.claimed) == (0.0625, 4.0, "changes", False)
    assert cell(table, "measure.hessian.lambda_max", "permutation").verdict == "unchanged"
    trace = cell(table, "measure.hessian.trace")
    assert trace.verdict == "within error"  # 1.0 with a joint standard error of 0.71
    assert trace.errors == pytest.approx(1 / np.sqrt(0.5))


def test_the_log_product_is_compared_as_a_geometric_mean(frame):
    np.testing.assert_allclose(ratios(frame, "measure.hessian.log_product"), [1, 3, 1, 1, 1])


def test_what_is_read_from_f_alone_is_not_audited(frame):
    assert "measure.baseline.margin" not in set(audit_table(frame)["column"])


def test_a_broken_claim_is_said(frame):
    lines = list(audit_summary(frame, audit_table(frame)))
    assert "5 of 5 forms have the same function" in lines[0]
    assert "4 the same outputs to the last bit" in lines[0]
    assert lines[-1] == ("Fisher-Rao norm claims to be invariant under layer 1 and changed by 0.2")
    (top,) = [line for line in lines if "λ max" in line]
    assert "0.0625 to 4" in top
    assert "unchanged" in top


def test_a_measure_that_failed_once_has_no_verdict_of_unchanged(frame):
    frame.loc[2, "measure.fisher_rao"] = np.nan
    assert cell(audit_table(frame), "measure.fisher_rao").verdict == "changes"
