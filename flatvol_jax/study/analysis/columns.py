"""The columns of records that tables, figures and claims share, each declared once."""

from typing import NamedTuple

import numpy as np
import pandas as pd

LN10 = np.log(10)

# What names a row, and the study that it belongs to.
RUN, EPOCH, OVERTRAIN, TRANSFORM = "run_id", "epoch", "overtrain", "transform"
SYMMETRY, LAYER, ALPHA = "transform.symmetry", "transform.layer", "transform.alpha"
EXPERIMENT, SCALE, WORKDIR, PART = "meta.experiment", "meta.scale", "meta.workdir", "meta.part"
# What determines a network.
OPTIMIZER, DRAW, SAMPLE = "hp.train.optimizer", "hp.draw", "hp.sample"
FACTOR = "hp.factor."  # begins the names of hyperparameters that a study varies
ATTACK_SIZE, TRAIN_SIZE = "hp.attack_size", "hp.data.train_size"
TEST_SIZE, SECOND_TEST_SIZE = "hp.data.test_size", "hp.data.second_test_size"
# What became of it.
ZERO_ERROR, UNCHANGED = "is.zero_error", "is.function_unchanged"
TRAIN_ERROR, TEST_ERROR = "measure.error.train", "measure.error.test"
SECOND_TEST_ERROR = "measure.error.second_test"
ZERO_EPOCH, EVENT_EPOCH = "measure.epochs.zero_error", "measure.epochs.event"
CHANGED, DIFFERS = "measure.function.changed", "measure.function.differs"
BOUNDS = {
    "measure.bound.printed": "as printed (eq. 4)",
    "measure.bound.random_split": "random split of S and E",
}


