"""The main from the outside: killed, stopped, or started twice, no number moves."""

import random
import signal
import time

import pytest

from flatvol_jax.study import load_records

MORE = (  # for the long test
    "--config.sweep.draws=2",
    "--config.sweep.samples=5",
    "--config.ensemble=2",
    "--config.measures.sharpness.on=True",
    "--config.measures.log_volume_null.on=True",
)


def wait_for(pattern, workdir, process):
    deadline = time.monotonic() + 150
    while not list(workdir.glob(pattern)):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline, f"no {pattern} in time"
        time.sleep(0.01)


def stop_when_there_is(pattern, workdir, number, sweep):
    """Start the main, send it a signal as soon as a file matches, return how it ended."""
    process = sweep.start(workdir)
    wait_for(pattern, workdir, process)
    process.send_signal(number)
    return sweep.ended(process)


def test_it_ends_well_and_says_where_records_figure_and_report_are(undisturbed):
    workdir, code, out, err = undisturbed
    assert code == 0, err
    for label, file in (
        ("records", "records.jsonl"),
        ("figure", "figures/attack_sweep.png"),
        ("report", "report.html"),
    ):
        (line,) = [line for line in out.splitlines() if line.startswith(f"{label}:")]
        assert str(workdir / file) in line
        assert (workdir / file).stat().st_size > 1000
    assert len(load_records(workdir)) == 4
    assert "Traceback" not in err


def test_killed_while_training_and_terminated_while_measuring_no_number_moves(
    undisturbed, tmp_path, sweep
):
    code, out, _ = stop_when_there_is("units/train/*.json", tmp_path, signal.SIGKILL, sweep)
    assert code == -signal.SIGKILL
    assert not out
    trained = {p: p.stat().st_mtime_ns for p in tmp_path.glob("units/train/*.json")}
    assert trained

    code, _, err = stop_when_there_is("units/log_volume/*.json", tmp_path, signal.SIGTERM, sweep)
    assert code == 75, err
    assert f"what is finished is in {tmp_path}. The same command resumes." in err
    assert "Traceback" not in err
    assert not (tmp_path / "report.html").exists()

    code, out, err = sweep.ended(sweep.start(tmp_path))
    assert code == 0, err
    assert (tmp_path / "report.html").stat().st_size > 1000
    assert {p: p.stat().st_mtime_ns for p in trained} == trained
    assert sweep.numbers(tmp_path).equals(sweep.numbers(undisturbed[0]))


def test_a_second_one_on_the_same_folder_is_refused_and_the_first_goes_on(
    undisturbed, tmp_path, sweep
):
    first = sweep.start(tmp_path)
    wait_for("units/train/*.json", tmp_path, first)
    first.send_signal(signal.SIGSTOP)  # it holds the folder, however fast it is
    code, _, err = sweep.ended(sweep.start(tmp_path))
    first.send_signal(signal.SIGCONT)
    assert code == 1
    assert 'in use by another process ({"host": ' in err
    assert f'"pid": {first.pid}' in err
    code, _, err = sweep.ended(first)
    assert code == 0, err
    assert sweep.numbers(tmp_path).equals(sweep.numbers(undisturbed[0]))


def test_a_mistyped_override_fails_with_a_suggestion(tmp_path, sweep):
    code, _, err = sweep.ended(sweep.start(tmp_path / "new", "--config.hp.train.learning_rte=1"))
    assert code != 0
    assert "learning_rate" in err
    assert "Traceback" not in err
    assert not (tmp_path / "new").exists()


def kill_at_random(sweep, workdir, kills, most, *flags):
    """Start it, kill it some moments after a random number of new units; returns the kills done."""
    moments = random.Random(0)
    for kill in range(kills):
        before = len(list(workdir.glob("units/*/*.json")))
        new, moment = moments.randint(0, most), moments.uniform(0, 0.1)
        process = sweep.start(workdir, *flags)
        while len(list(workdir.glob("units/*/*.json"))) < before + new:
            if process.poll() is not None:
                return kill
        time.sleep(moment if new else 30 * moment)  # without a new unit, it is still beginning
        if process.poll() is not None:
            return kill
        process.kill()
        process.wait()
    return kills


@pytest.mark.slow
def test_killed_at_twenty_random_moments_the_rows_are_the_same(tmp_path, sweep):
    code, _, err = sweep.ended(sweep.start(tmp_path / "whole", *MORE))
    assert code == 0, err
    (tmp_path / "killed").mkdir()
    assert kill_at_random(sweep, tmp_path / "killed", 20, 4, *MORE) == 20
    code, _, err = sweep.ended(sweep.start(tmp_path / "killed", *MORE))
    assert code == 0, err
    rows = sweep.numbers(tmp_path / "killed")
    assert len(rows) == 20
    assert not rows[["run_id", "overtrain"]].duplicated().any()
    assert rows.equals(sweep.numbers(tmp_path / "whole"))


def test_killed_at_two_random_moments_the_rows_are_the_same(undisturbed, tmp_path, sweep):
    assert kill_at_random(sweep, tmp_path, 2, 3) == 2
    code, _, err = sweep.ended(sweep.start(tmp_path))
    assert code == 0, err
    rows = sweep.numbers(tmp_path)
    assert not rows[["run_id", "overtrain"]].duplicated().any()
    assert rows.equals(sweep.numbers(undisturbed[0]))
