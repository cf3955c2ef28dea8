"""One draw of (S, pool of A, E1, E2), and what all of its runs share: inputs, kernel, GP."""

import dataclasses
import functools
import threading
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from etils import epath
from scipy.linalg import cho_factor, cho_solve
from scipy.spatial.distance import cdist

from flatvol_jax import data
from flatvol_jax.data.own_arrays import content_of, is_file
from flatvol_jax.kernels import (
    Conditioning,
    MonteCarloKernel,
    conditioning,
    monte_carlo_estimate,
    nngp_kernel,
)
from flatvol_jax.models import Spec, check_labels, output_count
from flatvol_jax.study.engine.settings import group
from flatvol_jax.study.measures.study_config import Hyperparameters, StudyConfig, study_config
from flatvol_jax.volume import Cavities, log_volume

CLASS_TOLERANCE = 3e-3  # nats, on EP's residual: log V is that near EP's fixed point


@functools.lru_cache(maxsize=1)
def _labelled_dataset(
    name: str, groups: str | None, left_out: str | None, data_dir: str | None
) -> data.Dataset:
    dataset = data.load(name, data_dir)
    if left_out is not None:
        dataset = data.leave_out(dataset, data.load(left_out, data_dir))
    if groups is None:  # the draw refuses labels other than ±1
        return dataset._replace(y=dataset.y.astype(np.int8))
    if groups == data.ALL_CLASSES:
        return data.numbered_classes(dataset)
    return data.binarise(dataset, *data.GROUPS[groups])


def draw_parts(
    config: StudyConfig | Mapping[str, Any], draw_index: int, data_dir: str | None = None
) -> data.Draw:
    """Return S, the pool of A, E1 and E2 of one draw, before preprocessing."""
    config = study_config(config)
    settings = config.hp.data
    wanted: dict[str, Any] = dict(settings.sizes)
    if settings.content is not None and settings.content != _content(settings.name):
        raise ValueError(
            f"hp.data.name: got {settings.name}, whose arrays are others than those of this config "
            f"(hash {_content(settings.name)}, wanted {settings.content}). Use a new --workdir."
        )
    named = settings.name, settings.groups, settings.leave_out, data_dir
    dataset = _labelled_dataset(*named)
    if settings.groups == data.ALL_CLASSES:
        wanted["classes"] = int(dataset.y.max()) + 1
        if (outputs := output_count(config.hp.model)) != wanted["classes"]:
            raise ValueError(
                f"hp.model.outputs: got {outputs} with hp.data.groups = {data.ALL_CLASSES!r}, "
                f"wanted {wanted['classes']}, an output for each class of {settings.name!r}."
            )
    if settings.draws == "independent":
        return data.draw(config.key("draw", draw_index), dataset, **wanted)
    draws = config.sweep.draws
    return data.disjoint_draw(config.key("draws"), dataset, draw_index, draws, **wanted)


