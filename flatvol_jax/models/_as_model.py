"""A network of any framework as a spec."""

import functools
import re
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from flatvol_jax.models.functions import (
    Functions,
    checked_leaves,
    first_shape,
    numbers,
    source,
    without_addresses,
)
from flatvol_jax.models.labels import logits
from flatvol_jax.models.model import Model
from flatvol_jax.models.readout import features_of, readout_function
from flatvol_jax.models.readout_prior import drawn_scales, given_scale
from flatvol_jax.models.spec import Spec
from flatvol_jax.runtime import checks
from flatvol_jax.runtime.hashing import array_hash, content_hash


def as_model(
    network: Any,
    x: np.ndarray | None = None,
    *,
    params: Any = None,
    state: Any = None,
    init: Callable | None = None,
    features: Callable | None = None,
    sigma_w: float | None = None,
    sigma_b: float | None = None,
) -> Spec:
    """Return the spec of a network, whatever framework it is written in.

    | network | what comes with it |
    |---|---|
    | `flax.linen.Module` | `params=`: its variables, if there are any |
    | `flax.nnx.Module`, `eqx.Module`, `torch.nn.Module` | its own weights are in `.params` |
    | `hk.transform(f)`, `hk.transform_with_state(f)` | `params=` (and `state=`), if there are any |
    | (init_fn, apply_fn) of stax, with or without kernel_fn | `params=`, if there are any |
    | a function apply(params, x) | `init=`: (key, input_shape) -> params |

    One logit an input is a network of two classes, labels ±1; of C logits, (n, C), the largest is
    the label 0..C-1.

    The network is put into evaluation mode. Its program, traced at `x`, shows the last dense layer;
    the features are what this layer multiplies. The network's own initialisers draw it, and sigma_w
    and sigma_b are those of the readout so drawn, exact where the initialiser is a known one. The
    model prints all that was found, and the Monte Carlo kernel checks it against drawn networks.

    The weights that came with the network are `.params`, and the running statistics `.state`:

        model = fv.as_model(net, x)
        outputs = model.apply(model.params, x, model.state)

    Args:
        network: see above; a spec is returned as it is. An Equinox network with a state comes as
            (network, state).
        x: example inputs (n, ...), of which the shape and the type are read. Without them vectors
            are tried that fit the matrices.
        params: parameters that do not come with the network.
        state: running statistics, likewise.
        init: for nnx and Equinox: key -> a fresh network; for PyTorch: nothing -> a fresh network;
            needed where a network was initialised otherwise than its layers are by default, which
            a network that was trained does not show.
        features: (params, x) -> what the readout multiplies, (n, N_L), where it is not found.
        sigma_w: a readout weight has variance sigma_w²/N_L at initialisation; found where left out.
        sigma_b: standard deviation of the readout's bias there; found where left out.

    Raises:
        ValueError: an unknown kind of network; no readout found; initialisers not known; outputs
            that are neither (n,) nor (n, C); leaves that are no arrays; a PyTorch module in
            training mode, not on the CPU or that torchax cannot trace. Each says what to pass.
        ImportError: a framework's own package is missing (torchax for PyTorch).
    """
    if isinstance(network, Spec) and not isinstance(network, type):
        return network
    example = None if x is None else numbers(x)
    dtype: Any = np.float32
    if example is not None:
        if example.ndim < 2 or len(example) == 0:
            raise ValueError(f"x: got shape {example.shape}, wanted inputs (n, ...), one at least.")
        dtype = np.float32 if jnp.issubdtype(example.dtype, jnp.floating) else example.dtype
    if features is not None and not callable(features):
        raise ValueError(f"features: got {checks.shown(features)}, wanted a function.")
    functions = _functions(network, params, state, checks.function("init", init), dtype)
    shape = _input_shape(functions, example)
    shapes = _call_network_code(
        f"init of inputs of shape {shape}", lambda: _shapes(functions, shape)
    )
    _check_params(functions, shapes[0])
    one = jax.ShapeDtypeStruct((2, *shape), dtype)
    with jax.enable_x64(False):
        found = _call_network_code(
            f"network on inputs of shape {one.shape} and type {one.dtype}",
            lambda: jax.eval_shape(functions.apply, shapes[0], one, shapes[1]),
        )
        outputs = _number_of_outputs(found)
        apply = functools.partial(_logits, functions, outputs)
        program = _call_network_code(
            f"network on inputs of shape {one.shape} and type {one.dtype}",
            lambda: jax.make_jaxpr(apply)(shapes[0], one, shapes[1]),
        )
        drawn = jax.make_jaxpr(lambda key: functions.init(key, shape))(jax.random.key(0))
        functions = functions._replace(
            description={**functions.description, "programs": _programs_hash(program, drawn)}
        )
        scales = _scales(functions, apply, shapes, shape, dtype, features, sigma_w, sigma_b)
    if features is None:
        return Model.from_functions(
            functions, functools.partial(features_of, apply), "", scales, _stax(network), outputs
        )
    own = features

    def stated(params, x, state):
        return own(params, x)

    return Model.from_functions(functions, stated, source(own), scales, _stax(network), outputs)


