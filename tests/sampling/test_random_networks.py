import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from flatvol_jax import CNN, FCN, nngp_kernel
from flatvol_jax.sampling.normals import to_normals
from flatvol_jax.sampling.random_networks import cube_levels, network_block


def cube(d, low=0.0, high=1.0):
    return np.array(list(itertools.product([low, high], repeat=d)), np.float32)


INPUTS = {
    "cube": cube(7),
    "signs": cube(5, -1.0),
    "bits 2": cube(2),
    "no cube": np.random.default_rng(0).normal(size=(11, 3)).astype(np.float32),
    "images": np.random.default_rng(1).uniform(size=(5, 4, 4)).astype(np.float32),
}


def networks_of(spec, bits, x, count, readouts):
    """Params of each network, read from the bits as the program lays them out."""
    rest, fan_ins = np.asarray(to_normals(bits)), [x[0].size, *spec.width]
    arrays = []
    for fan_in, units in zip(fan_ins, [*spec.width, readouts], strict=True):
        for shape, scale in (
            ((units, fan_in), spec.sigma_w / fan_in**0.5),
            ((units,), spec.sigma_b),
        ):
            size = count * int(np.prod(shape))
            arrays.append(scale * rest[:size].reshape(count, *shape))
            rest = rest[size:]
    assert len(rest) == 0
    for readout, network in itertools.product(range(readouts), range(count)):
        own = [array[network].T for array in arrays]
        own[-2:] = own[-2][:, readout : readout + 1], own[-1][readout : readout + 1]
        yield spec.params_from_arrays(*own)


@pytest.mark.parametrize("width", [(40, 40), (8,), (6, 5, 4)])
@pytest.mark.parametrize("inputs", INPUTS)
@pytest.mark.parametrize("readouts", [1, 3])
def test_outputs_are_those_of_the_spec_with_the_same_parameters(width, inputs, readouts):
    spec, x = FCN(width, sigma_w=1.3, sigma_b=0.2), INPUTS[inputs]
    block = network_block(spec, x, 64, readouts)
    bits = block.draw(jax.random.key(0))
    outputs = np.asarray(jax.jit(block.outputs)(bits, jnp.asarray(x)))
    assert outputs.shape == (block.samples, len(x))
    networks = list(networks_of(spec, bits, x, block.samples // readouts, readouts))
    for row in range(0, len(networks), max(len(networks) // 5, 1)):
        expected = spec.apply(networks[row], jnp.asarray(x))
        assert_allclose(outputs[row], expected, rtol=1e-4, atol=2e-6)


def test_second_moments_are_the_kernel():
    """With one hidden layer E[f(x) f(x')] is the NNGP kernel at any width."""
    spec, x = FCN((3,), sigma_w=1.0, sigma_b=0.5), INPUTS["bits 2"]
    block = network_block(spec, x, 1024)
    keys = jax.random.split(jax.random.key(1), 200)
    draw = jax.jit(lambda key: block.outputs(block.draw(key), jnp.asarray(x)))
    f = np.concatenate([np.asarray(draw(key), np.float64) for key in keys])[:200_000]
    products = f[:, :, None] * f[:, None, :]
    error = products.std(axis=0) / np.sqrt(len(f))
    assert (np.abs(products.mean(axis=0) - nngp_kernel(spec, x)) < 4.5 * error).all()


def test_a_spec_without_a_program_of_its_own_is_drawn_by_init():
    spec, x = CNN((3,), image_shape=(4, 4)), INPUTS["images"].reshape(5, 4, 4, 1)
    block = network_block(spec, x, 1024)
    drawn = block.draw(jax.random.key(0))
    outputs = jax.jit(block.outputs)(drawn, jnp.asarray(x))
    for row in (0, block.samples - 1):
        params = spec.init(drawn[row], x.shape[1:])
        assert_allclose(outputs[row], spec.apply(params, jnp.asarray(x)), rtol=1e-4, atol=1e-6)


def test_a_cube_is_recognised_by_its_order():
    assert cube_levels(cube(3)) == (0, 1)
    assert cube_levels(cube(4, -1.0)) == (-1, 1)
    assert cube_levels(cube(3)[::-1]) == (1, 0)
    assert cube_levels(cube(3)[[1, 0, 2, 3, 4, 5, 6, 7]]) is None
    assert cube_levels(cube(3)[:7]) is None
    assert cube_levels(INPUTS["images"]) is None
