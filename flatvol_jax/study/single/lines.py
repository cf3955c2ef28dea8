"""Which measures the table of one network has, and what it says of each."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from flatvol_jax.study.analysis.columns import (
    ASCENT,
    FROBENIUS_NORM,
    LOG_PRODUCT,
    LOG_VOLUME,
    PROBIT,
    SHARPNESS,
    SPECTRAL_NORM,
)

Record = Mapping[str, Any]


class Line(NamedTuple):
    """A measure that the table has.

    Attributes:
        part: of `parts.measured_parts`, which measures it; "" for the errors.
        column: of the record.
        label: what the table calls it.
        unit: of the value.
        status: record -> what is known of it.
        error: column of its standard error, where that is not the column with ".se".
        unless: a column that takes its place where it is there.
    """

    part: str
    column: str
    label: str
    unit: str = ""
    status: Callable[[Record], str] = lambda record: ""
    error: str = ""
    unless: str = ""


def _estimate_status(link: str) -> Callable[[Record], str]:
    name = f"measure.log_volume.{link}"

    def status(record: Record) -> str:
        said = record.get(f"meta.log_volume.{link}.status")
        if said is None:
            certified = record.get(f"is.certified.{link}")
            said = "certified" if certified else "an estimate, not certified"
        covers = "sampling"
        if record.get(f"{name}.estimate.kernel_se") is not None:
            covers += f" and kernel (its part ± {record[f'{name}.estimate.kernel_se']:.2g})"
        elif record.get("meta.kernel") == "given":
            covers += ", given this kernel"
        return f"{said.removesuffix(' given this kernel')}; ± covers {covers}"

    return status


def _ep_status(link: str, corrected: bool) -> Callable[[Record], str]:
    name = f"measure.log_volume.{link}"

    def status(record: Record) -> str:
        flag = f"is.correction_reliable.{link}" if corrected else "is.ep_converged"
        words = ("reliable", "not reliable") if corrected else ("converged", "not converged")
        said = words[0] if record.get(flag) else words[1]
        if record.get(f"{name}.kernel_se") is not None:
            bias = record[f"{name}.kernel_bias"]
            return f"{said}; ± covers the kernel (bias {bias:+.2g} not taken off), no other error"
        if record.get(f"{name}.estimate.kernel_se") is not None:
            return f"{said}; given the sampled kernel; its own error is not known"
        return f"{said}; its own error is not known"

    return status


def _flag(column: str) -> Callable[[Record], str]:
    """Return the word of a flag that says whether something converged."""

    def status(record: Record) -> str:
        found = record.get(column)
        return "" if found is None else "converged" if found else "not converged"

    return status


def _sharpness_status(record: Record) -> str:
    name = SHARPNESS.name
    parts = {
        "first order": record.get(f"{name}.first_order"),
        "second": record.get(f"{name}.second_order"),
        "rest": record.get(f"{name}.remainder"),
    }
    shown = ", ".join(f"{part} {value:.4g}" for part, value in parts.items() if value is not None)
    flag = "" if record.get("is.sharpness_converged", True) else "not converged; "
    return f"{flag}best found; {shown}" if shown else flag


def _log_product_status(record: Record) -> str:
    count = record.get(f"{LOG_PRODUCT.name}.count")
    said = record.get("meta.hessian.log_product_status") or ""
    return (
        f"of {count} eigenvalues{'' if said in ('', 'complete') else '; ' + said}"
        if count
        else said
    )


def _layers_status(record: Record) -> str:
    return "of the layer before the readout"


_VOLUME, _EVIDENCE, _INVARIANT = "log_volume", "log_evidence", "invariants"
LINES = (
    Line("", "measure.error.train", "error on S"),
    Line("", "measure.error.test", "error on E1"),
    Line("", "measure.error.second_test", "error on E2"),
    Line("", "measure.root_mean_square.train", "root mean square error on S"),
    Line("", "measure.root_mean_square.test", "root mean square error on E1"),
    Line("", "measure.loss.train", "loss on S"),
    *(
        line
        for link, name, ep in (
            ("heaviside", "Heaviside", LOG_VOLUME.name),
            ("probit", "probit", PROBIT.name),
        )
        for line in (
            Line(
                _VOLUME,
                f"measure.log_volume.{link}.estimate",
                f"log V, {name}, sampled",
                "nats",
                _estimate_status(link),
            ),
            Line(
                _VOLUME,
                ep,
                f"log V, {name}, EP",
                "nats",
                _ep_status(link, corrected=False),
                f"{ep}.kernel_se",
            ),
            Line(
                _VOLUME,
                f"{ep}.corrected",
                f"log V, {name}, EP corrected",
                "nats",
                _ep_status(link, corrected=True),
                f"{ep}.kernel_se",
                unless=f"{ep}.estimate",
            ),
        )
    ),
    Line(
        "log_volume_null",
        "measure.log_volume_null.heaviside",
        "log V, as many errors at random, EP",
        "nats",
        _flag("is.null_converged"),
    ),
    Line(_EVIDENCE, "measure.log_evidence.targets", "log evidence of the targets on S", "nats"),
    Line(
        _EVIDENCE, "measure.log_evidence.targets.leave_one_out", "  its leave-one-out sum", "nats"
    ),
    Line(_EVIDENCE, "measure.log_evidence.function", "log p of the function on S+E1", "nats"),
    Line(_VOLUME, "measure.bound.printed", "bound on the error, as printed (eq. 4)"),
    Line(_VOLUME, "measure.bound.random_split", "bound on the error, random split"),
    Line("sharpness", SHARPNESS.name, "sharpness, best found", "", _sharpness_status),
    Line("sgd_sharpness", ASCENT.name, "sharpness, the paper's procedure"),
    Line(
        "hessian",
        SPECTRAL_NORM.name,
        "spectral norm of the Hessian",
        "",
        _flag("is.hessian_converged"),
    ),
    Line("hessian", FROBENIUS_NORM.name, "Frobenius norm"),
    Line("hessian", "measure.hessian.trace", "trace"),
    Line(
        "hessian", LOG_PRODUCT.name, "log product of its top eigenvalues", "", _log_product_status
    ),
    Line(
        _INVARIANT,
        "measure.adaptive_sharpness.inf",
        "adaptive sharpness, worst",
        "",
        _flag("is.adaptive_sharpness_converged.inf"),
    ),
    Line(_INVARIANT, "measure.average_sharpness.adaptive", "adaptive sharpness, average"),
    Line(
        _INVARIANT,
        "measure.normalized_sharpness",
        "normalised sharpness",
        "",
        _flag("is.normalized_sharpness_converged"),
    ),
    Line(_INVARIANT, "measure.relative_flatness", "relative flatness", "", _layers_status),
    Line(_INVARIANT, "measure.fisher_rao", "Fisher-Rao norm"),
    Line(
        "spectral_density",
        "measure.spectral_density.negative_share",
        "share of negative eigenvalues",
    ),
    Line(
        "basin_volume", "measure.basin_volume", "basin volume", "nats", _flag("is.basin_volume_ok")
    ),
    Line(
        "learning_coefficient",
        "measure.learning_coefficient",
        "local learning coefficient",
        "",
        lambda record: record.get("meta.learning_coefficient.status") or "",
    ),
    Line("baselines", "measure.baseline.gp_disagreement", "disagreement with the GP mean on E1"),
    Line("baselines", "measure.baseline.nn_disagreement", "disagreement with 1-NN on E1"),
    Line("baselines", "measure.baseline.label_norm", "label norm y'K⁻¹y"),
    Line("baselines", "measure.baseline.gp_difference", "rms difference to the GP mean on E1"),
    Line("baselines", "measure.baseline.gp_error", "rms error of the GP mean on E1"),
    Line("baselines", "measure.baseline.nn_difference", "rms difference to 1-NN on E1"),
    Line("baselines", "measure.baseline.target_norm", "target norm y'(K + noise)⁻¹y"),
)
