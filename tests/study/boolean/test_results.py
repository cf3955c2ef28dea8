"""The committed records of the Boolean experiment."""

import json
from pathlib import Path

import pytest
import scipy.stats

from flatvol_jax.study import load_records
from flatvol_jax.study.boolean.summary import complement_test, constants_share

pytestmark = pytest.mark.results

BOOLEAN = Path(__file__).parents[3] / "results" / "boolean"


def test_the_boolean_sample_is_whole():
    config = json.loads((BOOLEAN / "config.json").read_text())["config"]
    samples, kept = (config["sampling"][name] for name in ("samples", "functions"))
    frame = load_records(BOOLEAN)
    frequencies = frame[frame["meta.part"] == "frequency"]
    assert (frequencies["frequency.count"] * frequencies["frequency.functions"]).sum() == samples
    functions = frame[frame["meta.part"] == "function"].drop_duplicates("function.id")
    assert len(functions) == kept
    most = frequencies.sort_values("frequency.count", ascending=False)
    counts = most["frequency.count"].repeat(most["frequency.functions"].astype(int)).head(kept)
    assert sorted(functions["measure.count"], reverse=True) == counts.tolist()
    share, error = constants_share(functions, samples)
    assert abs(share - 0.17) < 0.005
    assert error < 1e-4
    square, pairs = complement_test(functions, 2 ** config["hp"]["bits"])
    assert pairs > kept / 3
    assert scipy.stats.chi2.sf(square, pairs) > 1e-4
