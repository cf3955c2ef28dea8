"""Random changes of training images that keep their labels; never of what is evaluated."""

import jax
import jax.numpy as jnp
from jax import Array

PADDING = 4  # pixels, as He et al. (2016) train on CIFAR-10


def flip_and_crop(key: Array, images: Array) -> Array:
    """Mirror each image left to right or not, and move it by up to 4 pixels, zeros coming in.

    Args:
        key: one key.
        images: (n, height, width, channels).

    Returns:
        Images of the same shape.
    """
    flips, shifts = jax.random.split(key)
    mirrored = jax.random.bernoulli(flips, shape=(len(images), 1, 1, 1))
    images = jnp.where(mirrored, images[:, :, ::-1], images)
    padded = jnp.pad(images, ((0, 0), (PADDING, PADDING), (PADDING, PADDING), (0, 0)))
    corners = jax.random.randint(shifts, (len(images), 2), 0, 2 * PADDING + 1)

    def crop(image, corner):
        return jax.lax.dynamic_slice(image, (*corner, 0), images.shape[1:])

    return jax.vmap(crop)(padded, corners)


AUGMENTATIONS = {"flip_and_crop": flip_and_crop}