def _functions(network, params, state, init, dtype) -> Functions:
    """Return the functions of a network by its framework's adapter, the only one imported."""
    first = network[0] if isinstance(network, tuple) and network else network
    roots = {cls.__module__.split(".")[0] for cls in type(first).__mro__}
    if isinstance(network, type):
        raise ValueError(
            f"network: got the class {network.__name__}, wanted a network, an instance of it."
        )
    if isinstance(network, nn.Module):
        from flatvol_jax.models.adapters.linen import linen_functions

        _refuse("linen modules draw themselves", init=init)
        variables = params if state is None or params is None else {"params": params, **state}
        return linen_functions(network, variables)
    if isinstance(network, nnx.Module):
        from flatvol_jax.models.adapters.nnx import nnx_functions

        _refuse("an nnx module holds its own", params=params, state=state)
        return nnx_functions(network, init)
    if "torch" in roots and hasattr(network, "named_parameters"):
        from flatvol_jax.models.adapters.torch import torch_functions

        _refuse("a PyTorch module holds its own", params=params, state=state)
        return torch_functions(network, init)
    if "equinox" in roots:
        from flatvol_jax.models.adapters.equinox import equinox_functions

        _refuse("an Equinox network holds its own", params=params)
        network = network if state is None else (first, state)
        return equinox_functions(network, init)
    if "haiku" in {cls.__module__.split(".")[0] for cls in type(network).__mro__}:
        from flatvol_jax.models.adapters.haiku import haiku_functions

        _refuse("a Haiku network draws itself", init=init)
        return haiku_functions(network, params, state, dtype)
    if isinstance(network, tuple) and len(network) in (2, 3) and all(map(callable, network)):
        from flatvol_jax.models.adapters.stax import stax_functions

        _refuse("a stax network draws itself", init=init)
        return stax_functions(network, params)
    if callable(network) and not roots & {"keras", "tensorflow", "sklearn"}:
        return _plain_functions(network, params, init)
    raise ValueError(
        f"network: got {checks.shown(network)}, wanted a linen or nnx module, an Equinox network, "
        "hk.transform(...), a torch.nn.Module, a stax pair (init_fn, apply_fn) or a function "
        "apply(params, x). Of any other make functions: fv.Model(init=, apply=, features=, "
        "sigma_w=, sigma_b=)."
    )


def _plain_functions(apply: Callable, params: Any, init: Callable | None) -> Functions:
    if init is None:
        raise ValueError(
            "init: got None beside a function; wanted init=(key, input_shape) -> parameters, which "
            "draws them from the prior."
        )
    return Functions(
        init=init,
        init_state=lambda input_shape: {},
        apply=lambda params, x, state: apply(params, x),
        train_apply=None,
        name=getattr(apply, "__qualname__", type(apply).__name__),
        framework="plain functions",
        drawn_by="init",
        description={"init": source(init), "apply": source(apply)},
        params=checked_leaves("params", params),
    )


def _logits(functions: Functions, outputs: int, params: Any, x: jax.Array, state: Any) -> jax.Array:
    found = functions.apply(params, x, state)
    return logits(found, x, outputs, f"network: {functions.name} gives")


def _number_of_outputs(found: Any) -> int:
    """Return C of outputs (n, C); 1 of others, of which `logits` says what is wrong with them."""
    shape: tuple[int, ...] = getattr(found, "shape", ())
    return shape[1] if len(shape) == 2 and shape[1] > 1 else 1


