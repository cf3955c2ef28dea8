import itertools

import numpy as np
import pytest

from flatvol_jax.study.boolean.complexity import count_words, lempel_ziv_complexity


def labels(text):
    return np.array([int(character) for character in text])


def kaspar_schuster(text):
    """The count by the pointers of Kaspar and Schuster 1987, fig. 1."""
    n, words, start = len(text), 1, 1
    while start < n:
        longest = 0
        for i in range(start):
            length = 0
            while start + length < n and text[i + length] == text[start + length]:
                length += 1
            longest = max(longest, length)
        words, start = words + 1, start + longest + 1
    return words


@pytest.mark.parametrize(
    ("parsed", "words"),
    [
        ("0", 1),
        ("0.1", 2),
        ("0.0000", 2),
        ("0.1.01", 3),  # the last word has occurred before
        ("0.1.010101", 3),  # a copy may run into itself
        ("0.001.10.100.1000.101", 6),  # Kaspar and Schuster 1987
        ("1.0.01.1110.1100.0010", 6),  # Lempel and Ziv 1976
    ],
)
def test_words_of_strings_parsed_by_hand(parsed, words):
    assert parsed.count(".") + 1 == words
    assert count_words(parsed.replace(".", "")) == words


def test_every_short_string_has_the_words_of_the_pointer_algorithm():
    for n in range(1, 11):
        for characters in itertools.product("01", repeat=n):
            text = "".join(characters)
            assert count_words(text) == kaspar_schuster(text)


def test_complexity_is_the_mean_over_both_directions_in_bits():
    text = "0001101001000101"  # backwards 1.0.100.0100.101100.0: six words, too
    assert count_words(text[::-1]) == 6
    assert lempel_ziv_complexity(labels(text)) == 4 * 6
    uneven = "00010111"  # 0.001.011.1, backwards 1.110.10.00
    assert (count_words(uneven), count_words(uneven[::-1])) == (4, 4)
    lopsided = next(
        text
        for text in map("".join, itertools.product("01", repeat=8))
        if kaspar_schuster(text) != kaspar_schuster(text[::-1])
    )
    both = kaspar_schuster(lopsided) + kaspar_schuster(lopsided[::-1])
    assert lempel_ziv_complexity(labels(lopsided)) == 3 * both / 2


@pytest.mark.parametrize("label", [-1, 0, 1])
@pytest.mark.parametrize("n", [1, 2, 128])
def test_constants_have_the_bits_of_their_length(label, n):
    assert lempel_ziv_complexity(np.full(n, label)) == np.log2(n)


def test_complement_and_reversal_and_coding_change_nothing():
    generator = np.random.default_rng(0)
    for density in (0.02, 0.1, 0.5):
        x = (generator.random(128) < density).astype(np.int8)
        value = lempel_ziv_complexity(x)
        for other in (1 - x, x[::-1], 2 * x - 1, (2 * x - 1).astype(float), x.astype(bool)):
            assert lempel_ziv_complexity(other) == value


def test_random_strings_have_n_over_log_n_words_and_a_periodic_one_three():
    generator = np.random.default_rng(1)
    for n, tolerance in ((128, 0.35), (4096, 0.08)):
        x = generator.integers(0, 2, n)
        ratio = lempel_ziv_complexity(x) / n  # words over n / log2(n)
        assert 1 < ratio < 1 + tolerance
    assert lempel_ziv_complexity(np.arange(128) % 2) == 7 * 3


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.ones((2, 64)), "shape"),
        ([], "empty"),
        ([0, 1, 2], "got 0, 1, 2"),
        ([-1, 0, 1], "got -1, 0, 1"),
        ([0.5, 1], "got 0.5, 1"),
        ([1, np.nan], "NaN"),
        ("0101", "dtype"),
    ],
)
def test_what_is_no_binary_string_is_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        lempel_ziv_complexity(bad)
