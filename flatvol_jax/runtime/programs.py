"""Run a traced program an equation at a time, for whoever computes some equations otherwise."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jax import Array
from jax.extend.core import Jaxpr, JaxprEqn


def run_program(
    jaxpr: Jaxpr,
    consts: Sequence[Any],
    inputs: Sequence[Array],
    run_equation: Callable[[JaxprEqn, list[Array]], Sequence[Array]],
) -> list[Array]:
    """Return the results of a program whose equations `run_equation(equation, inputs)` computes."""
    values: dict[Any, Any] = dict(zip(jaxpr.constvars, consts, strict=True))
    values |= dict(zip(jaxpr.invars, inputs, strict=True))
    for equation in jaxpr.eqns:
        run_in(values, equation, run_equation)
    return [known_value(atom, values) for atom in jaxpr.outvars]


def run_in(values: dict[Any, Any], equation: JaxprEqn, run_equation: Callable) -> None:
    """Compute one equation from known values, and add its results to them."""
    inputs = [known_value(atom, values) for atom in equation.invars]
    values.update(zip(equation.outvars, run_equation(equation, inputs), strict=True))


def known_value(atom: Any, values: Mapping[Any, Any]) -> Any:
    """Return the value of a variable, or of a literal."""
    return atom.val if hasattr(atom, "val") else values[atom]


def results_of(equation: JaxprEqn, inputs: Sequence[Array], options: dict[str, Any]) -> Any:
    """Return the results of an equation's operation with these options."""
    primitive = equation.primitive
    with equation.ctx.manager:
        found = primitive.bind(*inputs, **primitive.get_bind_params(options))
    return found if primitive.multiple_results else [found]
