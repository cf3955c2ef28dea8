"""What the mains of long experiments share: how they begin, run, end, and say what was run."""

import contextlib
import os
import shlex
import sys
import time
import types
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from absl import flags, logging
from etils import epath

from flatvol_jax import runtime
from flatvol_jax.runtime.lazy_imports import import_names
from flatvol_jax.runtime.preemption import Stopped, stop_on
from flatvol_jax.study import engine, report
from flatvol_jax.study.engine.shards import Shard, parse_shard

if TYPE_CHECKING:
    from flatvol_jax.study.report.pictures import Picture

BEGAN = time.perf_counter()
AGAIN = os.EX_TEMPFAIL  # 75: stopped by SIGTERM, all is on disk, the same command goes on
INTERRUPTED = 130  # Ctrl-C


class Job(NamedTuple):
    """This process's part of the work.

    Attributes:
        progress: callback of a progress bar.
        shard: which part it is.
        alone: whether there is nobody to wait for: one process, or a shard by itself.
    """

    progress: Callable[[float, int, str], None]
    shard: Shard
    alone: bool


def define_sharing() -> None:
    """Flags of the mains whose work can be divided among processes."""
    flags.DEFINE_string("shard", None, "I/N: do this part of N, without asking the others.")
    flags.DEFINE_bool(
        "multihost",
        None,
        "Divide the work among the processes of jax.distributed; left out: where Slurm or MPI "
        "started several.",
    )


@contextlib.contextmanager
def long_work(workdir: epath.PathLike, unit: str = "unit") -> Iterator[Job]:
    """Give this process's job; what stops the work ends the program with a sentence.

    SIGTERM ends it at the next safe point with exit code 75, Ctrl-C at once with 130, an error
    with 1. Warnings are a line each.
    """
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"
    logging.set_verbosity(logging.WARNING)
    resumes = f"what is finished is in {workdir}. The same command resumes."
    try:
        import_names(_packages_of_the_main())
        shard, alone = _shard()
        runtime.compiled_programs.keep_compiled_programs()
        with stop_on(), runtime.progress.progress_bar(unit) as progress:
            yield Job(progress, shard, alone)
    except Stopped:
        _leave(f"Stopped by SIGTERM; {resumes}", AGAIN)
    except KeyboardInterrupt:
        _leave(f"Interrupted; {resumes}", INTERRUPTED)
    except (ValueError, OSError) as error:
        _leave(f"error: {error}", 1)


def _packages_of_the_main() -> list[types.ModuleType]:
    """Return the packages of the library that the main names."""
    found = [v for v in vars(sys.modules["__main__"]).values() if isinstance(v, types.ModuleType)]
    return [module for module in found if module.__name__.partition(".")[0] == "flatvol_jax"]


def all_done(job: Job, workdir: epath.PathLike) -> bool:
    """Whether this process is to draw: when the others are done, too, and it is the first.

    A shard by itself says how the results come together.
    """
    if job.alone and job.shard.count > 1:
        print(f"shard {job.shard.name} is done: {workdir}/records-{job.shard.name}.jsonl")
        print("When all are, the same command without --shard draws figures and report.")
        return False
    runtime.processes.wait_for_all("work")
    if job.shard.index > 0:
        return False
    there = {path.name for path in engine.record_files.record_files(workdir)}
    shards = [Shard(index, job.shard.count) for index in range(job.shard.count)]
    names = {shard.index: engine.record_files.records_name(shard) for shard in shards}
    if missing := [index for index, name in names.items() if name not in there]:
        raise SystemExit(
            f"error: {workdir} has no records of process(es) {missing}, which are done: they do "
            "not share this folder. Copy theirs into it; the same command without --multihost "
            "draws."
        )
    engine.records.merge_shards(workdir)
    return True


def _shard() -> tuple[Shard, bool]:
    """Which part of the work is this process's, by flag or by what started it."""
    values, processes = flags.FLAGS.flag_values_dict(), runtime.processes
    text, multihost = values.get("shard"), values.get("multihost")
    if text is not None and multihost:
        raise ValueError("shard: got it with --multihost, wanted one of them.")
    if text is not None:
        return parse_shard(text), True
    if multihost or (multihost is None and "multihost" in values and processes.started_together()):
        processes.connect()
        index, count = processes.place()
        return Shard(index, count), count == 1
    return Shard(), True


def _leave(sentence: str, code: int) -> None:
    print(sentence, file=sys.stderr)
    runtime.processes.leave(code)
    sys.exit(code)


def report_context(experiment: str, title: str, scale: str) -> dict[str, Any]:
    """What a report says of its run: environment, title, command, scale, wall time so far."""
    return {
        **engine.workdir.environment(),
        "title": title,
        "command": shlex.join(["python", "-m", f"experiments.{experiment}", *sys.argv[1:]]),
        "scale": scale,
        "wall_seconds": time.perf_counter() - BEGAN,
    }


def save_pictures(pictures: Iterable["Picture"], workdir: epath.Path) -> list[str]:
    """Write WORKDIR/figures/NAME.png and .svg of each; a line of text for each."""
    lines = []
    for picture in pictures:
        report.scatter.save_figure(picture.figure, workdir / "figures" / picture.name)
        stem = workdir / "figures" / picture.name
        lines.append(f"figure:  {stem}.png, .svg: {picture.shows}")
    return lines
