"""The launch scripts with stand-ins for srun, scontrol and gcloud: what they would run."""

import os
import subprocess
from pathlib import Path

import pytest

LAUNCH = Path(__file__).parents[2] / "launch"


@pytest.fixture
def run(tmp_path):
    """Run a script where every outside command writes down its arguments."""
    calls = tmp_path / "calls"

    def stand_in(path, ends):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'#!/bin/bash\necho "$(basename "$0") $*" >> {calls}\n{ends}\n')
        path.chmod(0o755)

    def run(script, *arguments, code=0, **environment):
        stand_in(tmp_path / ".venv/bin/python", f"exit {code}")
        for name in ("scontrol", "gcloud"):
            stand_in(tmp_path / "bin" / name, "")
        stand_in(tmp_path / "bin/srun", 'while [[ "$1" == --* ]]; do shift; done; "$@"; exit $?')
        path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
        ended = subprocess.run(
            [LAUNCH / script, *arguments],
            cwd=tmp_path,
            env={"PATH": path, "SLURM_JOB_ID": "77", **environment},
            capture_output=True,
            text=True,
        )
        return ended.returncode, calls.read_text().splitlines() if calls.exists() else []

    return run


def test_an_array_task_does_its_share(run):
    code, calls = run(
        "slurm_array.sh",
        "configs/a.py:cpu",
        "runs/a",
        "--config.sweep.draws=3",
        SLURM_ARRAY_TASK_ID="3",
        SLURM_ARRAY_TASK_MIN="1",
        SLURM_ARRAY_TASK_COUNT="8",
    )
    assert code == 0
    assert calls[-1] == (
        "python -m experiments.attack_sweep --config=configs/a.py:cpu --workdir=runs/a "
        "--shard=2/8 --config.sweep.draws=3"
    )


def test_without_an_array_it_does_all(run):
    code, calls = run("slurm_array.sh", "configs/a.py", "runs/a")
    assert code == 0
    assert calls[-1] == "python -m experiments.attack_sweep --config=configs/a.py --workdir=runs/a"


@pytest.mark.parametrize("script", ["slurm_array.sh", "slurm_multihost.sh"])
@pytest.mark.parametrize(("code", "again"), [(75, True), (1, False), (0, False)])
def test_only_the_code_that_means_again_is_queued_again(run, script, code, again):
    ended, calls = run(script, "configs/a.py", "runs/a", code=code)
    assert ended == code
    assert ("scontrol requeue 77" in calls) == again


def test_a_job_over_nodes_says_so(run):
    _, calls = run("slurm_multihost.sh", "configs/a.py", "runs/a")
    assert "--multihost --config=configs/a.py --workdir=runs/a" in calls[-1]


def test_all_workers_of_a_tpu_install_and_run(run):
    code, calls = run(
        "tpu_vm.sh", "pod", "zone", "gs://bucket/run", "configs/a.py", REPOSITORY="https://a/b"
    )
    assert code == 0
    text = " ".join(calls)
    assert text.count("gcloud compute tpus tpu-vm ssh pod --zone=zone --worker=all") == 2
    assert "git clone https://a/b flatvol_jax" in text
    assert "--multihost --config=configs/a.py --workdir=gs://bucket/run" in text


def test_a_tpu_without_a_repository_is_refused(run):
    code, calls = run("tpu_vm.sh", "pod", "zone", "gs://bucket/run", "configs/a.py")
    assert code != 0
    assert not calls
