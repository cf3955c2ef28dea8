"""All claims of the paper, judged from the records of all studies at one scale."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from flatvol_jax.study.experiment_tables import ExperimentTables
from flatvol_jax.study.reproduction.boolean import boolean_claims
from flatvol_jax.study.reproduction.bound import bound_claims
from flatvol_jax.study.reproduction.claim import PaperClaim
from flatvol_jax.study.reproduction.overtraining import overtraining_claims
from flatvol_jax.study.reproduction.sentences import SENTENCES, Sentence
from flatvol_jax.study.reproduction.sweeps import sweep_claims
from flatvol_jax.study.reproduction.through_time import temporal_claims


class Overview(NamedTuple):
    """A sentence of the paper in a line.

    Attributes:
        key: of the sentence.
        sentence: text, place and figures.
        verdicts: verdict -> how many claims, most frequent first.
        within: least and largest number judged.
        pooled: least and largest of the paper's own statistic; NaN where it has none.
        met: claims whose estimate is what is claimed, whatever its interval.
        claims: how many.
    """

    key: str
    sentence: Sentence
    verdicts: dict[str, int]
    within: tuple[float, float]
    pooled: tuple[float, float]
    met: int
    claims: int


def paper_claims(
    tables: Sequence[ExperimentTables],
    temporal: pd.DataFrame | None,
    boolean: pd.DataFrame | None,
    scale: str | None,
) -> list[PaperClaim]:
    """Every claim, in the order of the paper's sentences.

    Args:
        tables: of the sweeps at the scale (`study.experiment_tables`).
        temporal: records of one temporal study, None without.
        boolean: records of the Boolean experiment, None without.
        scale: "cpu" and "paper" allow verdicts.
    """
    claims = [
        *sweep_claims(tables, scale),
        *overtraining_claims(tables, scale),
        *(temporal_claims(temporal, scale) if temporal is not None else ()),
        *(boolean_claims(boolean) if boolean is not None else ()),
        *bound_claims(tables),
    ]
    order = list(SENTENCES)
    return sorted(claims, key=lambda claim: order.index(claim.sentence))


def overview(claims: Iterable[PaperClaim]) -> list[Overview]:
    """A line for every sentence that has a claim."""
    lines = []
    for key, sentence in SENTENCES.items():
        group = [claim for claim in claims if claim.sentence == key]
        if not group:
            continue
        pooled = [claim.pooled.estimate for claim in group if claim.pooled]
        lines.append(
            Overview(
                key,
                sentence,
                dict(Counter(claim.verdict for claim in group).most_common()),
                _range([claim.judged.estimate for claim in group]),
                _range(pooled),
                sum(claim.met is True for claim in group),
                len(group),
            )
        )
    return lines


def claims_frame(claims: Iterable[PaperClaim]) -> pd.DataFrame:
    """A row a claim, for a .csv."""
    rows = []
    for claim in claims:
        pooled = claim.pooled
        rows.append(
            {
                "sentence": claim.sentence,
                "subject": claim.subject,
                "statement": claim.statement,
                "quantity": claim.judged.label,
                "estimate": claim.judged.estimate,
                "low": claim.judged.low,
                "high": claim.judged.high,
                "confidence": claim.confidence,
                "draws": claim.draws,
                "criterion": claim.criterion,
                "met": claim.met,
                "verdict": claim.verdict,
                "reason": claim.reason,
                "pooled": pooled.estimate if pooled else np.nan,
                "pooled_low": pooled.low if pooled else np.nan,
                "pooled_high": pooled.high if pooled else np.nan,
            }
        )
    return pd.DataFrame(rows)


def _range(values: Sequence[float]) -> tuple[float, float]:
    known = [float(value) for value in values if np.isfinite(value)]
    return (min(known), max(known)) if known else (np.nan, np.nan)
