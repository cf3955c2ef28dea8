"""Prove from a network's program that it answers row by row, or that it moves a statistic.

Both are proofs, read from the program without compiling it. Where there is none, the network may
still be right: `evaluation_check` then asks it for numbers.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

_CALLS = {
    *("pjit", "jit", "closed_call", "core_call", "remat2", "checkpoint", "remat"),
    *("custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr"),
}
_ELEMENTWISE = set(
    [
        "abs",
        "add",
        "and",
        "atan2",
        "cbrt",
        "ceil",
        "clamp",
        "convert_element_type",
        "copy",
        "cos",
        "cosh",
        "div",
        "eq",
        "erf",
        "erf_inv",
        "erfc",
        "exp",
        "exp2",
        "expm1",
        "floor",
        "ge",
        "gt",
        "integer_pow",
        "is_finite",
        "le",
        "log",
        "log1p",
        "logistic",
        "lt",
        "max",
        "min",
        "mul",
        "ne",
        "neg",
        "nextafter",
        "not",
        "or",
        "pow",
        "reduce_precision",
        "rem",
        "round",
        "rsqrt",
        "select_n",
        "sign",
        "sin",
        "sinh",
        "sqrt",
        "square",
        "stop_gradient",
        "sub",
        "tan",
        "tanh",
        "xor",
    ]
)
_REDUCTIONS = set(
    ["reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "reduce_and", "reduce_or"]
)
_REDUCTIONS |= {"argmax", "argmin"}


class _Unknown(Exception):
    """The program does what has no rule here."""


class _Row:
    """A value whose slice i along an axis is of input i alone, and no other function for each i."""

    def __init__(self, axis: int):
        self.axis = axis


class _Fixed:
    """A value that no input enters, with the axes along which all of its slices are equal."""

    def __init__(self, equal: Iterable[int] = ()):
        self.equal = frozenset(equal)


def answers_row_by_row(traced: Any, traced_alone: Any, inputs_at: int) -> bool:
    """Tell whether a program provably gives each row of its inputs one answer, whatever the batch.

    Args:
        traced: `jax.jit(function).trace(...)` for a batch of several.
        traced_alone: the same for a batch of one; a program that takes other steps or numbers for
            another number of rows has no proof.
        inputs_at: which of the flat arguments the inputs are.

    Returns:
        True, or False where that is not known.
    """
    closed, alone = traced.jaxpr, traced_alone.jaxpr
    if list(_steps(closed.jaxpr)) != list(_steps(alone.jaxpr)):
        return False
    if len(closed.consts) != len(alone.consts) or not all(
        one is other or np.array_equal(one, other)
        for one, other in zip(closed.consts, alone.consts, strict=True)
    ):
        return False
    values: list[_Row | _Fixed] = [_Fixed() for _ in closed.jaxpr.invars]
    values[inputs_at] = _Row(0)
    try:
        results = _results(closed.jaxpr, values)
    except _Unknown:
        return False
    return all(isinstance(value, _Row) and value.axis == 0 for value in results)


def depends_on_inputs(traced: Any, inputs_at: int) -> list[bool] | None:
    """Tell of each flat result whether the inputs enter it; None where that is not known.

    A product with a number 0 of the program passes nothing on: a momentum of 1.
    """
    jaxpr = traced.jaxpr.jaxpr
    try:
        return _entered(jaxpr, [i == inputs_at for i in range(len(jaxpr.invars))])
    except _Unknown:
        return None


def _steps(jaxpr: Jaxpr):
    """Yield the operations of a program with the numbers that are written into them."""
    for equation in jaxpr.eqns:
        numbers = [float(getattr(v, "val", 0)) for v in equation.invars if _is_number(v)]
        numbers += [v for v in equation.params.values() if type(v) in (int, float)]
        yield equation.primitive.name, numbers
        if (inner := _called(equation)) is not None:
            yield from _steps(inner)


def _is_number(atom: Any) -> bool:
    return isinstance(atom, Literal) and np.ndim(atom.val) == 0 and np.isreal(atom.val)


def _shape(atom: Any) -> tuple[int, ...]:
    return atom.aval.shape


def _called(equation: JaxprEqn) -> Jaxpr | None:
    """Return the program that an operation calls as it is."""
    if equation.primitive.name in _CALLS:
        for name in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
            inner = equation.params.get(name)
            if isinstance(inner, (Jaxpr, ClosedJaxpr)) and not getattr(inner, "consts", ()):
                return inner.jaxpr if isinstance(inner, ClosedJaxpr) else inner
    return None


def _walk(jaxpr: Jaxpr, values: list, constant: Any, rule: Callable) -> list:
    """Return the results of a program for these arguments, by a rule for each operation."""
    known = dict(zip(jaxpr.invars, values, strict=True))

    def value(atom):
        return constant if isinstance(atom, Literal) else known.get(atom, constant)

    for equation in jaxpr.eqns:
        arguments, inner = [value(atom) for atom in equation.invars], _called(equation)
        if inner is None:
            found = rule(equation, arguments)
        elif len(inner.invars) == len(arguments):
            found = _walk(inner, arguments, constant, rule)
        else:
            raise _Unknown
        known.update(zip(equation.outvars, found, strict=True))
    return [value(atom) for atom in jaxpr.outvars]


def _entered(jaxpr: Jaxpr, values: list[bool]) -> list[bool]:
    def rule(equation, arguments):
        if any(_holds_program(value) for value in equation.params.values()):
            raise _Unknown
        by_zero = equation.primitive.name == "mul" and any(
            _is_number(atom) and atom.val == 0 for atom in equation.invars
        )
        return [any(arguments) and not by_zero] * len(equation.outvars)

    return _walk(jaxpr, values, False, rule)


def _holds_program(value: Any) -> bool:
    parts = value if isinstance(value, (tuple, list)) else (value,)
    return any(isinstance(part, (Jaxpr, ClosedJaxpr)) for part in parts)


def _results(jaxpr: Jaxpr, values: list) -> list:
    return _walk(jaxpr, values, _Fixed(), _outputs)


def _outputs(equation: JaxprEqn, arguments: list) -> list:
    rows = [argument for argument in arguments if isinstance(argument, _Row)]
    if equation.effects or "callback" in equation.primitive.name:
        raise _Unknown
    if not rows:
        return [_fixed(equation, arguments)] * len(equation.outvars)
    return [_Row(_row_axis(equation, arguments, rows[0].axis))] * len(equation.outvars)


def _fixed(equation: JaxprEqn, arguments: list) -> _Fixed:
    """Tell along which axes a value without inputs is equal: it was spread out, or made of such."""
    name, options = equation.primitive.name, equation.params
    shape = _shape(equation.outvars[0])
    if name == "broadcast_in_dim":
        kept = dict(enumerate(options["broadcast_dimensions"]))
        before = _shape(equation.invars[0])
        spread = set(range(len(shape))) - set(kept.values())
        spread |= {axis for i, axis in kept.items() if before[i] == 1}
        return _Fixed(spread | {kept[i] for i in arguments[0].equal})
    if name in _ELEMENTWISE:
        return _Fixed(
            axis
            for axis in range(len(shape))
            if all(
                _equal_along(axis, argument, _shape(atom))
                for atom, argument in zip(equation.invars, arguments, strict=True)
            )
        )
    return _Fixed()


def _equal_along(axis: int, argument: _Fixed, shape: tuple[int, ...]) -> bool:
    """Tell whether a value is the same for all places on an axis; one of length 1 is spread out."""
    return not shape or shape[axis] == 1 or axis in argument.equal


def _row_axis(equation: JaxprEqn, arguments: list, axis: int) -> int:
    """Return the axis of the rows in the result of an operation; _Unknown where rows may mix."""
    name, options = equation.primitive.name, equation.params
    shapes = [_shape(atom) for atom in equation.invars]
    first = arguments[0]
    if name in _ELEMENTWISE or name == "concatenate":
        if name == "concatenate" and options["dimension"] == axis:
            raise _Unknown
        for argument, shape in zip(arguments, shapes, strict=True):
            if isinstance(argument, _Row):
                fits = argument.axis == axis
            else:
                fits = _equal_along(axis, argument, shape)
            if not fits:
                raise _Unknown
        return axis
    if not isinstance(first, _Row):
        if name == "gather" and isinstance(arguments[1], _Row):
            return _gathered(options, equation, shapes, axis)
        if name == "dot_general":
            return _product(options, arguments, shapes)
        raise _Unknown
    if name == "dot_general":
        return _product(options, arguments, shapes)
    if any(isinstance(argument, _Row) for argument in arguments[1:]):
        raise _Unknown
    if name == "broadcast_in_dim":
        place = options["broadcast_dimensions"][axis]
        if options["shape"][place] == shapes[0][axis]:
            return place
    leading = name == "reshape" and axis == 0 and options.get("dimensions") is None
    if leading and options["new_sizes"][:1] == shapes[0][:1]:
        return 0
    if name == "transpose":
        return options["permutation"].index(axis)
    if name in _REDUCTIONS and axis not in options["axes"]:
        return axis - sum(other < axis for other in options["axes"])
    if name == "squeeze" and axis not in options["dimensions"]:
        return axis - sum(other < axis for other in options["dimensions"])
    if name == "conv_general_dilated" and options["batch_group_count"] == 1:
        numbers = options["dimension_numbers"]
        if numbers.lhs_spec[0] == axis:
            return numbers.out_spec[0]
    if name.startswith("reduce_window") and "window_dimensions" in options:
        window, strides = options["window_dimensions"][axis], options["window_strides"][axis]
        if (window, strides) == (1, 1) and tuple(options["padding"][axis]) == (0, 0):
            return axis
    raise _Unknown


def _product(options, arguments: list, shapes: list) -> int:
    """Return the rows' axis in a matrix product: on one side, or a batch axis of both."""
    (contracted, together) = options["dimension_numbers"]
    left, right = arguments
    if isinstance(left, _Row) and isinstance(right, _Row):
        pairs = list(zip(*together, strict=True))
        if (left.axis, right.axis) in pairs:
            return pairs.index((left.axis, right.axis))
        raise _Unknown
    side = 0 if isinstance(left, _Row) else 1
    axis = arguments[side].axis
    if axis in contracted[side] or axis in together[side]:
        raise _Unknown
    taken = set(contracted[side]) | set(together[side])
    before = sum(1 for other in range(axis) if other not in taken)
    if side == 1:
        before += len(shapes[0]) - len(contracted[0]) - len(together[0])
    return len(together[0]) + before


def _gathered(options, equation: JaxprEqn, shapes: list, axis: int) -> int:
    """Return the rows' axis in a look-up in a fixed table, that of the indices' rows."""
    numbers: Any = options["dimension_numbers"]
    batching: Any = getattr(numbers, "start_indices_batching_dims", None)
    if axis == len(shapes[1]) - 1 or batching:
        raise _Unknown
    rank = len(_shape(equation.outvars[0]))
    batch = [place for place in range(rank) if place not in numbers.offset_dims]
    return batch[axis]
