"""The committed records: each row is named by what determines it, and says where it comes from."""

import json
from pathlib import Path

import pytest

from flatvol_jax.runtime.hashing import content_hash

ROOT = Path(__file__).parents[1]
SWEEPS = sorted(path.parent for path in (ROOT / "results").glob("**/records.jsonl"))


@pytest.mark.parametrize("sweep", SWEEPS, ids=lambda path: path.name)
def test_rows_are_named_by_the_hash_of_their_hyperparameters(sweep):
    rows = [json.loads(line) for line in (sweep / "records.jsonl").read_text().splitlines()]
    for row in rows:
        hp = {name[3:]: value for name, value in row.items() if name.startswith("hp.")}
        assert row["run_id"] == content_hash(hp)
    assert len({(row["run_id"], row["overtrain"], row["transform"]) for row in rows}) == len(rows)
    stored = json.loads((sweep / "config.json").read_text())
    assert {row["meta.scale"] for row in rows} == {stored["config"]["scale"]}
    assert stored["environment"]["commit"]


def test_there_are_sweeps_to_read():
    assert SWEEPS
