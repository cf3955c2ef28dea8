"""The symmetry audit: one network in many parametrisations of one function, measured in each.

Every transform leaves the function as it is, which is checked on S and E1, so that whatever a
measure does along the way says nothing about generalisation.
"""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from etils import epath

from flatvol_jax.models import wrong_labels
from flatvol_jax.models.spec import Params, Spec
from flatvol_jax.runtime import checks
from flatvol_jax.runtime.hashing import array_hash, content_hash
from flatvol_jax.runtime.randomness import named_key
from flatvol_jax.study.engine.plan import Run, plan_runs
from flatvol_jax.study.engine.progress import Bar, Progress
from flatvol_jax.study.engine.records import write_records
from flatvol_jax.study.engine.settings import choice, each, group, settings, settings_class
from flatvol_jax.study.engine.source_commit import source_commit
from flatvol_jax.study.engine.store import Store
from flatvol_jax.study.engine.workdir import open_workdir
from flatvol_jax.study.measures.given_network import answered, own_data
from flatvol_jax.study.measures.problem import Problem, make_problem
from flatvol_jax.study.measures.registry import chosen_measures, measured_columns
from flatvol_jax.study.measures.study_config import StudyConfig, check_entries, study_config
from flatvol_jax.study.measures.symmetries import rectified_layer
from flatvol_jax.study.measures.trained import Trained
from flatvol_jax.study.measures.training_units import read_trained, train_alone
from flatvol_jax.study.measures.transforms import Transform, transformed

SYMMETRIES = ("layer", "unit", "permutation")
AuditSettings = settings_class(
    "AuditSettings",
    symmetries=each(choice(SYMMETRIES)),
    alphas=each(checks.positive),
)


def plan_transforms(config: Mapping[str, Any], spec: Spec) -> list[Transform]:
    """Return all transforms of the audit, the network as it is first."""
    audit = settings(AuditSettings, group(config, "audit"), "audit")
    rectified_layer(spec, 1)  # a spec that does not know its layers ends here
    layers = spec.rectified_layers()
    assert layers is not None, "rectified_layer refuses a spec without"
    transforms = [Transform("none")]
    for symmetry in audit.symmetries:
        for layer in range(1, len(layers) + 1):
            scales = [None] if symmetry == "permutation" else audit.alphas
            transforms += [Transform(symmetry, layer, alpha) for alpha in scales]
    return transforms


def run_symmetry_audit(
    config: Mapping[str, Any],
    workdir: epath.PathLike,
    data_dir: str | None = None,
    params: Params | None = None,
    progress: Progress | None = None,
    arrays: Mapping[str, np.ndarray] | None = None,
) -> list[dict[str, Any]]:
    """Do what is missing of the audit, write records.jsonl, a row a transform, return the rows.

    Args:
        config: plain data, as configs/symmetry_audit.py makes it: one run of a sweep, `audit`
            and `measures`.
        workdir: folder of units, records and config; an earlier run's work is reused.
        data_dir: where TFDS data sets are prepared.
        params: of a network trained elsewhere; trained here when left out.
        progress: called as progress(units done, units in all, what is being done).
        arrays: the data of `params`, as `measure_network` takes them; left out, it must have been
            trained on S of the config's draw, all of whose labels it then knows.

    Raises:
        ValueError: a config that does not fit, a network that cannot be measured, or that was not
            trained on the data.
    """
    check_entries(config, "audit")
    typed, measures, (run,) = study_config(config), chosen_measures(config), plan_runs(config)
    problem = make_problem(typed, run.draw, epath.Path(workdir) / "cache", data_dir)
    if arrays is not None:
        if params is None:
            raise ValueError(
                "arrays: got data without params; wanted the network that was trained on them."
            )
        problem = own_data(problem, arrays)
    transforms = plan_transforms(config, problem.spec)
    trained, row = _network(typed, workdir, problem, run, params)
    network = array_hash(*map(np.asarray, jax.tree.leaves(trained.params)))
    if params is not None:
        row = _given_row(typed, problem, run, trained, network, arrays is not None)
    if arrays is not None:
        network = row["run_id"]
    key = typed.run_key("audit", run)
    store, rows, finished = Store(workdir, Bar(progress, len(transforms) * len(measures))), [], 0
    with open_workdir(workdir, config):
        try:
            for transform in transforms:
                params = transformed(key, problem.spec, trained.params, transform)
                form = answered(problem, params, trained.state, trained.epochs)
                rows.append(row | transform.columns | function_columns(trained, form))
                for name, measure in measures.items():
                    text, own = f"{transform.name}: {name}", named_key(key, name)
                    rows[-1] |= store.get(
                        measure.unit(network, transform.name),
                        functools.partial(measured_columns, measure, problem, form, own),
                        text,
                    )
                    store.bar.finished(1, text)
                finished = len(rows)
            store.bar.say("done")
        finally:
            whole = [place < finished for place in range(len(rows))]
            rows = write_records(store.workdir, rows, finished=whole)
    return rows


