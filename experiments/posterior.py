"""python -m experiments.posterior: a random network that fits S beside trained ones, at any |S|."""

from absl import app, flags
from etils import epath

from experiments.flag_help import define_config, parse_flags
from experiments.running import all_done, define_sharing, long_work, report_context, save_pictures
from flatvol_jax import runtime, study
from flatvol_jax.study import posterior

CONFIG = define_config("configs/posterior.py", "What to run.")
WORKDIR = flags.DEFINE_string("workdir", None, "Where results go; default runs/<config.name>.")
DATA_DIR = flags.DEFINE_string("data_dir", None, "Where TFDS data sets are prepared.")
define_sharing()


def main(_) -> None:
    """Do what is missing, draw the figure, write report and table, say where they are."""
    config = CONFIG.value.to_dict()
    workdir = epath.Path(WORKDIR.value or f"runs/{config['name']}")
    with long_work(workdir) as job:
        posterior.run_posterior(config, workdir, DATA_DIR.value, job.progress, job.shard)
    if not all_done(job, workdir):
        return

    frame = study.load_records(workdir)
    title = "Trained networks and random ones that fit S"
    context = {**report_context("posterior", title, config["scale"]), "config": config}
    runtime.files.write_text(workdir / "sizes.csv", posterior.size_table(frame).to_csv(index=False))
    drawn = save_pictures(posterior.posterior_pictures(frame), workdir)
    report = posterior.write_posterior_report(workdir, frame, context)
    print("\n".join(posterior.posterior_summary(frame)))
    print(f"records: {workdir / 'records.jsonl'}")
    print(f"table:   {workdir / 'sizes.csv'}")
    print("\n".join(drawn))
    print(f"report:  {report}")


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
