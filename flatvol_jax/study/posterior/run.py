"""A random network that fits S, at any |S|, beside networks that were trained until they fit it."""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from etils import epath

from flatvol_jax.models import FCN
from flatvol_jax.runtime.compiled_programs import release_programs
from flatvol_jax.runtime.hashing import content_hash
from flatvol_jax.study.engine.plan import flatten
from flatvol_jax.study.engine.progress import Bar, Progress
from flatvol_jax.study.engine.records import write_records
from flatvol_jax.study.engine.shards import Shard
from flatvol_jax.study.engine.source_commit import source_commit
from flatvol_jax.study.engine.store import Stage, Store, Unit, jsonable
from flatvol_jax.study.engine.workdir import open_workdir
from flatvol_jax.study.posterior import parts
from flatvol_jax.study.posterior.digits import Digits, drawn_digits
from flatvol_jax.study.posterior.margins import (
    margin_columns,
    mean_log_margin,
    slope_over_margin,
)
from flatvol_jax.study.posterior.settings import PosteriorConfig, posterior_config

INFINITE, TRAINED, GUESSED = Stage("infinite", 1), Stage("trained", 1), Stage("guessed", 2)
OVERTRAINED = Stage("overtrained", 1)


class Piece(NamedTuple):
    """One row: what is computed of the S of one draw and size.

    Attributes:
        stage: how its networks come about.
        draw: which draw of S and E.
        size: |S|.
        depth: hidden layers.
        factor: of the base widths; None of infinite width.
        optimizer: its name; None where nothing is trained.
        after: epochs beyond zero error, of overtrained networks.
    """

    stage: Stage
    draw: int
    size: int
    depth: int
    factor: float | None
    optimizer: str | None
    after: int | None = None

    @property
    def text(self) -> str:
        """Return what the progress bar says."""
        width = "infinite" if self.factor is None else f"{self.factor:.3g}"
        how = self.optimizer or self.stage.name
        return f"draw {self.draw}, |S| = {self.size}, {how}, depth {self.depth}, width {width}"


def plan_pieces(config: PosteriorConfig) -> list[Piece]:
    """Return all pieces of work, by draw, then |S|.

    SGD trains every network, the other optimizers the base network; each depth has its infinite
    network; guess and check is of every network, at its own sizes, and so are networks of equal
    margin.
    """
    networks, margins = config.posterior.networks, config.posterior.margins
    depths = dict.fromkeys(depth for depth, _ in networks)
    first, *others = config.optimizers
    found = []
    for draw in range(config.study.sweep.draws):
        for size in config.posterior.sizes:
            found += [Piece(INFINITE, draw, size, depth, None, None) for depth in depths]
            found += [Piece(TRAINED, draw, size, *network, first) for network in networks]
            found += [Piece(TRAINED, draw, size, *networks[0], name) for name in others]
            if size in config.posterior.guess.sizes:
                found += [Piece(GUESSED, draw, size, *network, None) for network in networks]
            if size in margins.sizes:
                found += [
                    Piece(OVERTRAINED, draw, size, *network, first, after)
                    for network in networks
                    for after in (0, *margins.after)
                ]
    return found


def run_posterior(
    config: Mapping[str, Any],
    workdir: epath.PathLike,
    data_dir: str | None = None,
    progress: Progress | None = None,
    shard: Shard = Shard(),
) -> list[dict[str, Any]]:
    """Do what is missing, write records.jsonl, a row a piece, and return the rows.

    `meta.part` says what a row is of: "infinite", a random network of infinite width that fits S;
    "trained", networks of one width, depth and optimizer; "guessed", networks of finite width that
    were drawn until they fit S; "overtrained", trained ones so many epochs beyond zero error,
    beside guessed ones of the same margin.

    Args:
        config: plain data, as configs/posterior.py makes it.
        workdir: folder of units, records and config; an earlier run's work is reused.
        data_dir: where TFDS data sets are prepared.
        progress: called as progress(pieces done, pieces in all, what is being done).
        shard: of several processes, this one.

    Raises:
        ValueError: a config that does not fit; a folder of another config, or in use.
        Stopped: a stop was asked for (`runtime.preemption`); what is finished is on disk.
    """
    typed = posterior_config(config)
    by_size = itertools.groupby(plan_pieces(typed), key=lambda piece: (piece.draw, piece.size))
    pieces = list(itertools.chain(*shard.share([list(own) for _, own in by_size])))
    store, rows = Store(workdir, Bar(progress, len(pieces))), []
    with open_workdir(workdir, config, shard.name):
        try:
            draw: _Draw | None = None
            for piece in pieces:
                if draw is None or draw.number != piece.draw:
                    draw = _Draw(typed, store, piece.draw, data_dir)
                rows.append(jsonable(draw.row(piece)))
                store.bar.finished(1, piece.text)
                release_programs()
            store.bar.say("done")
        finally:
            rows = write_records(store.workdir, rows, shard)
    return rows


def _guess(piece: Piece) -> Piece:
    """Return guess and check of the network of a piece."""
    return piece._replace(stage=GUESSED, optimizer=None, after=None)


