"""The sweep over alpha: its points are the table of branches."""

import numpy as np
import pytest

from flatvol_jax.study.report import scatter
from flatvol_jax.study.temporal.alpha_sweep import alpha_sweep_figure
from flatvol_jax.study.temporal.summary import branch_table

ALPHAS = (0.1, 0.5, 2.0, 4.0, 8.0)


@pytest.fixture(scope="module")
def frame(temporal_frame):
    return temporal_frame(networks=2, alphas=ALPHAS, layers=(1, 2))


def test_points_are_the_table_of_branches(frame):
    figure, table = alpha_sweep_figure(frame), branch_table(frame)
    axes = np.array(figure.axes).reshape(4, 2)
    for column, layer in zip(axes.T, (1, 2), strict=True):
        rows = table[table["layer"] == layer]
        wanted = [
            [rows["differs.largest"], rows["differs.last"]],
            [rows["jump"] / np.log(10)],
            [rows["jump_epoch"], rows["relaxation"]],
            [100 * rows["error.train.largest"]],
        ]
        for axis, parts in zip(column, wanted, strict=True):
            assert len(axis.collections) == len(parts)
            for points, values in zip(axis.collections, parts, strict=True):
                values = values.to_numpy(float)
                shown = np.ma.filled(points.get_offsets().astype(float), np.nan)
                seen = np.isfinite(values)
                np.testing.assert_allclose(shown[seen, 0], rows["alpha"][seen])
                np.testing.assert_allclose(shown[seen, 1], values[seen])


def test_titles_count_who_kept_the_function(frame):
    axes = alpha_sweep_figure(frame).axes
    title = "\n".join(map(scatter.words_of, axes[:: len(axes) - 1]))
    assert "layer 1, 2 networks, 5 values of α" in title
    assert "kept at every epoch in 6 of 10, there at the end in 10" in " ".join(title.split())


def test_few_alphas_or_no_volume_have_no_figure(temporal_frame, frame):
    assert alpha_sweep_figure(temporal_frame()) is None
    assert alpha_sweep_figure(frame.drop(columns="measure.log_volume.heaviside")) is None
    before = frame[frame["measure.epochs.zero_error"].isna()].assign(
        **{"measure.epochs.event": None}
    )
    assert alpha_sweep_figure(before) is None
