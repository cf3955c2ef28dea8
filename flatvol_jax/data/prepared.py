"""Image data sets prepared by tensorflow-datasets: found on disk, decoded once, then cached."""

import importlib.util
import os
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from etils import epath

from flatvol_jax.runtime import cache, checks
from flatvol_jax.runtime.hashing import content_hash

IMAGE_SHAPES = {"mnist": (28, 28, 1), "cifar10": (32, 32, 3)}
SPLITS = ("train", "test")
PROGRESS_STEP = 500

Progress = Callable[[int, int], None]


def read_prepared(
    name: str, data_dir: epath.PathLike | None = None, progress: Progress | None = None
) -> dict[str, np.ndarray]:
    """Return `x` (n, height, width, channels), `y` (n,), uint8, and `is_test`: train, then test.

    The order within a split is the order of its records. Decoding runs at a few thousand
    images a second and is done once for each prepared copy: the cache is keyed by the folder,
    its dataset_info.json (version, number of examples) and the size and time of its files.

    Args:
        name: "mnist" or "cifar10".
        data_dir: folder that holds `name`/VERSION/; otherwise the environment variable
            TFDS_DATA_DIR, otherwise ~/tensorflow_datasets.
        progress: called as `progress(done, total)` while decoding; not called on a cache hit.
    """
    checks.one_of("name", name, IMAGE_SHAPES)
    folder = prepared_folder(name, data_dir)
    key = {
        "source": name,
        "arrays": ["x", "y", "is_test"],
        "folder": os.fspath(folder),
        "info": content_hash((folder / "dataset_info.json").read_text()),
        "files": [
            [path.name, path.stat().length, path.stat().mtime] for path in sorted(folder.iterdir())
        ],
    }
    return cache.cached_arrays(
        cache.user_cache(), key, lambda: decode(name, folder, SPLITS, progress)
    )


def prepared_folder(name: str, data_dir: epath.PathLike | None = None) -> epath.Path:
    """Return the folder of the newest prepared version; an error says how to prepare one."""
    if data_dir is None:
        data_dir = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    root = epath.Path(checks.folder("data_dir", data_dir)).expanduser().resolve()
    try:
        versions = [
            (tuple(int(part) for part in path.name.split(".")), path)
            for path in ((root / name).iterdir() if (root / name).is_dir() else ())
            if re.fullmatch(r"\d+\.\d+\.\d+", path.name) and (path / "dataset_info.json").exists()
        ]
    except OSError as error:
        raise ValueError(f"data_dir: cannot be read ({str(error)[:200]}).") from error
    if not versions:
        raise ValueError(
            f"{name}: no prepared copy, looked for {root / name}/<version>/dataset_info.json. "
            "Prepare one: `pip install flatvol-jax[tfds]`, then "
            '`python -c "import tensorflow_datasets as tfds; '
            f"tfds.builder('{name}', data_dir='{root}', file_format='array_record')"
            '.download_and_prepare()"`; or copy a prepared folder and name the folder above it '
            "by data_dir or the environment variable TFDS_DATA_DIR. "
            "`mnist5k` needs no download."
        )
    return max(versions)[1]


def decode(
    name: str, folder: epath.Path, splits: tuple[str, ...], progress: Progress | None = None
) -> dict[str, np.ndarray]:
    """Decode splits, in TFDS's notation ("train", "test[:100]"), one after another to uint8."""
    # Imported here: it takes half a second, and a cache hit does without it.
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(folder)
    shape = tuple(builder.info.features["image"].shape)
    if shape != IMAGE_SHAPES[name]:
        raise ValueError(
            f"{folder}: got images of shape {shape}, wanted {IMAGE_SHAPES[name]} for {name}."
        )
    sizes = [builder.info.splits[split].num_examples for split in splits]
    total = sum(sizes)
    x, y = np.empty((total, *shape), np.uint8), np.empty(total, np.uint8)
    done = 0
    for split, size in zip(splits, sizes, strict=True):
        for example, _ in zip(_examples(builder, split), range(size), strict=True):
            x[done], y[done] = example["image"], example["label"]
            done += 1
            if progress is not None and (done % PROGRESS_STEP == 0 or done == total):
                progress(done, total)
    is_test = np.repeat([split.startswith("test") for split in splits], sizes)
    return {"x": x, "y": y, "is_test": is_test}


def _examples(builder: Any, split: str) -> Iterator[dict[str, Any]]:
    """Yield the examples in the order of their records, where possible without TensorFlow."""
    try:
        source = builder.as_data_source(split=split)
    except NotImplementedError:
        yield from _tensorflow_examples(builder, split)
        return
    try:
        for index in range(len(source)):
            yield source[index]
    except (RuntimeError, OSError) as error:
        raise ValueError(
            f"{builder.data_dir}: damaged or incomplete ({error}). Prepare or copy it again."
        ) from error


def _tensorflow_examples(builder: Any, split: str) -> Iterator[dict[str, Any]]:
    """Yield the examples of a format without random access, as `tfds.load` reads them."""
    import tensorflow_datasets as tfds

    # Looked for, not tried: a failed import makes tensorflow-datasets print a banner.
    if importlib.util.find_spec("tensorflow") is None:
        raise ValueError(
            f"{builder.data_dir}: prepared as {builder.info.file_format.value}, which only "
            "TensorFlow reads, and it is not installed. Try `pip install flatvol-jax[tfds]`, "
            "or prepare the data with file_format='array_record'."
        )
    # One shard after another: the order must not depend on how the reader interleaves them.
    sequential = tfds.ReadConfig(interleave_cycle_length=1)
    yield from tfds.as_numpy(builder.as_dataset(split=split, read_config=sequential))
