"""A network given by plain functions, as a spec."""

from collections.abc import Callable
from typing import Any

import jax
from jax import Array

from flatvol_jax.models.evaluation_check import check_evaluation
from flatvol_jax.models.functions import (
    Functions,
    checked_leaves,
    numbers,
    source,
)
from flatvol_jax.models.labels import checked_outputs, logits
from flatvol_jax.models.readout_prior import Scale, given_scale
from flatvol_jax.models.spec import Params, State, UnknownLayers, without_one_output
from flatvol_jax.runtime import checks


class Model(UnknownLayers):
    """A network given by plain functions.

        net = fv.Model(init=init, apply=apply, features=features, sigma_w=1.0, sigma_b=0.0)

    `fv.as_model` makes one of a network of any framework. Two models are equal only where they
    are the same object, so keep one rather than make it anew: its programs are compiled once.

    Attributes:
        sigma_w: a readout weight has variance sigma_w² / N_L at initialisation.
        sigma_b: standard deviation of the readout's bias there.
        params: the parameters that came with the network, as a pytree; None where none did.
        state: its running statistics, likewise; {} where it has none.
        outputs: how many.

    Args:
        init: (key, input_shape) -> parameters, a pytree of arrays, from the prior.
        apply: (params, x) -> outputs, (n,) or (n, 1), or of C classes (n, C), each of its own
            input alone.
        features: (params, x) -> what the readout multiplies, (n, N_L).
        sigma_w: as above.
        sigma_b: as above.
        name: stands for the functions where they are printed, and in hashes beside their sources;
            the name of `apply` by default. Where functions differ only in arrays or functions
            that they close over, another network needs another name.
        outputs: 1, whose sign is the label ±1, or C, whose largest is the label 0..C-1.

    Raises:
        ValueError: what is no function, sigma_w not above 0, sigma_b below 0.
    """

    sigma_w: float
    sigma_b: float
    outputs: int
    params: Params | None
    state: State
    _functions: Functions
    _features: Callable
    _features_source: str
    _scales: tuple[Scale, Scale]
    _kernel_layers: tuple | None

    def __init__(
        self,
        init: Callable,
        apply: Callable,
        features: Callable,
        sigma_w: float,
        sigma_b: float,
        name: str | None = None,
        outputs: int = 1,
    ):
        for part, function in (("init", init), ("apply", apply), ("features", features)):
            if not callable(function):
                raise ValueError(f"{part}: got {checks.shown(function)}, wanted a function.")
        functions = Functions(
            init=init,
            init_state=lambda input_shape: {},
            apply=lambda params, x, state: apply(params, x),
            train_apply=None,
            name=name or str(getattr(apply, "__qualname__", type(apply).__name__)),
            framework="plain functions",
            drawn_by="init",
            description={"init": source(init), "apply": source(apply)},
        )
        scales = _checked_scales(sigma_w, sigma_b)

        def stated(params, x, state):
            return features(params, x)

        self._set(functions, stated, source(features), scales, outputs=outputs)

    @classmethod
    def from_functions(
        cls,
        functions: Functions,
        features: Callable,
        features_source: str,
        scales: tuple[Scale, Scale],
        kernel_layers: tuple | None = None,
        outputs: int = 1,
    ) -> "Model":
        """Return the model of an adapter's functions.

        Args:
            functions: the network.
            features: (params, x, state) -> (n, N_L).
            features_source: says what they are, for hashes.
            scales: sigma_w and sigma_b.
            kernel_layers: of its analytic kernel, if it has one.
            outputs: how many.
        """
        model = cls.__new__(cls)
        sigma_w, sigma_b = _checked_scales(scales[0].value, scales[1].value)
        scales = (
            sigma_w._replace(origin=scales[0].origin),
            sigma_b._replace(origin=scales[1].origin),
        )
        model._set(functions, features, features_source, scales, kernel_layers, outputs)
        return model

    def _set(self, functions, features, features_source, scales, kernel_layers=None, outputs=1):
        vars(self).update(
            _functions=functions,
            _features=features,
            _features_source=features_source,
            _scales=scales,
            _kernel_layers=kernel_layers,
            sigma_w=scales[0].value,
            sigma_b=scales[1].value,
            outputs=checked_outputs(outputs),
            params=functions.params,
            state={} if functions.state is None else functions.state,
        )

    def __setattr__(self, name: str, value: Any):
        raise AttributeError(f"{name}: a model is frozen, since programs are compiled for it.")

    def __repr__(self) -> str:
        functions = self._functions
        sigma_w, sigma_b = (f"{s.value:.6g} ({s.origin})" for s in self._scales)
        classes = "" if self.outputs == 1 else f", {self.outputs} outputs"
        own = "" if self.params is None else f", {_size(self.params)} parameters of its own"
        return (
            f"Model({functions.name}, {functions.framework}{classes}{own}; "
            f"prior by {functions.drawn_by}, sigma_w={sigma_w}, sigma_b={sigma_b})"
        )

    def init(self, key: Array, input_shape: tuple[int, ...]) -> Params:
        """Draw parameters with the network's own initialisers."""
        return checked_leaves("init", self._functions.init(key, tuple(input_shape)))

    def init_state(self, input_shape: tuple[int, ...]) -> State:
        """Return what training moves beside the parameters, at initialisation; {} for nothing."""
        return self._functions.init_state(tuple(input_shape))

    def apply(self, params: Params, x: Array, state: State | None = None) -> Array:
        """Return the outputs, (n,) or (n, C), in evaluation."""
        x = numbers(x)
        state = self._state(x, state)
        outputs = self._functions.apply(params, x, state)
        outputs = logits(outputs, x, self.outputs, f"network: {self._functions.name} gives")
        self._check(x, "apply")
        return outputs

    def train_apply(
        self, params: Params, state: State, x: Array, mask: Array | None = None
    ) -> tuple[Array, State]:
        """Return the outputs, (n,) or (n, C), in training mode and the state after it."""
        if not state:
            return self.apply(params, x, state), state
        functions = self._functions
        if functions.train_apply is None:
            raise ValueError(
                f"spec: {functions.name} has running statistics and is of {functions.framework}, "
                "where it is to be trained; here it is measured in evaluation. Its prior is that "
                "of initialisation (leave out reference=)."
            )
        x = numbers(x)
        outputs, state = functions.train_apply(params, state, x, mask)
        return logits(outputs, x, self.outputs, f"network: {functions.name} gives"), state

    def features(self, params: Params, x: Array, state: State | None = None) -> Array:
        """Return what the readout multiplies, (n, N_L)."""
        x = numbers(x)
        state = self._state(x, state)
        found = self._features(params, x, state)
        self._check(x, "features")
        return found.reshape(len(x), -1)

    def kernel_layers(self) -> tuple | None:
        """Return the layers of the analytic kernel; None where there is none."""
        return self._kernel_layers

    def describe(self) -> dict[str, Any]:
        """Return plain data that determines the network: its sources and scales."""
        functions = self._functions
        return {
            "model": f"{functions.framework}: {functions.name}",
            **functions.description,
            "features": self._features_source,
            "sigma_w": self.sigma_w,
            "sigma_b": self.sigma_b,
            **without_one_output({"outputs": self.outputs}),
        }

    def _state(self, x: Array, state: State | None) -> State:
        return self.init_state(x.shape[1:]) if state is None else state

    def _check(self, x: Array, part: str) -> None:
        """Ask `check_evaluation` once, where the inputs are numbers and no tracers."""
        if not isinstance(x, jax.core.Tracer):
            check_evaluation(self, x, part)


def _checked_scales(sigma_w: float, sigma_b: float) -> tuple[Scale, Scale]:
    return (
        given_scale(checks.positive("sigma_w", sigma_w)),
        given_scale(checks.non_negative("sigma_b", sigma_b)),
    )


def _size(params: Any) -> str:
    return f"{sum(leaf.size for leaf in jax.tree.leaves(params)):,}"
