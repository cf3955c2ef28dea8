"""python -m experiments.temporal: sharpness and volume at every epoch, and through alpha-scaling.

The networks, the scaling and the measures are those of configs/temporal.py.
"""

from absl import app, flags
from etils import epath

from experiments.flag_help import define_config, parse_flags
from experiments.running import all_done, define_sharing, long_work, report_context, save_pictures
from flatvol_jax import runtime, study
from flatvol_jax.study import temporal

CONFIG = define_config("configs/temporal.py", "What to run.")
WORKDIR = flags.DEFINE_string("workdir", None, "Where results go; default runs/<config.name>.")
DATA_DIR = flags.DEFINE_string("data_dir", None, "Where TFDS data sets are prepared.")
define_sharing()


def main(_) -> None:
    """Do what is missing, draw the figures, write report and tables, say where they are."""
    config = CONFIG.value.to_dict()
    workdir = epath.Path(WORKDIR.value or f"runs/{config['name']}")
    with long_work(workdir, "epoch") as job:
        temporal.run_temporal(config, workdir, DATA_DIR.value, job.progress, job.shard)
    if not all_done(job, workdir):
        return

    frame = study.load_records(workdir)
    title = f"Through time: {config['name']}"
    context = {**report_context("temporal", title, config["scale"]), "config": config}
    table = temporal.branch_table(frame)
    runtime.files.write_text(workdir / "branches.csv", table.to_csv(index=False))
    alphas = temporal.largest_alpha(table)
    runtime.files.write_text(workdir / "largest_alpha.csv", alphas.to_csv(index=False))
    drawn = save_pictures(temporal.temporal_pictures(frame), workdir)
    report = temporal.write_temporal_report(workdir, frame, context)
    print("\n".join(temporal.temporal_summary(frame)))
    print(f"records: {workdir / 'records.jsonl'}")
    print(f"tables:  {workdir / 'branches.csv'}, largest_alpha.csv")
    print("\n".join(drawn))
    print(f"report:  {report}")


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
