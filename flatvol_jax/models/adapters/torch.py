"""A torch.nn.Module as functions, traced into JAX by torchax."""

import copy
import re
import threading
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
import torch

from flatvol_jax.models.adapters.torchax_import import torchax, traced
from flatvol_jax.models.functions import Functions, printed, source

_CUSTOM = re.compile(
    r"\binit\.|_init_weights|\.(normal|uniform|zero|fill|trunc_normal)_\(|\.data\b"
)
_STATISTICS = ("running_mean", "running_var")
_DRAWS = 2**14
_DRAWN_NUMBERS = 2**26  # at most, where whole networks are built
_lock = threading.RLock()  # of PyTorch's generator, and of the module while it is traced


def torch_functions(module: torch.nn.Module, init: Callable | None) -> Functions:
    """Return the functions of a module in evaluation; a copy is taken, the module stays as it is.

    Parameters are its named_parameters(), a dictionary of arrays; the state are the running
    statistics of its normalisations; other buffers are constants.

    Args:
        module: called as module(x), x a tensor.
        init: builds a fresh module, from nothing; left out, each part's `reset_parameters` draws.

    Raises:
        ValueError: a module in training mode, not on the CPU, or whose initialisers are not known.
        ImportError: torchax is missing.
    """
    torchax()
    _check(module)
    module = copy.deepcopy(module)
    name = type(module).__name__
    params = {key: _array(value) for key, value in module.named_parameters()}
    buffers = {key: _array(value) for key, value in module.named_buffers()}
    state = {k: v for k, v in buffers.items() if k.split(".")[-1] in _STATISTICS}
    constants = {k: v for k, v in buffers.items() if k not in state}
    if init is None:
        _check_default(module)
    draw = _Draw(module, init, sorted(params))

    def apply(values, x, state):
        whole = {**jax.tree.map(jnp.asarray, constants), **state, **values}
        x = jnp.asarray(x)
        floating = next((jnp.asarray(v).dtype for v in values.values()), x.dtype)
        if jnp.issubdtype(x.dtype, jnp.floating):
            x = x.astype(floating)  # PyTorch promotes nothing
        with _lock, traced() as environment:
            tensors, inputs = environment.j2t_iso((jax.tree.map(jnp.asarray, whole), x))
            try:
                output = torch.func.functional_call(module, tensors, (inputs,))
                return environment.t2j_iso(output)
            except Exception as error:  # whatever a module or an operation raises
                raise ValueError(_not_traced(name, error)) from error

    def drawn(key, input_shape):
        shapes = {k: jax.ShapeDtypeStruct(v.shape, np.float32) for k, v in params.items()}
        data = (
            key if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else jax.random.key_data(key)
        )
        return jax.pure_callback(draw, shapes, data, vmap_method="sequential")

    def init_state(input_shape):
        return {k: np.full_like(v, k.endswith("running_var")) for k, v in state.items()}

    return Functions(
        init=drawn,
        init_state=init_state,
        apply=apply,
        train_apply=None,
        name=name,
        framework="PyTorch",
        drawn_by="init" if init is not None else "reset_parameters of its parts",
        description={
            "source": source(type(module)),
            "module": printed(module),
            "init": "" if init is None else source(init),
        },
        params=params,
        state=state,
        draws=draw.leaves,
    )


