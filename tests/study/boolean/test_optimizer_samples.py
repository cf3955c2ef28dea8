import jax
import numpy as np
import pytest

from flatvol_jax import data
from flatvol_jax.models import FCN
from flatvol_jax.study.boolean.optimizer_samples import optimizer_functions
from flatvol_jax.training import TrainSettings, train_ensemble

SPEC = FCN((8,), 1.0, 0.1)
X = data.load("boolean7").x[:24]
ROWS = np.array([5, 0, 17, 9, 20, 3])
LABELS = np.where(X[ROWS, -1] == 1, 1, -1)
SETTINGS = TrainSettings(learning_rate=0.1, batch_size=4, max_epochs=300)
KEYS = jax.random.split(jax.random.key(0), 7)


@pytest.fixture(scope="module")
def sample():
    return optimizer_functions(KEYS, SPEC, X, ROWS, LABELS, SETTINGS, ensemble=4)


def test_functions_are_the_signs_of_the_networks_that_the_ensemble_trains(sample):
    assert sample.zero_error.all()
    assert sample.functions.shape == (7, 24)
    assert sample.functions.dtype == np.int8
    assert (sample.functions[:, ROWS] == LABELS).all()
    use = np.ones((7, len(ROWS)), bool)
    trained = train_ensemble(KEYS, SPEC, X[ROWS], LABELS, use, SETTINGS, len(ROWS))
    np.testing.assert_array_equal(sample.epochs, trained.epochs)
    for i in range(7):
        params = jax.tree.map(lambda leaf, i=i: leaf[i], trained.params)
        output = np.asarray(SPEC.apply(params, X))
        np.testing.assert_array_equal(sample.functions[i], np.where(output > 0, 1, -1))
    assert len(np.unique(sample.functions, axis=0)) > 1


@pytest.mark.parametrize(("ensemble", "vmap_size"), [(100, 1), (3, 1), (3, 2)])
def test_batches_change_no_function(sample, ensemble, vmap_size):
    settings = TrainSettings(learning_rate=0.1, batch_size=4, max_epochs=300, vmap_size=vmap_size)
    shares = []
    other = optimizer_functions(KEYS, SPEC, X, ROWS, LABELS, settings, ensemble, shares.append)
    for one, two in zip(sample, other, strict=True):
        np.testing.assert_array_equal(one, two)
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_seeds_without_zero_error_have_no_function():
    settings = TrainSettings(learning_rate=1e-12, batch_size=4, max_epochs=2)
    keys = jax.random.split(jax.random.key(1), 400)
    labels = np.ones(len(ROWS))
    sample = optimizer_functions(keys, SPEC, X, ROWS, labels, settings)
    assert 0 < sample.zero_error.sum() < 400
    assert (sample.functions[~sample.zero_error] == 0).all()
    assert (sample.functions[sample.zero_error][:, ROWS] == 1).all()
    assert (sample.epochs == np.where(sample.zero_error, 0, 2)).all()


@pytest.mark.parametrize(
    ("rows", "labels", "message"),
    [
        ([0, 0], [1, 1], "distinct"),
        ([0, 24], [1, 1], "from 0 to 23"),
        ([0.0, 1.0], [1, 1], "whole numbers"),
        ([0, 1], [1], "a label for each row"),
        ([0, 1], [1, 0], "-1 and \\+1"),
    ],
)
def test_rows_and_labels_that_do_not_fit_are_refused(rows, labels, message):
    with pytest.raises(ValueError, match=message):
        optimizer_functions(KEYS, SPEC, X, np.array(rows), np.array(labels), SETTINGS)
