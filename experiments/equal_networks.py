"""python -m experiments.equal_networks: networks of one S that differ by their seed."""

from absl import app, flags
from etils import epath

from experiments.flag_help import define_config, parse_flags
from experiments.running import all_done, define_sharing, long_work, report_context, save_pictures
from flatvol_jax import runtime, study
from flatvol_jax.study import equal_networks, measures

CONFIG = define_config("configs/equal_networks.py", "What to run.")
WORKDIR = flags.DEFINE_string("workdir", None, "Where results go; default runs/<config.name>.")
CACHE = flags.DEFINE_string("cache", None, "Where kernels are kept; default WORKDIR/cache.")
DATA_DIR = flags.DEFINE_string("data_dir", None, "Where TFDS data sets are prepared.")
define_sharing()


def main(_) -> None:
    """Do what is missing, draw the figure, write report and tables, say where they are."""
    config = measures.problem.with_content(CONFIG.value.to_dict())
    workdir, scale = epath.Path(WORKDIR.value or f"runs/{config['name']}"), config["scale"]
    with long_work(workdir) as job:
        equal_networks.run_equal_networks(
            config, workdir, DATA_DIR.value, job.progress, CACHE.value, job.shard
        )
    if not all_done(job, workdir):
        return

    frame = study.load_records(workdir)
    title = "Networks that differ by their seed"
    context = {**report_context("equal_networks", title, scale), "config": config}
    for name, table in (
        ("measures", equal_networks.measure_table(frame, scale).drop(columns="left_out")),
        ("draws", equal_networks.draw_table(frame)),
    ):
        runtime.files.write_text(workdir / f"{name}.csv", table.to_csv(index=False))
    drawn = save_pictures(equal_networks.equal_networks_pictures(frame, scale), workdir)
    report = equal_networks.write_equal_networks_report(workdir, frame, context)
    print("\n".join(equal_networks.equal_networks_summary(frame, scale)))
    print(f"records: {workdir / 'records.jsonl'}")
    print(f"tables:  {workdir / 'measures.csv'}, {workdir / 'draws.csv'}")
    print("\n".join(drawn))
    print(f"report:  {report}")


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
