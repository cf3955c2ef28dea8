import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from flatvol_jax.volume.links import tilt
from flatvol_jax.volume.normal_tail import normal_tail


@pytest.mark.parametrize(
    "a", [-1e6, -1e4, -100.0, -30.0, -8.0, -4.001, -3.999, -1.0, 0.0, 3.0, 8.0]
)
def test_agrees_with_sixty_digits(a):
    with jax.enable_x64(True):
        ours = [float(value) for value in normal_tail(jnp.float64(a))]
    with mpmath.workdps(60):
        x = mpmath.mpf(a)
        cdf = mpmath.erfc(-x / mpmath.sqrt(2)) / 2
        hazard = mpmath.npdf(x) / cdf
        exact = [mpmath.log(cdf), hazard, hazard * (x + hazard), 1 - hazard * (x + hazard)]
    np.testing.assert_allclose(ours, [float(value) for value in exact], rtol=3e-12, atol=1e-16)


@pytest.mark.parametrize(("mean", "variance"), [(0.3, 2.0), (-2.5, 0.7), (4.0, 0.2)])
def test_tilted_moments_are_the_integrals(mean, variance):
    def density(z):
        return mpmath.npdf(z, mean, mpmath.sqrt(variance))

    limits = [0, 1, 4, 20]
    moments = [mpmath.quad(lambda z, k=k: z**k * density(z), limits) for k in range(3)]
    first, second = moments[1] / moments[0], moments[2] / moments[0]
    with jax.enable_x64(True):
        tilted = tilt(jnp.asarray(mean), jnp.asarray(variance))
        # The site times N(mean, variance) has the tilted moments.
        precision = 1 / variance + np.asarray(tilted.precision)
        site_mean = (mean / variance + np.asarray(tilted.shift)) / precision
    exact = [float(mpmath.log(moments[0])), float(first), float(second - first**2)]
    np.testing.assert_allclose(tilted[:3], exact, rtol=1e-10, atol=1e-15)
    np.testing.assert_allclose([site_mean, 1 / precision], exact[1:], rtol=1e-10)