class _Draw:
    """Draw parameters by PyTorch's generator, seeded by a JAX key, which stays as it was."""

    def __init__(self, module: torch.nn.Module, init: Callable | None, names: list[str]):
        self.module, self.build, self.names = copy.deepcopy(module), init, names
        self.size = sum(p.numel() for p in module.parameters())

    def __call__(self, data: np.ndarray) -> dict[str, np.ndarray]:
        words = [int(word) for word in np.asarray(data).ravel()]
        with _lock, torch.random.fork_rng(devices=[]):
            torch.manual_seed(sum(word << (32 * i) for i, word in enumerate(words[-2:][::-1])))
            fresh = self._fresh(self.module)
            found = dict(fresh.named_parameters())
            return {name: _array(found[name]).astype(np.float32) for name in self.names}

    def leaves(self, places: tuple[int, ...]) -> Iterator[list[np.ndarray]]:
        """Yield draws of some parameters only, a draw a row."""
        names = [self.names[place] for place in places]
        number, parts = _DRAWS, [_owner(self.module, name) for name in names]
        if self.build is not None:
            number, parts = int(np.clip(_DRAWN_NUMBERS // self.size, 64, _DRAWS)), [self.module]
        rows: list[list[np.ndarray]] = [[] for _ in names]
        with _lock, torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            for _ in range(number):
                if self.build is not None:
                    found = dict(self._fresh(self.module).named_parameters())
                else:
                    for part in dict.fromkeys(parts):
                        _reset(part)
                    found = dict(self.module.named_parameters())
                for row, name in zip(rows, names, strict=True):
                    row.append(_array(found[name]).astype(np.float32).copy())
        yield [np.stack(row) for row in rows]

    def _fresh(self, module: torch.nn.Module) -> torch.nn.Module:
        if self.build is None:
            for part in reversed(list(module.modules())):  # a whole after its parts, as built
                _reset(part)
            return module
        built = self.build()
        shapes = {n: tuple(p.shape) for n, p in module.named_parameters()}
        if not isinstance(built, torch.nn.Module) or shapes != {
            n: tuple(p.shape) for n, p in built.named_parameters()
        }:
            raise ValueError(
                f"init: got a {type(built).__name__} from init(), wanted a fresh module with the "
                "same parameters as this one: init=lambda: Net(...)."
            )
        return built


def _reset(part: torch.nn.Module) -> None:
    reset = getattr(part, "reset_parameters", None) or getattr(part, "_reset_parameters", None)
    if reset is not None:
        reset()


def _owner(module: torch.nn.Module, name: str) -> torch.nn.Module:
    return module.get_submodule(name.rpartition(".")[0])


def _array(tensor: torch.Tensor) -> np.ndarray:
    tensor = tensor.detach()
    if tensor.dtype in (torch.bfloat16, torch.float16):
        tensor = tensor.float()
    return tensor.numpy().copy()


def _check(module: torch.nn.Module) -> None:
    name = type(module).__name__
    training = [key for key, part in module.named_modules() if part.training]
    if training:
        raise ValueError(
            f"network: got {name} in training mode ({training[0] or 'the module itself'}), where "
            "an output may depend on the batch and on random numbers; wanted evaluation: "
            "as_model(module.eval(), ...)."
        )
    for key, value in [*module.named_parameters(), *module.named_buffers()]:
        if value.device.type != "cpu":
            raise ValueError(
                f"network: got {name} with {key} on {value.device}, wanted it on the CPU, from "
                "where JAX takes it to its own devices: as_model(module.cpu(), ...)."
            )
        if value.is_complex() or value.is_sparse or value.is_quantized:
            raise ValueError(
                f"network: got {name} with {key} of {value.dtype} ({value.layout}), wanted dense "
                "real numbers."
            )


def _check_default(module: torch.nn.Module) -> None:
    """Refuse to guess initialisers."""
    reason = None
    for key, part in module.named_modules():
        if any(True for _ in part.parameters(recurse=False)) and not (
            hasattr(part, "reset_parameters") or hasattr(part, "_reset_parameters")
        ):
            reason = f"the parameters of {key or 'the module itself'} have no reset_parameters"
        cls = type(part)
        if not cls.__module__.startswith("torch.") and _CUSTOM.search(source(cls)):
            reason = f"{cls.__name__} initialises itself"
    if reason is not None:
        raise ValueError(
            f"init: {type(module).__name__} does not say how it was initialised ({reason}). Pass "
            f"what builds a fresh one: init=lambda: {type(module).__name__}(...)."
        )


def _not_traced(name: str, error: Exception) -> str:
    first = str(error).strip().splitlines()
    return (
        f"network: {name} could not be computed by JAX ({type(error).__name__}: "
        f"{first[0][:200] if first else ''}). Do the inputs have the shape that it takes? An "
        "operation of your own, or one in C++, is to be written in PyTorch's operations; a tensor "
        "that is neither parameter nor buffer is to be registered (register_buffer); what "
        "looks at numbers (.item(), if x > 0) cannot be traced. Or give the network as functions: "
        "fv.Model(init=, apply=, features=, sigma_w=, sigma_b=)."
    )
