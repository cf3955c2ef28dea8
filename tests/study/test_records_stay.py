"""Records never shrink: whatever ends a run, at whatever moment, the rows before are there after.

A folder as results/ has them, records and config without units, is run again and stopped at one
of the steps that it reports, further on each time, until it is done.
"""

import copy
import errno
import gzip
import json
import shutil

import pytest
from small_studies import STUDIES

from flatvol_jax.runtime import files
from flatvol_jax.study.engine.record_files import read_rows, record_files
from flatvol_jax.study.engine.record_merge import SCHEMA, row_key
from flatvol_jax.study.engine.records import FILE, load_records

MOMENTS = {
    "every": range(400),
    "some": (0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377),
    "first": (0, 1, 2, 5),
}


@pytest.fixture(scope="module", params=STUDIES)
def finished(request, tmp_path_factory):
    """A study and a folder with all of it."""
    study, workdir = STUDIES[request.param], tmp_path_factory.mktemp(request.param) / "run"
    study.run(study.config, workdir)
    return request.param, study, workdir


def published(workdir, folder, compressed=False):
    """Records and config alone, as they were published before rows had the number of a schema."""
    folder.mkdir()
    shutil.copy(workdir / "config.json", folder)
    rows = list(read_rows(workdir / FILE))
    for row in rows:
        del row["meta.schema"]
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    name = f"{FILE}.gz" if compressed else FILE
    (folder / name).write_bytes(gzip.compress(text) if compressed else text)
    return rows


def rows_of(folder):
    """Rows by what names them; no two files may have them, and no file the same name twice."""
    (path,) = record_files(folder)
    rows = list(read_rows(path))
    found = {row_key(row): row for row in rows}
    assert None not in found
    assert len(found) == len(rows)
    return found


def lacks(before, after):
    """Rows and numbers that a run took away or changed; one machine gives the same numbers."""
    lost = [key for key in before if key not in after]
    for key, row in before.items():
        if key in after:
            numbers = {n for n in row if n.startswith(("measure.", "is.", "hp."))}
            lost += [(key, name) for name in numbers if after[key].get(name, ()) != row[name]]
    return lost


def stopped(study, folder, at):
    """Run until the step `at`; whether it came so far."""
    steps = 0

    def stop(*_):
        nonlocal steps
        steps += 1
        if steps > at:
            raise KeyboardInterrupt

    try:
        study.run(study.config, folder, stop)
    except KeyboardInterrupt:
        return True
    return False


@pytest.mark.parametrize(
    ("moments", "compressed"),
    [("some", False), ("first", True), pytest.param("every", False, marks=pytest.mark.slow)],
)
def test_a_run_may_be_interrupted_at_any_step(finished, tmp_path, moments, compressed):
    _, study, workdir = finished
    folder = tmp_path / "run"
    published(workdir, folder, compressed)
    before = rows_of(folder)
    for at in MOMENTS[moments]:
        more = stopped(study, folder, at)
        assert lacks(before, rows_of(folder)) == [], at
        if not more:
            break
    if moments != "first":
        assert not more, "not done at the last moment"
        assert rows_of(folder).keys() == before.keys()


def test_what_is_stopped_before_anything_is_done_leaves_every_byte(finished, tmp_path):
    name, study, workdir = finished
    if name == "audit":
        pytest.skip("its first step comes when the network is trained, and so has a new row")
    for number, compressed in enumerate((False, True)):
        folder = tmp_path / str(number)
        published(workdir, folder, compressed)
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        assert stopped(study, folder, 0)
        assert {name: (folder / name).read_bytes() for name in before} == before
        assert len(record_files(folder)) == 1


def test_a_run_to_the_end_replaces_rows_by_those_that_it_computed(finished, tmp_path):
    name, _, workdir = finished
    for row in read_rows(workdir / FILE):
        assert row["meta.schema"] == SCHEMA
        assert "meta.commit" in row, name


def test_a_full_disk_leaves_the_rows(finished, tmp_path, monkeypatch):
    """The write of the records fails, as it does at a quota; later it goes on."""
    _, study, workdir = finished
    folder = tmp_path / "run"
    published(workdir, folder)
    before = (folder / FILE).read_bytes()
    write = files.write_bytes

    def full(path, data):
        if path.name.startswith("records"):
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, data)

    monkeypatch.setattr(files, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        study.run(study.config, folder)
    assert (folder / FILE).read_bytes() == before
    monkeypatch.undo()
    study.run(study.config, folder)
    assert rows_of(folder).keys() == {row_key(row) for row in map(json.loads, before.splitlines())}


def changed(config, path, value):
    config = copy.deepcopy(config)
    inner = config
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    return config


REFUSED = [
    (("sweep", "seed"), 1, "another config|labels of S"),
    (("hp", "model", "width"), [5], "another config|wanted"),
    (("hp", "model", "width"), [0], "width"),
    (("hp", "model", "name"), "fnc", "Did you mean 'fcn'"),
]


@pytest.mark.parametrize(("path", "value", "message"), REFUSED)
def test_a_refused_config_changes_nothing(finished, tmp_path, path, value, message):
    _, study, workdir = finished
    folder = tmp_path / "run"
    published(workdir, folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(ValueError, match=message):
        study.run(changed(study.config, path, value), folder)
    assert {name: (folder / name).read_bytes() for name in before} == before


def test_a_measure_that_fails_changes_neither_records_nor_config(finished, tmp_path):
    """It is refused late, when the measure sees the data."""
    name, study, workdir = finished
    if name != "sweep":
        pytest.skip("the other studies see their data before they begin")
    settings = {"on": True, "epsilon": 1e-4, "batch_size": 99, "learning_rate": 1e-3, "epochs": 1}
    config = changed(study.config, ("measures", "sgd_sharpness"), settings)
    folder = tmp_path / "run"
    shutil.copytree(workdir, folder)
    before = {name: (folder / name).read_bytes() for name in (FILE, "config.json")}
    with pytest.raises(ValueError, match="batch_size"):
        study.run(config, folder)
    assert {name: (folder / name).read_bytes() for name in before} == before


WRONG = [
    ("learnin_rate", 0.1, "Did you mean 'learning_rate'"),
    ("batch_size", "32", "batch_size"),
    ("optimizer", "sdg", "Did you mean 'sgd'"),
    ("max_epochs", 0, "max_epochs"),
]


@pytest.mark.parametrize(("entry", "value", "message"), WRONG)
@pytest.mark.parametrize("name", [name for name, study in STUDIES.items() if study.training])
def test_a_mistyped_entry_of_training_is_refused_before_anything_is_written(
    name, entry, value, message, tmp_path
):
    study = STUDIES[name]
    for path in study.training:
        config = changed(study.config, (*path, entry), value)
        with pytest.raises(ValueError, match=message) as caught:
            study.run(config, tmp_path / "run")
        assert not (tmp_path / "run" / "config.json").exists()
        assert not (tmp_path / "run" / "units").exists()
        if entry == "learnin_rate":
            assert str(caught.value).startswith(".".join(path))


def test_both_files_are_read_and_one_complete_file_is_left(finished, tmp_path):
    """Killed between the two steps of a write, a folder has both."""
    name, study, workdir = finished
    folder = tmp_path / "run"
    rows = published(workdir, folder, compressed=True)
    (folder / FILE).write_text("")
    assert len(load_records(folder)) == len(rows)
    before = {row_key(row): row for row in rows}
    if name == "measure":  # it has one row, and writes it when it is done
        study.run(study.config, folder)
    else:
        assert stopped(study, folder, 0)
    assert lacks(before, rows_of(folder)) == []
