"""The table of branches: what is kept, when the volume jumps, how long it takes to come back."""

import pandas as pd
import pytest

from flatvol_jax.study.temporal.summary import branch_table, largest_alpha, temporal_summary


def row(epoch, transform="none", differs=0, volume=-100.0, alpha=None, **more):
    return {
        "run_id": "a",
        "epoch": epoch,
        "transform": transform,
        "transform.layer": None if alpha is None else 1,
        "transform.alpha": alpha,
        "measure.epochs.zero_error": 3,
        "measure.epochs.event": 10,
        "meta.event": {"none": "before"}.get(transform, "after") if epoch == 10 else None,
        "measure.function.differs": differs,
        "measure.error.train": 0.0,
        "measure.log_volume.heaviside": volume,
        "measure.sharpness.best": 0.5,
        "is.diverged": False,
        **more,
    }


def branch(alpha, differs, volumes):
    name = f"layer 1, alpha {alpha:g}"
    return [
        row(10 + i, name, d, v, alpha)
        for i, (d, v) in enumerate(zip(differs, volumes, strict=True))
    ]


@pytest.fixture
def frame():
    rows = [row(epoch) for epoch in (9, 10, 11, 12)]
    rows += branch(2.0, [0, 0, 0, 0], [-100.0] * 4)
    rows += branch(4.0, [0, 50, 3, 0], [-100.0, -30.0, -95.0, -100.0])
    rows += branch(8.0, [0, 0, 0, 0], [-100.0] * 4)
    rows += branch(0.5, [0, 0, 1, 1], [-100.0, -100.0, -100.5, -100.5])
    rows += branch(0.25, [0, 90], [-100.0, -10.0])
    rows.append(row(12, "layer 1, alpha 0.25", None, None, 0.25, **{"is.diverged": True}))
    return pd.DataFrame(rows)


def test_a_row_a_branch_with_its_fate(frame):
    table = branch_table(frame).set_index("transform")
    assert table["kept"].to_dict() == {
        "none": True,
        "layer 1, alpha 2": True,
        "layer 1, alpha 4": False,
        "layer 1, alpha 8": True,
        "layer 1, alpha 0.5": False,
        "layer 1, alpha 0.25": False,
    }
    thrown = table.loc["layer 1, alpha 4"]
    assert thrown["recovered"]
    assert (thrown["differs.largest"], thrown["differs.last"]) == (50, 0)
    assert (thrown["jump"], thrown["jump_epoch"]) == (70, 1)
    assert thrown["relaxation"] == 3
    assert table.loc["layer 1, alpha 0.5", "relaxation"] == 0  # half a per cent away
    lost = table.loc["layer 1, alpha 0.25"]
    assert lost["diverged"]
    assert not lost["recovered"]
    assert pd.isna(lost["relaxation"])
    assert pd.isna(table.loc["layer 1, alpha 2", "jump_epoch"])


def test_the_largest_alpha_that_keeps_the_function(frame):
    (found,) = largest_alpha(branch_table(frame)).to_dict("records")
    assert (found["run_id"], found["layer"]) == ("a", 1)
    assert (found["largest_kept"], found["largest_unbroken"]) == (8, 2)
    assert found["largest_recovered"] == 8
    assert found["smallest_kept"] is None
    assert found["smallest_unbroken"] is None


def test_each_network_and_branch_has_a_line(frame):
    lines = temporal_summary(frame)
    assert lines[0] == "network a: zero error at epoch 3, event at epoch 10"
    assert len(lines) == 1 + 6
    assert "changes up to 50 labels, comes back to f" in lines[3]
    assert "diverges" in lines[6]


def test_a_network_without_zero_error_is_said_to_have_none(frame):
    base = frame[frame["epoch"] < 10].assign(
        **{"measure.epochs.zero_error": None, "measure.epochs.event": None}
    )
    assert temporal_summary(base) == ["network a: no zero error in 9 epochs"]
    assert branch_table(base).empty
    assert largest_alpha(branch_table(base)).empty
