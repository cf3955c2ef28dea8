"""Baselines: what a simpler quantity would have said."""

import jax
import numpy as np
from scipy.linalg import cho_solve

from flatvol_jax.study.measures.problem import Problem
from flatvol_jax.study.measures.trained import Trained


def measure_baselines(problem: Problem, trained: Trained, key: jax.Array, settings) -> dict:
    """GP and 1-NN disagreement, y'K⁻¹y, norms, margins, epochs.

    The margin is the least y f(x) over S divided by its mean absolute output, so that it does
    not only count how long training went on.
    """
    test_labels = np.where(trained.test_output > 0, 1, -1)
    labels = trained.labels.astype(np.float64)
    signed = problem.train_y * trained.train_output.astype(np.float64)
    leaves = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(trained.params)]
    of_test = {}
    if len(test_labels):
        of_test = {
            "measure.baseline.gp_disagreement": float(
                np.mean(test_labels != problem.gp_prediction)
            ),
            "measure.baseline.nn_disagreement": float(
                np.mean(test_labels != problem.neighbour_prediction)
            ),
        }
    return {
        **of_test,
        "measure.baseline.label_norm": float(labels @ cho_solve(problem.kernel_factor, labels)),
        "measure.baseline.margin": float(signed.min() / np.abs(signed).mean()),
        "measure.baseline.mean_output": float(np.abs(signed).mean()),
        "measure.baseline.parameter_norm": float(np.sqrt(sum((leaf**2).sum() for leaf in leaves))),
        "measure.baseline.epochs": trained.epochs,
    }