class _Draw:
    """The pieces of one draw; its digits and kernels are made where a unit is missing."""

    def __init__(self, config: PosteriorConfig, store: Store, number: int, data_dir: str | None):
        self._config, self._store, self.number = config, store, number
        self._load = functools.partial(drawn_digits, config, number, data_dir)

    @functools.cached_property
    def digits(self) -> Digits:
        return self._load()

    @functools.cached_property
    def kernels(self) -> parts.Kernels:
        return parts.Kernels(self.digits)

    def row(self, piece: Piece) -> dict[str, Any]:
        """Return the row of a piece, whose unit is computed where it is not there."""
        config = self._config
        base, hp = config.posterior.networks[0], self._hp(piece)
        found = self._computed(piece)
        settings = f"{piece.stage.version}:{self._unit(piece).digest[:8]}"
        if piece.stage == OVERTRAINED:
            found |= self._compared(piece)
            settings += f" {self._unit(_guess(piece)).digest[:8]}"
        if piece.stage == GUESSED:
            arrays = self._store.arrays(self._unit(piece))
            margins = arrays["margins"]
            found["measure.log_margin"] = mean_log_margin(margins)
            found["measure.slope.margin"] = slope_over_margin(margins, arrays["accuracies"])
        columns = {f"hp.{name}": value for name, value in flatten({**hp, "draw": piece.draw})}
        more = [] if piece.after is None else [piece.after]
        return {
            "run_id": content_hash([*self._identity(piece), *more]),
            "epoch": None,
            "meta.experiment": "posterior",
            "meta.part": piece.stage.name,
            "meta.scale": config.study.plain["scale"],
            **columns,
            "hp.train_size": piece.size,
            "hp.depth": piece.depth,
            "hp.width_factor": piece.factor,
            "hp.train.after": piece.after,
            "is.base": (piece.depth, piece.factor or base[1]) == base,
            "meta.settings": settings,
            **found,
        }

    def _hp(self, piece: Piece) -> dict[str, Any]:
        config, spec = self._config, self._spec(piece)
        hp = {
            "data": config.study.plain["hp"]["data"],
            "inputs": dataclasses.asdict(config.inputs),
            "model": spec.describe() | ({} if piece.factor else {"width": [None] * piece.depth}),
        }
        if piece.optimizer:
            train = dataclasses.asdict(config.optimizers[piece.optimizer])
            hp["train"] = {**train, "samples": config.study.sweep.samples}
        return hp

    def _spec(self, piece: Piece) -> FCN:
        return self._config.spec(piece.depth, piece.factor or 1.0)

    def _identity(self, piece: Piece) -> list[Any]:
        seed = self._config.study.sweep.seed
        return [piece.stage.name, self._hp(piece), seed, piece.draw, piece.size]

    def _unit(self, piece: Piece) -> Unit:
        return piece.stage.unit(*self._identity(piece), self._numerics(piece.stage))

    def _computed(self, piece: Piece) -> dict[str, Any]:
        """Return the row of the unit of a piece; all epochs beyond zero error are one unit."""
        compute = self._computation(piece)
        return self._store.get(
            self._unit(piece), lambda: {**compute(), "meta.commit": source_commit()}, piece.text
        )

    def _compared(self, piece: Piece) -> parts.Columns:
        """Return the columns of overtrained networks beside guessed ones of the same margin."""
        guess = _guess(piece)
        self._computed(guess)
        trained, guessed = (self._store.arrays(self._unit(one)) for one in (piece, guess))
        epoch = (0, *self._config.posterior.margins.after).index(piece.after or 0)
        margins, accuracies = trained["margins"][epoch], trained["accuracies"][epoch]
        return margin_columns(margins, accuracies, guessed["margins"], guessed["accuracies"])

    def _numerics(self, stage: Stage) -> Any:
        """Return what a unit depends on beside what the row is of."""
        settings = self._config.posterior
        if stage == INFINITE:
            return [dataclasses.asdict(settings.sampler), settings.delta]
        if stage == OVERTRAINED:
            return settings.margins.after
        guess = dataclasses.asdict(settings.guess)
        return [guess[name] for name in ("fitting", "most", "batch")] if stage == GUESSED else None

    def _computation(self, piece: Piece) -> Callable[[], parts.Columns]:
        config, size, spec = self._config, piece.size, self._spec(piece)
        part = TRAINED if piece.stage == OVERTRAINED else piece.stage  # the same networks
        key = config.study.key(part.name, piece.draw, size)
        if piece.stage == INFINITE:
            return lambda: parts.infinite_columns(
                key, config, self.digits, self.kernels, spec, size
            )
        if piece.stage == GUESSED:
            return lambda: parts.guessed_columns(key, config, self.digits, spec, size)
        train, bar = config.optimizers[str(piece.optimizer)], self._store.bar
        share = functools.partial(bar.within, "", piece.text)
        columns = parts.overtrained_columns if piece.stage == OVERTRAINED else parts.trained_columns
        return lambda: columns(key, config, self.digits, spec, size, train, share)
