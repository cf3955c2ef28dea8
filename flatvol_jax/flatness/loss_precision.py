"""Check that a loss computes in float64 all the way from its parameters, by its program.

A module with a dtype of its own, or a cast inside the loss, wins over the float64 scope. The loss
then moves in steps of that dtype's rounding, which hide the differences that flatness is made of.
"""

import weakref
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import source_info_util
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

_FLOAT64_BITS = 64
_FLOAT64_MANTISSA = 52
_FLOAT64_PRESETS = ("DEFAULT", "F64_F64_F64")  # of a product; the others compute in less
_FLOAT64_TYPES: Any = 3 * [np.float64]  # of both operands and of the sum
_FLOAT64_PRODUCT = jax.lax.DotAlgorithm(*_FLOAT64_TYPES)
_found: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


class Rounding(NamedTuple):
    """The first operation below float64 on the way from the parameters to a result.

    Attributes:
        dtype: name of the dtype that it computes.
        operation: name of the operation.
        place: where the user's code calls it.
    """

    dtype: str
    operation: str
    place: str


class _Flow(NamedTuple):
    """The knowledge of one value of the program.

    Attributes:
        depends: whether it is computed from the parameters without a step through whole numbers
            or truth values. A mask that is cast to float32 is exact, and does not depend.
        rounding: what rounded it to less than float64, None where nothing did.
    """

    depends: bool
    rounding: Rounding | None


_CLEAN = _Flow(False, None)


def check_float64(name: str, traced: Any, params: Any) -> None:
    """Check that a traced function of (..., params) computes from params in float64 throughout.

    Data may have any dtype: they are cast up where they meet the parameters. Comparisons, index
    and label arithmetic, masks and random numbers may, too. What a custom derivative rule or a
    callback does inside is not seen. For a function that answers True or False the comparisons
    must be of float64, too.

    Args:
        name: of the argument, for the error.
        traced: `jax.jit(function).trace(..., params)`, whose last argument is params.
        params: the pytree of parameters.

    Raises:
        ValueError: an operation below float64, which is named, with what to change.
    """
    program = traced.jaxpr
    if program.jaxpr not in _found:
        parameters = len(jax.tree.leaves(params))
        others = len(program.jaxpr.invars) - parameters
        flows = [_CLEAN] * others + [_Flow(True, None)] * parameters
        results = _Walk(_answers_truth(program)).results(program.jaxpr, flows)
        _found[program.jaxpr] = next((flow.rounding for flow in results if flow.rounding), None)
    rounding = _found[program.jaxpr]
    if rounding is not None:
        raise ValueError(
            f"{name}: got {rounding.dtype}, computed from params by {rounding.operation} at "
            f"{rounding.place}; wanted float64 all the way from params, since {rounding.dtype} "
            "rounds away the differences that flatness is made of. A dtype inside a module wins "
            "over the float64 of this call: build the module with dtype=None, which computes in "
            "the dtype of its parameters, or with dtype=jnp.float64, and leave out casts to lower "
            "dtypes."
        )


def clear_cache() -> None:
    """Forget all programs that were checked, so that the next check walks them again."""
    _found.clear()


def _answers_truth(program: ClosedJaxpr) -> bool:
    return all(aval.dtype == bool for aval in program.out_avals)


