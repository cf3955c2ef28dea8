"""A user's own Flax module as a spec."""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import nnx
from flax.errors import InvalidRngError, ModifyScopeVariableError
from flax.nnx.bridge import ToLinen
from jax import Array

from flatvol_jax.models.evaluation_check import check_evaluation
from flatvol_jax.models.functions import numbers, printed
from flatvol_jax.models.labels import checked_outputs, logits
from flatvol_jax.models.modes import (
    changes_its_state,
    draws_random_numbers,
    in_mode,
    interceptor,
    mode_arguments,
)
from flatvol_jax.models.spec import Params, State, UnknownLayers, without_one_output
from flatvol_jax.runtime import checks


@dataclasses.dataclass(frozen=True)
class FlaxModel(UnknownLayers):
    """Wrap a `flax.linen.Module` so that all of this library measures it.

    Parameters are the module's "params" collection. The other collections (BatchNorm's running
    statistics, constants) are the state, except those that a call only adds to, as `sow` does. A
    call without a state takes their values at initialisation: mean 0 and variance 1, where
    BatchNorm in inference mode is the identity up to its scale and shift.

    A flag `train`, `training` or `is_training`, or the negation `deterministic` or
    `use_running_average`, that `__call__` takes or that is a field of the module, puts it into
    evaluation, and in `train_apply` into training mode if it has a state. An nnx module inside
    (`nnx.bridge.to_linen`) is switched by its `train()` and `eval()`, and by the same flags.
    Without a state `train_apply` is `apply`: a network with dropout and without BatchNorm trains
    without dropout; with both it is refused, as `train_apply` has no randomness to give. Outputs
    in evaluation must be of each input alone: `check_evaluation` asks the module once.

    Inputs keep their type: integers (tokens, uint8 pixels) reach the module as integers.

    The mask of `train_apply` goes to `__call__` where it takes `mask` (n,), and to every
    BatchNorm of linen or nnx that got no mask of its own. Statistics of any other kind see all
    rows of a batch, unless the module masks them.

    Args:
        module: the module; hashable, so without arrays among its fields.
        features: where the activations are that the readout multiplies: the name of a
            submodule whose output they are, of a value that the module sows, or of a method;
            or a function (params, x) -> (n, N_L), called as (params, x, state) where a state is
            given. Only the Monte Carlo kernel needs it.
        sigma_w: a readout weight has variance sigma_w² / N_L at the module's initialisation.
        sigma_b: standard deviation of the readout's bias there.
        outputs: 1, whose sign is the label ±1, or C, whose largest is the label 0..C-1.

    Raises:
        ValueError: an nnx module (`flax.nnx.bridge.to_linen` converts it) or one that cannot be
            hashed, features that are no name and no function, sigma_w not above 0, sigma_b below 0.
    """

    module: nn.Module
    features_at: str | Callable[..., Array]
    sigma_w: float
    sigma_b: float
    outputs: int = 1

    def __init__(self, module, features, sigma_w, sigma_b, outputs=1):
        if isinstance(module, nnx.Module):
            raise ValueError(
                f"module: got the nnx module {type(module).__name__}, wanted a linen module. "
                "Take fv.as_model(module, x), or convert it: flax.nnx.bridge.to_linen(YourModule, "
                "...)."
            )
        if not isinstance(module, nn.Module):
            raise ValueError(f"module: got {type(module).__name__}, wanted a flax.linen.Module.")
        if not (isinstance(features, str) or callable(features)):
            raise ValueError(f"features: got {features!r}, wanted a name or a function.")
        try:
            hash(module)
        except TypeError as error:
            raise ValueError(
                f"module: {type(module).__name__} cannot be hashed ({error}), so no program could "
                "be compiled for it. Use tuples and numbers as its fields, not arrays or lists."
            ) from error
        object.__setattr__(self, "module", module)
        object.__setattr__(self, "features_at", features)
        object.__setattr__(self, "sigma_w", checks.positive("sigma_w", sigma_w))
        object.__setattr__(self, "sigma_b", checks.non_negative("sigma_b", sigma_b))
        object.__setattr__(self, "outputs", checked_outputs(outputs))

    def init(self, key: Array, input_shape: tuple[int, ...]) -> Params:
        """Draw parameters with the module's own initialisers."""
        variables = self._variables(key, tuple(input_shape))
        if "params" not in variables:
            raise ValueError(
                f"module: got {type(self.module).__name__}, which has no parameters, wanted a "
                "network."
            )
        return variables["params"]

    def init_state(self, input_shape: tuple[int, ...]) -> State:
        """Return the collections beside "params" whose structure a call in training mode keeps."""
        input_shape = tuple(input_shape)
        variables = self._variables(jax.random.key(0), input_shape)
        inputs = jnp.zeros((1, *input_shape), _input_dtype(self, input_shape))
        state = _state(variables)
        _, moved = jax.eval_shape(
            lambda key: self._train(variables["params"], state, inputs, None, rngs={"params": key}),
            jax.random.key(0),
        )

        def structure(tree: Any) -> Any:
            return jax.tree.structure(tree)

        return {
            name: values
            for name, values in state.items()
            if structure(values) == structure(moved[name])
        }

    def apply(self, params: Params, x: Array, state: State | None = None) -> Array:
        """Return the outputs, (n,), of C classes (n, C); of one the module may give (n, 1)."""
        x = numbers(x)
        found = self._evaluated(self._with_state(params, x, state), x)
        outputs = logits(found, x, self.outputs, "module: got")
        self._check(x, "apply")
        return outputs

    def train_apply(
        self, params: Params, state: State, x: Array, mask: Array | None = None
    ) -> tuple[Array, State]:
        """Return the outputs, (n,) or (n, C), in training mode and the state after it."""
        if not state:
            return self.apply(params, x, state), state
        x = numbers(x)
        try:
            output, moved = self._train(params, state, x, mask)
        except InvalidRngError as error:
            raise ValueError(draws_random_numbers(self.module, train=True)) from error
        return logits(output, x, self.outputs, "module: got"), moved

    def features(self, params: Params, x: Array, state: State | None = None) -> Array:
        """Return the activations at `features`, flattened to (n, N_L)."""
        x = numbers(x)
        name = self.features_at
        if isinstance(name, str):
            found = self._named_features(params, x, state, name)
        else:
            found = name(params, x, state) if state else name(params, x)
        shape: tuple[int, ...] = getattr(found, "shape", ())
        if len(shape) < 2 or shape[0] != len(x):
            came = f"shape {shape}" if shape else f"a {type(found).__name__}"
            raise ValueError(
                f"features: got {came} for {len(x)} inputs, wanted (n, N_L), the activations of "
                "each input."
            )
        self._check(x, "features")
        return found.reshape(len(x), -1)

    def kernel_layers(self) -> None:
        """Return None: no analytic kernel is known. Use fv.monte_carlo_kernel."""
        return None

    def describe(self) -> dict[str, Any]:
        """Return plain data that determines the network: its class, source and fields."""
        name, module = self.features_at, self.module
        return {
            "model": f"{type(module).__module__}.{type(module).__qualname__}",
            "source": _source(module.nnx_class if isinstance(module, ToLinen) else type(module)),
            "fields": printed(module),
            "features": name if isinstance(name, str) else _source(name),
            "sigma_w": self.sigma_w,
            "sigma_b": self.sigma_b,
            **without_one_output({"outputs": self.outputs}),
        }

    def _named_features(self, params: Params, x: Array, state: State | None, name: str) -> Array:
        variables = self._with_state(params, x, state)
        if hasattr(type(self.module), name):
            return self._evaluated(variables, x, method=name)
        if isinstance(self.module, ToLinen) and hasattr(self.module.nnx_class, name):
            return self._evaluated(variables, x, nnx_method=name)
        _, found = self._evaluated(
            variables,
            x,
            capture_intermediates=lambda module, _: module.name == name,
            mutable=["intermediates"],
        )
        found = jax.tree.leaves(_subtrees(found.get("intermediates", {}), name))
        if len(found) != 1:
            raise ValueError(
                f"features: found {len(found)} values named {name!r} in "
                f"{type(self.module).__name__}, wanted one: the name of a submodule, of a method, "
                'or of a value that the module sows, self.sow("intermediates", name, h).'
            )
        return found[0]

    def _check(self, x: Array, part: str) -> None:
        """Ask `check_evaluation` once, where the inputs are numbers and no tracers."""
        if not isinstance(x, jax.core.Tracer):
            check_evaluation(self, x, part)

    def _variables(
        self, key: Array, input_shape: tuple[int, ...], dtype: Any = None
    ) -> dict[str, Any]:
        dtype = _input_dtype(self, input_shape) if dtype is None else dtype
        return _initialised(self.module, key, jnp.zeros((1, *input_shape), dtype))

    def _with_state(self, params: Params, x: Array, state: State | None) -> dict[str, Any]:
        if state is None:
            whole = not jnp.issubdtype(x.dtype, jnp.floating)
            dtype = x.dtype if whole else None
            state = _state(self._variables(jax.random.key(0), x.shape[1:], dtype))
        return {**state, "params": params}

    def _evaluated(self, variables: dict[str, Any], x: Array, **options: Any) -> Any:
        """Run the module in evaluation."""
        method = getattr(type(self.module), options.get("method", "__call__"))
        flags = mode_arguments(method, False, self.module)
        try:
            with nn.intercept_methods(interceptor(train=False)):
                return in_mode(self.module, False).apply(variables, x, **options, **flags)
        except InvalidRngError as error:
            raise ValueError(draws_random_numbers(self.module, train=False)) from error
        except ModifyScopeVariableError as error:
            raise ValueError(changes_its_state(self.module)) from error

    def _train(
        self, params: Params, state: State, x: Array, mask: Array | None, **rngs: Any
    ) -> tuple[Array, State]:
        """Return the module's own output in training mode, and the state after it."""
        call = type(self.module).__call__
        flags = mode_arguments(call, True, self.module)
        if "mask" in inspect.signature(call).parameters:
            flags["mask"] = mask
        state = jax.tree.map(jnp.asarray, state)  # nnx writes into arrays of NumPy
        with nn.intercept_methods(interceptor(True, mask, random=bool(rngs))):
            return in_mode(self.module, True).apply(
                {**state, "params": params}, x, mutable=list(state), **flags, **rngs
            )