class Column(NamedTuple):
    """A column of numbers.

    Attributes:
        name: in the records.
        label: what tables call it.
        family: measures that are judged or shown together.
        sign: of its correlation with the error, as it is claimed.
        scale: how a figure draws it: "ln" for a natural logarithm, drawn as log10; "log" for what
            is drawn as its log10, not at all where it is not positive; "linear".
        axis: what an axis says of it, log10 taken; the label if left out.
        unit: of its values.
    """

    name: str
    label: str
    family: str = ""
    sign: int = 1
    scale: str = "linear"
    axis: str = ""
    unit: str = ""

    @property
    def axis_label(self) -> str:
        """Return what an axis says."""
        return self.axis or self.label

    def values(self, rows: pd.DataFrame) -> np.ndarray:
        """Return its values as float64 (n,); NaN for null and where the records lack it."""
        return numbers(rows, self.name)

    def drawn(self, rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Return values and standard errors as they are drawn, (n,) each; NaN where none is."""
        values, errors = numbers(rows, self.name), numbers(rows, f"{self.name}.se")
        if self.scale == "ln":
            return values / LN10, errors / LN10
        if self.scale == "log":
            positive = np.where(values > 0, values, np.nan)
            return np.log10(positive), errors / (positive * LN10)
        return values, errors


class Status(NamedTuple):
    """A flag of the records, what it says, what it says where it is False.

    `measures` are the beginnings of the columns that are not to be used then.
    """

    flag: str
    says: str
    failure: str
    measures: tuple[str, ...] = ()


def numbers(frame: pd.DataFrame, column: str) -> np.ndarray:
    """Return a column as float64 (n,); NaN for null and for a column that is not there."""
    if column not in frame:
        return np.full(len(frame), np.nan)
    return pd.to_numeric(frame[column], errors="coerce").to_numpy(np.float64, na_value=np.nan)


def flagged(frame: pd.DataFrame, flag: str, value: bool = True) -> np.ndarray:
    """Return where a flag is recorded and has this value, (n,) bool."""
    if flag not in frame:
        return np.zeros(len(frame), bool)
    return np.array([not pd.isna(known) and bool(known) == value for known in frame[flag]], bool)


# fmt: off
# name, label, family, sign, scale, what an axis says, unit
LOG_VOLUME = Column(
    "measure.log_volume.heaviside", "log V (Heaviside)", "primary", -1, "ln",
    "log₁₀ V(f), Heaviside link, EP", "nats")
CORRECTED = Column(
    f"{LOG_VOLUME.name}.corrected", "log V, EP corrected", "estimator", -1, unit="nats")
ESTIMATE = Column(
    f"{LOG_VOLUME.name}.estimate", "log V, sampling estimate", "estimator", -1, unit="nats")
PROBIT = Column("measure.log_volume.probit", "log V (probit)", "other link", -1, "ln", unit="nats")
NULL = Column("measure.log_volume_null.heaviside", "log V, as many errors at random", "null", -1)
TRAIN_VOLUME = Column(
    "measure.log_volume.heaviside.train", "log P(S)", "volume of S", -1, "ln", unit="nats")
GIVEN_TRAIN = Column(
    "measure.log_volume.heaviside.given_train", "log P(f_E | S)", "primary", -1, "ln", unit="nats")
COUNTED_VOLUME = Column(
    "measure.log_volume.direct", "log V, counted", "", -1, "ln", "log₁₀ V(f), direct sampling")
SHARPNESS = Column(
    "measure.sharpness.best", "sharpness (best found)", "primary", 1, "log",
    "log₁₀ sharpness (best found)")
ASCENT = Column(
    "measure.sharpness.sgd", "sharpness (SGD, table 1)", "flatness", 1, "log",
    "log₁₀ sharpness (SGD ascent)")
SPECTRAL_NORM = Column(
    "measure.hessian.spectral_norm", "Hessian spectral norm", "flatness", 1, "log",
    "log₁₀ spectral norm of the Hessian")
LOG_PRODUCT = Column(
    "measure.hessian.log_product", "Hessian log product, top 50", "flatness", 1, "ln",
    "log₁₀ product of the top eigenvalues")
FROBENIUS_NORM = Column(
    "measure.hessian.frobenius_norm", "Hessian Frobenius norm", "flatness", 1, "log",
    "log₁₀ Frobenius norm of the Hessian")
BASIN_VOLUME = Column(
    "measure.basin_volume", "log basin volume, from below", "local volume", -1, "ln",
    "log₁₀ basin volume, from below", "nats")
LEARNING_COEFFICIENT = Column(
    "measure.learning_coefficient", "learning coefficient", "local volume",
    axis="learning coefficient (SGLD)")
NN_DISAGREEMENT = Column(
    "measure.baseline.nn_disagreement", "disagreement with 1-NN", "baseline")
CEILING = Column(TEST_ERROR, "error on E1 (the ceiling)", "ceiling")
# fmt: on
MEASURES = (
    *(LOG_VOLUME, SHARPNESS, CORRECTED, ESTIMATE, PROBIT, ASCENT, SPECTRAL_NORM),
    Column("measure.hessian.lambda_max", "Hessian λ max", "flatness"),
    LOG_PRODUCT,
    Column("measure.hessian.trace", "Hessian trace", "flatness"),
    FROBENIUS_NORM,
    Column("measure.adaptive_sharpness.inf", "adaptive sharpness (worst)", "invariant", 1, "log"),
    Column("measure.average_sharpness.adaptive", "adaptive sharpness (mean)", "invariant"),
    Column("measure.relative_flatness", "relative flatness κ", "invariant", 1, "log"),
    Column("measure.normalized_sharpness", "normalised sharpness", "invariant", 1, "log"),
    Column("measure.fisher_rao", "Fisher-Rao norm", "invariant", 1, "log"),
    BASIN_VOLUME,
    LEARNING_COEFFICIENT,
    Column("measure.baseline.gp_disagreement", "disagreement with GP mean", "baseline"),
    NN_DISAGREEMENT,
    Column("measure.baseline.label_norm", "y'K⁻¹y", "baseline"),
    Column("measure.baseline.margin", "margin", "baseline", -1),
    Column("measure.baseline.parameter_norm", "parameter norm", "baseline"),
    Column("measure.baseline.epochs", "epochs to zero error", "baseline"),
    *(NULL, CEILING),
)
# What stands beside log V in every table: the other link, the null, the ceiling.
BESIDE_VOLUME = (PROBIT, NULL, CEILING)

# fmt: off
STATUSES = (
    Status("is.ep_converged", "EP converged", "EP did not converge",
           ("measure.log_volume", "measure.bound")),
    Status("is.train_volume_converged", "EP converged on S", "EP did not converge on S",
           (TRAIN_VOLUME.name, GIVEN_TRAIN.name, "measure.bound.architecture")),
    Status("is.null_converged", "EP converged on the null", "EP did not converge on the null",
           ("measure.log_volume_null",)),
    Status("is.correction_reliable.heaviside", "EP's correction reliable (Heaviside)",
           "EP's correction is not reliable", (CORRECTED.name,)),
    Status("is.certified.heaviside", "sampling estimate certified (Heaviside)",
           "the estimate is not certified", (ESTIMATE.name,)),
    Status("is.sharpness_converged", "sharpness converged", "sharpness did not converge",
           (SHARPNESS.name,)),
    Status("is.sgd_sharpness_converged", "SGD ascent converged", "the SGD ascent did not converge",
           (ASCENT.name,)),
    Status("is.hessian_converged", "Hessian measures converged",
           "Hessian measures did not converge", ("measure.hessian",)),
    Status("is.adaptive_sharpness_converged.inf", "adaptive sharpness converged",
           "adaptive sharpness did not converge", ("measure.adaptive_sharpness.inf",)),
    Status("is.normalized_sharpness_converged", "normalised sharpness converged",
           "normalised sharpness did not converge", ("measure.normalized_sharpness",)),
    Status("is.learning_coefficient_ok", "learning coefficient settled",
           "the learning coefficient did not settle", (LEARNING_COEFFICIENT.name,)),
)
# fmt: on