def _network(config: StudyConfig, workdir, problem: Problem, run: Run, params):
    """Return the network, and the columns that all rows share of one that is trained here."""
    if params is not None:
        state = problem.spec.init_state(problem.train_x.shape[1:])
        return answered(problem, params, state, None), {}
    store = train_alone(workdir, config, problem, run)
    trained = read_trained(store, problem, run)
    if trained is None:
        raise ValueError(
            "hp.train: the network diverged; try a smaller hp.train.learning_rate or another "
            "sweep.seed."
        )
    row = store.row(run.training)
    assert row is not None, "the network was read from it"
    about = {"run_id": run.run_id, "meta.data": _draw_of(config, problem, run)}
    return trained, run.hp_columns | row | about


def _given_row(
    config: StudyConfig, problem: Problem, run: Run, trained: Trained, network: str, own: bool
):
    """Return the columns that all rows share of a network from elsewhere, on its own data."""
    wrong = int(np.sum(wrong_labels(trained.train_output, problem.train_y)))
    if wrong and not own:
        raise ValueError(
            f"params: got a network that is wrong on {wrong} of {len(problem.train_y)} labels of S "
            f"of {_draw_of(config, problem, run)}; wanted one that was trained on them to zero "
            "error. log V and sharpness are of the data that a network was trained on: give yours "
            "(arrays, or --data=data.npz with train_x, train_y, test_x, test_y)."
        )
    data = array_hash(problem.train_x, problem.train_y, problem.test_x, problem.test_y)
    hp = run.hp_columns
    said = _draw_of(config, problem, run)
    if own:
        hp = {name: value for name, value in hp.items() if not name.startswith("hp.data.")}
        said = f"your own {len(problem.train_y)} inputs S and {len(problem.test_y)} E1, hash {data}"
    return {
        "run_id": content_hash([network, data, run.hp]),
        "epoch": None,
        **hp,
        "measure.error.train": wrong / len(problem.train_y),
        "meta.commit": source_commit(),  # nothing is trained: of the code that measures
        "meta.data": said,
    }


def _draw_of(config: StudyConfig, problem: Problem, run: Run) -> str:
    """Return whose data the numbers are of, in words."""
    return (
        f"draw {run.draw} of {config.hp.data.name} with sweep.seed = "
        f"{config.sweep.seed}: {len(problem.train_y)} inputs S and {len(problem.test_y)} E1"
    )


def function_columns(trained: Trained, form: Trained) -> dict[str, Any]:
    """Return whether the function stayed, and how far its outputs moved."""
    before, after = (
        np.concatenate([network.train_output, network.test_output]) for network in (trained, form)
    )
    return {
        "is.function_unchanged": bool(np.array_equal(trained.labels, form.labels)),
        "is.output_identical": bool(np.array_equal(before, after)),
        "measure.output.least": float(np.abs(after).min()),
        "measure.output.largest_change": float(np.abs(after - before).max()),
    }
