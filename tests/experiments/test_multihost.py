"""Several processes, one sweep: under jax.distributed on this machine, and as shards."""

import socket

from flatvol_jax.study import load_records


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def test_two_processes_of_jax_distributed_make_the_records_of_one(undisturbed, tmp_path, sweep):
    address = f"127.0.0.1:{free_port()}"
    started = [
        sweep.start(
            tmp_path,
            "--multihost",
            JAX_COORDINATOR_ADDRESS=address,
            JAX_NUM_PROCESSES="2",
            JAX_PROCESS_ID=str(process),
        )
        for process in range(2)
    ]
    (code, out, err), (other_code, other_out, other_err) = map(sweep.ended, started)
    assert (code, other_code) == (0, 0), err + other_err
    assert "report:" in out
    assert not other_out
    assert (tmp_path / "report.html").stat().st_size > 1000
    assert len((tmp_path / "records.jsonl").read_text().splitlines()) == 4
    assert sweep.numbers(tmp_path).equals(sweep.numbers(undisturbed[0]))


def test_shards_do_their_parts_and_the_whole_adds_nothing(undisturbed, tmp_path, sweep):
    for shard in ("0/2", "1/2"):
        code, out, err = sweep.ended(sweep.start(tmp_path, f"--shard={shard}"))
        assert code == 0, err
        assert "without --shard draws" in out
    assert not (tmp_path / "report.html").exists()
    assert sweep.numbers(tmp_path).equals(sweep.numbers(undisturbed[0]))  # read from the shards
    units = {path: path.stat().st_mtime_ns for path in tmp_path.glob("units/*/*")}

    code, _, err = sweep.ended(sweep.start(tmp_path))
    assert code == 0, err
    assert (tmp_path / "report.html").stat().st_size > 1000
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("units/*/*")} == units
    assert len(load_records(tmp_path)) == 4
    assert sweep.numbers(tmp_path).equals(sweep.numbers(undisturbed[0]))


def test_a_shard_that_does_not_exist_is_refused(tmp_path, sweep):
    code, _, err = sweep.ended(sweep.start(tmp_path / "new", "--shard=2/2"))
    assert code == 1
    assert "wanted I/N" in err
    assert not (tmp_path / "new").exists()
