"""Keys by name: what one part of a study draws does not move when another part is added."""

import zlib

import jax


def named_key(key: jax.Array, name: str, *indices: int) -> jax.Array:
    """Return the key of `name` under `key`, folded by each index in turn."""
    key = jax.random.fold_in(key, zlib.crc32(name.encode()))
    for index in indices:
        key = jax.random.fold_in(key, index)
    return key
