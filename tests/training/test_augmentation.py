"""Flips and crops: what they may make of an image, and that evaluation never sees them."""

import jax
import numpy as np
import pytest

import flatvol_jax as fv
from flatvol_jax.training import TrainSettings, train_ensemble
from flatvol_jax.training.augmentation import PADDING, flip_and_crop

IMAGES = np.random.default_rng(0).normal(size=(64, 6, 5, 3)).astype(np.float32)


def placements(image):
    """Every mirrored and moved version of one image."""
    padded = [
        np.pad(version, ((PADDING, PADDING), (PADDING, PADDING), (0, 0)))
        for version in (image, image[:, ::-1])
    ]
    reach = range(2 * PADDING + 1)
    return [p[i : i + 6, j : j + 5] for p in padded for i in reach for j in reach]


def test_each_image_becomes_one_of_its_placements_and_they_vary():
    found = np.asarray(flip_and_crop(jax.random.key(0), IMAGES))
    places = []
    for image, version in zip(IMAGES, found, strict=True):
        same = [np.array_equal(version, place) for place in placements(image)]
        assert any(same)
        places.append(int(np.argmax(same)))
    assert len(set(places)) > 30  # of 162 that are possible
    mirrored = np.mean(np.array(places) >= 81)
    assert abs(mirrored - 0.5) < 4 * 0.5 / np.sqrt(64)


def test_training_sees_them_and_evaluation_does_not():
    y = np.where(np.arange(64) % 2, 1, -1)
    keys, use = jax.random.split(jax.random.key(1), 1), np.ones((1, 64), bool)
    spec = fv.CNN(channels=(4,), image_shape=(6, 5, 3))

    def train(augmentation):
        settings = TrainSettings(max_epochs=2, augmentation=augmentation)
        return train_ensemble(keys, spec, IMAGES, y, use, settings, train_size=64)

    plain, augmented = train(None), train("flip_and_crop")
    assert augmented.loss[0, 0] == plain.loss[0, 0]  # before any step the same images
    assert augmented.loss[0, 1] != plain.loss[0, 1]
    last = jax.tree.map(lambda leaf: leaf[0], augmented.params)
    outputs = np.asarray(spec.apply(last, IMAGES))
    assert augmented.errors[0, augmented.epochs[0]] == np.sum((outputs > 0) != (y > 0))


def test_it_needs_images_and_a_known_name():
    rows, y = IMAGES.reshape(64, -1), np.ones(64)
    keys, use = jax.random.split(jax.random.key(1), 1), np.ones((1, 64), bool)
    settings = TrainSettings(augmentation="flip_and_crop")
    with pytest.raises(ValueError, match=r"x: got shape \(64, 90\)"):
        train_ensemble(keys, fv.FCN(), rows, y, use, settings, train_size=64)
    with pytest.raises(ValueError, match="Did you mean 'flip_and_crop'"):
        TrainSettings(augmentation="flip_crop")
