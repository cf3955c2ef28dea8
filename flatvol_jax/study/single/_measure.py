"""One network of a user, measured at once: `fv.measure`."""

import time
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np

from flatvol_jax.runtime import checks
from flatvol_jax.runtime.progress import asked_progress
from flatvol_jax.runtime.randomness import named_key
from flatvol_jax.study.engine.progress import Bar, Progress
from flatvol_jax.study.engine.store import split_arrays
from flatvol_jax.study.measures.chosen_parts import chosen_parts
from flatvol_jax.study.measures.measured_parts import known_error_columns, measured_parts
from flatvol_jax.study.measures.own_problem import KernelChoice, OwnProblem, own_problem
from flatvol_jax.study.measures.trained import Trained
from flatvol_jax.study.single.known_parts import (
    CLASSIFICATION,
    OF_CLASSIFICATION,
    OF_REGRESSION,
    REGRESSION,
    part_columns,
    parts_that_apply,
)
from flatvol_jax.study.single.table import Measured

_compiled: set = set()  # (part, network, shapes) that this process has measured


def measure(
    model: Any,
    params: Any,
    x: np.ndarray,
    y: np.ndarray,
    x_test: np.ndarray | None = None,
    y_test: np.ndarray | None = None,
    *,
    state: Any = None,
    noise: float | None = None,
    layers: Any = None,
    kernel: Any = None,
    samples: int | None = None,
    measures: Iterable[str] | Mapping[str, Mapping[str, Any]] | None = None,
    leave_out: Iterable[str] = (),
    quick: bool = False,
    key: jax.Array | None = None,
    batch_size: int | None = None,
    cache: Any = None,
    progress: Progress | bool | None = None,
) -> Measured:
    """Return the volume of a network's function, the flatness of its minimum, and baselines.

        found = fv.measure(net, params, x, y, x_test, y_test)
        print(found)  # a table; in a notebook it is one by itself
        found["measure.log_volume.heaviside.estimate"], found.to_dict()

    f is the string of the labels that the network gives to x and x_test. What is measured:

    - "log_volume": log V(f) for both links by EP, corrected and sampled, the bound of eq. 4.
      Sampled up to 5,000 inputs, corrected up to 12,000, beyond by EP. A ± says what it covers;
      the error of a sampled kernel is in it, the finite width of the network never is.
    - "log_volume_null": of a function with as many errors on x_test, at random places.
    - "sharpness": in a box of 1e-4, the best found, with its first-order part, second and rest.
    - "hessian": spectral norm, Frobenius norm, trace, log product of the top 50 eigenvalues.
    - "invariants": adaptive sharpness and the Fisher-Rao norm; normalised sharpness and
      relative flatness where the layers are known.
    - "baselines": disagreement with the Gaussian process's mean and with 1-NN, y'K⁻¹y, norms.
    - "log_evidence": of real targets, in place of log V; L is then the mean squared error.

    Others by name: "scale_invariant" (more of them), "sgd_sharpness", "spectral_density",
    "basin_volume", "learning_coefficient".
    A part that fails is a line that says why, and the others are there.

    Args:
        model: a spec (`fv.FCN`, `fv.as_model`, ...) or any network that `fv.as_model` takes. Keep
            the spec for several calls: its programs are compiled once.
        params: the trained parameters; None for those that came with the network.
        x: S, (n, ...), as the network sees them.
        y: its labels, (n,): ±1 of one output, 0..C-1 of C outputs; with `noise`, real targets.
        x_test: E1, (m, ...); without it f is the string on S.
        y_test: its labels, if they are known.
        state: running statistics; left out, those that came with the network.
        noise: variance of the noise of real targets: the network is one of regression.
        layers: of a network that does not know its own, for each layer that a ReLU follows, from
            the input on, (incoming, outgoing) as `fv.flatness.rescale` takes them, weights of
            shape (..., fan_in, fan_out).
        kernel: "analytic", "monte_carlo", or K on x and x_test itself, a matrix or the estimate of
            `fv.monte_carlo_estimate`; left out, analytic where the network has one.
        samples: networks of a Monte Carlo kernel; left out, 200, or as many as give 10 features
            an input.
        measures: the parts to measure, or a mapping from them to settings that are to differ, as
            {"sharpness": {"epsilon": 1e-3}}; the list above when left out.
        leave_out: parts not to measure.
        quick: whether fewer samples, fewer eigenvalues and no sampling will do.
        key: for all draws; jax.random.key(0) when left out.
        batch_size: inputs that are evaluated at a time, for memory.
        cache: folder where the kernel is kept.
        progress: called as progress(parts done, parts in all, what is being done); True for a
            bar.

    Raises:
        ValueError: a network, parameters, arrays or options that do not fit, with what to pass.
    """
    began = time.perf_counter()
    key = jax.random.key(0) if key is None else checks.random_key("key", key)
    quick = checks.boolean("quick", quick)
    default: tuple[str, ...] = CLASSIFICATION if noise is None else REGRESSION
    known = OF_CLASSIFICATION if noise is None else OF_REGRESSION
    if quick:
        default = tuple(name for name in default if name != "log_volume_null")
    chosen = chosen_parts(default, known, measures, leave_out, quick)
    with asked_progress(progress, "part") as report:
        bar = Bar(report, len(chosen))

        def within_kernel(done, total):
            bar.say(f"kernel, {done} of {total}")

        problem, network = own_problem(
            model,
            params,
            (x, y, x_test, y_test),
            KernelChoice(kernel, samples, named_key(key, "kernel"), quick),
            state=state,
            layers=layers,
            noise=noise,
            batch_size=batch_size,
            cache=cache,
            progress=within_kernel,
        )
        settings, said = parts_that_apply(problem, chosen)
        bar.begin(len(settings))
        shapes = problem.spec, problem.train_x.shape, problem.test_x.shape

        def columns(name):
            if (name, shapes) not in _compiled:
                bar.say(f"{name} (its programs are compiled first)")
            found = part_columns(name, problem, network, key, settings[name])
            _compiled.add((name, shapes))
            return found

        record = _data_columns(problem, network) | measured_parts(settings, columns, bar) | said
        bar.say("done")
    record["meta.seconds"] = time.perf_counter() - began
    numbers, arrays = split_arrays(record)
    return Measured(numbers, arrays or {}, _title(problem))


def _data_columns(problem: OwnProblem, network: Trained) -> dict[str, Any]:
    record: dict[str, Any] = {
        "meta.experiment": "measure",
        "meta.model": repr(problem.spec),
        "meta.kernel": problem.kernel_in_words,
        "meta.train_size": len(problem.train_x),
        "meta.test_size": len(problem.test_x),
    }
    if problem.noise is None:
        return record | known_error_columns(problem, network)
    parts = [("train", network.train_output, problem.train_y)]
    if len(problem.test_y) and problem.test_labels_known:
        parts.append(("test", network.test_output, problem.test_y))
    for part, output, y in parts:
        error = float(np.sqrt(np.mean((output.astype(np.float64) - y) ** 2)))
        record[f"measure.root_mean_square.{part}"] = error
    return record


def _title(problem: OwnProblem) -> str:
    text = repr(problem.spec)
    if len(text) > 160:
        text = f"{text[:157]}..."
    return (
        f"{text}\n{len(problem.train_x)} training inputs S, {len(problem.test_x)} test inputs E1; "
        f"kernel: {problem.kernel_in_words}"
    )
