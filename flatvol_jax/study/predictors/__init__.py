"""What predicts that a network generalises, over hyperparameters: run, summary, figure, report."""

from typing import TYPE_CHECKING

from flatvol_jax.runtime.lazy_imports import lazy_names

if TYPE_CHECKING:
    from flatvol_jax.study.predictors.report import predictor_pictures, write_predictor_report
    from flatvol_jax.study.predictors.run import run_predictors
    from flatvol_jax.study.predictors.summary import Summary, summarised
else:
    __getattr__, __dir__ = lazy_names(__name__)

__all__ = [
    "Summary",
    "predictor_pictures",
    "run_predictors",
    "summarised",
    "write_predictor_report",
]
