"""python -m experiments.symmetry_audit: which measures move while the function stays.

A network of your own: --npz=network.npz with W1, b1, W2, b2, ... in the convention x @ W + b,
trained on the config's data; or --data=data.npz has those that it was trained on.
"""

from absl import app, flags
from etils import epath

from experiments.flag_help import define_config, parse_flags
from experiments.running import long_work
from flatvol_jax import runtime, study
from flatvol_jax.study import audit, measures, report

CONFIG = define_config("configs/symmetry_audit.py", "What to run.")
WORKDIR = flags.DEFINE_string("workdir", None, "Where results go; default runs/<config.name>.")
DATA_DIR = flags.DEFINE_string("data_dir", None, "Where TFDS data sets are prepared.")
NPZ = flags.DEFINE_string("npz", None, "Weights W1, b1, W2, b2, ... of a trained network.")
DATA = flags.DEFINE_string("data", None, "Its data, an .npz: train_x, train_y, test_x, test_y.")


def main(_) -> None:
    """Measure what is missing, write the table, draw the figure, say where they are."""
    config = CONFIG.value.to_dict()
    workdir = epath.Path(WORKDIR.value or f"runs/{config['name']}")
    with long_work(workdir) as job:
        spec = measures.study_config.model_spec(config["hp"]["model"])
        params = None
        if NPZ.value:
            params = measures.network_files.parameters_of_arrays(NPZ.value, spec)
        arrays = runtime.files.read_arrays(DATA.value) if DATA.value else None
        rows = audit.run_symmetry_audit(
            config, workdir, DATA_DIR.value, params, job.progress, arrays
        )
    frame = study.load_records(workdir)
    frame = frame[frame["run_id"] == rows[0]["run_id"]]
    table = audit.audit_table(frame)
    runtime.files.write_text(workdir / "symmetry_audit.csv", table.to_csv(index=False))
    figure = audit.symmetry_audit_figure(frame)
    png, svg = report.scatter.save_figure(figure, workdir / "figures" / "symmetry_audit")
    print("\n".join(audit.audit_summary(frame, table)))
    print(f"records: {workdir / 'records.jsonl'}\ntable:   {workdir / 'symmetry_audit.csv'}")
    print(f"figure:  {png}, {svg}")


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
