"""python -m experiments.compare --workdir=runs --scale=cpu: optimizers held against each other.

Reads the records of every sweep in --workdir, one folder a sweep, and computes nothing anew. With
--against two workdirs are held against each other: python -m experiments.compare --workdir=A
--against=B; the same networks number by number, and correlations on the same draws.
"""

import shlex
import sys
import time
import warnings

from absl import app, flags
from etils import epath

from experiments.flag_help import parse_flags
from flatvol_jax import runtime
from flatvol_jax.study import analysis, engine, sweep

WORKDIR = flags.DEFINE_string("workdir", "runs", "Folder of the sweeps; results go there, too.")
AGAINST = flags.DEFINE_string("against", None, "Another workdir: compare it with --workdir.")
SCALE = flags.DEFINE_string("scale", "cpu", "Which sweeps: those of this config.scale.")


def main(_) -> None:
    """Judge every experiment, write page and table, say where they are."""
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"
    workdir, scale = epath.Path(WORKDIR.value), SCALE.value
    began = time.perf_counter()
    try:
        if AGAINST.value:
            _two_workdirs(workdir, epath.Path(AGAINST.value))
            return
        records = engine.records.load_sweeps(workdir)
        chosen = analysis.experiment_tables.of_scale(records, scale)
        tables = analysis.experiment_tables.experiment_tables(chosen, scale)
    except ValueError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("Interrupted; nothing was written.")
    context = {
        **engine.workdir.environment(),
        "command": shlex.join(["python", "-m", "experiments.compare", *sys.argv[1:]]),
        "scale": scale,
        "wall_seconds": time.perf_counter() - began,
    }
    sweep.write_comparison(workdir / "comparison.html", tables, context)
    flat = analysis.experiment_tables.flat_table(tables)
    runtime.files.write_text(workdir / "comparison.csv", flat.to_csv(index=False))
    print("\n".join(analysis.experiment_tables.tables_summary(tables)))
    print(f"records: {len(chosen)} of {len(records)} in {workdir} are of scale {scale}")
    print(f"table:   {workdir / 'comparison.csv'}")
    print(f"report:  {workdir / 'comparison.html'}")


def _two_workdirs(workdir: epath.Path, against: epath.Path) -> None:
    found = sweep.compare_workdirs(workdir, against)
    stem = workdir / f"compared_with_{against.name}"
    command = shlex.join(["python", "-m", "experiments.compare", *sys.argv[1:]])
    context = {**engine.workdir.environment(), "command": command}
    sweep.write_workdir_comparison(f"{stem}.html", found, context)
    runtime.files.write_text(f"{stem}.csv", found.moved.to_csv(index=False))
    print("\n".join(sweep.comparison_summary(found)))
    print(f"table:   {stem}.csv")
    print(f"report:  {stem}.html")


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
