"""The columns of records that tables, figures and claims share, each declared once."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from flatvol_jax.study.analysis.selection import numbers

LN10 = np.log(10)


class Axis(NamedTuple):
    """What stands along an axis of a figure.

    Attributes:
        column: of the records.
        label: what the axis says.
        scale: "ln" for a natural logarithm, which is drawn as log10; "log" for what is drawn as its
            log10, not at all where it is not positive; "linear".
    """

    column: str
    label: str
    scale: str

    def drawn(self, rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Return values and standard errors as they are drawn, (n,) each; NaN where none is."""
        values, errors = numbers(rows, self.column), numbers(rows, f"{self.column}.se")
        if self.scale == "ln":
            return values / LN10, errors / LN10
        if self.scale == "log":
            positive = np.where(values > 0, values, np.nan)
            return np.log10(positive), errors / (positive * LN10)
        return values, errors


class Measure(NamedTuple):
    """A measure of a network.

    Attributes:
        column: of the records.
        label: what tables call it.
        family: measures that are judged or shown together.
        sign: of its correlation with the error, as it is claimed.
        scale: how a figure draws it, as in `Axis`.
        drawn_as: what an axis says of it, log10 taken; the label if left out.
    """

    column: str
    label: str
    family: str
    sign: int
    scale: str = "linear"
    drawn_as: str = ""

    @property
    def axis(self) -> Axis:
        """The measure along an axis."""
        return Axis(self.column, self.drawn_as or self.label, self.scale)


LOG_VOLUME = Measure(
    "measure.log_volume.heaviside",
    "log V (Heaviside)",
    "primary",
    -1,
    "ln",
    "log₁₀ V(f), Heaviside link, EP",
)
PROBIT = Measure("measure.log_volume.probit", "log V (probit)", "other link", -1, "ln")
SHARPNESS = Measure(
    "measure.sharpness.best",
    "sharpness (best found)",
    "primary",
    1,
    "log",
    "log₁₀ sharpness (best found)",
)
ASCENT = Measure(
    "measure.sharpness.sgd",
    "sharpness (SGD, table 1)",
    "flatness",
    1,
    "log",
    "log₁₀ sharpness (SGD ascent)",
)
SPECTRAL_NORM = Measure(
    "measure.hessian.spectral_norm",
    "Hessian spectral norm",
    "flatness",
    1,
    "log",
    "log₁₀ spectral norm of the Hessian",
)
LOG_PRODUCT = Measure(
    "measure.hessian.log_product",
    "Hessian log product, top 50",
    "flatness",
    1,
    "ln",
    "log₁₀ product of the top eigenvalues",
)
FROBENIUS_NORM = Measure(
    "measure.hessian.frobenius_norm",
    "Hessian Frobenius norm",
    "flatness",
    1,
    "log",
    "log₁₀ Frobenius norm of the Hessian",
)
BASIN_VOLUME = Measure(
    "measure.basin_volume",
    "log basin volume, from below",
    "local volume",
    -1,
    "ln",
    "log₁₀ basin volume, from below",
)
LEARNING_COEFFICIENT = Measure(
    "measure.learning_coefficient",
    "learning coefficient",
    "local volume",
    1,
    drawn_as="learning coefficient (SGLD)",
)
NULL = Measure("measure.log_volume_null.heaviside", "log V, as many errors at random", "null", -1)
CEILING = Measure("measure.error.test", "error on E1 (the ceiling)", "ceiling", 1)
MEASURES = (
    LOG_VOLUME,
    SHARPNESS,
    Measure("measure.log_volume.heaviside.corrected", "log V, EP corrected", "estimator", -1),
    Measure("measure.log_volume.heaviside.estimate", "log V, sampling estimate", "estimator", -1),
    PROBIT,
    ASCENT,
    SPECTRAL_NORM,
    Measure("measure.hessian.lambda_max", "Hessian λ max", "flatness", 1),
    LOG_PRODUCT,
    Measure("measure.hessian.trace", "Hessian trace", "flatness", 1),
    FROBENIUS_NORM,
    Measure("measure.adaptive_sharpness.inf", "adaptive sharpness (worst)", "invariant", 1, "log"),
    Measure("measure.average_sharpness.adaptive", "adaptive sharpness (mean)", "invariant", 1),
    Measure("measure.relative_flatness", "relative flatness κ", "invariant", 1, "log"),
    Measure("measure.normalized_sharpness", "normalised sharpness", "invariant", 1, "log"),
    Measure("measure.fisher_rao", "Fisher-Rao norm", "invariant", 1, "log"),
    BASIN_VOLUME,
    LEARNING_COEFFICIENT,
    Measure("measure.baseline.gp_disagreement", "disagreement with GP mean", "baseline", 1),
    Measure("measure.baseline.nn_disagreement", "disagreement with 1-NN", "baseline", 1),
    Measure("measure.baseline.label_norm", "y'K⁻¹y", "baseline", 1),
    Measure("measure.baseline.margin", "margin", "baseline", -1),
    Measure("measure.baseline.parameter_norm", "parameter norm", "baseline", 1),
    Measure("measure.baseline.epochs", "epochs to zero error", "baseline", 1),
    NULL,
    CEILING,
)
