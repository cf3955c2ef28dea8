"""The bound of eq. 4: how often it says anything, and how loose it is where it does."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from flatvol_jax.paper.claims.claim import NO_VERDICT, Evidence, PaperClaim, conditional
from flatvol_jax.paper.claims.sweeps import OVERTRAINED, subject
from flatvol_jax.study.analysis import selection
from flatvol_jax.study.analysis.columns import BOUNDS, DRAW, OPTIMIZER, TEST_ERROR, numbers
from flatvol_jax.study.analysis.experiment_tables import ExperimentTables
from flatvol_jax.study.analysis.names import SYSTEMS, TEN_CLASSES
from flatvol_jax.study.analysis.run_tables import INFORMATIVE_BELOW
from flatvol_jax.study.analysis.statistics import CONDITIONAL
from flatvol_jax.study.analysis.verdicts import FAILS, LEAST_DRAWS


def bound_claims(tables: Sequence[ExperimentTables]) -> Iterator[PaperClaim]:
    """Judge of each sweep and each form of the bound: informative runs, looseness, violations.

    The form for a random split is a theorem on the error on E. The printed one is a theorem on the
    error over all inputs of a function that is defined on all; on E alone it can be broken where E
    is a small part of S + E, since labels of E cost little beside those of S.

    Where the bound is 0.5 or more it says nothing on two classes, and there is no verdict.

    Args:
        tables: of the sweeps at one scale; those of later epochs are left out.
    """
    for sweep in tables:
        known = sweep.experiment in SYSTEMS and sweep.experiment != OVERTRAINED
        known = known and not sweep.experiment.endswith(TEN_CLASSES)  # where 0.5 is no chance level
        for optimizer, runs in (
            sweep.frame.groupby(OPTIMIZER) if known and not sweep.overtrain else ()
        ):
            for column, form in BOUNDS.items():
                who = f"{subject(sweep.experiment, str(optimizer))}; {form}"
                if claim := _claim(who, runs, column):
                    yield claim


def _claim(who: str, runs: pd.DataFrame, column: str) -> PaperClaim | None:
    known, _ = selection.usable(runs, column, TEST_ERROR)  # E1's labels are part of f
    if not len(known):
        return None
    bound, errors = numbers(known, column), numbers(known, TEST_ERROR)
    says = bound < INFORMATIVE_BELOW
    broken = int(np.sum(errors > bound))
    if broken:
        draws = known.loc[errors > bound, DRAW].nunique()
        verdict = FAILS if draws >= LEAST_DRAWS else CONDITIONAL
        reason = f"in {broken} of {len(known)} networks, {draws} draw(s), the error is larger"
    else:
        verdict = NO_VERDICT
        reason = f"below 0.5 in {says.sum()} of {len(known)} networks, never below the error"
    share = Evidence(
        "share of networks where the bound is below 0.5",
        float(says.mean()),
        note=f"{len(known)} networks",
    )
    gap = bound - errors
    ends = float(np.min(gap)), float(np.max(gap))
    median = "bound minus error on E1, median"
    return PaperClaim(
        "bound",
        who,
        "the bound says something (is below 0.5), and the error is below it",
        "> 0",
        1,
        conditional(share, bool(says.any() and not broken), reason, verdict),
        evidence=(
            Evidence("bound, least", float(bound.min())),
            Evidence("bound, median", float(np.median(bound))),
            Evidence(median, float(np.median(gap)), *ends, "range over networks, not an interval"),
        ),
    )
