"""python -m experiments.predictors: what predicts the error where hyperparameters vary."""

from absl import app, flags
from etils import epath

from experiments.flag_help import define_config, parse_flags
from experiments.running import all_done, define_sharing, long_work, report_context, save_pictures
from flatvol_jax import runtime, study
from flatvol_jax.study import measures, predictors

CONFIG = define_config("configs/predictors.py", "What to run.")
WORKDIR = flags.DEFINE_string("workdir", None, "Where results go; default runs/<config.name>.")
DATA_DIR = flags.DEFINE_string("data_dir", None, "Where TFDS data sets are prepared.")
define_sharing()


def main(_) -> None:
    """Do what is missing, draw the figure, write report and tables, say where they are."""
    config = measures.problem.with_content(CONFIG.value.to_dict())
    workdir = epath.Path(WORKDIR.value or f"runs/{config['name']}")
    with long_work(workdir) as job:
        predictors.run_predictors(config, workdir, DATA_DIR.value, job.progress, job.shard)
    if not all_done(job, workdir):
        return

    summary = predictors.summarised(study.load_records(workdir))
    title = "What predicts that a network generalises"
    context = {**report_context("predictors", title, config["scale"]), "config": config}
    for name in ("measures", "environments"):
        table = getattr(summary, name).to_csv(index=False)
        runtime.files.write_text(workdir / f"{name}.csv", table)
    drawn = save_pictures(predictors.predictor_pictures(summary), workdir)
    report = predictors.write_predictor_report(workdir, summary, context)
    print("\n".join(summary.lines))
    print(f"records: {workdir / 'records.jsonl'}")
    print(f"tables:  {workdir / 'measures.csv'}, {workdir / 'environments.csv'}")
    print("\n".join(drawn))
    print(f"report:  {report}")


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
