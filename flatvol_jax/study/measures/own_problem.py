"""A user's network and arrays as a problem and a trained network, which every measure takes."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from flatvol_jax.kernels import MonteCarloKernel
from flatvol_jax.models import (
    Spec,
    as_model,
    check_evaluation,
    check_labels,
    network_inputs,
    output_count,
    parameter_shapes,
)
from flatvol_jax.runtime import checks
from flatvol_jax.study.measures.checkpoint_trees import shapes, shown
from flatvol_jax.study.measures.given_network import answered
from flatvol_jax.study.measures.layered_spec import with_layers
from flatvol_jax.study.measures.problem import Problem
from flatvol_jax.study.measures.trained import Trained

KERNELS = ("analytic", "monte_carlo")
_FEATURES_AN_INPUT = 10  # M N_L = 10 n, as `fv.monte_carlo_kernel` advises
_NETWORKS, _QUICK_NETWORKS, _GROUPS = 200, 50, 10


@dataclasses.dataclass(frozen=True)
class OwnProblem(Problem):
    """The problem of a network from elsewhere, on arrays of a user.

    Attributes:
        loss: "cross_entropy", or "squared" of a regression network, whose `train_y` and `test_y`
            are real targets.
        noise: variance of the targets' noise, of a regression network.
        given_kernel: K on S+E1 of one's own, a matrix or an estimate; None to compute it.
        test_labels_known: whether `test_y` are true labels, not the network's own.
    """

    loss: str = "cross_entropy"
    noise: float | None = None
    given_kernel: np.ndarray | MonteCarloKernel | None = None
    test_labels_known: bool = True

    @functools.cached_property
    def kernel(self) -> np.ndarray:
        """Return K on S+E1, (n, n) float64."""
        given = self.given_kernel
        if given is None:
            return super().kernel
        return given.kernel if isinstance(given, MonteCarloKernel) else given

    @functools.cached_property
    def kernel_estimate(self) -> MonteCarloKernel:
        """Return the Monte Carlo kernel on S+E1 with its error."""
        given = self.given_kernel
        if given is None:
            return super().kernel_estimate
        if not isinstance(given, MonteCarloKernel):
            raise ValueError(
                "kernel: got a matrix, whose sampling error is not known; wanted an estimate, as "
                "fv.monte_carlo_kernel returns it."
            )
        return given

    @property
    def kernel_in_words(self) -> str:
        """Return where K comes from, in words."""
        if self.kernel_samples:
            return f"Monte Carlo, {self.kernel_samples['samples']} networks"
        return "analytic" if self.given_kernel is None else "given"


class KernelChoice(NamedTuple):
    """The way to compute K; None chooses.

    Attributes:
        kernel: "analytic", "monte_carlo", or K on S+E1 itself, a matrix or an estimate.
        samples: M of a Monte Carlo kernel.
        key: for its networks.
        quick: whether fewer networks will do.
    """

    kernel: Any
    samples: int | None
    key: jax.Array
    quick: bool = False


def own_problem(
    model: Any,
    params: Any,
    data: Sequence[Any],
    choice: KernelChoice,
    *,
    state: Any = None,
    layers: Any = None,
    noise: float | None = None,
    batch_size: int | None = None,
    cache: Any = None,
    progress: Any = None,
) -> tuple[OwnProblem, Trained]:
    """Return the problem of the arrays, and the network with what it answers on them.

    Args:
        model: a spec, or what `fv.as_model` makes one of.
        params: the network's parameters; None for those that came with it.
        data: x, y, x_test and y_test; the last two may be None.
        choice: of the kernel.
        state: running statistics; None for those that came with the network.
        layers: rectified layers of a network that does not know them.
        noise: variance of the noise of real targets; None for labels, ±1 of a network with one
            output and 0..C-1 of one with C.
        batch_size: inputs that are evaluated at a time.
        cache: folder for the kernel, or None.
        progress: called as progress(done, total) while a kernel is computed.

    Raises:
        ValueError: a network that `fv.as_model` refuses, parameters or a state that do not fit or
            are missing, arrays of other shapes, labels that are not the network's.
    """
    x, y, x_test, y_test = data
    example = checks.finite("x", x)
    if example.ndim < 2 or not len(example):
        raise ValueError(f"x: got shape {example.shape}, wanted inputs (n, ...), one at least.")
    spec, params, state = _network(model, params, state, example)
    spec = with_layers(spec, params, layers)
    x = network_inputs(spec, "x", x)
    if x_test is None and y_test is not None:
        raise ValueError("x_test: got None beside y_test, wanted its inputs.")
    x_test = x[:0] if x_test is None else network_inputs(spec, "x_test", x_test)
    if x_test.shape[1:] != x.shape[1:]:
        raise ValueError(
            f"x_test: got shape {x_test.shape}, wanted inputs of shape {x.shape[1:]}, as x has."
        )
    outputs, known = output_count(spec), y_test is not None
    if noise is not None and outputs > 1:
        raise ValueError(f"noise: got one with {outputs} outputs, wanted a network with one.")
    noise = None if noise is None else checks.non_negative("noise", noise)

    def targets(name, values, size):
        return (
            _labels(name, values, size, outputs) if noise is None else _targets(name, values, size)
        )

    y = targets("y", y, len(x))
    y_test = targets("y_test", y_test, len(x_test)) if known else np.zeros(len(x_test), y.dtype)
    check_evaluation(spec, x)
    kernel, samples = _checked_kernel(choice, spec, x, len(x) + len(x_test))
    problem = OwnProblem(
        spec,
        x,
        y,
        x[:0],
        y[:0],
        x_test,
        y_test,
        x[:0],
        y[:0],
        None if batch_size is None else checks.count("batch_size", batch_size),
        choice.key,
        samples,
        checks.folder("cache", cache),
        progress,
        loss="cross_entropy" if noise is None else "squared",
        noise=noise,
        given_kernel=kernel,
        test_labels_known=known,
    )
    network = answered(problem, params, state, None)
    if not known and noise is None:  # no labels but the network's own are there
        own = network.labels[len(x) :].astype(y.dtype)
        problem = dataclasses.replace(problem, test_y=own)
    return problem, network


def _network(model: Any, params: Any, state: Any, x: np.ndarray) -> tuple[Spec, Any, Any]:
    """Return the spec, its parameters and its state; where none are given, those it came with."""
    if isinstance(model, Spec) and not isinstance(model, type):
        spec = model
    else:
        made: Any = as_model(model, x, params=params, state=state)
        spec, params, state = made, made.params, made.state
    if params is None:
        params = getattr(spec, "params", None)
    if params is None:
        raise ValueError(
            "params: got None, and the network brought none; wanted its trained parameters, as "
            "its apply takes them."
        )
    if state is None:
        state = getattr(spec, "state", None) or {}
        wanted = shapes(spec.init_state(x.shape[1:]))
        if wanted and not state:
            raise ValueError(
                f"state: got None; wanted {shown(wanted)}: the running statistics that training "
                "left. Those of initialisation would be another network."
            )
    return spec, params, state


def _checked_kernel(choice: KernelChoice, spec: Spec, x: np.ndarray, n: int) -> tuple[Any, dict]:
    """Return the kernel that is given, if one is, and samples and groups of a Monte Carlo one."""
    kernel = choice.kernel
    if kernel is None:
        kernel = KERNELS[spec.kernel_layers() is None]
    if isinstance(kernel, str):
        checks.one_of("kernel", kernel, KERNELS)
        if kernel == "analytic":
            if choice.samples is not None:
                raise ValueError(
                    "samples: got a number with an analytic kernel, wanted none; or "
                    'kernel="monte_carlo".'
                )
            return None, {}
        return None, _samples(choice, spec, x, n)
    given = kernel
    if isinstance(given, MonteCarloKernel):
        counts = np.asarray(given.group_samples)
        samples = {"samples": int(counts.sum()), "groups": len(counts)}
        size = np.shape(given.kernel)
    else:
        given, samples = checks.finite("kernel", kernel), {}
        size = given.shape
    if size != (n, n):
        raise ValueError(
            f"kernel: got shape {size}, wanted ({n}, {n}): K on x and then x_test, "
            '"analytic" or "monte_carlo".'
        )
    return given, samples


def _samples(choice: KernelChoice, spec: Spec, x: np.ndarray, n: int) -> dict[str, int]:
    if choice.samples is not None:
        samples = checks.count("samples", choice.samples, least=2)
        return {"samples": samples, "groups": min(_GROUPS, samples)}
    row = jax.ShapeDtypeStruct((1, *x.shape[1:]), x.dtype)
    width = jax.eval_shape(spec.features, parameter_shapes(spec, x.shape[1:]), row).shape[-1]
    least = _QUICK_NETWORKS if choice.quick else _NETWORKS
    return {"samples": max(least, -(-_FEATURES_AN_INPUT * n // width)), "groups": _GROUPS}


def _labels(name: str, y: Any, size: int, outputs: int) -> np.ndarray:
    """Return labels: ±1 of one output, int8; 0..C-1 of C outputs, int32."""
    labels = _one_axis(name, checks.finite(name, y), size)
    if outputs > 1:
        check_labels(name, labels, outputs)
        return labels.astype(np.int32)
    if not np.isin(labels, (-1, 1)).all():
        found = np.unique(labels)
        if np.isin(found, (0, 1)).all():
            advice = f"Take 2 * {name} - 1."
        elif labels.dtype.kind == "f" and (found % 1).any():
            advice = "Real targets are those of regression: pass noise=, the noise's variance."
        else:
            advice = "Of C classes 0..C-1 take a network with an output for each."
        raise ValueError(
            f"{name}: got labels {', '.join(map(str, found[:6].tolist()))}"
            f"{' ...' if len(found) > 6 else ''}, wanted -1 and +1. {advice}"
        )
    return labels.astype(np.int8)


def _targets(name: str, y: Any, size: int) -> np.ndarray:
    return _one_axis(name, checks.finite(name, y), size).astype(np.float64)


def _one_axis(name: str, values: np.ndarray, size: int) -> np.ndarray:
    if values.shape == (size, 1):
        values = values[:, 0]
    if values.shape != (size,):
        raise ValueError(
            f"{name}: got shape {values.shape}, wanted ({size},): one number for each input."
        )
    return values
