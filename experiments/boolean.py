"""python -m experiments.boolean: volumes counted and computed, minima, P_SGD against P_B."""

from absl import app, flags
from etils import epath

from experiments.flag_help import define_config, parse_flags
from experiments.running import long_work, report_context, save_pictures
from flatvol_jax import study
from flatvol_jax.study import boolean

CONFIG = define_config("configs/boolean.py", "What to run.")
WORKDIR = flags.DEFINE_string("workdir", None, "Where results go; default runs/<config.name>.")


def main(_) -> None:
    """Do what is missing, draw the figures, write the report, say where they are."""
    config = CONFIG.value.to_dict()
    workdir = epath.Path(WORKDIR.value or f"runs/{config['name']}")
    with long_work(workdir) as job:
        boolean.run_boolean(config, workdir, job.progress)

    frame = study.load_records(workdir)
    title = f"Boolean functions of {config['hp']['bits']} inputs"
    context = {
        **report_context("boolean", title, config["scale"]),
        "notes": [note for note in (config["note"], *boolean.make_system(config).notes) if note],
        "config": config,
    }
    drawn = save_pictures(boolean.boolean_pictures(frame), workdir)
    report = boolean.write_boolean_report(workdir, frame, context)
    print("\n".join(boolean.boolean_summary(frame)))
    print(f"records: {workdir / 'records.jsonl'}")
    print("\n".join(drawn))
    print(f"report:  {report}")


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
