"""A user's own neural_tangents.stax network as a spec."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from flatvol_jax.models.labels import checked_outputs
from flatvol_jax.models.spec import Params, State, Stateless, checked_scales, without_one_output


@dataclasses.dataclass(frozen=True)
class StaxModel(Stateless):
    """Hidden layers of neural_tangents.stax, and a readout to one or C outputs on top of them.

    The readout has weights from N(0, sigma_w²/N_L) and a bias from N(0, sigma_b²); the N_L
    activations that it multiplies are the network's last hidden layer. Inputs go to the network
    in the shape in which they come. `fv.kernels.neural_tangents().stax` is the stax module, also
    under a JAX that neural_tangents was not written for.

    Attributes:
        network: (init_fn, apply_fn, kernel_fn) of stax.serial(...) up to the last hidden
            layer, without the readout; it gives (n, N_L), so images are pooled or flattened.
        name: stands for the network in hashes, of runs and of cached kernels: functions have
            no content to hash, so another network needs another name.
        sigma_w: standard deviation of a readout weight times √N_L.
        sigma_b: standard deviation of the readout's bias.
        outputs: 1, whose sign is the label ±1, or C, whose largest is the label 0..C-1.

    Raises:
        ValueError: a network that is not three functions, no name, sigma_w not above 0, sigma_b
            below 0, no output.
    """

    network: tuple[Callable, Callable, Callable]
    name: str
    sigma_w: float
    sigma_b: float
    outputs: int = 1

    def __post_init__(self):
        network = tuple(self.network) if isinstance(self.network, (tuple, list)) else ()
        if len(network) != 3 or not all(callable(function) for function in network):
            raise ValueError(
                f"network: got {self.network!r}, wanted (init_fn, apply_fn, kernel_fn), as "
                "stax.serial(...) returns."
            )
        if not (isinstance(self.name, str) and self.name):
            raise ValueError(f"name: got {self.name!r}, wanted a name for hashes.")
        object.__setattr__(self, "network", network)
        object.__setattr__(self, "outputs", checked_outputs(self.outputs))
        checked_scales(self)

    def init(self, key: Array, input_shape: tuple[int, ...]) -> Params:
        """Draw float32 parameters from the prior."""
        keys = jax.random.split(key, 3)
        shape, hidden = self.network[0](keys[0], (1, *input_shape))
        if len(shape) != 2:
            raise ValueError(
                f"network: got activations with {len(shape) - 1} axes an input, wanted one: end it "
                "with stax.Flatten() or stax.GlobalAvgPool()."
            )
        scale = self.sigma_w / np.sqrt(shape[-1])
        readout = {
            "kernel": scale * jax.random.normal(keys[1], (shape[-1], self.outputs)),
            "bias": self.sigma_b * jax.random.normal(keys[2], (self.outputs,)),
        }
        params = {"hidden": hidden, "readout": readout}
        return jax.tree.map(lambda leaf: leaf.astype(jnp.float32), params)

    def apply(self, params: Params, x: Array, state: State | None = None) -> Array:
        """Return the outputs, (n,) or (n, C)."""
        readout = params["readout"]
        found = self.features(params, x) @ readout["kernel"] + readout["bias"]
        return found[:, 0] if self.outputs == 1 else found

    def features(self, params: Params, x: Array, state: State | None = None) -> Array:
        """Return the activations of the last hidden layer, (n, N_L)."""
        return self.network[1](params["hidden"], x)

    def kernel_layers(self) -> tuple[tuple, ...]:
        """Return the hidden layers as one entry, then the readout."""
        return ("stax", *self.network), ("dense", self.sigma_w, self.sigma_b)

    def rectified_layers(self) -> None:
        """Return None: not known; fv.flatness.rescale takes a layer's paths."""
        return None

    def prior_std(self, input_shape: tuple[int, ...]) -> None:
        """Return None: not known."""
        return None

    def describe(self) -> dict[str, Any]:
        """Return plain data; the name stands for the network."""
        fields = {
            "model": "stax",
            "name": self.name,
            "sigma_w": self.sigma_w,
            "sigma_b": self.sigma_b,
            "outputs": self.outputs,
        }
        return without_one_output(fields)