def _initialised(module: nn.Module, key: Array, inputs: Array) -> dict[str, Any]:
    flags = mode_arguments(type(module).__call__, False, module)
    keys = {"params": key, "default": jax.random.fold_in(key, 1)}  # an nnx module asks for both
    with nn.intercept_methods(interceptor(train=False, random=True)):
        return dict(in_mode(module, False).init(keys, inputs, **flags))


@functools.lru_cache(maxsize=256)
def _input_dtype(spec: FlaxModel, input_shape: tuple[int, ...]) -> Any:
    """Return the dtype of the module's inputs: float32, or int32 where it takes no other."""

    def traced(dtype):
        inputs = jax.ShapeDtypeStruct((1, *input_shape), dtype)
        jax.eval_shape(lambda key, x: _initialised(spec.module, key, x), jax.random.key(0), inputs)

    try:
        traced(jnp.float32)
    except Exception as error:  # whatever the module raises
        try:
            traced(jnp.int32)
        except Exception:
            raise error from None
        return jnp.int32
    return jnp.float32


def _state(variables: dict[str, Any]) -> State:
    """Return the collections other than the parameters and what the module sows."""
    return {name: v for name, v in variables.items() if name not in ("params", "intermediates")}


def _source(thing: Any) -> str:
    """Return source text, or the name of what was typed at a prompt."""
    try:
        return inspect.getsource(thing)
    except (OSError, TypeError):
        return getattr(thing, "__qualname__", type(thing).__qualname__)


def _subtrees(tree: Any, name: str) -> list:
    """Return all subtrees under a key `name`, at any depth."""
    if not isinstance(tree, dict):
        return []
    here = [value for key, value in tree.items() if key == name]
    return here + [_subtrees(value, name) for key, value in tree.items() if key != name]
