"""Which panel of the paper's figures shows what: system, measures, place."""

from typing import NamedTuple

from flatvol_jax.study.analysis import columns as col
from flatvol_jax.study.analysis.names import OPTIMIZERS, SYSTEMS, TEN_CLASSES


class System(NamedTuple):
    """The networks of one sweep: an experiment and an optimizer, by their names in the records."""

    experiment: str
    optimizer: str

    @property
    def name(self) -> str:
        """Name it for a reader."""
        return f"{SYSTEMS[self.experiment]}, {OPTIMIZERS[self.optimizer]}"

    def command(self, scale: str | None = None) -> str:
        """Return what makes its records; a config left alone runs the paper's scale and SGD."""
        words = [word for word in (scale, self.optimizer) if word not in (None, "paper", "sgd")]
        config = self.experiment.removesuffix(TEN_CLASSES)
        if config != self.experiment:  # whose own scale is "cpu"
            words = ["paper"] * (scale == "paper") + words + [TEN_CLASSES.removeprefix("_")]
        variant = ":" + ",".join(words) if words else ""
        return f"python -m experiments.attack_sweep --config=configs/{config}.py{variant}"


class Panel(NamedTuple):
    """One panel; `y` is None for the error, `overtrain` in epochs after zero error."""

    system: System
    x: col.Column
    y: col.Column | None = None
    overtrain: int = 0


class Layout(NamedTuple):
    """A figure of the paper: rows of panels, lettered (a), (b), ... along them.

    Where `overtrained`, each row has one panel, which is repeated for every epoch that the
    records have.
    """

    shows: str
    rows: tuple[tuple[Panel, ...], ...]
    overtrained: bool = False

    @property
    def systems(self) -> list[System]:
        """List its systems, in the order of their first panel."""
        return list(dict.fromkeys(panel.system for row in self.rows for panel in row))

    def at(self, epochs: list[int]) -> "Layout":
        """Return the same with a column for each of `epochs` after zero error."""
        rows = ([panel._replace(overtrain=e) for e in epochs] for (panel,) in self.rows)
        return self._replace(rows=tuple(map(tuple, rows)))


def _rows(systems: list[System], *axes: tuple[col.Column, col.Column | None]):
    """Return a row for each pair of axes, a column for each system."""
    return tuple(tuple(Panel(system, x, y) for system in systems) for x, y in axes)


def _columns(system: System, *axes: tuple[col.Column, col.Column | None]):
    """Return one row: a column for each pair of axes."""
    return (tuple(Panel(system, x, y) for x, y in axes),)


def _overtraining_layout(optimizer: str, measure: col.Column) -> Layout:
    axes = (measure, None), (col.LOG_VOLUME, None), (col.LOG_VOLUME, measure)
    rows = _rows([System("mnist_fcn_overtrain", optimizer)], *axes)
    return Layout(f"{measure.axis_label}, volume and error upon overtraining", rows, True)


def _hessian_rows(optimizer: str):
    measures = col.SPECTRAL_NORM, col.LOG_PRODUCT, col.FROBENIUS_NORM
    system = System("mnist_fcn", optimizer)
    return tuple(
        row for y in (None, col.SHARPNESS) for row in _columns(system, *((x, y) for x in measures))
    )


_SGD = [System(name, "sgd") for name in ("mnist_fcn", "cifar_fcn", "cifar_resnet")]
_ADAM = [system._replace(optimizer="adam") for system in _SGD]
_ENTROPY_SGD = System("mnist_fcn", "entropy_sgd")
_OTHERS = [System("mnist_fcn", name) for name in ("gd", "adagrad", "momentum", "rmsprop")]
_CLASSES = [System("mnist_fcn", "sgd"), System(f"mnist_fcn{TEN_CLASSES}", "sgd")]
_LARGER = [System("mnist_fcn_10k", name) for name in ("sgd", "adam")]
_BOTH = (col.LOG_VOLUME, None), (col.SHARPNESS, None)

# By the paper's number; C1 is not in the paper.
FIGURES = {
    "3": Layout("volume, sharpness and error, SGD", _rows(_SGD, *_BOTH)),
    "4": Layout(
        "volume, sharpness and error, other optimizers",
        _rows([_ENTROPY_SGD, *_ADAM[:2]], *_BOTH),
    ),
    "S3": Layout(
        "Hessian measures, error and sharpness", _hessian_rows("sgd") + _hessian_rows("adam")
    ),
    "S6": Layout(
        "sharpness and volume",
        tuple(
            row
            for systems in (_SGD, _ADAM, [_ENTROPY_SGD])
            for row in _rows(systems, (col.LOG_VOLUME, col.SHARPNESS))
        ),
    ),
    "S10": _overtraining_layout("sgd", col.SHARPNESS),
    "S11": _overtraining_layout("adam", col.SHARPNESS),
    "S12": _overtraining_layout("sgd", col.SPECTRAL_NORM),
    "S13": _overtraining_layout("sgd", col.LOG_PRODUCT),
    "S14": _overtraining_layout("adam", col.SPECTRAL_NORM),
    "S15": _overtraining_layout("adam", col.LOG_PRODUCT),
    "S16": Layout(
        "sharpness, volume and error, ResNet with Adam", _columns(_ADAM[2], *_BOTH[::-1])
    ),
    "S17": Layout("volume, sharpness and error, four optimizers", _rows(_OTHERS, *_BOTH)),
    "S18": Layout(
        "volume, sharpness and error, 10,000 training digits",
        tuple(
            row
            for system in _LARGER
            for row in _columns(system, *_BOTH, (col.LOG_VOLUME, col.SHARPNESS))
        ),
    ),
    "C1": Layout(
        "volume, sharpness and error, two groups of classes and all ten (not in the paper)",
        _rows(_CLASSES, *_BOTH),
    ),
}