def with_content(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config with the hash of the user's .npz in `hp.data.content`, if it has one.

    What is in the file determines the networks, so it enters their names; the path alone does not
    say it.
    """
    settings = group(config, "hp.data", "name")
    if not is_file(settings["name"]):
        return dict(config)
    settings = {**settings, "content": _content(settings["name"])}
    return {**config, "hp": {**config["hp"], "data": settings}}


def _content(name: str) -> str:
    return content_of(data.load(name))


@dataclasses.dataclass(frozen=True)
class Problem:
    """The data and kernel that the runs of one draw share. Inputs are preprocessed float32.

    Labels are ±1 int8, of networks with C outputs 0..C-1 int32.

    Attributes:
        spec: the network.
        train_x, train_y: S.
        attack_x, attack_y: the pool of A, labels flipped, or of C classes wrong ones.
        test_x, test_y: E1, which defines f together with S.
        second_test_x, second_test_y: E2, which neither f nor K sees; may be empty.
        batch_size: inputs that are evaluated at a time, None for all; memory, not results.
        kernel_key, kernel_samples: of a Monte Carlo kernel; without samples it is analytic.
        cache: folder for the kernel; None keeps none.
        progress: called as progress(done, total) while a kernel is computed.
        batch_norm: which network BatchNorm makes, docs/batch_norm.md. "running": inference mode
            with the running statistics. "batch": with those of S under the network's own
            parameters, S in one batch. "running" for a network that has no state.
    """

    spec: Spec
    train_x: np.ndarray
    train_y: np.ndarray
    attack_x: np.ndarray
    attack_y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray
    second_test_x: np.ndarray
    second_test_y: np.ndarray
    batch_size: int | None
    kernel_key: jax.Array
    kernel_samples: Mapping[str, int]
    cache: epath.Path | None
    progress: Callable[[int, int], None] | None = None
    batch_norm: str = "running"
    loss = "cross_entropy"  # no field: of every study; `OwnProblem` has others

    @property
    def classes(self) -> int | None:
        """Return C of a network with C outputs, as `log_volume` takes it; None for labels ±1."""
        outputs = output_count(self.spec)
        return None if outputs == 1 else outputs

    @functools.cached_property
    def kernel(self) -> np.ndarray:
        """Return K on S+E1, (n, n) float64, cached by the hash of what determines it."""
        if self.kernel_samples:
            return self.kernel_estimate.kernel
        return nngp_kernel(self.spec, self._inputs, cache=self.cache, progress=self.progress)

    @functools.cached_property
    def kernel_estimate(self) -> MonteCarloKernel:
        """Return the Monte Carlo kernel on S+E1 with its error."""
        return monte_carlo_estimate(
            self.kernel_key,
            self.spec,
            self._inputs,
            **self.kernel_samples,
            cache=self.cache,
            progress=self.progress,
            reference=self.train_x if self.batch_norm == "batch" else None,
        )

    @property
    def _inputs(self) -> np.ndarray:
        return np.concatenate([self.train_x, self.test_x])

    @functools.cached_property
    def conditioning(self) -> Conditioning:
        """Condition number and ranks of the kernel."""
        return conditioning(self.kernel)

    @functools.cached_property
    def true_labels(self) -> np.ndarray:
        """Return the true labels of S+E1."""
        return np.concatenate([self.train_y, self.test_y])

    def true_cavities(self, link: str) -> Cavities:
        """Return EP's cavities at the true labels: every run of the draw starts EP from them.

        A start that depends on the draw alone leaves a run's numbers independent of which
        other runs were measured before it.
        """
        cavities, lock = self._cavities
        with lock:  # measures on several devices ask at once
            if link not in cavities:
                found = log_volume(
                    self.kernel,
                    self.true_labels,
                    link,
                    tolerance=self.shared_tolerance,
                    classes=self.classes,
                )
                cavities[link] = found.cavities
        return cavities[link]

    @property
    def shared_tolerance(self) -> float:
        """Return the tolerance of EP, nats, at the true labels and of the null.

        With C classes an iteration takes C times as long, and functions differ by nats.
        """
        return 1e-10 if self.classes is None else CLASS_TOLERANCE

    @functools.cached_property
    def _cavities(self) -> tuple[dict[str, Cavities], threading.Lock]:
        return {}, threading.Lock()

    @functools.cached_property
    def kernel_factor(self):
        """Return the Cholesky factor of K, for y'K^-1 y."""
        return cho_factor(self.kernel, lower=True)

    @functools.cached_property
    def gp_prediction(self) -> np.ndarray:
        """Return on E1 the sign of the NNGP regression mean K_ES K_SS^-1 y_S, trained on clean S.

        Of C classes the largest of C such means, each of targets 1 for its class and 0.
        """
        m = len(self.train_y)
        if self.classes is not None:
            factor = cho_factor(self.kernel[:m, :m], lower=True)
            targets = np.eye(self.classes)[self.train_y]
            return np.argmax(self.kernel[m:, :m] @ cho_solve(factor, targets), axis=1)
        weights = cho_solve(cho_factor(self.kernel[:m, :m], lower=True), self.train_y)
        return np.where(self.kernel[m:, :m] @ weights > 0, 1, -1)

    @functools.cached_property
    def neighbour_prediction(self) -> np.ndarray:
        """Return on E1 the label of the nearest clean training input (Euclidean)."""
        flat_test = self.test_x.reshape(len(self.test_x), -1)
        flat_train = self.train_x.reshape(len(self.train_x), -1)
        return self.train_y[cdist(flat_test, flat_train).argmin(axis=1)]


def make_problem(
    config: StudyConfig | Mapping[str, Any],
    draw_index: int,
    cache: epath.PathLike | None,
    data_dir: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Problem:
    """Return the problem of one draw; the same for the same config and index."""
    config = study_config(config)
    hp, parts = config.hp, draw_parts(config, draw_index, data_dir)
    found: dict[str, np.ndarray] = {}
    for part in ("train", "attack", "test", "second_test"):
        split = getattr(parts, part)
        x = data.preprocess(split.x, hp.data.preprocessing, reference=parts.train.x)
        found |= {f"{part}_x": x, f"{part}_y": split.y}
    check_labels("labels of hp.data.groups", parts.train.y, output_count(hp.model))
    return Problem(
        hp.model,
        **found,
        batch_size=hp.train.evaluation_batch_size,
        kernel_key=config.key("kernel", draw_index),
        kernel_samples=config.kernel,
        cache=None if cache is None else epath.Path(cache),
        progress=progress,
        batch_norm=_batch_norm(hp, found["train_x"]),
    )


def _batch_norm(hp: Hyperparameters, train_x: np.ndarray) -> str:
    size = hp.train.evaluation_batch_size
    if hp.batch_norm == "running" or not hp.model.init_state(train_x.shape[1:]):
        return "running"
    if size is not None and size < len(train_x):
        raise ValueError(
            f"hp.train.evaluation_batch_size: got {size} with hp.batch_norm = 'batch', wanted at "
            f"least |S| = {len(train_x)}: the statistics are those of S as one batch. Set it to "
            "|S|, leave it out, or take hp.batch_norm = 'running'."
        )
    return hp.batch_norm
