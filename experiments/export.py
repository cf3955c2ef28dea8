"""python -m experiments.export --workdir=runs/mnist_fcn_small --out=records.parquet: a table.

The records of a workdir, or of every workdir one level below it, as .csv or .parquet.
"""

import sys

from absl import app, flags

from experiments.flag_help import parse_flags
from flatvol_jax import study

WORKDIR = flags.DEFINE_string("workdir", "runs", "Folder of records, or of folders of records.")
OUT = flags.DEFINE_string("out", "records.csv", "Where to; the suffix, .csv or .parquet, says how.")


def main(_) -> None:
    """Write the table, say how large it is."""
    try:
        frame = study.export_records(WORKDIR.value, OUT.value)
    except ValueError as error:
        sys.exit(f"error: {error}")
    print(f"{OUT.value}: {len(frame)} rows, {len(frame.columns)} columns")


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