_OWN_MESSAGE = re.compile(r"(network|init|params|spec|module|features): ")


def _call_network_code(part: str, call: Callable) -> Any:
    """Call a network's own code; an error of it says what was asked."""
    try:
        return call()
    except Exception as error:  # whatever the code of a user raises
        text = str(error).strip()
        if isinstance(error, ValueError) and _OWN_MESSAGE.match(text):
            raise
        first = text.splitlines()[0][:200] if text else ""
        raise ValueError(
            f"{part}: it raised {type(error).__name__}: {first}. Are the inputs x of the shape and "
            "type that the network takes, and init and params those of this network?"
        ) from error


def _programs_hash(*programs: Any) -> str:
    """Hash traced programs and the arrays in them: sources do not show what is closed over."""
    return content_hash(
        [
            [without_addresses(str(program.jaxpr)), [array_hash(c) for c in _arrays(program)]]
            for program in programs
        ]
    )


def _arrays(program: Any) -> list[np.ndarray]:
    """Return the constants of a program; keys by their data."""
    return [
        np.asarray(jax.random.key_data(c) if jnp.issubdtype(c.dtype, jax.dtypes.prng_key) else c)
        for c in program.consts
    ]


def _refuse(reason: str, **arguments: Any) -> None:
    for name, value in arguments.items():
        if value is not None:
            raise ValueError(f"{name}: got {checks.shown(value)}, wanted None: {reason}.")


def _input_shape(functions: Functions, example: jax.Array | None) -> tuple[int, ...]:
    if example is not None:
        return example.shape[1:]
    found = first_shape(functions.params, functions.apply, functions.state or {})
    if found is None:
        raise ValueError(
            f"x: got None, and the inputs of {functions.name} cannot be told from its parameters; "
            "wanted example inputs (n, ...): fv.as_model(network, x)."
        )
    return found


def _shapes(functions: Functions, input_shape: tuple[int, ...]) -> tuple[Any, Any]:
    """Return the shapes of parameters and state at initialisation."""
    with jax.enable_x64(False):
        return jax.eval_shape(
            lambda key: (
                checked_leaves("init", functions.init(key, input_shape)),
                jax.tree.map(jnp.asarray, functions.init_state(input_shape)),
            ),
            jax.random.key(0),
        )


def _check_params(functions: Functions, shapes: Any) -> None:
    if functions.params is None:
        return
    own, wanted = (
        {jax.tree_util.keystr(path): np.shape(leaf) for path, leaf in leaves}
        for leaves in map(jax.tree_util.tree_leaves_with_path, (functions.params, shapes))
    )
    if own != wanted:
        name = next(n for n in {**own, **wanted} if own.get(n) != wanted.get(n))
        raise ValueError(
            f"params: got {name} of shape {own.get(name)}, where init draws {wanted.get(name)}; "
            "wanted parameters of the network that init builds."
        )


def _scales(functions, apply, shapes, input_shape, dtype, features, sigma_w, sigma_b):
    """Return sigma_w and sigma_b, those that are not given from draws of the readout."""
    if sigma_w is not None and sigma_b is not None:
        return given_scale(sigma_w), given_scale(sigma_b)
    if features is not None:
        raise ValueError(
            "sigma_w: features= are your own, so the readout's scales are not looked for; pass "
            "sigma_w= and sigma_b=, too."
        )
    state = jax.tree.map(np.asarray, functions.init_state(input_shape))
    readout = readout_function(apply, shapes[0], input_shape, dtype, state)

    def traced(keys):
        def one(key):
            leaves = jax.tree.leaves(functions.init(key, input_shape))
            return [leaves[place] for place in readout.leaves]

        return jax.vmap(one)(keys)

    draws = traced if functions.draws is None else functions.draws(readout.leaves)
    found = drawn_scales(readout, draws, jax.random.key(0))
    return tuple(
        scale if value is None else given_scale(value)
        for scale, value in zip(found, (sigma_w, sigma_b), strict=True)
    )


def _stax(network: Any) -> tuple | None:
    """Return the layers of a neural-tangents network's analytic kernel; None of another network."""
    is_stax = isinstance(network, tuple) and len(network) == 3 and all(map(callable, network))
    return (("stax", *network),) if is_stax else None
