"""python -m experiments.reproduce --scale=cpu --workdir=results: the paper as one page.

Runs every study of a scale that is missing, takes what is there, and writes WORKDIR/report.html,
claims.csv, and the figures. Interrupted at any moment, the same command goes on.
"""

import datetime
import importlib
import sys
import time

from absl import app, flags
from etils import epath

import flatvol_jax as fv
from configs import reproduce
from experiments.flag_help import parse_flags
from experiments.running import long_work, report_context
from flatvol_jax import paper
from flatvol_jax.study import engine

SCALE = flags.DEFINE_enum("scale", "cpu", reproduce.SCALES, "Which sizes.")
WORKDIR = flags.DEFINE_string("workdir", None, "A folder a study; default runs/SCALE.")
DATA_DIR = flags.DEFINE_string("data_dir", None, "Where TFDS data sets are prepared.")
RUN = flags.DEFINE_bool("run", True, "Run what is missing; otherwise only report what is there.")
RUNNERS = {
    "attack_sweep": ("sweep", "run.run_attack_sweep"),
    "temporal": ("temporal", "run.run_temporal"),
    "boolean": ("boolean", "run.run_boolean"),
}


def main(_) -> None:
    """Do what is missing, judge, draw, say where it is."""
    workdir = epath.Path(WORKDIR.value or f"runs/{SCALE.value}")
    jobs, fates, not_run = reproduce.jobs(SCALE.value), {}, []
    for number, job in enumerate(jobs, 1):
        fate, done = _do(job, workdir, f"{number} of {len(jobs)}: {job.folder}")
        if done:
            fates[job.folder] = job.command, fate
        else:
            not_run.append((job.command, fate))
    title = "Why flatness correlates with generalisation: every figure and claim"
    context = {**report_context("reproduce", title, SCALE.value), "not_run": not_run}
    try:
        lines = paper.write_reproduction(workdir, SCALE.value, fates, context)
    except ValueError as error:
        sys.exit(f"error: {error}")
    print("\n".join(lines))


def _do(job: reproduce.Job, workdir: epath.Path, heading: str) -> tuple[str, bool]:
    """Run a job unless its records are there; what became of it, and whether there are records."""
    folder = workdir / job.folder
    module = importlib.import_module(f"configs.{job.config}")
    config = module.get_config(*filter(None, [job.variant])).to_dict()
    if paper.is_finished(config, folder):
        return "reused", True
    if not RUN.value:
        found, planned = paper.networks_so_far(config, folder)
        if found:
            return f"{found} of {planned} networks so far", True
        there = engine.record_files.record_files(folder)
        return "records of other settings, left out" if there else "no records", False
    if job.data:
        try:
            fv.data.prepared.prepared_folder(job.data, DATA_DIR.value)
        except ValueError:
            return f"{job.data} is not prepared; see the README, --data_dir=", False
    print(f"{heading}: {job.command}")
    began = time.perf_counter()
    with long_work(folder) as work:
        run = paper.registry.part_of(*RUNNERS[job.experiment])
        run(
            config,
            folder,
            progress=work.progress,
            **({"data_dir": DATA_DIR.value} if job.data else {}),
        )
    return f"run in {datetime.timedelta(seconds=round(time.perf_counter() - began))}", True


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
