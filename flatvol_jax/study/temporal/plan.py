"""config -> what a temporal study does: the event, its branches, segments of epochs, units."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from flatvol_jax.flatness import READINGS
from flatvol_jax.models import Spec
from flatvol_jax.runtime import checks
from flatvol_jax.runtime.hashing import content_hash
from flatvol_jax.study.engine.config_entries import checked_settings, choice, each, group
from flatvol_jax.study.engine.plan import Run, plan_runs
from flatvol_jax.study.engine.units import Unit
from flatvol_jax.study.measures.symmetries import rectified_layer
from flatvol_jax.study.measures.transforms import Transform
from flatvol_jax.volume import LINK_VARIANCE

NONE = Transform("none")
METHODS = ("best", "sign")

# Raise a number when the meaning of a stage's result changes: old units are then computed anew.
STAGE_VERSIONS = {
    "trajectory": 1,
    "volume": 1,
    "sharpness": 1,
    "sgd_sharpness": 1,
    "hessian": 1,
}


class Schedule(NamedTuple):
    """Which epochs are trained and which of them are measured.

    Attributes:
        segment: epochs of a unit.
        every: an epoch is measured where it is a multiple of this,
        dense: and up to so many epochs after the event,
        after: which is so many epochs after zero error;
        epochs: how long each branch goes on from there.
        branches: the transforms at the event; "none" goes on without one.
    """

    segment: int
    every: int
    dense: int
    after: int
    epochs: int
    branches: tuple[Transform, ...]

    def measured(self, epoch: int, zero_error: int | None, event: int | None) -> bool:
        """Whether an epoch has a row; zero error, the event and the last epoch always have."""
        if event is None:
            return epoch % self.every == 0 or epoch == zero_error
        since = epoch - event
        marked = epoch == zero_error or 0 <= since <= self.dense or since == self.epochs
        return marked or epoch % self.every == 0


class Segment(NamedTuple):
    """Epochs `start` to `end` of one branch, a unit.

    Attributes:
        run: the network.
        transform: how its branch began; "none" of the base and of what goes on unscaled.
        event: the epoch where a scaled branch began; None of the others.
        start, end: epochs; `start` itself belongs to the segment where a branch begins there.
        before: the unit that holds the network at `start`; None at initialisation.
    """

    run: Run
    transform: Transform
    event: int | None
    start: int
    end: int
    before: Unit | None

    @property
    def first(self) -> bool:
        """Whether it is the first of its branch, and so has a network at `start`."""
        return self.start == (self.event or 0)

    @property
    def epochs(self) -> range:
        """The epochs whose networks are the segment's."""
        return range(self.start if self.first else self.start + 1, self.end + 1)

    @property
    def unit(self) -> Unit:
        """Of its training."""
        branch = [self.event, *self.transform]
        where = [self.run.run_id, branch, self.start, self.end]
        return Unit("trajectory", content_hash([*where, STAGE_VERSIONS["trajectory"]]))


def measure_unit(segment: Segment, stage: str, epochs: list[int], settings: Any) -> Unit:
    """The unit that measures the segment's networks at some of its epochs."""
    named = [segment.unit.digest, epochs, settings, STAGE_VERSIONS[stage]]
    return Unit(stage, content_hash([stage, *named]))


def temporal_runs(config: Mapping[str, Any]) -> list[Run]:
    """The networks, none with an attack set."""
    if list(config["sweep"]["attack_sizes"]) != [0]:
        raise ValueError(
            f"sweep.attack_sizes: got {config['sweep']['attack_sizes']}, wanted (0,): the "
            "temporal study trains on S alone."
        )
    return plan_runs({**config, "sweep": {**config["sweep"], "overtrain": ()}})


def make_schedule(config: Mapping[str, Any], spec: Spec) -> Schedule:
    """The schedule of a config, checked.

    Raises:
        ValueError: a number that is no count, a layer that no rectifier follows, α ≤ 0, no branch,
            alpha-scaling where it is not defined: entropy-SGD, batch statistics.
    """
    trajectory, event = config["trajectory"], config["event"]
    scales = [
        Transform("layer", layer, checks.positive("event.alphas", alpha))
        for layer in event["layers"]
        for alpha in event["alphas"]
    ]
    for transform in scales:
        rectified_layer(spec, transform.layer)
    branches = ((NONE,) if event["unscaled"] else ()) + tuple(scales)
    if not branches or len(set(branches)) < len(branches):
        raise ValueError(
            f"event: got {len(branches)} branches, {len(set(branches))} of them different; wanted "
            "at least one, each once: layers, alphas, or unscaled = True."
        )
    if scales and config["hp"]["train"]["optimizer"] == "entropy_sgd":
        raise ValueError(
            "hp.train.optimizer: got 'entropy_sgd' with event.alphas; its outer parameters are in "
            "the optimizer's state, which scaling leaves as it is. Take another, or no alphas."
        )
    return Schedule(
        checks.count("trajectory.segment", trajectory["segment"]),
        checks.count("trajectory.every", trajectory["every"]),
        checks.count("trajectory.dense", trajectory["dense"], least=0),
        checks.count("event.after", event["after"]),
        checks.count("event.epochs", event["epochs"]),
        branches,
    )


def chosen_measures(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the measures that are on, with their settings checked before any work."""
    train_size = config["hp"]["data"]["train_size"]
    wanted = {
        "log_volume": {"links": each(choice(LINK_VARIANCE))},
        "sharpness": {
            "epsilons": each(checks.positive),
            "method": choice(METHODS),
            "batch_size": checks.count,
            "every": checks.count,
        },
        "sgd_sharpness": {
            "epsilon": checks.positive,
            "batch_size": lambda name, value: checks.count(name, value, most=train_size),
            "learning_rate": checks.positive,
            "epochs": checks.count,
            "reading": choice(READINGS),
            "every": checks.count,
        },
        "hessian": {"k": checks.count, "every": checks.count},
    }
    chosen = {}
    for name in group(config, "measures"):
        checks.one_of("measures", name, wanted)
        settings = dict(group(config, f"measures.{name}", "on"))
        if checks.boolean(f"measures.{name}.on", settings.pop("on")):
            chosen[name] = checked_settings(f"measures.{name}", settings, wanted[name])
    return chosen


def cuts(start: int, end: int, size: int) -> Iterator[tuple[int, int]]:
    """`start` to `end` in pieces of `size`, the last one what is left."""
    for first in range(start, end, size):
        yield first, min(first + size, end)
