"""Figures of one study: each is drawn from the records of its own experiment and variant."""

import pandas as pd
import pytest

from flatvol_jax.paper.layout import FIGURES
from flatvol_jax.paper.registry import is_there, part_of
from flatvol_jax.paper.studies import STUDIES, study_figures
from flatvol_jax.study.engine.records import load_sweeps, write_records


def write(folder, frame):
    folder.mkdir()
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    write_records(
        folder, [{k: getattr(v, "item", lambda v=v: v)() for k, v in r.items()} for r in rows]
    )


@pytest.fixture(scope="module")
def frame(tmp_path_factory, boolean, temporal_frame):
    root = tmp_path_factory.mktemp("studies")
    write(root / "boolean", boolean)
    for folder in ("sum", "mean"):
        write(root / folder, temporal_frame())
    write(root / "s9", temporal_frame(alphas=()).assign(**{"meta.scale": "S9"}))
    return load_sweeps(root)


def test_each_study_with_the_figure_draws_it(frame):
    found = {
        name: sorted(folder.rsplit("/", 1)[-1] for folder in study_figures(frame, name))
        for name in STUDIES
    }
    expected = {
        "2": ["boolean"],
        "S1": ["boolean"],
        "S2": ["boolean"],
        "5": ["mean", "sum"],
        "S5": [],
        "S7": [],
        "S8": [],
        "S9": ["s9"],
    }
    assert found == {name: folders for name, folders in expected.items() if name in STUDIES}


def test_records_without_scales_have_no_such_figure():
    frame = pd.DataFrame({"meta.experiment": ["mnist_fcn"], "meta.workdir": ["runs/a"]})
    assert all(study_figures(frame, name) == {} for name in STUDIES)


def test_no_figure_is_drawn_two_ways():
    assert not FIGURES.keys() & STUDIES.keys()
    commands = {
        "S5": "python -m experiments.temporal --config=configs/temporal.py:S5",
        "2": "python -m experiments.boolean --config=configs/boolean.py",
    }
    for name in STUDIES.keys() & commands.keys():
        assert STUDIES[name].command == commands[name]


def test_an_experiment_that_is_not_there_is_skipped_and_said():
    assert is_there("sweep")
    assert not is_there("swoop")
    assert part_of("sweep", "protocol.protocol_note")({}) == ""
    with pytest.raises(ValueError, match="got 'swoop'"):
        part_of("swoop", "figures.figure")
