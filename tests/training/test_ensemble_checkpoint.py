"""Stopped in the middle, an ensemble goes on from its checkpoint to the same bits."""

import jax
import numpy as np
import pytest

import flatvol_jax as fv
from flatvol_jax.runtime import preemption
from flatvol_jax.runtime.checkpoints import Checkpoint
from flatvol_jax.training import TrainSettings, train_ensemble
from flatvol_jax.training import ensemble as module

SETTINGS = {
    "sgd": TrainSettings(learning_rate=0.01, max_epochs=12),
    "entropy_sgd": TrainSettings("entropy_sgd", 0.5, loss="mean", max_epochs=12),
}


def train(settings, **more):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 10)).astype(np.float32)
    y = rng.choice([-1, 1], 60)
    use = np.ones((3, 60), bool)
    keys = jax.random.split(jax.random.key(0), 3)
    spec = fv.FCN((16,))
    return train_ensemble(
        keys, spec, x, y, use, settings, train_size=40, segment_epochs=4, overtrain=(3,), **more
    )


@pytest.mark.parametrize(
    "name",
    [pytest.param("sgd", marks=pytest.mark.slow), "entropy_sgd"],  # whose state is the larger
)
def test_stopped_again_and_again_it_ends_with_the_same_bits(name, tmp_path, monkeypatch):
    whole = train(SETTINGS[name])
    began = []
    advance = module.advance
    monkeypatch.setattr(module, "advance", lambda *a: began.append(int(a[-1])) or advance(*a))
    for _ in range(3):
        # Asked to stop from the start: a segment a call, each from where the last one ended.
        monkeypatch.setattr(preemption, "stop_asked", lambda: True)
        with pytest.raises(preemption.Stopped):
            train(SETTINGS[name], checkpoint=Checkpoint(tmp_path / "kept"))
    monkeypatch.setattr(preemption, "stop_asked", lambda: False)
    resumed = train(SETTINGS[name], checkpoint=Checkpoint(tmp_path / "kept"))
    assert began[:4] == [1, 2, 3, 4]  # the first segment of each call is an epoch
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(resumed), strict=True):
        assert np.array_equal(a, b, equal_nan=np.asarray(a).dtype.kind == "f")
