import pytest

from flatvol_jax.runtime import memory


def test_the_last_byte_counts(free):
    def square(n):
        return 8 * n**2

    free(square(1000))
    memory.check_memory("x", 1000, square, "")
    free(square(1000) - 1)
    with pytest.raises(ValueError, match="n = 1000, .*enough for n = 999"):
        memory.check_memory("x", 1000, square, "")


def test_the_message_says_how_much_how_many_and_what_helps(free):
    free(5.0 * 10**9 - memory.COMPILER_BYTES)
    text = "^kernel: got n = 50, .* takes 15.3 GB more .*; 5.0 GB are free, .* n = 15. Rest.$"
    with pytest.raises(ValueError, match=text):
        memory.check_memory("kernel", 50, lambda n: 3 * 10**8 * n, "Rest.")


def test_where_even_the_fixed_part_does_not_fit_no_number_is_enough(free):
    free(100)
    with pytest.raises(ValueError, match="enough for n = 0"):
        memory.check_memory("x", 3, lambda n: 101 + n, "")
