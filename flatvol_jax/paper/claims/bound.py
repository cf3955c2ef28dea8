"""The bound of eq. 4: how often it says anything, and how loose it is where it does."""

from collections.abc import Iterator, Sequence

import numpy as np

from flatvol_jax.paper.claims.claim import NO_VERDICT, Evidence, PaperClaim, conditional
from flatvol_jax.paper.claims.sweeps import subject
from flatvol_jax.study.analysis import selection
from flatvol_jax.study.analysis.claims import BOUNDS, INFORMATIVE_BELOW, OPTIMIZER
from flatvol_jax.study.analysis.experiment_tables import ExperimentTables
from flatvol_jax.study.analysis.names import SYSTEMS
from flatvol_jax.study.analysis.selection import DRAW
from flatvol_jax.study.analysis.statistics import CONDITIONAL
from flatvol_jax.study.analysis.verdicts import FAILS, LEAST_DRAWS


def bound_claims(tables: Sequence[ExperimentTables]) -> Iterator[PaperClaim]:
    """For each sweep and each form of the bound: informative runs, looseness, violations.

    The form for a random split is a theorem on the error on E. The printed one is a theorem on the
    error over all inputs of a function that is defined on all; on E alone it can be broken where E
    is a small part of S + E, since labels of E cost little beside those of S.

    Where the bound is 0.5 or more it says nothing on two classes, and there is no verdict.

    Args:
        tables: of the sweeps at one scale; those of later epochs are left out.
    """
    for of in tables:
        if of.overtrain or of.experiment not in SYSTEMS or of.experiment == "mnist_fcn_overtrain":
            continue
        for optimizer, runs in of.frame.groupby(OPTIMIZER):
            for column, form in BOUNDS.items():
                if claim := _claim(of, str(optimizer), runs, column, form):
                    yield claim


def _claim(of, optimizer, runs, column, form) -> PaperClaim | None:
    error = "measure.error.test"  # the bound is on E1, whose labels are part of f
    known, _ = selection.usable(runs, column, error)
    if not len(known):
        return None
    bound, errors = selection.numbers(known, column), selection.numbers(known, error)
    says = bound < INFORMATIVE_BELOW
    broken = int(np.sum(errors > bound))
    if broken:
        draws = known.loc[errors > bound, DRAW].nunique()
        verdict = FAILS if draws >= LEAST_DRAWS else CONDITIONAL
        reason = f"in {broken} of {len(known)} networks, {draws} draw(s), the error is larger"
    else:
        verdict = NO_VERDICT
        reason = f"below 0.5 in {says.sum()} of {len(known)} networks, never below the error"
    return PaperClaim(
        "bound",
        f"{subject(of.experiment, optimizer)}; {form}",
        "the bound says something (is below 0.5), and the error is below it",
        "> 0",
        1,
        conditional(
            Evidence(
                "share of networks where the bound is below 0.5",
                float(says.mean()),
                note=f"{len(known)} networks",
            ),
            bool(says.any() and not broken),
            reason,
            verdict,
        ),
        evidence=(
            Evidence("bound, least", float(bound.min())),
            Evidence("bound, median", float(np.median(bound))),
            Evidence(
                "bound minus error on E1, median",
                float(np.median(bound - errors)),
                float(np.min(bound - errors)),
                float(np.max(bound - errors)),
                "range over networks, not an interval",
            ),
        ),
    )
