"""A sweep over several devices, simulated in another process: the rows of one device."""

import json
import os
import subprocess
import sys

import pytest

from flatvol_jax.study.sweep.run import run_attack_sweep

SCRIPT = """
import json, sys
import jax
from flatvol_jax.study.sweep.run import run_attack_sweep

assert jax.local_device_count() == int(sys.argv[3])
calls = []
rows = run_attack_sweep(json.loads(sys.argv[1]), sys.argv[2], progress=lambda *c: calls.append(c))
assert [call[0] for call in calls] == sorted(call[0] for call in calls), calls
assert calls[-1][0] == calls[-1][1]
"""


@pytest.fixture
def config(tiny):
    return tiny("adam", draws=1, attack_sizes=(0, 20), samples=2)


def test_rows_are_those_of_one_device(config, tmp_path):
    alone = json.loads(json.dumps(run_attack_sweep(config, tmp_path / "one")))
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    several = tmp_path / "several"
    arguments = [json.dumps(config), str(several), "2"]
    subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments], env=environment, check=True, timeout=300
    )
    rows = [json.loads(line) for line in (several / "records.jsonl").read_text().splitlines()]
    assert len(rows) == 4
    for row, wanted in zip(rows, alone, strict=True):
        names = {name for name in row | wanted if not name.startswith("meta.")}
        for name in names:
            assert row[name] == wanted[name], name
    assert not list((several / "checkpoints").glob("*"))
