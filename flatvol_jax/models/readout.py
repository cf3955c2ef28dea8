"""Find the readout of any network in its program: the last dense layer, and what it multiplies.

A network is traced into primitive operations. From its output the way back leads through
operations that are affine in the activations (a bias, a scale, a reshape) to the product of
activations with weights: the activations are the features, and the rest, from them to the output,
is the readout.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from flatvol_jax.runtime.programs import known_value, results_of, run_in, run_program

_CALLS = ("jaxpr", "call_jaxpr", "fun_jaxpr")  # under which an equation has the one it calls
_LOOPS = ("scan", "while", "cond")
_AFFINE = {
    *("reshape", "squeeze", "expand_dims", "broadcast_in_dim", "transpose", "convert_element_type"),
    *("copy", "copy_p", "slice", "dynamic_slice", "gather", "rev", "neg", "add", "sub", "add_any"),
    *("mul", "div", "name", "sharding_constraint", "reduce_precision", "stop_gradient"),
    *("pvary", "pcast"),
}
_ROWS = 5  # inputs of the trace that looks for the readout


class Readout(NamedTuple):
    """The place of the readout in a traced program.

    Attributes:
        program: the flat program, of inputs params, x and state in the order of their leaves.
        variable: that of the activations which the readout multiplies.
        axes: those of the variable, the rows first, then what is summed over.
        x_place: place of x among the inputs.
    """

    program: Any
    variable: Any
    axes: tuple[int, ...]
    x_place: int


def features_of(apply: Callable, params: Any, x: Array, state: Any) -> Array:
    """Return what the readout multiplies, (n, N_L).

    Args:
        apply: (params, x, state) -> outputs.

    Raises:
        ValueError: no readout was found.
    """
    found = find_readout(apply, params, x, state)
    inputs = dict(zip(found.program.jaxpr.invars, jax.tree.leaves((params, x, state)), strict=True))
    activations = _computed_value(found.program, inputs, found.variable)
    return activations.transpose(found.axes).reshape(len(x), -1)


def find_readout(apply: Callable, params: Any, x: Any, state: Any) -> Readout:
    """Trace apply(params, x, state), any arrays or their shapes, and find its readout."""
    program = _flat_program(apply, params, x, state)
    place = len(jax.tree.leaves(params))
    variable, weighs = _find_readout_input(program.jaxpr, program.jaxpr.invars[place])
    rows = [axis for axis in range(len(variable.aval.shape)) if axis not in weighs]
    if np.prod([variable.aval.shape[axis] for axis in rows], dtype=int) != len(x):
        raise ValueError(_not_found(f"a product with activations {variable.aval.shape}"))
    return Readout(program, variable, (*rows, *weighs), place)


class ReadoutFunction(NamedTuple):
    """The readout of one input as a function.

    Attributes:
        function: (h (N_L,), leaves) -> the output, a number, or the C outputs, (C,).
        leaves: places, among the leaves of the parameters, of those that it needs.
        width: N_L.
    """

    function: Callable
    leaves: tuple[int, ...]
    width: int


def readout_function(
    apply: Callable, params: Any, input_shape: tuple, dtype: Any, state: Any
) -> ReadoutFunction:
    """Return the readout as a function, from shapes alone.

    Raises:
        ValueError: no readout was found.
    """
    several = jax.ShapeDtypeStruct((_ROWS, *input_shape), dtype)
    find_readout(apply, params, several, state)  # one row would hide axes of other meaning
    one = jax.ShapeDtypeStruct((1, *input_shape), dtype)
    found = find_readout(apply, params, one, state)
    jaxpr, variable = found.program.jaxpr, found.variable
    needed = _needed(jaxpr, {variable}, jaxpr.outvars[0])[1]
    leaves = tuple(place for place in range(found.x_place) if jaxpr.invars[place] in needed)
    states = jax.tree.leaves(state)

    def function(h, drawn):
        shape = [variable.aval.shape[axis] for axis in found.axes]
        known = {variable: jnp.transpose(h.reshape(shape), np.argsort(found.axes).tolist())}
        known |= {jaxpr.invars[place]: leaf for place, leaf in zip(leaves, drawn, strict=True)}
        known |= dict(zip(jaxpr.invars[found.x_place + 1 :], states, strict=True))
        output = _computed_value(found.program, known, jaxpr.outvars[0])
        return output.reshape(() if output.size == 1 else -1)

    return ReadoutFunction(function, leaves, int(np.prod(variable.aval.shape)))


def _flat_program(function: Callable, *arguments: Any) -> Any:
    """Return the closed jaxpr with the programs that it calls written out, but for loops."""
    closed = jax.make_jaxpr(function)(*arguments)

    def written_out(*inputs: Array) -> list[Array]:
        return run_program(closed.jaxpr, closed.consts, inputs, _run_equation)

    return jax.make_jaxpr(written_out)(*jax.tree.leaves(arguments))


def _run_equation(equation: Any, inputs: list[Array]) -> list[Array]:
    """Compute one equation, a call by what it calls."""
    called = next((equation.params[n] for n in _CALLS if n in equation.params), None)
    if called is None or equation.primitive.name in _LOOPS:
        return results_of(equation, inputs, equation.params)
    inner = getattr(called, "jaxpr", called)
    return run_program(inner, getattr(called, "consts", []), inputs, _run_equation)


def _computed_value(program: Any, known: dict, wanted: Any) -> Array:
    """Return the value of a variable from those that are known, by the equations between."""
    jaxpr = program.jaxpr
    values = dict(zip(jaxpr.constvars, program.consts, strict=True)) | known
    for equation in _needed(jaxpr, set(known), wanted)[0]:
        run_in(values, equation, _run_equation)
    return known_value(wanted, values)


def _needed(jaxpr: Any, known: set, wanted: Any) -> tuple[list, set]:
    """Return the equations from known variables to the wanted one, and what they read."""
    needed, equations = {wanted}, []
    for equation in reversed(jaxpr.eqns):
        if any(variable in needed and variable not in known for variable in equation.outvars):
            equations.append(equation)
            needed |= {variable for variable in equation.invars if not hasattr(variable, "val")}
    return equations[::-1], needed


def _find_readout_input(jaxpr: Any, x: Any) -> tuple[Any, tuple[int, ...]]:
    """Return the variable that the readout multiplies, and its axes that are summed over."""
    made: dict[Any, Any] = {}
    moving = {x}
    for equation in jaxpr.eqns:
        if any(not hasattr(v, "val") and v in moving for v in equation.invars):
            moving |= set(equation.outvars)
        made |= dict.fromkeys(equation.outvars, equation)
    variable = jaxpr.outvars[0]
    while variable in made:
        equation = made[variable]
        name, inputs = equation.primitive.name, equation.invars
        places = [i for i, v in enumerate(inputs) if not hasattr(v, "val") and v in moving]
        if name == "dot_general" and len(places) == 1:
            contracting, batch = equation.params["dimension_numbers"]
            side = places[0]
            if not batch[side]:
                return inputs[side], tuple(contracting[side])
        if name not in _AFFINE or len(places) != 1 or (name == "div" and places != [0]):
            raise ValueError(_not_found(f"`{name}` of {len(places)} activations"))
        variable = inputs[places[0]]
    raise ValueError(_not_found("an output that is no product of activations with weights"))


def _not_found(got: str) -> str:
    return (
        f"features: got {got} on the way from the output back to the last dense layer, wanted "
        "outputs that are a dense layer's, logits, without a sigmoid, a softmax or a skip behind "
        "them. Say what the readout multiplies: features=(a function (params, x) -> (n, N_L)), "
        "with sigma_w= (a readout weight has variance sigma_w²/N_L at initialisation) and sigma_b= "
        "(standard deviation of its bias)."
    )
