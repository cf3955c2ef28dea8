"""Records of every study -> the paper's claims, judged; what they depend on; where from."""

from flatvol_jax.study.reproduction.claim import Evidence, PaperClaim
from flatvol_jax.study.reproduction.finished import is_finished, networks_so_far
from flatvol_jax.study.reproduction.paper_claims import (
    OverviewReading,
    claims_frame,
    overview,
    paper_claims,
)
from flatvol_jax.study.reproduction.provenance import Provenance, provenance
from flatvol_jax.study.reproduction.sensitivity import sensitivity_table, temporal_table
from flatvol_jax.study.reproduction.sentences import SENTENCES

__all__ = [
    "SENTENCES",
    "Evidence",
    "OverviewReading",
    "PaperClaim",
    "Provenance",
    "claims_frame",
    "is_finished",
    "networks_so_far",
    "overview",
    "paper_claims",
    "provenance",
    "sensitivity_table",
    "temporal_table",
]
