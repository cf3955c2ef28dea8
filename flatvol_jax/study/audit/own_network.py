"""The audit of a user's own network on their own data: `fv.symmetry_audit`."""

import html
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import numpy as np
import pandas as pd

from flatvol_jax.runtime import checks
from flatvol_jax.runtime.progress import asked_progress
from flatvol_jax.runtime.randomness import named_key
from flatvol_jax.study.audit.run import (
    SYMMETRIES,
    function_columns,
    plan_transforms,
)
from flatvol_jax.study.audit.table import audit_summary, audit_table
from flatvol_jax.study.engine.progress import Bar, Progress
from flatvol_jax.study.measures.chosen_parts import chosen_parts, listed_names
from flatvol_jax.study.measures.declared import Columns
from flatvol_jax.study.measures.given_network import answered
from flatvol_jax.study.measures.invariants import measure_invariants
from flatvol_jax.study.measures.measured_parts import measured_parts
from flatvol_jax.study.measures.own_problem import KernelChoice, own_problem
from flatvol_jax.study.measures.problem import Problem
from flatvol_jax.study.measures.registry import MEASURES
from flatvol_jax.study.measures.trained import Trained
from flatvol_jax.study.measures.transforms import transformed

_BY_EP = {"log_volume": {"estimator": "ep"}}
_PARTS = ("log_volume", "sharpness", "hessian", "invariants", "baselines")
_KNOWN: Mapping[str, Callable[[Problem, Trained, jax.Array, Any], Columns]] = {
    **{name: measure.measured for name, measure in MEASURES.items()},
    "invariants": measure_invariants,
}


class SymmetryAudit:
    """The change of each measure while the function stays: a table, in a notebook too.

    Attributes:
        records: a data frame, a row a form of the network, with the columns of a sweep's records.
        table: a row a measure, symmetry and layer, as `fv.study.audit_table` makes it.
    """

    def __init__(self, records: pd.DataFrame):
        self.records, self.table = records, audit_table(records)

    @property
    def failed(self) -> dict[str, str]:
        """Return the parts that failed on some form of the network, each with its first error."""
        begin = "meta.fault."
        texts = {n: self.records[n].dropna() for n in self.records if n.startswith(begin)}
        return {n.removeprefix(begin): found.iloc[0] for n, found in texts.items()}

    def to_frame(self) -> pd.DataFrame:
        """Return the table."""
        return self.table.copy()

    def __repr__(self) -> str:
        faults = [f"  {name}: failed: {text}" for name, text in self.failed.items()]
        return "\n".join([*audit_summary(self.records, self.table), *faults])

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(repr(self))}</pre>"


def symmetry_audit(
    model: Any,
    params: Any,
    x: np.ndarray,
    y: np.ndarray,
    x_test: np.ndarray | None = None,
    y_test: np.ndarray | None = None,
    *,
    state: Any = None,
    layers: Any = None,
    symmetries: Iterable[str] = SYMMETRIES,
    alphas: Iterable[float] = (1 / 4, 4.0),
    kernel: Any = None,
    samples: int | None = None,
    measures: Iterable[str] | Mapping[str, Mapping[str, Any]] | None = None,
    leave_out: Iterable[str] = (),
    quick: bool = False,
    key: jax.Array | None = None,
    batch_size: int | None = None,
    cache: Any = None,
    progress: Progress | bool | None = None,
) -> SymmetryAudit:
    """Return how far each measure moves under transforms that leave a network's function alone.

        print(fv.symmetry_audit(fv.FCN(), params, x, y, x_test, y_test))

    A ReLU network is the same function when a layer, or each unit of it, is multiplied by α and
    the next layer divided by it (eq. 8), and when units change places; this is checked on x and
    x_test. Whatever a measure does along the way says nothing about generalisation.

    Args:
        model: a spec, or any network that `fv.as_model` takes.
        params: its trained parameters; None for those that came with the network.
        x: S, (n, ...).
        y: its labels: ±1 of one output, 0..C-1 of C outputs.
        x_test: E1; without it f is the string on S.
        y_test: its labels, if they are known.
        state: running statistics; left out, those that came with the network.
        layers: of a network that does not know its own, as `fv.measure` takes them.
        symmetries: of "layer", "unit" and "permutation".
        alphas: by which layers and units are scaled; powers of two leave every bit as it is.
        kernel: as `fv.measure` takes it, and so are samples, measures, leave_out, quick, key,
            batch_size, cache and progress.
        samples: networks of a Monte Carlo kernel.
        measures: the parts to measure; log V is by EP unless settings say otherwise.
        leave_out: parts not to measure.
        quick: whether fewer eigenvalues and samples will do.
        key: for all draws; jax.random.key(0) when left out.
        batch_size: inputs that are evaluated at a time.
        cache: folder where the kernel is kept.
        progress: called as progress(parts done, parts in all, what is being done); True for a
            bar.

    Raises:
        ValueError: as `fv.measure`; a network whose rectified layers are not known.
    """
    key = jax.random.key(0) if key is None else checks.random_key("key", key)
    quick = checks.boolean("quick", quick)
    symmetries = listed_names("symmetries", symmetries)
    alphas = checks.finite("alphas", alphas, ndim=1).tolist()
    settings = chosen_parts(_PARTS, _KNOWN, measures, leave_out, quick, _BY_EP)
    with asked_progress(progress, "part") as report:
        problem, trained = own_problem(
            model,
            params,
            (x, y, x_test, y_test),
            KernelChoice(kernel, samples, named_key(key, "kernel"), quick),
            state=state,
            layers=layers,
            batch_size=batch_size,
            cache=cache,
        )
        audit = {"symmetries": symmetries, "alphas": alphas}
        transforms = plan_transforms({"audit": audit}, problem.spec)
        bar, rows = Bar(report, len(transforms) * len(settings)), []
        for transform in transforms:
            form = answered(
                problem,
                transformed(key, problem.spec, trained.params, transform),
                trained.state,
                None,
            )

            def columns(name, form=form, transform=transform):
                bar.say(f"{transform.name}: {name}")
                return _KNOWN[name](problem, form, named_key(key, name), settings[name])

            measured = measured_parts(settings, columns, bar)
            rows.append(
                {
                    "meta.data": f"your {len(problem.train_x)} training inputs S and "
                    f"{len(problem.test_x)} test inputs E1; kernel: {problem.kernel_in_words}",
                    **transform.columns,
                    **function_columns(trained, form),
                    **{name: value for name, value in measured.items() if np.ndim(value) == 0},
                }
            )
        bar.say("done")
    return SymmetryAudit(pd.DataFrame(rows))
