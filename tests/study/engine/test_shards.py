import pytest

from flatvol_jax.study.engine.shards import Shard, parse_shard


@pytest.mark.parametrize("count", [1, 2, 3, 7, 20])
def test_shards_have_every_piece_once_and_are_even(count):
    pieces = list(range(13))
    shares = [Shard(index, count).share(pieces) for index in range(count)]
    assert [piece for share in shares for piece in share] == pieces
    sizes = {len(share) for share in shares}
    assert max(sizes) - min(sizes) <= 1


def test_it_is_named_as_its_records_are():
    assert parse_shard("1/4") == (1, 4)
    assert parse_shard("1/4").name == "1-of-4"
    assert Shard().name is None


@pytest.mark.parametrize("text", ["", "1", "4/4", "-1/4", "1/0", "a/b", "1/4/2", "0.5/2"])
def test_another_text_is_refused(text):
    with pytest.raises(ValueError, match="shard: got .*, wanted I/N"):
        parse_shard(text)
