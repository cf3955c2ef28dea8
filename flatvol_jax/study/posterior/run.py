"""A random network that fits S, at any |S|, beside networks that were trained until they fit it."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from etils import epath

from flatvol_jax.runtime.hashing import content_hash
from flatvol_jax.study.engine.plan import flatten
from flatvol_jax.study.engine.progress import Bar, Progress
from flatvol_jax.study.engine.records import write_records
from flatvol_jax.study.engine.shards import Shard
from flatvol_jax.study.engine.source_commit import source_commit
from flatvol_jax.study.engine.store import Stage, Store, jsonable
from flatvol_jax.study.engine.workdir import open_workdir
from flatvol_jax.study.posterior import parts
from flatvol_jax.study.posterior.digits import Digits, drawn_digits
from flatvol_jax.study.posterior.settings import PosteriorConfig, posterior_config

INFINITE, TRAINED, GUESSED = Stage("infinite", 1), Stage("trained", 1), Stage("guessed", 1)


class Piece(NamedTuple):
    """One row: what is computed of the S of one draw and size.

    Attributes:
        stage: how its networks come about.
        draw: which draw of S and E.
        size: |S|.
        depth: hidden layers.
        factor: of the base widths; None of infinite width.
        optimizer: its name; None where nothing is trained.
    """

    stage: Stage
    draw: int
    size: int
    depth: int
    factor: float | None
    optimizer: str | None

    @property
    def text(self) -> str:
        """Return what the progress bar says."""
        width = "infinite" if self.factor is None else f"{self.factor:.3g}"
        how = self.optimizer or self.stage.name
        return f"draw {self.draw}, |S| = {self.size}, {how}, depth {self.depth}, width {width}"


def plan_pieces(config: PosteriorConfig) -> list[Piece]:
    """Return all pieces of work, by draw, then |S|.

    SGD trains every network, the other optimizers the base network; each depth has its infinite
    network; guess and check is of every network, at its own sizes.
    """
    networks = config.posterior.networks
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
    were drawn until they fit S.

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
    pieces = shard.share(plan_pieces(typed))
    store, rows = Store(workdir, Bar(progress, len(pieces))), []
    with open_workdir(workdir, config, shard.name):
        try:
            draw: _Draw | None = None
            for piece in pieces:
                if draw is None or draw.number != piece.draw:
                    draw = _Draw(typed, store, piece.draw, data_dir)
                rows.append(jsonable(draw.row(piece)))
                store.bar.finished(1, piece.text)
            store.bar.say("done")
        finally:
            rows = write_records(store.workdir, rows, shard)
    return rows


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
        study, base = config.study, config.posterior.networks[0]
        spec = config.spec(piece.depth, piece.factor or 1.0)
        hp = {
            "data": study.plain["hp"]["data"],
            "inputs": dataclasses.asdict(config.inputs),
            "model": spec.describe() | ({} if piece.factor else {"width": [None] * piece.depth}),
        }
        if piece.optimizer:
            train = dataclasses.asdict(config.optimizers[piece.optimizer])
            hp["train"] = {**train, "samples": study.sweep.samples}
        identity = [piece.stage.name, hp, study.sweep.seed, piece.draw, piece.size]
        unit = piece.stage.unit(*identity, self._numerics(piece.stage))
        compute = self._computation(piece, spec)
        found = self._store.get(
            unit, lambda: {**compute(), "meta.commit": source_commit()}, piece.text
        )
        columns = {f"hp.{name}": value for name, value in flatten({**hp, "draw": piece.draw})}
        return {
            "run_id": content_hash(identity),
            "epoch": None,
            "meta.experiment": "posterior",
            "meta.part": piece.stage.name,
            "meta.scale": study.plain["scale"],
            **columns,
            "hp.train_size": piece.size,
            "hp.depth": piece.depth,
            "hp.width_factor": piece.factor,
            "is.base": (piece.depth, piece.factor or base[1]) == base,
            "meta.settings": f"{piece.stage.version}:{unit.digest[:8]}",
            **found,
        }

    def _numerics(self, stage: Stage) -> Any:
        """Return what a unit depends on beside what the row is of."""
        settings = self._config.posterior
        if stage == INFINITE:
            return [dataclasses.asdict(settings.sampler), settings.delta]
        guess = dataclasses.asdict(settings.guess)
        return [guess[name] for name in ("fitting", "most", "batch")] if stage == GUESSED else None

    def _computation(self, piece: Piece, spec: Any) -> Callable[[], parts.Columns]:
        config, size = self._config, piece.size
        key = config.study.key(piece.stage.name, piece.draw, size)
        if piece.stage == INFINITE:
            return lambda: parts.infinite_columns(
                key, config, self.digits, self.kernels, spec, size
            )
        if piece.stage == GUESSED:
            return lambda: parts.guessed_columns(key, config, self.digits, spec, size)
        train, bar = config.optimizers[str(piece.optimizer)], self._store.bar
        share = functools.partial(bar.within, "", piece.text)
        return lambda: parts.trained_columns(key, config, self.digits, spec, size, train, share)
