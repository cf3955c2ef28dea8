"""TensorBoard's files hold what records and units say, once."""

import sys

import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.record_writer import masked_crc32c

from flatvol_jax.study.engine.event_files import write_events
from flatvol_jax.study.engine.records import load_arrays, load_records
from flatvol_jax.study.sweep.run import run_attack_sweep


def scalars(folder):
    """tag -> [(step, value)] of every event file below; the frames of TFRecord, checked."""
    found = {}
    for path in folder.rglob("events.*"):
        data, place = path.read_bytes(), 0
        while place < len(data):
            head = data[place : place + 8]
            size = int.from_bytes(head, "little")
            crc = int.from_bytes(data[place + 8 : place + 12], "little")
            assert crc == masked_crc32c(head)
            event = Event.FromString(data[place + 12 : place + 12 + size])
            place += 16 + size
            for value in event.summary.value:
                found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found


def test_a_sweep_has_its_curves_and_writing_again_doubles_nothing(tiny, tmp_path):
    run_attack_sweep(tiny(draws=1, attack_sizes=[0], samples=1), tmp_path)
    for _ in range(2):
        folder, runs = write_events(tmp_path)
    assert runs == 1
    (row,) = load_records(tmp_path).to_dict("records")
    losses = load_arrays(tmp_path, row, "train")["loss"]
    found = scalars(tmp_path / "tensorboard")
    steps, values = zip(*found["train/loss"], strict=True)
    assert steps == tuple(range(len(losses)))
    np.testing.assert_allclose(values, losses, rtol=1e-6)
    ((_, volume),) = found["log_volume/heaviside"]
    np.testing.assert_allclose(volume, row["measure.log_volume.heaviside"], rtol=1e-6)
    assert folder.name == "tensorboard"


def test_without_a_writer_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ValueError, match=r"flatvol-jax\[tensorboard\]"):
        write_events(tmp_path)
