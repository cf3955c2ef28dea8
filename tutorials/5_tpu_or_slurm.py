# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 5. A sweep on a cluster, step by step
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/flatvol_jax/blob/main/tutorials/5_tpu_or_slurm.ipynb)
#
# The commands on a cluster are those of your laptop. A sweep is cut into units that are written whole; whoever is
# killed loses at most the unit in flight, and the same command goes on. This notebook plays a cluster with two jobs.

# %%
# On Colab this cell installs the library; elsewhere `make install` has done so.
import subprocess
import sys

REPOSITORY = "https://github.com/OWNER/flatvol_jax"  # where you clone the project from
if "google.colab" in sys.modules:
    assert "/OWNER/" not in REPOSITORY, "put the address of the project into REPOSITORY"
    subprocess.run(["git", "clone", "--depth=1", REPOSITORY, "flatvol_jax"], check=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "-e", "flatvol_jax"], check=True)
    subprocess.run([*pip, "--no-deps", "neural-tangents==0.6.5"], check=True)
    sys.path.insert(0, "flatvol_jax")

# %%
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import flatvol_jax as fv

ROOT = Path(fv.__file__).parents[1]  # the clone that the library was installed from
assert (ROOT / "experiments").exists(), "install the library from a clone: pip install -e FOLDER"
WORKDIR = Path(tempfile.mkdtemp()) / "sweep"
COMMAND = [
    sys.executable,
    *("-m", "experiments.attack_sweep"),
    "--config=configs/mnist_fcn.py:smoke",
    *("--config.sweep.draws=2", "--config.sweep.samples=2", "--config.hp.data.train_size=50"),
    *("--config.measures.hessian.on=False", "--config.measures.sgd_sharpness.on=False"),
    f"--workdir={WORKDIR}",
]


def start(*more):
    """Start a job; its progress bar is left out."""
    return subprocess.Popen(
        [*COMMAND, *more], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


def finished(job):
    """Wait for a job and return what it printed, paths from the folder of the sweep."""
    output, _ = job.communicate()
    return output.replace(f"{WORKDIR.parent}/", "")


# %% [markdown]
# ## A preempted job
#
# A scheduler sends SIGTERM before it takes the machine away. The job ends at the next safe point with exit code 75,
# which means *again*: nothing is lost.

# %%
job = start("--shard=0/2")
while not (WORKDIR / "config.json").exists():
    time.sleep(0.1)
job.send_signal(signal.SIGTERM)
job.communicate()
print("exit code", job.returncode)
assert job.returncode in (os.EX_TEMPFAIL, 0, -signal.SIGTERM)

# %% [markdown]
# ## Two jobs, one sweep
#
# `--shard=I/N` takes a part by the config alone: jobs need not know each other. They may run at the same time, on
# machines that share a file system, or one after another.

# %%
for shard in ("0/2", "1/2"):
    print(finished(start(f"--shard={shard}")))
print(sorted(path.name for path in WORKDIR.glob("records*")))

# %% [markdown]
# When all are done the same command without `--shard` joins them, draws, and reports. It trains nothing.

# %%
print("\n".join(finished(start()).splitlines()[-6:]))
records = fv.study.load_records(WORKDIR)
assert len(records) == 8
assert records["run_id"].is_unique

# %% [markdown]
# ## Slurm
#
# One job of many tasks divides the work by `jax.distributed`; or an array job, a shard each:

# %%
print((ROOT / "launch" / "slurm_array.sh").read_text())

# %% [markdown]
# ## TPU
#
# The same command on every worker of a pod; float64 runs on the host, the rest on the chips.

# %%
print((ROOT / "launch" / "tpu_vm.sh").read_text())

# %% [markdown]
# A workdir may be a bucket, `--workdir=gs://...` (extra `gcs`). What is lost when, and what numbers do not depend on:
# [docs/batch_jobs.md](../docs/batch_jobs.md).
