"""Units on disk: durable whole or not there; damage is set aside, never read as a result."""

import json
import math
import warnings

import numpy as np
import pytest

from flatvol_jax.runtime import files
from flatvol_jax.study.engine.store import Stage, Store, Unit, jsonable

UNIT = Unit("train", "0123abcd")
ROW = {"measure.error.test": 0.25, "is.zero_error": True, "epoch": 7}
ARRAYS = {"loss": np.linspace(1, 0, 5, dtype=np.float32), "errors": np.arange(5)}


@pytest.fixture
def written(tmp_path):
    Store(tmp_path).write(UNIT, ROW, ARRAYS)
    return tmp_path


def folder(workdir):
    return {path.name for path in (workdir / "units" / UNIT.stage).iterdir()}


def test_round_trip_keeps_values_dtypes_and_bits(written):
    assert Store(written).row(UNIT) == ROW
    arrays = Store(written).arrays(UNIT)
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)
    assert folder(written) == {"0123abcd.json", "0123abcd.npz"}


def test_floats_survive_bit_for_bit(tmp_path):
    values = [0.1 + 0.2, 2**-1074, -0.0, 1e308, float(np.float32(0.1)), -1234.5678901234567]
    Store(tmp_path).write(UNIT, {str(i): value for i, value in enumerate(values)})
    again = Store(tmp_path).row(UNIT)
    assert [float.hex(again[str(i)]) for i in range(len(values))] == [v.hex() for v in values]


def test_what_is_not_finite_becomes_null_at_any_depth(tmp_path):
    row = {"a": math.nan, "b": np.float32(np.inf), "c": {"d": [-math.inf, 1.0]}}
    Store(tmp_path).write(UNIT, {**row, "e": np.array([np.nan, 2.0])})
    assert Store(tmp_path).row(UNIT) == {"a": None, "b": None, "c": {"d": [None, 1.0]}} | {
        "e": [None, 2.0]
    }
    assert "NaN" not in Store(tmp_path).path(UNIT).read_text()


def test_jsonable_gives_plain_python_data():
    given = {3: np.bool_(True), "t": (np.int64(2), np.float32(0.5)), "s": "text", "n": None}
    assert jsonable(given) == {"3": True, "t": [2, 0.5], "s": "text", "n": None}
    plain = jsonable(given)
    assert [type(v) for v in (plain["3"], *plain["t"])] == [bool, int, float]


def test_a_unit_is_computed_once_and_its_arrays_go_beside_the_row(tmp_path):
    calls = []

    def compute():
        calls.append(1)
        return {"x": np.float64(2.0), "list": [1, 2], "array": np.arange(3)}

    store, unit = Store(tmp_path), Stage("square", 3).unit("a", {"k": 1})
    assert [store.get(unit, compute) for _ in range(2)] == [{"x": 2.0, "list": [1, 2]}] * 2
    assert len(calls) == 1
    assert store.arrays(unit)["array"].tolist() == [0, 1, 2]
    assert store.arrays_path(unit) == f"units/square/{unit.digest}.npz"
    assert unit != Stage("square", 4).unit("a", {"k": 1})  # a raised version is computed anew


def test_a_missing_unit_is_not_done_and_no_damage(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Store(tmp_path).row(UNIT) is None
    assert not list(tmp_path.iterdir())


def test_arrays_without_a_row_count_as_not_done(written):
    Store(written).path(UNIT).unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Store(written).row(UNIT) is None


def test_a_write_that_dies_before_the_row_leaves_the_unit_not_done(tmp_path, monkeypatch):
    def die(path, data):
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "write_json", die)
    with pytest.raises(KeyboardInterrupt):
        Store(tmp_path).write(UNIT, ROW, ARRAYS)
    assert folder(tmp_path) == {"0123abcd.npz"}
    assert Store(tmp_path).row(UNIT) is None


def truncated(row, arrays):
    text = row.read_text()
    row.write_text(text[: len(text) // 2])


def emptied(row, arrays):
    row.write_bytes(b"")


def not_text(row, arrays):
    row.write_bytes(b"\xff\xfe\x00\x81")


def foreign_object(row, arrays):
    row.write_text('{"hello": "world"}')


def no_object(row, arrays):
    row.write_text("[1, 2, 3]")


def null(row, arrays):
    row.write_text("null")


def row_is_no_object(row, arrays):
    row.write_text(json.dumps({**json.loads(row.read_text()), "row": 5}))


def of_another_unit(row, arrays):
    row.write_text(row.read_text().replace(UNIT.digest, "ffff0000"))


def of_another_stage(row, arrays):
    row.write_text(row.read_text().replace('"train"', '"hessian"'))


def arrays_cut(row, arrays):
    arrays.write_bytes(arrays.read_bytes()[:-10])


def arrays_one_bit(row, arrays):
    data = bytearray(arrays.read_bytes())
    data[len(data) // 2] ^= 1
    arrays.write_bytes(bytes(data))


def arrays_of_another_unit(row, arrays):
    files.write_arrays(arrays, {"loss": np.zeros(5)})


def arrays_gone(row, arrays):
    arrays.unlink()


@pytest.mark.parametrize(
    "damage",
    [
        truncated,
        emptied,
        not_text,
        foreign_object,
        no_object,
        null,
        row_is_no_object,
        of_another_unit,
        of_another_stage,
        arrays_cut,
        arrays_one_bit,
        arrays_of_another_unit,
        arrays_gone,
    ],
)
def test_a_damaged_unit_is_set_aside_with_a_warning_and_is_not_done(written, damage):
    row = Store(written).path(UNIT)
    arrays = row.with_suffix(".npz")
    damage(row, arrays)
    kept = {f"{p.name}.damaged": p.read_bytes() for p in (row, arrays) if p.exists()}
    with pytest.warns(UserWarning, match=r"0123abcd\.json was damaged: set aside") as caught:
        assert Store(written).row(UNIT) is None
    assert len(caught) == 1
    assert folder(written) == kept.keys()
    for name, data in kept.items():
        assert (row.parent / name).read_bytes() == data

    with warnings.catch_warnings():  # said once; then it is merely not done, and can be redone
        warnings.simplefilter("error")
        assert Store(written).row(UNIT) is None
        Store(written).write(UNIT, ROW, ARRAYS)
        assert Store(written).row(UNIT) == ROW
