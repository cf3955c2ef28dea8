"""Baselines: what a simpler quantity would have said."""

import jax
import numpy as np
from scipy.linalg import cho_solve

from flatvol_jax.models import output_labels
from flatvol_jax.models.labels import label_margins
from flatvol_jax.study.measures.declared import measure
from flatvol_jax.study.measures.problem import Problem
from flatvol_jax.study.measures.trained import Trained


@measure("baselines", 1, from_kernel=True)
def measure_baselines(problem: Problem, trained: Trained, key: jax.Array, settings) -> dict:
    """Return GP and 1-NN disagreement, y'K⁻¹y, norms, margins, epochs.

    The margin is the least y f(x) over S divided by its mean absolute output, so that it does
    not only count how long training went on. Of C classes y f(x) is the lead of the label's output
    over the largest of the others, and the label norm that of `label_norm`.
    """
    test_labels = output_labels(trained.test_output)
    signed = label_margins(trained.train_output, problem.train_y)
    leaves = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(trained.params)]
    columns = {
        "label_norm": label_norm(problem, trained.labels),
        "margin": signed.min() / np.abs(signed).mean(),
        "mean_output": np.abs(signed).mean(),
        "parameter_norm": np.sqrt(sum((leaf**2).sum() for leaf in leaves)),
        "epochs": trained.epochs,
    }
    if len(test_labels):
        columns["gp_disagreement"] = np.mean(test_labels != problem.gp_prediction)
        columns["nn_disagreement"] = np.mean(test_labels != problem.neighbour_prediction)
    return {f"measure.baseline.{name}": value for name, value in columns.items()}


def label_norm(problem: Problem, labels: np.ndarray) -> float:
    """Return y'K⁻¹y; of C classes Σ_c y_c'K⁻¹y_c.

    The C numbers of an input are then the corner of a regular simplex of unit length that stands
    for its label, √(C/(C-1)) (1[c = label] - 1/C): for C = 2 the sum is y'K⁻¹y.
    """
    if problem.classes is None:
        signs = labels.astype(np.float64)
        return float(signs @ cho_solve(problem.kernel_factor, signs))
    c = problem.classes
    targets = (np.eye(c)[labels] - 1.0 / c) * np.sqrt(c / (c - 1.0))
    return float(np.sum(targets * cho_solve(problem.kernel_factor, targets)))
