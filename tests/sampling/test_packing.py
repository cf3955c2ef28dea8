import jax.numpy as jnp
import numpy as np
import pytest

from flatvol_jax.sampling.packing import (
    first_label_negative,
    join_halves,
    pack_labels,
    pack_outputs,
    unpack_labels,
    word_count,
)

SIZES = (1, 4, 31, 32, 33, 63, 64, 65, 128, 1024)


def random_labels(inputs, functions=50):
    return np.random.default_rng(inputs).choice([-1, 1], (functions, inputs)).astype(np.int8)


@pytest.mark.parametrize("inputs", SIZES)
def test_unpacking_is_the_inverse_of_packing(inputs):
    labels = random_labels(inputs)
    words = pack_labels(labels)
    assert words.shape == (50, word_count(inputs))
    assert words.dtype == np.uint64
    np.testing.assert_array_equal(unpack_labels(words, inputs), labels)


@pytest.mark.parametrize("inputs", SIZES)
def test_outputs_pack_as_their_labels_do(inputs):
    outputs = np.random.default_rng(inputs).normal(size=(50, inputs)).astype(np.float32)
    outputs[0, 0] = 0.0  # not above 0: label -1
    labels = np.where(outputs > 0, 1, -1)
    np.testing.assert_array_equal(
        join_halves(pack_outputs(jnp.asarray(outputs))), pack_labels(labels)
    )


def test_bit_i_of_word_j_is_input_64_j_plus_i():
    labels = -np.ones((1, 130))
    labels[0, [0, 63, 64, 129]] = 1
    assert pack_labels(labels).tolist() == [[1 + 2**63, 1, 2]]


@pytest.mark.parametrize("inputs", SIZES)
def test_of_a_pair_the_function_with_the_first_label_negative_stands_for_both(inputs):
    labels = random_labels(inputs)
    wanted = pack_labels(-labels * labels[:, :1])
    for either in (labels, -labels):
        np.testing.assert_array_equal(first_label_negative(pack_labels(either), inputs), wanted)
