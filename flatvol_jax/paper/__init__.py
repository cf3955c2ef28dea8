"""The paper's claims, judged, and its figures, from the records of all studies."""

from typing import TYPE_CHECKING

from flatvol_jax.runtime.lazy_imports import lazy_names

if TYPE_CHECKING:
    from flatvol_jax.paper._panel_lines import panel_lines
    from flatvol_jax.paper._provenance import Provenance, provenance
    from flatvol_jax.paper.claims.claim import Evidence, PaperClaim
    from flatvol_jax.paper.claims.paper_claims import (
        OverviewReading,
        claims_frame,
        overview,
        paper_claims,
    )
    from flatvol_jax.paper.claims.sentences import SENTENCES
    from flatvol_jax.paper.finished import is_finished, networks_so_far
    from flatvol_jax.paper.reproduction import write_reproduction
    from flatvol_jax.paper.scatter_figures import paper_figure
    from flatvol_jax.paper.sensitivity import sensitivity_table, temporal_table
else:
    __getattr__, __dir__ = lazy_names(__name__)

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
    "panel_lines",
    "paper_claims",
    "paper_figure",
    "provenance",
    "sensitivity_table",
    "temporal_table",
    "write_reproduction",
]