class _Walk:
    """Follows values through a program; with `truth`, roundings pass through booleans too."""

    def __init__(self, truth: bool):
        self.truth = truth
        self.seen: dict[Any, list[_Flow]] = {}

    def results(self, jaxpr: Jaxpr, inputs: Sequence[_Flow]) -> list[_Flow]:
        """Return the flows of a program's results, given those of its inputs."""
        key = id(jaxpr), tuple(inputs)
        if key not in self.seen:
            flows = dict(zip(jaxpr.invars, inputs, strict=True))

            def known(atom):
                return _CLEAN if isinstance(atom, Literal) else flows.get(atom, _CLEAN)

            for equation in jaxpr.eqns:
                outputs = self.equation(equation, [known(atom) for atom in equation.invars])
                flows.update(zip(equation.outvars, outputs, strict=True))
            self.seen[key] = [known(atom) for atom in jaxpr.outvars]
        return self.seen[key]

    def equation(self, equation: JaxprEqn, inputs: list[_Flow]) -> list[_Flow]:
        """Return the flows of the results of one operation."""
        if not any(flow.depends or flow.rounding for flow in inputs):
            return [_CLEAN] * len(equation.outvars)
        name, options = equation.primitive.name, equation.params
        inner = list(_programs(options.values()))
        if name == "scan":
            consts, carry = options["num_consts"], options["num_carry"]
            return self.loop(inner[0], inputs[:consts], inputs[consts:], carry)
        if name == "while":
            condition, body = options["cond_nconsts"], options["body_nconsts"]
            carry = inputs[condition + body :]
            body_inputs = inputs[condition : condition + body]
            outputs = self.loop(_program(options["body_jaxpr"]), body_inputs, carry, len(carry))
            tested = self.results(_program(options["cond_jaxpr"]), inputs[:condition] + outputs)
            return [_joined([flow, _Flow(False, tested[0].rounding)]) for flow in outputs]
        if name == "cond":
            branches = [self.results(branch, inputs[1:]) for branch in inner]
            choice = _Flow(False, inputs[0].rounding)
            return [_joined([choice, *flows]) for flows in zip(*branches, strict=True)]
        if len(inner) == 1 and _fits(inner[0], equation):
            return self.results(inner[0], inputs)
        joined = _joined(inputs)
        within = [
            flow for jaxpr in inner for flow in self.results(jaxpr, [joined] * len(jaxpr.invars))
        ]
        joined = _joined([joined, *within])
        return [self.output(equation, variable.aval, joined) for variable in equation.outvars]

    def loop(self, body: Jaxpr, consts: list, rest: list, carry: int) -> list[_Flow]:
        """Return the flows of a loop's results: its body is repeated until nothing is new."""
        state, others = list(rest[:carry]), list(rest[carry:])
        while True:
            outputs = self.results(body, consts + state + others)
            after = [_joined(pair) for pair in zip(state, outputs[:carry], strict=True)]
            if after == state:
                return after + outputs[carry:]
            state = after

    def output(self, equation: JaxprEqn, aval: Any, joined: _Flow) -> _Flow:
        """Return the flow of one result of an operation that has no program within."""
        dtype = getattr(aval, "dtype", None)
        if dtype is None or not jnp.issubdtype(dtype, jnp.inexact):
            return _Flow(False, joined.rounding if self.truth else None)
        if joined.rounding or not joined.depends:
            return joined
        mantissa, algorithm = _FLOAT64_MANTISSA, _lower_algorithm(equation)
        if equation.primitive.name == "reduce_precision":
            mantissa = equation.params["mantissa_bits"]
        whole = mantissa >= _FLOAT64_MANTISSA
        if algorithm is None and jnp.finfo(dtype).bits >= _FLOAT64_BITS and whole:
            return joined
        lower = algorithm or (dtype.name if whole else f"a float of {mantissa} bits")
        place = source_info_util.summarize(equation.source_info)
        return _Flow(True, Rounding(lower, equation.primitive.name, place))


def _lower_algorithm(equation: JaxprEqn) -> str | None:
    """Name the algorithm of a product with fewer digits than float64, whatever its dtype says."""
    chosen = equation.params.get("precision")
    if isinstance(chosen, jax.lax.DotAlgorithm):
        return None if chosen == _FLOAT64_PRODUCT else "a product of lower precision"
    if isinstance(chosen, jax.lax.DotAlgorithmPreset) and chosen.name not in _FLOAT64_PRESETS:
        return f"a product by {chosen.name}"
    return None


def _joined(flows: Sequence[_Flow]) -> _Flow:
    rounding = next((flow.rounding for flow in flows if flow.rounding), None)
    return _Flow(any(flow.depends for flow in flows), rounding)


def _programs(values: Any) -> Iterator[Jaxpr]:
    """Yield the programs among the options of an operation."""
    for value in values:
        if isinstance(value, (Jaxpr, ClosedJaxpr)):
            yield _program(value)
        elif isinstance(value, (tuple, list)):
            yield from _programs(value)


def _program(value: Jaxpr | ClosedJaxpr) -> Jaxpr:
    return value.jaxpr if isinstance(value, ClosedJaxpr) else value


def _fits(jaxpr: Jaxpr, equation: JaxprEqn) -> bool:
    """Return whether the program takes and returns what the operation does."""
    return len(jaxpr.invars) == len(equation.invars) and len(jaxpr.outvars) == len(equation.outvars)
