"""Where training stops: zero error on S ∪ A, or on S alone."""

import jax
import numpy as np
import pytest

from flatvol_jax.models import FCN
from flatvol_jax.training import TrainSettings, train_ensemble


def trained(**settings):
    """Sixteen examples of S, and eight of A whose labels contradict it: the same inputs nearly."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(16, 6)).astype(np.float32)
    y = np.where(x[:, 0] > 0, 1, -1)
    near = x[:8] + 0.3 * generator.normal(size=(8, 6)).astype(np.float32)
    rows, labels = np.concatenate([x, near]), np.concatenate([y, -y[:8]])
    return train_ensemble(
        jax.random.split(jax.random.key(3), 3),
        FCN(width=(32,)),
        rows,
        labels,
        np.ones((3, 24), bool),
        TrainSettings(learning_rate=0.5, max_epochs=3000, **settings),
        train_size=16,
    )


def test_on_s_alone_it_stops_at_the_first_epoch_that_fits_s():
    everything, alone = trained(stop="train_and_attack"), trained(stop="train")
    assert everything.zero_error.all()
    np.testing.assert_array_equal(alone.epochs, everything.epochs_train)
    assert (alone.epochs < everything.epochs).any()
    for member, epoch in enumerate(alone.epochs):
        # The same course up to there: A may still be wrong, and is in some member.
        np.testing.assert_array_equal(
            alone.errors[member, : epoch + 1], everything.errors[member, : epoch + 1]
        )
    assert any(alone.errors[m, epoch] > 0 for m, epoch in enumerate(alone.epochs))


def test_the_default_is_zero_error_on_s_alone():
    default, named = trained(), trained(stop="train")
    for one, other in zip(
        jax.tree.leaves(default.params), jax.tree.leaves(named.params), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_another_word_is_refused():
    with pytest.raises(ValueError, match=r"stop: got 'never'.*train_and_attack"):
        TrainSettings(stop="never")
