"""What a long sweep costs beside its numbers: memory over time, and reading many records.

    python -m benchmarks.load [networks] [rows]

Trains and measures so many small networks (1,000) on real digits in one process and prints its
resident memory as it goes; then loads so many rows (100,000), the sweep's own over and over, and
draws the figure from them. Targets: flat memory, under two seconds.
"""

import json
import sys
import tempfile
import time

import psutil
from etils import epath

from configs.mnist_fcn import get_config
from flatvol_jax.study import load_records
from flatvol_jax.study.sweep import run_attack_sweep, sweep_pictures


def small(networks: int) -> dict:
    """A sweep of so many networks 784-16-1 on 60 digits, over ten draws."""
    config = get_config("smoke")
    config.hp.data.update(train_size=60, attack_pool_size=60, test_size=60, second_test_size=200)
    config.hp.model.width = (16,)
    config.hp.train.max_epochs = 100
    config.sweep.update(draws=10, attack_sizes=(0, 60), samples=-(-networks // 20))
    config.ensemble = 10
    config.measures.log_volume.estimator = "ep"
    for name in ("sgd_sharpness", "hessian"):
        config.measures[name].on = False
    return json.loads(config.to_json())


def main(networks: int, rows: int) -> None:
    """Print memory over time, then the times of loading and drawing."""
    process, began, shown = psutil.Process(), time.perf_counter(), -1

    def progress(done, total, text):
        nonlocal shown
        if int(20 * done / total) > shown:
            shown = int(20 * done / total)
            megabytes = process.memory_info().rss / 1e6
            seconds = time.perf_counter() - began
            print(f"{done / total:5.0%} {seconds:6.0f} s {megabytes:7.0f} MB", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        workdir = epath.Path(folder)
        run_attack_sweep(small(networks), workdir, progress=progress)
        lines = (workdir / "records.jsonl").read_text().splitlines()
        many = workdir / "many"
        many.mkdir()
        with (many / "records.jsonl").open("w") as file:
            for number in range(rows):
                row = json.loads(lines[number % len(lines)])
                row["run_id"], row["hp.sample"] = f"{number:016x}", number
                row = {name: v for name, v in row.items() if not name.startswith("meta.arrays")}
                file.write(json.dumps(row) + "\n")
        began = time.perf_counter()
        frame = load_records(many)
        loaded = time.perf_counter()
        pictures = sweep_pictures(frame, many)
        drawn = time.perf_counter()
    print(f"{len(frame):,} rows of {len(frame.columns)} columns: loaded in {loaded - began:.2f} s,")
    print(f"{len(pictures)} figure(s) drawn from them in {drawn - loaded:.1f} s")


if __name__ == "__main__":
    main(*(int(float(number)) for number in ([*sys.argv[1:], "1000", "100000"])[:2]))
