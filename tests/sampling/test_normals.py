import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats
from jax import lax

from flatvol_jax.sampling.normals import random_bits, to_normals


def test_xla_draws_the_published_threefry():
    """Random123's known answers for Threefry-2x32-20: key and counter 0."""
    _, bits = lax.rng_bit_generator(
        jnp.zeros(4, jnp.uint32), (8,), jnp.uint32, lax.RandomAlgorithm.RNG_THREE_FRY
    )
    assert {0x6B200159, 0x99BA4EFE} <= set(np.asarray(bits).tolist())


def test_bits_of_different_keys_differ():
    one, other = (np.asarray(random_bits(jax.random.key(k), 1000)) for k in (0, 1))
    assert (one != other).all()


def test_normals_are_the_quantiles_of_their_uniforms():
    k = np.concatenate(
        [np.arange(1000), np.linspace(0, 2**23 - 1, 5000), 2**23 - 1 - np.arange(1000)]
    )
    k = k.astype(np.uint32)
    z = np.asarray(to_normals(jnp.asarray(k << 9)))
    exact = scipy.stats.norm.ppf((2 * k.astype(float) + 1) / 2**24)
    np.testing.assert_allclose(z, exact, rtol=1e-5)
    np.testing.assert_array_equal(z[:1000], -z[-1000:])


def test_normals_are_standard_and_independent():
    z = np.asarray(to_normals(random_bits(jax.random.key(3), 10**6)), np.float64)
    assert scipy.stats.kstest(z, "norm").pvalue > 1e-3
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((z**power).mean() - moment) < 4 * np.sqrt(variance / len(z))
    for lag in (1, 2, 64, len(z) // 2):
        assert abs((z[lag:] * z[:-lag]).mean()) < 4 / np.sqrt(len(z) - lag)
