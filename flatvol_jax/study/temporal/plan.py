"""config -> what a temporal study does: the event, its branches, segments of epochs."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from flatvol_jax.models import Spec
from flatvol_jax.runtime import checks
from flatvol_jax.study.engine.plan import Run, plan_runs
from flatvol_jax.study.engine.settings import each, group, natural, settings, settings_class
from flatvol_jax.study.engine.store import Stage, Unit
from flatvol_jax.study.measures.symmetries import rectified_layer
from flatvol_jax.study.measures.transforms import Transform

NONE = Transform("none")
TRAJECTORY = Stage("trajectory", 1)
TrajectorySettings = settings_class(
    "TrajectorySettings", segment=checks.count, every=checks.count, dense=natural
)
EventSettings = settings_class(
    "EventSettings",
    after=checks.count,
    epochs=checks.count,
    layers=each(checks.count),
    alphas=each(checks.positive),
    unscaled=checks.boolean,
)


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
        """Return whether an epoch has a row; zero error, the event and the last one always have."""
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
        """Return whether it is the first of its branch, and so has a network at `start`."""
        return self.start == (self.event or 0)

    @property
    def epochs(self) -> range:
        """Return the epochs whose networks are the segment's."""
        return range(self.start if self.first else self.start + 1, self.end + 1)

    @property
    def unit(self) -> Unit:
        """Return the unit of its training."""
        branch = [self.event, *self.transform]
        return TRAJECTORY.unit(self.run.run_id, branch, self.start, self.end)


def temporal_runs(config: Mapping[str, Any]) -> list[Run]:
    """Return the networks, none with an attack set."""
    sweep = group(config, "sweep", "attack_sizes")
    if list(sweep["attack_sizes"]) != [0]:
        raise ValueError(
            f"sweep.attack_sizes: got {sweep['attack_sizes']}, wanted (0,): the temporal study "
            "trains on S alone."
        )
    return plan_runs({**config, "sweep": {**sweep, "overtrain": ()}})


def make_schedule(config: Mapping[str, Any], spec: Spec) -> Schedule:
    """Return the schedule of a config, checked.

    Raises:
        ValueError: a number that is no count, a layer that no rectifier follows, α ≤ 0, no branch,
            alpha-scaling where it is not defined: entropy-SGD, batch statistics.
    """
    trajectory = settings(TrajectorySettings, group(config, "trajectory"), "trajectory")
    event = settings(EventSettings, group(config, "event"), "event")
    scales = [Transform("layer", layer, alpha) for layer in event.layers for alpha in event.alphas]
    for layer in event.layers if event.alphas else ():
        rectified_layer(spec, layer)
    branches = ((NONE,) if event.unscaled else ()) + tuple(scales)
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
    return Schedule(**vars(trajectory), after=event.after, epochs=event.epochs, branches=branches)
