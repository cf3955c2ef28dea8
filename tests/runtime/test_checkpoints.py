import threading
from pathlib import Path

import jax
import numpy as np
import pytest

from flatvol_jax.runtime import checkpoints, preemption
from flatvol_jax.runtime.checkpoints import Checkpoint


def state(value=1.0):
    return {
        "params": (np.full((3, 2), value, np.float32), None),
        "count": np.int32(value),
        "key": jax.random.key(int(value)),
        "empty": {},
    }


@pytest.fixture
def always(tmp_path):
    return Checkpoint(tmp_path / "kept", seconds=0.0)


def same(found, wanted):
    (params, _), (other, _) = found["params"], wanted["params"]
    keys = [np.asarray(jax.random.key_data(tree["key"])) for tree in (found, wanted)]
    return (
        np.array_equal(params, other)
        and found["count"] == wanted["count"]
        and np.array_equal(*keys)
    )


def test_the_last_state_comes_back_with_its_step_and_its_keys(always):
    for step in (10, 20):
        always.keep(step, state(step))
    step, found = always.read(like=state())
    assert step == 20
    assert same(found, state(20))
    assert jax.random.uniform(found["key"]) == jax.random.uniform(jax.random.key(20))
    assert found["params"][1] is None
    assert found["empty"] == {}


def test_there_is_none_before_the_first_and_after_the_end(always):
    assert always.read(like=state()) is None
    always.keep(1, state())
    always.drop()
    assert always.read(like=state()) is None
    always.drop()


def test_it_is_written_once_in_a_while(tmp_path):
    seldom = Checkpoint(tmp_path / "kept", seconds=3600.0)
    seldom.keep(1, state())
    assert seldom.read(like=state()) is None


def test_where_a_stop_is_asked_for_it_is_written_at_once(tmp_path, monkeypatch):
    asked = threading.Event()
    asked.set()
    monkeypatch.setattr(preemption, "_asked", asked)
    seldom = Checkpoint(tmp_path / "kept", seconds=3600.0)
    with pytest.raises(preemption.Stopped):
        seldom.keep(7, state(7))
    step, found = seldom.read(like=state())
    assert step == 7
    assert same(found, state(7))


@pytest.mark.parametrize(
    ("like", "says"),
    [
        ({**state(), "params": (np.zeros((3, 3), np.float32), None)}, "other shapes"),
        ({**state(), "more": np.zeros(2)}, "more"),
        ({"params": np.zeros(2)}, ""),
    ],
)
def test_one_of_another_program_is_named_and_set_aside(always, like, says):
    always.keep(1, state())
    with pytest.warns(UserWarning, match=rf"kept cannot be used \(.*{says}.*begins anew"):
        assert always.read(like=like) is None
    assert not always.folder.exists()
    assert always.folder.with_name("kept.damaged").exists()


def test_one_of_another_version_is_named(always, monkeypatch):
    always.keep(1, state())
    monkeypatch.setattr(checkpoints, "_VERSION", 99)
    with pytest.warns(UserWarning, match="of version 1, this program's is 99"):
        assert always.read(like=state()) is None


def test_one_cut_short_is_named_and_set_aside(always):
    always.keep(1, state())
    files = [path for path in Path(always.folder).rglob("*") if path.is_file()]
    for path in files:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.warns(UserWarning, match="cannot be used"):
        assert always.read(like=state()) is None
    always.keep(2, state(2))
    assert always.read(like=state())[0] == 2
