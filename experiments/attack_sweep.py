"""python -m experiments.attack_sweep --config=configs/mnist_fcn.py: train, measure, report."""

from absl import app, flags
from etils import epath

from experiments.flag_help import define_config, parse_flags
from experiments.running import all_done, define_sharing, long_work, report_context, save_pictures
from flatvol_jax import study
from flatvol_jax.study import analysis, engine, measures, report, sweep

CONFIG = define_config("configs/mnist_fcn.py", "What to run.")
WORKDIR = flags.DEFINE_string("workdir", None, "Where results go; default runs/<config.name>.")
CACHE = flags.DEFINE_string("cache", None, "Where kernels are kept; default WORKDIR/cache.")
DATA_DIR = flags.DEFINE_string("data_dir", None, "Where TFDS data sets are prepared.")
define_sharing()


def main(_) -> None:
    """Run what is missing, draw the figure, write the report, say where they are."""
    config = measures.problem.with_content(CONFIG.value.to_dict())
    workdir = epath.Path(WORKDIR.value or f"runs/{config['name']}")
    with long_work(workdir) as job:
        sweep.run_attack_sweep(
            config, workdir, DATA_DIR.value, job.progress, CACHE.value, job.shard
        )
    if not all_done(job, workdir):
        return

    records = study.load_records(workdir)
    frame = engine.records.at_zero_error(records)
    movement = analysis.experiment_tables.function_movement_table(records)
    context = report_context("attack_sweep", f"Attack-set sweep {config['name']}", config["scale"])
    pictures = sweep.sweep_pictures(frame, workdir)
    drawn = save_pictures(pictures, workdir)
    claims = study.claims_table(frame, config["scale"])
    more = {picture.shows: picture.figure for picture in pictures[1:]}
    sweep.write_report(workdir / "report.html", frame, config, context, claims, more, movement)
    print(sweep.protocol_note(config) or "the paper's protocol")
    print("\n".join(study.records_summary(frame, config["scale"], claims=claims)))
    print(f"records: {workdir / 'records.jsonl'}")
    print("\n".join(drawn))
    print(f"report:  {workdir / 'report.html'}")
    print("\n".join(report.answer.answer_lines(claims, config["scale"])))


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
