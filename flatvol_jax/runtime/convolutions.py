"""Convolutions in the layout that XLA computes fast on a CPU, inside loops as well.

For a CPU XLA brings the convolutions of a program's outermost level to channels last and hands them
to Eigen. Inside the body of a loop it leaves them as they are (github.com/jax-ml/jax/issues/12868),
and what has another layout, as the derivatives of every convolution have, runs three to seven times
slower there. So programs that loop over a network bring them to channels last themselves.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

import jax
from jax import Array
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, jaxpr_as_fun
from jax.extend.core.primitives import conv_general_dilated_p
from jax.lax import ConvDimensionNumbers

from flatvol_jax.runtime.precision import jax_config
from flatvol_jax.runtime.programs import results_of, run_program

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def fast_convolutions(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Return the traceable function with its convolutions, also those of inner loops, fast.

    Results are the same but for rounding. It is for what loops over a network, below `jax.jit` and
    around derivatives, since a derivative makes convolutions of its own. Arguments that are not
    traced are static. Where programs are not for a CPU it does nothing.
    """

    @functools.wraps(function)
    def traced(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        leaves, structure = jax.tree.flatten((args, kwargs))
        places = [place for place, leaf in enumerate(leaves) if isinstance(leaf, jax.core.Tracer)]
        if not places or _platform() != "cpu":
            return function(*args, **kwargs)

        def of_traced(*values):
            for place, value in zip(places, values, strict=True):
                leaves[place] = value
            args, kwargs = jax.tree.unflatten(structure, leaves)
            return function(*args, **kwargs)

        values = [leaves[place] for place in places]
        program, shape = jax.make_jaxpr(of_traced, return_shape=True)(*values)
        found = jaxpr_as_fun(_with_channels_last(program))(*values)
        return jax.tree.unflatten(jax.tree.structure(shape), found)

    return traced


def _platform() -> str:
    device = jax_config.jax_default_device
    return getattr(device, "platform", device) or jax.default_backend()


def _with_channels_last(program: ClosedJaxpr) -> ClosedJaxpr:
    """Return the program with all its convolutions in channels last; itself if it has none."""
    if not _convolves(program.jaxpr):
        return program
    shapes = [jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in program.in_avals]

    def changed(*inputs: Array) -> list[Array]:
        return run_program(program.jaxpr, program.consts, inputs, _run_equation)

    return jax.make_jaxpr(changed)(*shapes)


def _run_equation(equation: JaxprEqn, inputs: list[Array]) -> Sequence[Array]:
    """Compute one equation, a convolution with channels last."""
    if equation.primitive is conv_general_dilated_p:
        return [_convolved(*inputs, **equation.params)]
    options = {name: _with_programs_changed(option) for name, option in equation.params.items()}
    return results_of(equation, inputs, options)


def _with_programs_changed(option: Any) -> Any:
    """Return an option of an operation, programs in it with channels last."""
    if isinstance(option, ClosedJaxpr):
        return _with_channels_last(option)
    if isinstance(option, Jaxpr) and not option.constvars:
        changed = _with_channels_last(ClosedJaxpr(option, ()))
        return option if changed.consts else changed.jaxpr
    if type(option) is tuple:
        return tuple(map(_with_programs_changed, option))
    return option


def _convolves(jaxpr: Jaxpr) -> bool:
    """Tell whether there is a convolution in the program or in one that it calls."""
    return any(
        equation.primitive is conv_general_dilated_p
        or any(map(_convolves, _programs(tuple(equation.params.values()))))
        for equation in jaxpr.eqns
    )


def _programs(option: Any) -> list[Jaxpr]:
    if isinstance(option, ClosedJaxpr):
        return [option.jaxpr]
    if isinstance(option, Jaxpr):
        return [option]
    return [p for part in option for p in _programs(part)] if type(option) is tuple else []


def _convolved(
    inputs: Array, kernel: Array, *, dimension_numbers: ConvDimensionNumbers, **options: Any
) -> Array:
    """Return jax.lax's convolution, computed as (n, space..., c) times (space..., c, c')."""
    space = tuple(range(1, inputs.ndim - 1))
    last = inputs.ndim - 1
    rows = (0, last, *space)
    weights = (last, last - 1, *(axis - 1 for axis in space))
    result = conv_general_dilated_p.bind(
        _moved(inputs, dimension_numbers.lhs_spec, rows),
        _moved(kernel, dimension_numbers.rhs_spec, weights),
        dimension_numbers=ConvDimensionNumbers(rows, weights, rows),
        **options,
    )
    return _moved(result, rows, dimension_numbers.out_spec)


def _moved(array: Array, before: Sequence[int], after: Sequence[int]) -> Array:
    """Return the array with the axes `before` at the places `after`."""
    order = [axis for _, axis in sorted(zip(after, before, strict=True))]
    return array if order == sorted(order) else jax.lax.transpose(array, order)
